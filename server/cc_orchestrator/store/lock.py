"""Kernel locks. A held lock is liveness: the kernel frees it on any death of its holder.

Linux uses open file description locks: they travel to a child with the descriptor and can be probed without being taken.
Elsewhere it is flock, where a probe takes a shared lock for an instant; Windows locks one byte and does not hand over.
"""

from __future__ import annotations

import os
import select
import struct
import sys
from types import TracebackType

from cc_orchestrator.core.errors import Busy

if sys.platform != "win32":
    import fcntl
else:
    import msvcrt

_FLOCK = "hhqqi4x"
_OFD = sys.platform == "linux" and struct.calcsize("l") == 8


def take(path: str) -> int | None:
    """A descriptor that holds the lock on `path` (made when missing), or None when somebody holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if _lock(fd):
            return fd
    except OSError:
        os.close(fd)
        raise
    os.close(fd)
    return None


def is_held(path: str) -> bool:
    """Whether somebody holds the lock on `path`; a missing file is not held."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return _probe(fd)
    finally:
        os.close(fd)


if sys.platform == "win32":

    def _lock(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _probe(fd: int) -> bool:
        if _lock(fd):
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
            return False
        return True

else:

    def _lock(fd: int) -> bool:
        try:
            if _OFD:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            else:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _probe(fd: int) -> bool:
        if _OFD:
            answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            return struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False


class Exclusive:
    """`with Exclusive(path): …`: one holder at a time, waiting at most `timeout` seconds; then Busy."""

    def __init__(self, path: str, *, timeout: float = 10.0) -> None:
        self._path = path
        self._tries = max(1, int(timeout / 0.005))
        self._fd: int | None = None

    def __enter__(self) -> Exclusive:
        for _ in range(self._tries):
            self._fd = take(self._path)
            if self._fd is not None:
                return self
            select.select((), (), (), 0.005)
        raise Busy(f"{self._path} stays locked by another process", hint="repeat the call")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
