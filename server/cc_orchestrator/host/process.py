"""Starts one process in a session of its own, with pipes, and tells exactly how it ended. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from cc_orchestrator.host import elsewhere


class SpawnError(Exception):
    """The process could not be started; the text says why. `missing` is true when the program is not there."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


class Exit(NamedTuple):
    """How a process ended: exactly one of the two is set."""

    code: int | None
    signal: int | None


class Child(NamedTuple):
    """A started process. Descriptors are ours, non-blocking; `exit_fd` becomes readable at its end (Linux)."""

    pid: int
    identity: str
    stdin: int | None
    stdout: int
    stderr: int
    exit_fd: int | None
    handle: subprocess.Popen[bytes]


def spawn(argv: Sequence[str], *, env: Mapping[str, str], cwd: str, stdin: Literal["pipe", "null"]) -> Child:
    """Start `argv` in its own session. Raises SpawnError."""
    if not os.path.isdir(cwd):
        raise SpawnError(f"the folder {cwd} does not exist")
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP
    try:
        handle = subprocess.Popen(
            list(argv), env=dict(env), cwd=cwd, stdin=subprocess.PIPE if stdin == "pipe" else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, start_new_session=True, creationflags=flags,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise SpawnError(f"{argv[0]} not found", missing=True) from error
    except PermissionError as error:
        raise SpawnError(f"{argv[0]} may not be executed") from error
    except OSError as error:
        raise SpawnError(f"{argv[0]} could not be started: {error.strerror or error}") from error
    assert handle.stdout is not None
    assert handle.stderr is not None
    return Child(
        handle.pid, identify(handle.pid) or "", _own(handle.stdin) if handle.stdin is not None else None,
        _own(handle.stdout), _own(handle.stderr), _exit_fd(handle.pid), handle,
    )  # fmt: skip


def _own(stream: object) -> int:
    """The stream's descriptor as one of our own, non-blocking."""
    fd = os.dup(stream.fileno())  # type: ignore[attr-defined]
    stream.close()  # type: ignore[attr-defined]
    if sys.platform != "win32":
        os.set_blocking(fd, False)
    return fd


def _exit_fd(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def reap(child: Child) -> Exit | None:
    """How it ended, or None while it runs. Never blocks."""
    status = child.handle.poll()
    if status is None:
        return None
    return Exit(None, -status) if status < 0 else Exit(status, None)


def identify(pid: int) -> str | None:
    """Tells a process from a later one with the same pid: boot and start time. None when it is gone."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                start = file.read().rpartition(b")")[2].split()[19].decode()
        except (OSError, IndexError):
            return None
        return f"{_boot_id()}:{start}"
    return elsewhere.started(pid)


def _boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()[:8]
    except OSError:
        return "?"


def is_same(pid: int, identity: str) -> bool:
    """Whether the process that was recorded is still that one."""
    return bool(identity) and identify(pid) == identity
