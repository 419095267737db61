"""The one bounded wait of the tests: until something holds, never for a fixed time.

With a `wake_fd` it sleeps until that descriptor is readable (a bell, a pipe, a pidfd); without one it asks again every few
milliseconds. It always ends: with the predicate's value, or with an AssertionError that says what did not come.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    predicate: Callable[[], T],
    timeout: float = 10.0,
    wake_fd: int | None = None,
    what: str = "",
    interval: float = 0.01,
) -> T:
    """The first truthy value of `predicate`. The descriptor is only watched: the predicate reads what is to be read."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        left = deadline - time.monotonic()
        if left <= 0:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate!r}; last value {value!r}")
        if wake_fd is None:
            time.sleep(min(interval, left))
        else:
            select.select([wake_fd], [], [], left)


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return False
    except ProcessLookupError:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def until_gone(pid: int, timeout: float = 10.0) -> None:
    """Sleep until the process has ended (woken by a pidfd where there is one)."""
    try:
        pidfd = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return
    try:
        until(lambda: not alive(pid), timeout, wake_fd=pidfd, what=f"the end of process {pid}")
    finally:
        if pidfd is not None:
            os.close(pidfd)
