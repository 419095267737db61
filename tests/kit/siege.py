"""A project with secrets, servers and other processes around it, and a worker in its sandbox that tries to get at them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kit import escapes
from kit.door import Door
from kit.interpreter import BARE_PYTHON
from kit.repos import commit, git
from kit.waiting import alive

ROOT = Path(__file__).parents[2]
SECRETS = {
    ".ssh/id_ed25519": "KEY", ".aws/credentials": "KEY", ".gnupg/secring": "KEY", ".config/gh/hosts.yml": "KEY", ".netrc": "KEY",
    "notes/passwords.txt": "KEY", ".claude/settings.json": "{}", ".bashrc": "true\n",
    ".gitconfig": "[user]\n\tname = U\n\temail = u@localhost\n",
}  # fmt: skip


class Siege(NamedTuple):
    """One run that tried everything, and what lies outside."""

    level: str
    found: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    heard: list[bytes]
    victim_lives: bool
    door: Door
    run_id: str


class Ears:
    """Servers outside that must hear nothing; and one that is allowed."""

    def __init__(self, base: Path) -> None:
        self.heard: list[bytes] = []
        self.allowed: list[bytes] = []
        self.abstract = f"cc-escape-{os.getpid()}-{os.urandom(4).hex()}"
        run = base / "r"
        run.mkdir()
        self.paths = {"socket_tmp": tempfile.mktemp(prefix="cc-ear-", dir="/tmp"), "socket_run": str(run / "s")}
        self.sockets: list[socket.socket] = []
        for name in (*self.paths.values(), "\0" + self.abstract):
            self._listen(socket.AF_UNIX, name, self.heard)
        self.port = self._listen(socket.AF_INET, ("127.0.0.1", 0), self.heard)
        self.port_allowed = self._listen(socket.AF_INET, ("127.0.0.1", 0), self.allowed)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        self.udp = udp.getsockname()[1]
        self.sockets.append(udp)
        threading.Thread(target=self._echo, args=(udp,), daemon=True).start()

    def _listen(self, family: int, address: Any, ears: list[bytes]) -> int:
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(8)
        self.sockets.append(listener)
        threading.Thread(target=self._accept, args=(listener, ears), daemon=True).start()
        return int(listener.getsockname()[1]) if family == socket.AF_INET else 0

    def _accept(self, listener: socket.socket, ears: list[bytes]) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    ears.append(client.recv(100))
                except OSError:
                    ears.append(b"?")

    def _echo(self, udp: socket.socket) -> None:
        while True:
            try:
                data, who = udp.recvfrom(100)
                if who is None:
                    return
                self.heard.append(data)
                udp.sendto(data, who)
            except OSError:
                return

    def close(self) -> None:
        for each in self.sockets:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
        os.unlink(self.paths["socket_tmp"])


def look_at(folders: list[Path]) -> dict[str, Any]:
    """Every file's mode, size, time and text."""
    seen: dict[str, Any] = {}
    for top in folders:
        for folder, _names, files in os.walk(top):
            for name in files:
                path = Path(folder) / name
                info = path.lstat()
                if path.is_file():
                    seen[str(path)] = (info.st_mode, info.st_mtime_ns, path.read_bytes())
    return seen


