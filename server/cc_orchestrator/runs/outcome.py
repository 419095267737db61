"""How a run ended: pure. What we did to it comes first, then what the process said, then what it left."""

from __future__ import annotations

from typing import NamedTuple

from cc_orchestrator.adapters.base import Ending
from cc_orchestrator.core.states import status_of


class Stop(NamedTuple):
    """Why we began to end the run: a key of REASONS, who asked, one line."""

    reason: str
    by: str
    detail: str = ""


class Outcome(NamedTuple):
    """The end of a run: an end status, its reason, one line for people."""

    status: str
    reason: str
    detail: str


def decide_outcome(ending: Ending, stop: Stop | None, missing: str = "") -> Outcome:
    """The end of a run. A stop of ours decides, whatever the process then says; its own result stays in the record.

    `missing`: why a write run left no result that is on record, "" when it did. Without one it has not succeeded.
    """
    if stop is not None:
        return Outcome(status_of(stop.reason), stop.reason, stop.detail or ending.detail)
    if missing and status_of(ending.reason) == "succeeded":
        return Outcome(status_of("no_result"), "no_result", missing)
    return Outcome(status_of(ending.reason), ending.reason, ending.detail)
