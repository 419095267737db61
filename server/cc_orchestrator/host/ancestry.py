"""Whether this process was started by a worker, however it was started: by its ancestors, not only by its own environment.

A worker may strip our variable, start a session of its own and fork twice; its supervisor is a child subreaper (Linux), so
what it starts stays below the supervisor, and its cgroup, where it has one, names the run. What remains unseen: processes that
another service starts at the worker's request (cron, systemd, a container daemon, ssh), and outside Linux whatever left the
tree by a double fork. Our own sandbox names the run in its first process's arguments, below which nothing can hide.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import NamedTuple

from cc_orchestrator.host import elsewhere

SUPERVISOR = "cc_orchestrator.runs.supervisor"
_GROUP = re.compile(r"cc-orchestrator-(run_[0-9a-z]{20})(?:/|$)")
_RUN = re.compile(r"run_[0-9a-z]{20}")
_MOST = 64


class Ancestor(NamedTuple):
    """One process above us."""

    pid: int
    parent: int
    argv: tuple[str, ...]
    variables: tuple[str, ...]  # NAME=value; empty where it is not ours to see


def run_above(variable: str) -> str | None:
    """The run whose worker started this process, or None. `variable` is the marker of workers."""
    group = _own_group()
    if group is not None:
        found = _GROUP.search(group)
        if found:
            return found.group(1)
    if sys.platform == "linux":
        return search(_proc, os.getppid(), variable)
    rows = {row[0]: Ancestor(*row) for row in elsewhere.ancestors(os.getppid())}
    return search(rows.get, os.getppid(), variable)


def search(look: Callable[[int], Ancestor | None], pid: int, variable: str) -> str | None:
    """Up from `pid`: the first ancestor that carries the variable or is a supervisor."""
    prefix = variable + "="
    for _ in range(_MOST):
        found = look(pid)
        if found is None:
            return None
        for entry in found.variables:
            if entry.startswith(prefix) and len(entry) > len(prefix):
                return entry[len(prefix) :]
        if "--setenv" in found.argv and variable in found.argv:
            # A sandbox hides what is above it; its own first process names the run.
            named = _RUN.search(" ".join(found.argv))
            if named:
                return named.group(0)
        if SUPERVISOR in found.argv:
            named = _RUN.search(" ".join(found.argv))
            return named.group(0) if named else "unknown"
        if found.parent <= 0 or found.parent == pid:
            return None
        pid = found.parent
    return None


def _proc(pid: int) -> Ancestor | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            parent = int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return Ancestor(pid, parent, _strings(f"/proc/{pid}/cmdline"), _strings(f"/proc/{pid}/environ"))


def _strings(path: str) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:
            return tuple(part.decode("utf-8", "replace") for part in file.read().split(b"\0"))
    except OSError:
        return ()


def _own_group() -> str | None:
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
