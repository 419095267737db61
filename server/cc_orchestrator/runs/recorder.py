"""What the supervisor knows, written down: journal first, then the fold, then the caches, then the bell.

Owns the run's journal. Caches are rate limited and may fail; the journal may not. When the disk is full the ballast file of
the run is given up, so that the end of the run can still be told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.runs.fold import State, apply, fold
from cc_orchestrator.store import atomic
from cc_orchestrator.store.journal import Cursor, Journal, read_page
from cc_orchestrator.store.rundir import RunDir

BALLAST_BYTES = 65_536
_CACHE_SECONDS = 1.0
#: What a run that wants only its final answer does not record.
_CHATTER = frozenset(
    {ev.RUN_MESSAGE, ev.RUN_TURN, ev.TOOL_STARTED, ev.TOOL_FINISHED, ev.SYSTEM_STDERR, ev.SYSTEM_UNPARSED}
)
#: What is recorded even when the journal is over its budget and truncating.
_ESSENTIAL = frozenset(
    {ev.RUN_STARTED, ev.RUN_SESSION, ev.RUN_RESULT, ev.RUN_USAGE, ev.RUN_LIMIT, ev.RUN_STOPPING, ev.RUN_EXITED,
     ev.RUN_SNAPSHOT, ev.RUN_FINISHED, ev.QUESTION_ASKED, ev.QUESTION_ANSWERED, ev.ARTIFACT_MASKED, ev.RUN_INSTRUCTED, ev.RUN_LIVENESS}
)  # fmt: skip
#: State changes, after which the journal is made durable.
_DURABLE = frozenset({ev.RUN_STARTED, ev.RUN_RESULT, ev.RUN_STOPPING, ev.RUN_EXITED, ev.RUN_SNAPSHOT, ev.RUN_FINISHED,
                      ev.QUESTION_ASKED, ev.QUESTION_ANSWERED})  # fmt: skip


class Recorder:
    """The run's only writer. `ring` wakes waiters; `artifacts` writes the controller's files from the state."""

    def __init__(
        self,
        run: RunDir,
        clock: Clock,
        *,
        final_only: bool,
        ring: Callable[[], None],
        artifacts: Callable[[State], None],
    ) -> None:
        self._run = run
        self._clock = clock
        self._final_only = final_only
        self._ring = ring
        self._artifacts = artifacts
        self.state: State = fold(read_page(run.journal, max_bytes=1 << 26).events)
        self._journal = Journal(run.journal, run.run_id, clock)
        self._cached_at = clock.mono()
        self._dirty = False
        self.dropped = 0
        self.truncating = False
        self.disk_full = False

    @property
    def size(self) -> int:
        """Bytes in the journal."""
        return self._journal.size

    def record(self, facts: list[Fact]) -> None:
        """Append facts. A full disk sets `disk_full` and drops them: the caller then ends the run."""
        if self._final_only:
            kept = [fact for fact in facts if fact.type not in _CHATTER]
            self.dropped += len(facts) - len(kept)
            facts = kept
        if self.truncating:
            kept = [fact for fact in facts if fact.type in _ESSENTIAL]
            self.dropped += len(facts) - len(kept)
            facts = kept
        if not facts:
            return
        seq = self._journal.seq
        try:
            self._append(facts)
        except OSError:
            # Only writing can fail here, and only for lack of space, quota or a vanished disk.
            self.disk_full = True
            self.dropped += seq + len(facts) - self._journal.seq

    def _append(self, facts: list[Fact]) -> None:
        state = self.state
        before = Cursor(self._journal.size, self._journal.seq)
        try:
            for event in self._journal.append(facts):
                apply(state, event)
        except OSError:
            # Whole events of the batch may have been taken, and readers may have seen them.
            fold(read_page(self._run.journal, before).events, state)
            raise
        self._dirty = True
        if any(fact.type in _DURABLE for fact in facts):
            try:
                self._journal.sync()
            except OSError:
                # Written and readable, but not durable: writing it once more would tell it twice.
                self.disk_full = True
        self._ring()

    def record_end(self, facts: list[Fact]) -> bool:
        """Append what must be told; gives up the ballast when there is no other room. Whether it is written."""
        for attempt in (1, 2):
            try:
                self._append(facts)
                return True
            except OSError:
                self.disk_full = True
                if attempt == 1:
                    release_ballast(self._run)
        return False

    def refresh(self, *, force: bool = False) -> None:
        """Write the caches when they are due."""
        now = self._clock.mono()
        if not force and (not self._dirty or now - self._cached_at < _CACHE_SECONDS):
            return
        self._cached_at, self._dirty = now, False
        try:
            write_fold(self._run, self._journal.size, self.state)
            self._artifacts(self.state)
        except OSError:
            # A cache: the journal has it all.
            self._dirty = True

    def refresh_due(self) -> float | None:
        """Monotonic time when `refresh` has something to do."""
        return self._cached_at + _CACHE_SECONDS if self._dirty else None

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def write_fold(run: RunDir, offset: int, state: State) -> None:
    """Save the fold at a journal offset. Raises OSError."""
    data = json.dumps({"offset": offset, "state": state}, ensure_ascii=False, separators=(",", ":"))
    atomic.write_bytes(run.fold, data.encode("utf-8", "replace"), durable=False)


def write_ballast(folder: str) -> None:
    """Reserve a little room for the end of the story. Raises OSError when there is none: then nothing should start."""
    atomic.write_bytes(os.path.join(folder, ".ballast"), b"\0" * BALLAST_BYTES, durable=False)


def release_ballast(run: RunDir) -> None:
    """Give the reserved room back."""
    try:
        os.unlink(run.at(".ballast"))
    except OSError:
        pass
