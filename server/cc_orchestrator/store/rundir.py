"""One run's folder: the names of its files, and how it becomes visible only when it is complete."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.late import load
from cc_orchestrator.store import lock


class RunDir(NamedTuple):
    """Paths of one run's files. Nothing is opened here."""

    path: str

    def at(self, *parts: str) -> str:
        """A path below the run folder."""
        return os.path.join(self.path, *parts)

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return os.path.basename(self.path)

    @property
    def spec(self) -> str:
        """Written once by launch."""
        return self.at("spec.json")

    @property
    def journal(self) -> str:
        """The truth of the run."""
        return self.at("events.ndjson")

    @property
    def control(self) -> str:
        """Stop, instruct, answer."""
        return self.at("control.ndjson")

    @property
    def lock(self) -> str:
        """Held for the supervisor's life."""
        return self.at("lock")

    @property
    def fold(self) -> str:
        """Cache: the fold at a journal offset."""
        return self.at("fold.json")

    @property
    def prices(self) -> str:
        """The prices of models as they were when the run was made."""
        return self.at("prices.json")

    @property
    def outbox(self) -> str:
        """The worker may write here."""
        return self.at("outbox")

    @property
    def private(self) -> str:
        """What a sandboxed worker takes for its home and its temporary folder; gone with the run."""
        return self.at("private")

    @property
    def bell(self) -> str:
        """Holds the path of the supervisor's socket."""
        return self.at("bell")

    @property
    def log(self) -> str:
        """stderr of the supervisor itself."""
        return self.at("supervisor.log")

    def raw(self, stream: str) -> str:
        """The masked bytes of stdout or stderr."""
        return self.at(f"{stream}.raw")

    def make_raw(self) -> None:
        """Make both raw files, right before the worker starts. Raises OSError."""
        for stream in ("stderr", "stdout"):
            os.close(os.open(self.raw(stream), os.O_WRONLY | os.O_CREAT, 0o600))

    @property
    def may_have_started(self) -> bool:
        """Whether a worker may have been started: false is certain."""
        return os.path.exists(self.raw("stdout"))

    def remove_temporary(self) -> None:
        """Remove what an atomic write left that was killed in the middle. For the owner of the run only. Never raises."""
        for folder in (self.path, self.at("checkpoints")):
            try:
                for name in os.listdir(folder):
                    if name.startswith(".") and name.endswith(".tmp"):
                        os.unlink(os.path.join(folder, name))
            except OSError:
                continue

    def is_owned(self) -> bool:
        """Whether a live process holds the run."""
        return lock.is_held(self.lock)


_HIDDEN = ".new-"
_OPEN = ".open"
_LATER = ".later"


def hidden_folder(runs: str, run_id: str) -> tuple[RunDir, int]:
    """A new folder under a name that no reader looks at, and a descriptor that holds its lock. Raises OSError, Busy.

    Both are made under one lock with `remove_unborn`, which would otherwise take a folder without an owner for a dead one.
    """
    os.makedirs(runs, exist_ok=True)
    path = os.path.join(runs, _HIDDEN + run_id)
    with lock.Exclusive(os.path.join(runs, ".unborn.lock")):
        os.mkdir(path, 0o700)
        held = lock.take(os.path.join(path, "lock"))
    assert held is not None, "nobody else knows this folder yet"
    try:
        os.mkdir(os.path.join(path, "outbox"), 0o700)
    except OSError:
        os.close(held)
        load("shutil").rmtree(path, ignore_errors=True)
        raise
    return RunDir(path), held


def remove_unborn(runs: str, before: Callable[[RunDir], None]) -> int:
    """Delete folders of launches that died before anything was visible; how many. `before` sees each one first."""
    removed = 0
    try:
        names = [name for name in os.listdir(runs) if name.startswith(_HIDDEN)]
    except OSError:
        return 0
    if not names:
        return 0
    with lock.Exclusive(os.path.join(runs, ".unborn.lock")):
        for name in names:
            run = RunDir(os.path.join(runs, name))
            try:
                held = lock.take(run.lock)
            except OSError:
                # Shown or taken back meanwhile.
                continue
            # A launch that showed its folder between the two looks has renamed it: then this lock is no longer its.
            if held is not None and os.path.isdir(run.path):
                before(run)
                load("shutil").rmtree(run.path, ignore_errors=True)
                removed += 1
            if held is not None:
                os.close(held)
    return removed


def mark_open(runs: str, run_id: str) -> None:
    """Note that the run has not been settled: the list that a sweep goes through. Raises OSError."""
    os.makedirs(os.path.join(runs, _OPEN), exist_ok=True)
    os.close(os.open(os.path.join(runs, _OPEN, run_id), os.O_WRONLY | os.O_CREAT, 0o600))


def mark_settled(runs: str, run_id: str) -> None:
    """The run has its end, its receipt and its row: no sweep has to look at it again. Never raises."""
    try:
        os.unlink(os.path.join(runs, _OPEN, run_id))
    except OSError:
        pass


def later_file(runs: str, run_id: str) -> str:
    """Marks an ended run that is gone on with when a provider's limit is over; held by the process that waits."""
    return os.path.join(runs, _LATER, run_id)


def mark_later(runs: str, run_id: str) -> None:
    """Note that somebody has to go on with this run. Raises OSError."""
    os.makedirs(os.path.join(runs, _LATER), mode=0o700, exist_ok=True)
    os.close(os.open(later_file(runs, run_id), os.O_WRONLY | os.O_CREAT, 0o600))


def later_runs(runs: str) -> list[str]:
    """Ids of the runs that are to be gone on with, oldest first."""
    try:
        return sorted(name for name in os.listdir(os.path.join(runs, _LATER)) if is_id(name, "run"))
    except OSError:
        return []


def open_runs(runs: str) -> list[str] | None:
    """Names of runs that are not settled, newest first; None when the list itself is missing."""
    try:
        return sorted(os.listdir(os.path.join(runs, _OPEN)), reverse=True)
    except OSError:
        return None


def is_being_made(runs: str, run_id: str) -> bool:
    """Whether a launch is at work on this run and has not shown it yet."""
    return lock.is_held(os.path.join(runs, _HIDDEN + run_id, "lock"))


def reveal(hidden: RunDir, runs: str, run_id: str) -> RunDir:
    """Make the folder visible under its id, at once and whole."""
    path = os.path.join(runs, run_id)
    os.rename(hidden.path, path)
    return RunDir(path)
