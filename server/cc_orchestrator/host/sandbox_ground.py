"""Makes ready what one sandbox needs on disk: private folders, the branch's private copy, the task's CLI home; and takes it away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.late import load
from cc_orchestrator.host.bell import runtime_folder
from cc_orchestrator.host.process import SpawnError
from cc_orchestrator.host.sandbox import Ground
from cc_orchestrator.host.sandbox_git import prepare_git
from cc_orchestrator.host.tree import HELPER

_PROXY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox_proxy.py")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MOST_COPY = 16_000_000


def is_root() -> bool:
    """Whether we run as the system's administrator."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def needed_paths(executable: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Folders that the command itself needs to be readable: its program's, ours, the interpreter's, those of PATH.

    A program of a virtual environment needs all of it, and ours is found by the folder that it lies in.
    """
    real = os.path.realpath(executable)
    found = [
        sys.prefix,
        sys.base_prefix,
        os.path.dirname(_PACKAGE),
        os.path.dirname(os.path.abspath(executable)),
        os.path.dirname(real),
    ]
    head, mark, _tail = real.partition(f"{os.sep}node_modules{os.sep}")
    if mark:
        found.append(head + mark.rstrip(os.sep))
    found += [path for path in env.get("PATH", "").split(os.pathsep) if os.path.isabs(path)]
    above = [os.path.dirname(path.rstrip(os.sep)) for path in found]
    found += [path for path in above if os.path.isfile(os.path.join(path, "pyvenv.cfg"))]
    return tuple(dict.fromkeys(os.path.realpath(path) for path in found))


def hidden_by_environment(env: Mapping[str, str]) -> tuple[str, ...]:
    """Folders that the user's own variables name: configuration, state, sockets, temporary files."""
    names = (
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
        "TEMP",
        "TMP",
    )
    found = [env.get(name, "") for name in names]
    try:
        found.append(runtime_folder())
    except (OSError, CcError):
        pass
    return tuple(dict.fromkeys(os.path.realpath(path) for path in found if os.path.isabs(path) and os.path.isdir(path)))


def prepare(ground: Ground, copies: Sequence[str]) -> None:
    """Make the private folders. `copies`: files of the user's home that the private home begins with. Raises OSError, GitError."""
    for name in ("home", "tmp", "heads", "logs"):
        os.makedirs(os.path.join(ground.private, name), mode=0o700, exist_ok=True)
    for path in copies:
        _copy(path, os.path.join(ground.private, "home", os.path.relpath(path, ground.home)))
    if ground.cli is not None:
        os.makedirs(ground.cli.store, mode=0o700, exist_ok=True)
    if ground.git is not None and ground.may_write:
        prepare_git(ground, ground.git)


def _copy(path: str, target: str) -> None:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_COPY)
    except OSError:
        return
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def remove_private(private: str, run_id: str = "") -> None:
    """Take away what was the sandbox's own; with `run_id` the socket that a dead supervisor left too."""
    if os.path.lexists(private):
        load("shutil").rmtree(private, ignore_errors=True)
    if run_id:
        try:
            os.unlink(_socket_path(run_id))
        except (OSError, CcError):
            pass


def _socket_path(run_id: str) -> str:
    return os.path.join(runtime_folder(), f"px-{run_id[-20:]}")


class Proxy:
    """The way out. It listens from the start; its process may come after the worker's, which then need not wait for it."""

    def __init__(self, run_id: str, hosts: Sequence[str]) -> None:
        """Raises SpawnError."""
        self._run_id = run_id
        self._hosts = tuple(hosts)
        self._process: subprocess.Popen[bytes] | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.path = _socket_path(run_id)
            self._listener.bind(self.path)
            self._listener.listen(64)
        except (OSError, CcError) as error:
            self._listener.close()
            raise SpawnError(f"the way out of the sandbox could not be made: {error}") from error

    def serve(self) -> int:
        """Start the process; its pid. Raises OSError."""
        fd = self._listener.fileno()
        self._process = subprocess.Popen(
            [os.path.realpath(sys.executable), "-I", "-S", _PROXY, str(fd), *self._hosts], stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(fd,), start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), HELPER: self._run_id},
        )  # fmt: skip
        self._listener.close()
        return self._process.pid

    def close(self) -> None:
        """End it and take its socket away."""
        self._listener.close()
        if self._process is not None:
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process.kill()
            self._process.wait()
        try:
            os.unlink(self.path)
        except OSError:
            pass
