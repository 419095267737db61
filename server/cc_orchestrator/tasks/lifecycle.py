"""The life of a task: its states and the one table of what may follow what, and for which cause. Pure.

    staged → queued → active → review → accepted → merged → cleaned

and beside it blocked, rejected, abandoned, failed, cancelled, needs_rerun. An edge that the table does not have is an error,
whoever asks for it; every edge has the name of what brings it about, so that a record of a step can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from cc_orchestrator.core.errors import Conflict, InvalidRequest

TaskState = Literal[
    "staged", "queued", "active", "review", "accepted", "merged", "cleaned",
    "blocked", "rejected", "abandoned", "failed", "cancelled", "needs_rerun",
]  # fmt: skip
STATES: tuple[TaskState, ...] = get_args(TaskState)
#: Nothing follows by itself, and nothing is under way.
SETTLED: frozenset[TaskState] = frozenset({"merged", "cleaned", "abandoned", "failed", "cancelled", "rejected"})


class Step(NamedTuple):
    """One change: from, to, and what brought it about."""

    before: TaskState
    after: TaskState
    cause: str


#: state → what may follow it → the causes that lead there.
EDGES: dict[TaskState, dict[TaskState, tuple[str, ...]]] = {
    "staged": {"queued": ("submitted",), "blocked": ("dependency_missing",), "cancelled": ("cancelled",), "abandoned": ("abandoned",)},
    "queued": {
        "active": ("started",), "blocked": ("dependency_failed", "gate_closed"), "cancelled": ("cancelled", "dependency_failed"),
        "staged": ("withdrawn",), "abandoned": ("abandoned",),
    },
    "active": {
        "review": ("run_succeeded",), "failed": ("run_failed", "run_timed_out", "budget_exceeded"), "queued": ("run_lost", "retried"),
        "blocked": ("asks_person",), "cancelled": ("cancelled",), "needs_rerun": ("upstream_changed",),
    },
    "blocked": {
        "queued": ("unblocked",), "active": ("answered",), "cancelled": ("cancelled",), "abandoned": ("abandoned",),
        "failed": ("deadline_passed",),
    },
    "review": {
        "accepted": ("accepted",), "rejected": ("rejected",), "active": ("fix_started",), "needs_rerun": ("upstream_changed", "result_expired"),
        "cancelled": ("cancelled",), "abandoned": ("abandoned",),
    },
    "accepted": {
        "merged": ("delivered",), "needs_rerun": ("upstream_changed", "result_expired"), "rejected": ("delivery_refused", "withdrawn"),
        "abandoned": ("abandoned",),
    },
    "merged": {"cleaned": ("cleaned",), "needs_rerun": ("rolled_back",)},
    "rejected": {"queued": ("retried",), "active": ("fix_started",), "abandoned": ("abandoned",)},
    "failed": {"queued": ("retried",), "abandoned": ("abandoned",), "cleaned": ("cleaned",)},
    "needs_rerun": {"queued": ("retried",), "cancelled": ("cancelled",), "abandoned": ("abandoned",)},
    "cancelled": {"queued": ("retried",), "cleaned": ("cleaned",)},
    "abandoned": {"cleaned": ("cleaned",)},
    "cleaned": {},
}  # fmt: skip


def advance(task_id: str, before: TaskState, after: str, cause: str) -> Step:
    """The step, if the table has it. InvalidRequest for a word that is no state, Conflict for an edge that there is not."""
    if after not in STATES:
        raise InvalidRequest(
            f"{after[:40]!a} is no state of a task; known: {', '.join(STATES)}", hint="cc_queue_status {}"
        )
    edges = EDGES[before]
    if after not in edges:
        follows = ", ".join(edges) or "nothing"
        raise Conflict(
            f"{task_id} is {before} and cannot become {after}: what may follow is {follows}", hint="cc_queue_status {}"
        )
    if cause not in edges[after]:
        raise Conflict(
            f"{task_id} becomes {after} from {before} by {' or '.join(edges[after])}, not by {cause[:40]!a}",
            hint="cc_queue_status {}",
        )
    return Step(before, after, cause)


def replay(task_id: str, steps: Iterable[tuple[str, str]], begin: TaskState = "staged") -> TaskState:
    """The state after recorded `(state, cause)` steps. Raises Conflict at the first that cannot be: the record is wrong."""
    state = begin
    for after, cause in steps:
        state = advance(task_id, state, after, cause).after
    return state
