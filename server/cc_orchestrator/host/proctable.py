"""Who is whose child, who lives, who carries our marker. Linux by /proc; elsewhere by one `ps` or psutil where it is there."""

from __future__ import annotations

import os
import subprocess
import sys


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
        except (OSError, IndexError):
            return False
    return any(row[0] == pid and not row[2].startswith("Z") for row in _ps())


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
    return [row[0] for row in _ps() if row[1] == pid]


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
        return _descendants_by_ps(pid)
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            if child not in found:
                found.append(child)
                waiting.append(child)
    return found


def _descendants_by_ps(pid: int) -> list[int]:
    rows = _ps()
    found = {pid}
    while True:
        more = {row[0] for row in rows if row[1] in found} - found
        if not more:
            return sorted(found - {pid})
        found |= more


def pids() -> list[int]:
    """All process ids (Linux)."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def marked(name: str, value: str) -> list[int]:
    """Processes whose environment holds `name=value`: theirs to see only for their owner. Linux; elsewhere by `ps -E`."""
    wanted = f"{name}={value}".encode()
    if sys.platform != "linux":
        return _marked_by_ps(wanted.decode())
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


def runs_file(pid: int, name: str) -> bool:
    """Whether it is an interpreter on a file of this name (Linux)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return any(part.endswith(b"/" + name.encode()) for part in file.read().split(b"\0")[:6])
    except OSError:
        return False


def _ps(*columns: str) -> list[tuple[int, int, str]]:
    """`(pid, parent, state)` of everybody, on systems without /proc. Windows has neither: empty, said in the level."""
    if sys.platform == "win32":
        return []
    rows: list[tuple[int, int, str]] = []
    for line in _run_ps(["ps", "-axo", "pid=,ppid=,stat="]).splitlines():
        parts = line.split()
        if len(parts) >= 3 and parts[0].isdigit() and parts[1].isdigit():
            rows.append((int(parts[0]), int(parts[1]), parts[2]))
    return rows


def _marked_by_ps(wanted: str) -> list[int]:
    if sys.platform == "win32":
        return []
    found: list[int] = []
    for line in _run_ps(["ps", "-axEww", "-o", "pid=,command="]).splitlines():
        pid, _, rest = line.strip().partition(" ")
        if pid.isdigit() and wanted in rest.split():
            found.append(int(pid))
    return found


def _run_ps(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=5.0, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")
