"""Holds and kills the whole tree of a worker, whatever sessions and double forks it made.

Linux: the supervisor is a child subreaper, so every orphan of the run becomes its child; where a cgroup can be had the tree
lives in one of its own as well. Elsewhere: the process group, descendants sampled while it runs, and the marker variable.
Signals go only to what the run started. `level` says which promise holds.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

from cc_orchestrator.host import cgroup, proctable
from cc_orchestrator.host.process import Child, identify, is_same

MARKER = "CC_RUN_ID"
#: Marks what a supervisor starts for itself: git at work on a worktree or a result.
HELPER = "CC_RUN_HELPER"
_HELPER_SECONDS = 2.0
_SUBREAPER = 36
_PAUSE = 0.01
_ROUNDS = 20
#: Serves the way out inside a sandbox; it is ours.
_RELAY = "sandbox_inside.py"


def _become_subreaper() -> bool:
    if sys.platform != "linux":
        return False
    try:
        return ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) == 0
    except (OSError, AttributeError):
        return False


def containment_level() -> str:
    """What this machine offers: cgroup, subreaper, session or job."""
    if sys.platform == "win32":
        return "session"
    if sys.platform != "linux":
        return "session"
    return "cgroup" if cgroup.base() else "subreaper"


class Tree:
    """The processes of one run, seen by its single-threaded supervisor."""

    def __init__(self, run_id: str, level: str, group: str | None) -> None:
        self.level = level
        self._run_id = run_id
        self._group = group
        self._worker: Child | None = None
        self._wrapped = False
        self._spared: set[int] = set()
        self._sampled: dict[int, str] = {}

    @classmethod
    def contain(cls, run_id: str) -> Tree:
        """Call before the worker starts."""
        reaper = _become_subreaper()
        group = cgroup.make(run_id)
        return cls(run_id, "cgroup" if group else "subreaper" if reaper else "session", group)

    def spare(self, pid: int) -> None:
        """A child of ours that is no part of the worker's tree."""
        self._spared.add(pid)

    def adopt(self, child: Child, *, wrapped: bool = False) -> None:
        """The worker has started. `wrapped`: `child` is a sandbox, and the worker is below it."""
        self._worker = child
        self._wrapped = wrapped
        if self._group is not None and not self._gather(self._group, child.pid):
            self.level = "subreaper"

    def _gather(self, group: str, pid: int) -> bool:
        """Put a process and what it has started meanwhile into the group: a sandbox forks at once."""
        if not cgroup.add(group, pid):
            return False
        for _ in range(_ROUNDS):
            inside = set(cgroup.members(group))
            late = [other for other in proctable.descendants(pid) if other not in inside and proctable.is_alive(other)]
            if not late:
                break
            for other in late:
                cgroup.add(group, other)
        return True

    def sample(self) -> None:
        """Remember descendants: only where there is no better hold on them."""
        if self.level == "session" and self._worker is not None:
            for pid in proctable.descendants(self._worker.pid):
                if pid not in self._sampled:
                    self._sampled[pid] = identify(pid) or ""

    def members(self) -> list[int]:
        """Living processes of the tree, us excepted."""
        me = os.getpid()
        found: set[int] = set()
        if self._group is not None:
            found.update(cgroup.members(self._group))
        if self.level != "session":
            found.update(proctable.descendants(me))
        elif self._worker is not None:
            found.update(proctable.descendants(self._worker.pid))
            found.add(self._worker.pid)
            found.update(pid for pid, identity in self._sampled.items() if is_same(pid, identity))
        found -= self._spared
        return sorted(pid for pid in found if pid != me and proctable.is_alive(pid))

    def signal(self, number: int) -> None:
        """Signal the worker's group and every other member. A sandbox around it is left alone: it ends with the worker."""
        if self._worker is not None and self._wrapped:
            for pid in self.members():
                if pid != self._worker.pid and not proctable.is_first(pid):
                    _send(pid, number)
            return
        if self._worker is not None and self._worker.handle.poll() is None:
            _send_group(self._worker.pid, number)
        for pid in self.members():
            if self._worker is None or pid != self._worker.pid:
                _send(pid, number)

    def kill(self, deadline_s: float) -> int:
        """SIGKILL until nobody is left; how many had to be killed. Bounded by `deadline_s` seconds."""
        killed: set[int] = set()
        frame: set[int] = set()
        for _ in range(max(1, int(deadline_s / _PAUSE))):
            self.reap_orphans()
            members = self.members()
            if not members:
                break
            if self._wrapped:
                frame.update(pid for pid in members if proctable.is_first(pid) or proctable.runs_file(pid, _RELAY))
            # Asked after the frame: a sandbox's relay dies with its worker, and without its memory it has no name to be told by.
            killed.update(pid for pid in members if not proctable.is_ending(pid))
            if self._group is not None:
                cgroup.kill(self._group)
            for pid in members:
                _send(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
            if self._worker is not None:
                self._worker.handle.poll()
            select.select((), (), (), _PAUSE)
        # What a sandbox is made of is nothing that the worker left.
        return len(killed - frame)

    def reap_orphans(self) -> None:
        """Take the exit of adopted orphans; the worker's own exit is left to `reap`."""
        if sys.platform != "linux":
            return
        worker = self._worker.pid if self._worker is not None else -1
        for pid in proctable.children(os.getpid()):
            if pid != worker and pid not in self._spared:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    continue

    def close(self) -> None:
        """Remove the cgroup."""
        if self._group is not None:
            cgroup.remove(self._group)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass


def _send_group(pid: int, number: int) -> None:
    if sys.platform == "win32":
        _send(pid, number)
        return
    try:
        os.killpg(pid, number)
    except OSError:
        _send(pid, number)


def end_helpers(run_id: str) -> None:
    """End the git commands of a dead supervisor: by TERM, at which git takes its locks and half-made things with it."""
    for attempt in range(int(_HELPER_SECONDS / _PAUSE)):
        found = [pid for pid in proctable.marked(HELPER, run_id) if pid != os.getpid() and proctable.is_alive(pid)]
        if not found:
            return
        if attempt == 0:
            for pid in found:
                _send(pid, signal.SIGTERM)
        select.select((), (), (), _PAUSE)
    for pid in proctable.marked(HELPER, run_id):
        _send(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)


def kill_remains(run_id: str, recorded: list[tuple[int, str]], *, deadline_s: float) -> int:
    """Kill what a dead supervisor left, from another process; how many there were.

    By the run's cgroup, by the marker in their environment, and by recorded `(pid, identity)` with their descendants.
    """
    killed: set[int] = set()
    me = os.getpid()
    group = cgroup.find(run_id)
    for _ in range(max(1, int(deadline_s / _PAUSE))):
        found: set[int] = set(proctable.marked(MARKER, run_id))
        if group is not None:
            found.update(cgroup.members(group))
        for pid, identity in recorded:
            if is_same(pid, identity):
                found.add(pid)
                found.update(proctable.descendants(pid))
        found = {pid for pid in found if pid != me and proctable.is_alive(pid)}
        if not found:
            break
        if group is not None:
            cgroup.kill(group)
        for pid in found:
            killed.add(pid)
            _send(pid, signal.SIGKILL if sys.platform != "win32" else signal.SIGTERM)
        select.select((), (), (), _PAUSE)
    if group is not None:
        cgroup.remove(group)
    return len(killed)
