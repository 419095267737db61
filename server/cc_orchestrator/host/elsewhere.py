"""Processes on systems without /proc (macOS, Windows), by psutil. What cannot be seen is left out, never guessed.

There a supervisor is started with the installed packages, so that psutil is at hand; without it nothing is found, and the
level of containment says what is promised.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from cc_orchestrator.core.late import load


class Row(NamedTuple):
    """One process; `dead` for a zombie."""

    pid: int
    parent: int
    dead: bool


def _psutil() -> Any:
    try:
        return load("psutil")
    except ImportError:
        return None


def table() -> list[Row]:
    """Everybody that this user may see."""
    psutil = _psutil()
    if psutil is None:
        return []
    found: list[Row] = []
    for process in psutil.process_iter(["pid", "ppid", "status"]):
        info = process.info
        found.append(Row(int(info["pid"]), int(info["ppid"] or 0), info["status"] == psutil.STATUS_ZOMBIE))
    return found


def marked(name: str, value: str) -> list[int]:
    """Processes whose environment holds `name=value`."""
    psutil = _psutil()
    if psutil is None:
        return []
    found: list[int] = []
    for process in psutil.process_iter(["environ"]):
        variables: dict[str, str] = process.info["environ"] or {}
        if variables.get(name) == value:
            found.append(int(process.pid))
    return found


def started(pid: int) -> str | None:
    """When it started, in seconds: with the pid it names a process. None when it is gone."""
    psutil = _psutil()
    if psutil is None:
        return None
    try:
        return f"{psutil.Process(pid).create_time():.3f}"
    except psutil.Error:
        return None


def ancestors(pid: int) -> Iterator[tuple[int, int, tuple[str, ...], tuple[str, ...]]]:
    """`(pid, parent, argv, NAME=value …)` of a process and those above it."""
    psutil = _psutil()
    while psutil is not None and pid > 0:
        try:
            process = psutil.Process(pid)
            parent = process.ppid()
            argv = tuple(process.cmdline())
        except psutil.Error:
            return
        try:
            variables = tuple(f"{name}={value}" for name, value in process.environ().items())
        except (psutil.Error, OSError):
            variables = ()
        yield pid, parent, argv, variables
        if parent == pid:
            return
        pid = parent
