"""A job (verification, delivery) as its journal tells it: fold, read, wait for. Readers write nothing.

The step `result` decides: once it is recorded the job has done its work, and what is missing (receipt, final event) is made
good by whoever closes it. No such step and no living owner = lost, which is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.runs.wait import Look
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import read_page

_MOST = 1 << 24
#: The step of a job that waits for its turn.
QUEUED = "queued"


class JobState(NamedTuple):
    """`status` is a JobStatus; `step` the last step's name; `result` the data of the step `result`; `end` of the final event."""

    status: str
    step: str
    started: dict[str, Any]
    result: dict[str, Any] | None
    end: dict[str, Any] | None

    @property
    def queued(self) -> bool:
        """Whether nobody took it up yet: such a job has no owner and is not lost."""
        return self.step == QUEUED and not self.started and self.end is None

    @property
    def told(self) -> bool:
        """Whether the journal itself holds the end."""
        return self.end is not None


def fold_job(events: Iterable[dict[str, Any]]) -> JobState:
    """What the events say. Pure."""
    state = JobState("running", "", {}, None, None)
    for event in events:
        data: dict[str, Any] = event["data"]
        if event["type"] == ev.JOB_STARTED:
            state = state._replace(started={**data, "ts": event.get("ts")})
        elif event["type"] == ev.JOB_STEP:
            step = str(data.get("step", ""))
            state = state._replace(step=step, result=data if step == "result" else state.result)
        elif event["type"] == ev.JOB_FINISHED and state.end is None:
            state = state._replace(status=str(data.get("status", "failed")), end={**data, "ts": event.get("ts")})
    return state


def read_job(job: JobDir) -> JobState:
    """The job now. Raises OSError only for an unreadable folder."""
    state = fold_job(read_page(job.journal, max_bytes=_MOST).events)
    if state.told or job.is_owned():
        return state
    # The owner may have finished between the two looks.
    state = fold_job(read_page(job.journal, max_bytes=_MOST).events)
    if state.told or state.queued:
        return state
    return state._replace(status="lost" if state.result is None else str(state.result.get("status", "succeeded")))


class WatchedJob:
    """One job for `runs.wait`: wakes at its end."""

    def __init__(self, job: JobDir) -> None:
        self.id = job.job_id
        self.bell_path = job.bell
        self.job = job

    def look(self, now: float) -> Look:
        """The job now."""
        state = read_job(self.job)
        reason = str((state.end or {}).get("reason") or "") or None
        return Look(state.status, reason, "finished" if state.status != "running" else None)
