"""Ten questions to a sandbox, asked from inside by a real process: what the doctor shows. Nothing is taken on trust."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple, cast

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.host.process import SpawnError
from cc_orchestrator.host.sandbox import Backend, Ground, Level, SandboxError, plan_sandbox
from cc_orchestrator.host.sandbox_find import find_sandbox
from cc_orchestrator.host.sandbox_git import look
from cc_orchestrator.host.sandbox_ground import Proxy, is_root, needed_paths, prepare
from cc_orchestrator.host.scratch import ScratchFolder, temp_root

_SECONDS = 20.0
_NAME = "cc-sandbox-probe"
#: Runs inside. Says for each question whether what was tried came through.
_INSIDE = """
import json, os, socket, subprocess, sys
given = json.loads(sys.argv[1])
def came_through(act):
    try:
        act()
    except (OSError, subprocess.SubprocessError):
        return False
    return True
def put(path):
    with open(path, "w") as file:
        file.write("probe")
def get(path):
    with open(path, "rb") as file:
        assert file.read(1)
def connect(port):
    socket.create_connection(("127.0.0.1", port), 5).close()
def datagram(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"probe", ("127.0.0.1", port))
def git():
    subprocess.run(["git", "init", "-q", "repo"], check=True, capture_output=True, timeout=10)
    subprocess.run(["git", "-C", "repo", "status"], check=True, capture_output=True, timeout=10)
print(json.dumps({
    "tree": came_through(lambda: put("probe")),
    "temporary": came_through(lambda: put(given["temporary"])),
    "system": came_through(lambda: put(given["system"])),
    "home": came_through(lambda: put(given["home"])),
    "secrets": came_through(lambda: get(given["secret"])),
    "processes": came_through(lambda: get("/proc/%d/cmdline" % given["pid"])),
    "git": came_through(git),
    "allowed": came_through(lambda: connect(given["allowed"])),
    "other": came_through(lambda: connect(given["other"])),
    "datagrams": came_through(lambda: datagram(given["udp"])),
}))
"""


class Answer(NamedTuple):
    """One question: `held` says whether it is as it should be."""

    question: str
    held: bool


class Report(NamedTuple):
    """What was found out. `level` is the highest that may be asked for; None with `why` when there is none."""

    level: Level | None
    backend: str
    answers: tuple[Answer, ...]
    why: str = ""
    gaps: tuple[str, ...] = ()

    @property
    def failed(self) -> list[str]:
        """Questions that were answered wrongly."""
        return [answer.question for answer in self.answers if not answer.held]


def probe_sandbox(env: Mapping[str, str]) -> Report:
    """Find the best sandbox and ask it. Starts short processes; leaves nothing behind."""
    backend, why = find_sandbox(env)
    if backend is None:
        return Report(None, "", (), why)
    level: Level = "fs+net" if backend.name == "bubblewrap" else "fs"
    try:
        with ScratchFolder(temp_root(), "cc-probe-") as base:
            answers = _ask(backend, level, os.path.realpath(base), env)
    except (SandboxError, SpawnError, CcError, OSError, subprocess.SubprocessError, ValueError) as error:
        return Report(None, backend.name, (), f"{backend.name} does not hold a probe: {str(error)[:200]}")
    return Report(level, backend.name, answers, "", backend.gaps)


def _ask(backend: Backend, level: Level, base: str, env: Mapping[str, str]) -> tuple[Answer, ...]:
    for name in ("tree", "outbox", "home/.ssh", "workspace"):
        os.makedirs(os.path.join(base, name))
    with open(os.path.join(base, "home", ".ssh", "id"), "w", encoding="ascii") as file:
        file.write("secret")
    servers = [
        socket.socket(socket.AF_INET, kind) for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
    ]
    try:
        for server in servers:
            server.bind(("127.0.0.1", 0))
        for server in servers[:2]:
            server.listen(4)
        servers[2].setblocking(False)
        ports = [int(server.getsockname()[1]) for server in servers]
        came = _run(backend, level, base, env, ports)
        heard = _heard(servers[2])
    finally:
        for server in servers:
            server.close()
    temporary = os.path.join(temp_root(), _NAME)
    outside = os.path.exists(temporary)
    if outside:
        os.unlink(temporary)
    answers = [
        Answer("its own tree can be written", came["tree"]),
        Answer("the system's temporary folder cannot", not outside),
        Answer("the system's configuration cannot", not came["system"]),
        Answer("the user's home cannot", not os.path.exists(os.path.join(base, "home", "probe"))),
        Answer("secret folders cannot be read", not came["secrets"]),
        Answer("git works", came["git"]),
    ]
    if backend.name == "bubblewrap":
        answers.append(Answer("other processes are hidden", not came["processes"]))
    if level == "fs+net":
        answers += [
            Answer("an allowed host is reached", came["allowed"]),
            Answer("another one is not", not came["other"]),
            Answer("datagrams do not leave", not heard),
        ]
    return tuple(answers)


def _heard(server: socket.socket) -> bool:
    try:
        return bool(server.recv(10))
    except OSError:
        return False


def _run(backend: Backend, level: Level, base: str, env: Mapping[str, str], ports: list[int]) -> dict[str, bool]:
    given = {
        "temporary": os.path.join(temp_root(), _NAME), "system": os.path.join(os.sep, "etc", _NAME), "pid": os.getpid(),
        "home": os.path.join(base, "home", "probe"), "secret": os.path.join(base, "home", ".ssh", "id"),
        "allowed": ports[0], "other": ports[1], "udp": ports[2],
    }  # fmt: skip
    python = os.path.realpath(sys.executable)
    hosts = (f"127.0.0.1:{ports[0]}",)
    ground = Ground(
        run_id="probe", cwd=os.path.join(base, "tree"), tree=os.path.join(base, "tree"), may_write=True,
        outbox=os.path.join(base, "outbox"), private=os.path.join(base, "private"), home=os.path.join(base, "home"),
        workspace=os.path.join(base, "workspace"), readable=needed_paths(python, env), is_root=is_root(), hosts=hosts,
    )  # fmt: skip
    prepare(ground, ())
    proxy = Proxy(f"probe-{os.path.basename(base)[-12:]}", hosts) if level == "fs+net" else None
    try:
        if proxy is not None:
            proxy.serve()
        ground = ground._replace(proxy=proxy.path if proxy is not None else "")
        argv = (python, "-I", "-S", "-c", _INSIDE, json.dumps(given))
        plan = plan_sandbox(level, backend, argv, {"PATH": env.get("PATH", os.defpath)}, ground, look)
        done = subprocess.run(
            plan.argv,
            env=plan.env,
            cwd=ground.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    finally:
        if proxy is not None:
            proxy.close()
    if done.returncode:
        raise SandboxError(done.stderr.decode("utf-8", "replace").strip()[-200:] or f"exit {done.returncode}")
    return cast("dict[str, bool]", json.loads(done.stdout))
