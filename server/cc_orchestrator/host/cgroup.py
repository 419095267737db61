"""A cgroup (v2) of its own for each run, where this user may make one: the kernel then knows every process of the run.

All functions are quiet: without cgroups they answer None, [] or False, and the next means of containment holds.
"""

from __future__ import annotations

import os
import sys


def base() -> str | None:
    """The folder in which we may make groups, or None."""
    if sys.platform != "linux":
        return None
    for mount in _mounts():
        own = _own_group()
        for candidate in ([mount + own] if own not in (None, "/") else []) + ([mount] if os.geteuid() == 0 else []):
            if os.access(candidate, os.W_OK) and os.access(os.path.join(candidate, "cgroup.procs"), os.W_OK):
                return candidate
    return None


def _mounts() -> list[str]:
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    return [row[1] for row in rows if len(row) > 2 and row[2] == "cgroup2"]


def _own_group() -> str | None:
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            for line in file:
                if line.startswith("0::"):
                    return line[3:].strip()
    except OSError:
        pass
    return None


def _name(run_id: str) -> str:
    return f"cc-orchestrator-{run_id}"


def make(run_id: str) -> str | None:
    """A fresh group for the run."""
    folder = base()
    if folder is None:
        return None
    path = os.path.join(folder, _name(run_id))
    try:
        os.mkdir(path)
    except FileExistsError:
        pass
    except OSError:
        return None
    return path if os.path.exists(os.path.join(path, "cgroup.procs")) else None


def find(run_id: str) -> str | None:
    """The run's group, if there is one."""
    folder = base()
    path = os.path.join(folder, _name(run_id)) if folder else None
    return path if path and os.path.isdir(path) else None


def add(path: str, pid: int) -> bool:
    """Put a process into the group; its later children follow."""
    return _write(os.path.join(path, "cgroup.procs"), str(pid))


def members(path: str) -> list[int]:
    """Processes in the group."""
    try:
        with open(os.path.join(path, "cgroup.procs"), encoding="ascii") as file:
            return [int(line) for line in file]
    except (OSError, ValueError):
        return []


def kill(path: str) -> bool:
    """Have the kernel kill all of it (5.14 and newer)."""
    return _write(os.path.join(path, "cgroup.kill"), "1")


def remove(path: str) -> None:
    """Remove the empty group."""
    try:
        os.rmdir(path)
    except OSError:
        pass


def _write(path: str, text: str) -> bool:
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return False
    return True