def refs(project: Path) -> dict[str, str]:
    rows = git(project, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(row.split(" ") for row in rows)


def victim() -> subprocess.Popen[bytes]:
    """A process outside whose number none inside can have."""
    while True:
        process = subprocess.Popen(["sleep", "120"])
        if process.pid > 1000:
            return process
        process.kill()
        process.wait()


@contextmanager
def besieged(
    level: str, env: Mapping[str, str] | None = None, start: Callable[[Door, str, list[str]], str] | None = None
) -> Iterator[Siege]:
    """Build it, run the worker, look at what is left. `start(door, command, hosts)` starts another one than the bundled worker."""
    (ROOT / "build").mkdir(exist_ok=True)
    # Not below /tmp, which is private inside: what is refused here is refused by the rules, not by absence.
    base = Path(tempfile.mkdtemp(prefix="siege-", dir=ROOT / "build"))
    ears = Ears(base)
    other = victim()
    try:
        yield lay_siege(level, base, ears, other, env or {}, start or start_fake)
    finally:
        other.kill()
        other.wait()
        ears.close()
        shutil.rmtree(base)


def start_fake(door: Door, command: str, hosts: list[str]) -> str:
    """The bundled worker runs the command."""
    return door.start_fake(
        {"run": {"argv": ["sh", "-c", command], "seconds": 60}}, {"result": "tried"}, allow_write=True,
        sandbox="fs+net" if hosts else "fs", sandbox_hosts=hosts,
    )  # fmt: skip


def lay_siege(
    level: str, base: Path, ears: Ears, other: subprocess.Popen[bytes], more: Mapping[str, str],
    start: Callable[[Door, str, list[str]], str],
) -> Siege:  # fmt: skip
    """One run in one project."""
    home, elsewhere = base / "home", base / "elsewhere"
    for name, text in SECRETS.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    elsewhere.mkdir()
    (elsewhere / "canary").write_text("sings\n")
    env = {
        "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "GITHUB_TOKEN": "ghp_secret", "DATABASE_URL": "postgresql://x",
        "SSH_AUTH_SOCK": ears.paths["socket_run"], "GIT_CONFIG_NOSYSTEM": "1", "XDG_RUNTIME_DIR": str(base / "r"), **more,
    }  # fmt: skip
    door = Door(base, env=env)
    first = door.start_fake(
        {"write": {"path": "a", "content": "a"}}, {"commit": "a"}, {"result": "x"}, allow_write=True
    )
    door.finish(first)
    spec = door.spec(first)
    workspace = door.cwd / ".agent-workspace"
    (workspace / "policies").mkdir(exist_ok=True)
    (workspace / "policies" / "policy.txt").write_text("forbid(principal, action, resource);\n")
    (door.cwd / ".env").write_text("TOKEN=KEY\n")
    targets = {
        "elsewhere": str(elsewhere), "project": str(door.cwd), "home": str(home), "workspace": str(workspace), "victim": other.pid,
        "other_run": door.run(first).path, "other_tree": spec.worktree, "other_ref": f"refs/heads/{spec.branch}",
        "other_result": f"refs/cc/runs/{first}", "address": 0x10000, "abstract": ears.abstract, "port": ears.port, "udp": ears.udp,
        "allowed": ears.port_allowed, "without_network": level == "fs+net", **ears.paths,
    }  # fmt: skip
    commit(door.cwd, {"escapes.py": Path(escapes.__file__).read_text(), "targets.json": json.dumps(targets)})
    outside = [
        home,
        elsewhere,
        door.run(first).path,
        workspace / "ledger",
        workspace / "policies",
        Path(spec.worktree or ""),
    ]
    outside += [door.cwd / ".git" / name for name in ("hooks", "info")]

    def look() -> dict[str, Any]:
        names = (".git/config", ".git/HEAD", ".git/index", "README.md", ".env", ".git/objects/info/alternates")
        files = {name: (door.cwd / name).read_bytes() for name in names if (door.cwd / name).exists()}
        planted = [path for path in ("/etc/cc-escape", "/etc/cron.d/cc-escape", "/usr/local/bin/cc-escape", "/tmp/cc-escape-planted")
                   if os.path.exists(path)]  # fmt: skip
        return {**look_at([Path(path) for path in outside]), **files, "planted": planted}

    before, names = look(), refs(door.cwd)
    command = f'{BARE_PYTHON} -S escapes.py targets.json "$CC_RUN_OUTBOX/result.json"'
    run_id = start(door, command, [f"127.0.0.1:{ears.port_allowed}"] if level == "fs+net" else [])
    door.finish(run_id, seconds=90)
    after, later = look(), refs(door.cwd)
    # The run's own receipt is ours to write.
    for seen in (before, after):
        for path in [path for path in seen if "/ledger/" in path]:
            del seen[path]
    own = {"refs/cc/ledger", f"refs/cc/runs/{run_id}", f"refs/heads/{door.spec(run_id).branch}"}
    for seen, found in ((before, names), (after, later)):
        seen["refs"] = {name: value for name, value in found.items() if name not in own}
    result = Path(door.run(run_id).outbox) / "result.json"
    assert result.exists(), (door.state(run_id)["stderr"], door.data(run_id, "tool.finished"))
    return Siege(level, json.loads(result.read_text()), before, after, ears.heard, alive(other.pid), door, run_id)
