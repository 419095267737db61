"""Who is whose child, who lives, who carries our marker. Linux by /proc; elsewhere by psutil."""

from __future__ import annotations

import os
import sys

from cc_orchestrator.host import elsewhere


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except (OSError, IndexError):
            return False
    return any(row.pid == pid and not row.dead for row in elsewhere.table())


def children(pid: int) -> list[int]:
    """Direct children, zombies included."""
    if sys.platform == "linux":
        found: list[int] = []
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
                    found += [int(part) for part in file.read().split()]
        except OSError:
            return _children_by_scan(pid) if os.path.isdir(f"/proc/{pid}") and not found else found
        return found
    return [row.pid for row in elsewhere.table() if row.parent == pid]


def _children_by_scan(parent: int) -> list[int]:
    """For kernels without the children file."""
    found: list[int] = []
    for pid in pids():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                if int(file.read().rpartition(b")")[2].split()[1]) == parent:
                    found.append(pid)
        except (OSError, IndexError, ValueError):
            continue
    return found


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, zombies included."""
    if sys.platform != "linux":
        return _descendants_by_table(pid)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            if child not in found:
                found.append(child)
                waiting.append(child)
    return found


def _descendants_by_table(pid: int) -> list[int]:
    rows = elsewhere.table()
    found = {pid}
    while True:
        more = {row.pid for row in rows if row.parent in found} - found
        if not more:
            return sorted(found - {pid})
        found |= more


def pids() -> list[int]:
    """All process ids (Linux)."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def marked(name: str, value: str) -> list[int]:
    """Processes whose environment holds `name=value`: theirs to see only for their owner."""
    wanted = f"{name}={value}".encode()
    if sys.platform != "linux":
        return elsewhere.marked(name, value)
    found: list[int] = []
    for pid in pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(pid)
        except OSError:
            continue
    return found


def is_first(pid: int) -> bool:
    """Whether it is the first process of a PID namespace below ours: a sandbox's own (Linux)."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for row in file:
                if row.startswith(b"NSpid:"):
                    ids = row.split()[1:]
                    return len(ids) > 1 and ids[-1] == b"1"
    except OSError:
        pass
    return False


def is_ending(pid: int) -> bool:
    """Whether it is on its way out or gone: the kernel has taken its memory, so nothing tells what it ran (Linux)."""
    if sys.platform != "linux":
        return False
    try:
        os.readlink(f"/proc/{pid}/exe")
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def runs_file(pid: int, name: str) -> bool:
    """Whether it is an interpreter on a file of this name (Linux)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return any(part.endswith(b"/" + name.encode()) for part in file.read().split(b"\0")[:6])
    except OSError:
        return False
