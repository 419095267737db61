"""One run's folder: the names of its files, and how it becomes visible only when it is complete."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cc_orchestrator.store import lock


@dataclass(frozen=True)
class RunDir:
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
    def outbox(self) -> str:
        """The worker may write here."""
        return self.at("outbox")

    @property
    def bell(self) -> str:
        """Holds the path of the supervisor's socket."""
        return self.at("bell")

    @property
    def log(self) -> str:
        """stderr of the supervisor itself."""
        return self.at("supervisor.log")

    def is_owned(self) -> bool:
        """Whether a live process holds the run."""
        return lock.is_held(self.lock)


def hidden_folder(runs: str, run_id: str) -> RunDir:
    """A new folder under a name that no reader looks at; `reveal` renames it. Raises OSError."""
    os.makedirs(runs, exist_ok=True)
    path = os.path.join(runs, f".new-{run_id}")
    os.mkdir(path, 0o700)
    os.mkdir(os.path.join(path, "outbox"), 0o700)
    return RunDir(path)


def reveal(hidden: RunDir, runs: str, run_id: str) -> RunDir:
    """Make the folder visible under its id, at once and whole."""
    path = os.path.join(runs, run_id)
    os.rename(hidden.path, path)
    return RunDir(path)
