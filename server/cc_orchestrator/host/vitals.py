"""What a tree of processes used and moved so far: CPU, I/O, TCP. Cheap enough for once a second; reads only, wakes nobody.

Linux: `/proc/<pid>/stat`, `/proc/<pid>/io`, and the kernel's own byte counters of TCP sockets (netlink `sock_diag`, open to every
user). Elsewhere psutil, without byte counts of sockets. What cannot be seen is None or left out, never guessed.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

from cc_orchestrator.core.late import load

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
#: More descriptors of one process, or sockets of the machine, are not looked at: the answer is then unknown.
_MOST_FDS, _MOST_BYTES = 2_000, 1 << 20
_SOCK_DIAG, _BY_FAMILY, _DUMP = 4, 20, 0x301
#: ESTABLISHED and CLOSE_WAIT.
_STATES = (1 << 1) | (1 << 8)
#: Bytes of a call that are a wakeup and no work: Codex watches /etc, so on a busy machine it reads thousands of events of 32 bytes.
_WAKEUP = 64
_INFO = 2  # the attribute that holds struct tcp_info
_ACKED, _RECEIVED = 120, 128  # offsets in it, since Linux 4.1


class Sample(NamedTuple):
    """Totals of one tree at one moment. Differences of two samples say what happened between them.

    `cpu` seconds, `io` bytes read and written by system calls, less what each has of a mere wakeup; `sockets` open TCP connections
    and `received`, `sent` bytes over them since each was opened; None where it cannot be told.
    """

    pids: tuple[int, ...]
    cpu: float
    io: int | None
    sockets: int | None
    received: int | None
    sent: int | None


def take_sample(pids: Iterable[int], *, network: bool = True) -> Sample:
    """The totals of these processes now; those that are gone count for nothing."""
    members = tuple(pids)
    if sys.platform != "linux":
        return _by_psutil(members)
    cpu, moved = 0.0, 0
    seen = False
    for pid in members:
        cpu += _cpu(pid)
        found = _io(pid)
        if found is not None:
            seen, moved = True, moved + found
    sockets, received, sent = _traffic(members) if network else (None, None, None)
    return Sample(members, cpu, moved if seen else None, sockets, received, sent)


def _cpu(pid: int) -> float:
    """User and system time, with that of children that were waited for: a child that ends is not lost."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return sum(int(field) for field in fields[11:15]) / _TICKS
    except (OSError, ValueError):
        return 0.0


def _io(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/io", "rb") as file:
            read, written, reads, writes = (int(row.split()[1]) for row in file.read().split(b"\n", 4)[:4])
        return read + written - _WAKEUP * (reads + writes)
    except (OSError, ValueError, IndexError):
        return None


# ---------------------------------------------------------------- sockets


def _traffic(members: tuple[int, ...]) -> tuple[int | None, int | None, int | None]:
    """Open connections of the tree and the bytes that came and went over them."""
    inodes: set[int] = set()
    own = _network_of("self")
    for pid in members:
        where = _network_of(str(pid))
        if where is None:
            continue
        # Another network namespace is another kernel table: a sandbox's worker is not seen here.
        if where != own:
            return None, None, None
        found = _socket_inodes(pid)
        if found is None:
            return None, None, None
        inodes |= found
    if not inodes:
        return 0, 0, 0
    table = _tcp_table()
    if table is None:
        return None, None, None
    mine = [row for row in table if row[0] in inodes]
    return len(mine), sum(row[1] for row in mine), sum(row[2] for row in mine)


def _network_of(pid: str) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def _socket_inodes(pid: int) -> set[int] | None:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    if len(names) > _MOST_FDS:
        return None
    found: set[int] = set()
    for name in names:
        try:
            target = os.readlink(f"{folder}/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(int(target[8:-1]))
    return found


def _tcp_table() -> list[tuple[int, int, int]] | None:
    """`(inode, bytes received, bytes acknowledged)` of every open TCP connection of this network namespace."""
    rows: list[tuple[int, int, int]] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as link:
            link.settimeout(0.2)
            for family in (socket.AF_INET, socket.AF_INET6):
                link.send(_request(family))
                if not _read_dump(link, rows):
                    return None
    except (OSError, AttributeError, ValueError, IndexError):
        return None
    return rows


def _request(family: int) -> bytes:
    body = bytes((family, socket.IPPROTO_TCP, 1 << (_INFO - 1), 0)) + _STATES.to_bytes(4, sys.byteorder) + bytes(48)
    head = (16 + len(body)).to_bytes(4, sys.byteorder) + _BY_FAMILY.to_bytes(2, sys.byteorder)
    return head + _DUMP.to_bytes(2, sys.byteorder) + (1).to_bytes(4, sys.byteorder) + bytes(4) + body


def _read_dump(link: socket.socket, rows: list[tuple[int, int, int]]) -> bool:
    """Take one answer to its end; False when the kernel refuses or there is too much of it."""
    taken = 0
    while taken < _MOST_BYTES:
        data = link.recv(1 << 16)
        taken += len(data)
        place = 0
        while place + 16 <= len(data):
            length, kind = _number(data, place, 4), _number(data, place + 4, 2)
            if kind == 3:
                return True
            if kind != _BY_FAMILY or length < 88:
                return False
            _read_row(data[place + 16 : place + length], rows)
            place += (length + 3) & ~3
    return False


def _read_row(body: bytes, rows: list[tuple[int, int, int]]) -> None:
    place = 72
    while place + 4 <= len(body):
        length, kind = _number(body, place, 2), _number(body, place + 2, 2)
        if length < 4:
            return
        if kind == _INFO and length >= 4 + _RECEIVED + 8:
            info = place + 4
            rows.append((_number(body, 68, 4), _number(body, info + _RECEIVED, 8), _number(body, info + _ACKED, 8)))
        place += (length + 3) & ~3


def _number(data: bytes, place: int, size: int) -> int:
    return int.from_bytes(data[place : place + size], sys.byteorder)


# ---------------------------------------------------------------- elsewhere


def _by_psutil(members: tuple[int, ...]) -> Sample:
    try:
        psutil: Any = load("psutil")
    except ImportError:
        return Sample(members, 0.0, None, None, None, None)
    cpu, moved, sockets = 0.0, 0, 0
    seen = False
    for pid in members:
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            cpu += times.user + times.system
            sockets += sum(1 for row in process.net_connections("tcp") if row.status in ("ESTABLISHED", "CLOSE_WAIT"))
            if hasattr(process, "io_counters"):
                counters = process.io_counters()
                seen, moved = True, moved + counters.read_bytes + counters.write_bytes
        except (psutil.Error, OSError, AttributeError):
            continue
    return Sample(members, cpu, moved if seen else None, sockets, None, None)
