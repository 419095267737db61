"""fold(journal of a delivery) = what landed, what was handed back, and a move of the branch that nobody told the end of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.errors import CcError, Internal
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import read_page

_MOST = 1 << 24
Row = dict[str, Any]

#: Steps in a delivery's journal.
ADVANCE = "advance"  # the branch is about to move: {target, before, after, how, gates, runs}
LANDED = "landed"  # it moved and receipts are written: {runs: [row with receipt]}
HELD = "held"  # it did not move: {reason}
REFUSED = "refused"  # one run is handed back: {run_id, code, message, hint}
GATES = "gates"  # commands over: {commit, outcome, why, ran}


class Progress(NamedTuple):
    """`open_move` is an `advance` without an end."""

    landed: tuple[Row, ...] = ()
    refused: tuple[Row, ...] = ()
    open_move: Row | None = None
    gates: tuple[Row, ...] = ()

    def left(self, runs: Iterable[str]) -> list[str]:
        """Those of `runs` that neither landed nor were handed back."""
        done = {row["run_id"] for row in (*self.landed, *self.refused)}
        return [run_id for run_id in runs if run_id not in done]


def fold_progress(events: Iterable[dict[str, Any]]) -> Progress:
    """What the events say. Pure."""
    found = Progress()
    for event in events:
        if event["type"] != ev.JOB_STEP:
            continue
        data: Row = event["data"]
        step = data.get("step")
        if step == ADVANCE and "runs" in data:
            found = found._replace(open_move=data)
        elif step == LANDED:
            found = found._replace(landed=(*found.landed, *data["runs"]), open_move=None)
        elif step == HELD:
            found = found._replace(open_move=None)
        elif step == REFUSED:
            found = found._replace(refused=(*found.refused, data))
        elif step == GATES:
            found = found._replace(gates=(*found.gates, data))
    return found


def read_progress(job: JobDir) -> Progress:
    """The delivery now. Raises OSError."""
    return fold_progress(read_page(job.journal, max_bytes=_MOST).events)


def as_row(run_id: str, error: CcError) -> Row:
    """A refusal as the journal keeps it."""
    return {"run_id": run_id, "code": error.code, "message": error.message, "hint": error.hint}


def as_error(row: Row, **details: Any) -> CcError:
    """The refusal again, as its caller would have got it."""
    kind = next((kind for kind in CcError.__subclasses__() if kind.code == row["code"]), Internal)
    return kind(str(row["message"]), hint=str(row["hint"]), **details)


def sum_up(progress: Progress, runs: Iterable[str], *, died: bool = False) -> str:
    """The status of a delivery that is over: succeeded, partial, failed, lost."""
    everything = list(runs)
    if len(progress.landed) >= len(everything):
        return "succeeded"
    if progress.landed:
        return "partial"
    return "lost" if died else "failed"


def first_failing(count: int, passes: Callable[[int], bool]) -> int:
    """The smallest k for which `passes(k)` is false, where `passes(0)` counts as true and `passes(count)` as false.

    `passes` is asked for at most log2(count) prefixes. Prefix k - 1 was then asked for and passed, or is empty. Pure.
    """
    good, bad = 0, count
    while bad - good > 1:
        middle = (good + bad) // 2
        if passes(middle):
            good = middle
        else:
            bad = middle
    return bad
