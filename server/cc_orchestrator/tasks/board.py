"""The queue as its journal tells it: jobs, who waits in which order, who runs. Pure: events in, state out.

A job is a queued task and has the task's id. States: queued, running, done, failed, timed_out, cancelled.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from sys import intern
from typing import Any, Literal, NamedTuple

from cc_orchestrator.core import events as ev

JobState = Literal["queued", "running", "done", "failed", "timed_out", "cancelled"]
STATES: tuple[JobState, ...] = ("queued", "running", "done", "failed", "timed_out", "cancelled")
#: So many starts are remembered for rate limits; no limit may count more.
REMEMBERED_STARTS = 4_096


class Job(NamedTuple):
    """One queued task. Times are epoch seconds.

    `profile` is the adapter, or `adapter/profile`; `starts` counts decided starts, `failures` those that used up a try.
    """

    task_id: str
    created_at: float
    state: JobState = "queued"
    queue: str = "default"
    priority: int = 100
    not_before: float | None = None
    depends_on: tuple[str, ...] = ()
    max_retries: int = 0
    profile: str = ""
    allow_write: bool = False
    title: str = ""
    resources: tuple[str, ...] = ()  # names that it needs for itself alone
    writes: tuple[str, ...] = ()  # globs of the places that it declared to write
    starts: int = 0
    failures: int = 0
    cancel_asked: bool = False
    run_id: str | None = None
    reason: str | None = None
    started_at: float | None = None
    ended_at: float | None = None


class Start(NamedTuple):
    """When something of a queue and a profile was started."""

    ts: float
    queue: str
    profile: str


def _place(job: Job) -> tuple[int, float, str]:
    return (-job.priority, job.created_at, job.task_id)


class Board:
    """All jobs. `waiting` holds `(-priority, created_at, id)` of the queued ones in their order; `running` the ids of the others alive."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.waiting: list[tuple[int, float, str]] = []
        self.running: dict[str, None] = {}
        self.starts: deque[Start] = deque(maxlen=REMEMBERED_STARTS)
        self.counts: dict[str, int] = dict.fromkeys(STATES, 0)

    @property
    def live(self) -> int:
        """How many have not ended."""
        return len(self.waiting) + len(self.running)

    def apply(self, events: Iterable[dict[str, Any]]) -> None:
        """Take in events in their order; those that say nothing new or nothing known are passed over."""
        for event in events:
            data: dict[str, Any] = event["data"]
            task_id = str(data.get("task_id", ""))
            if event["type"] == ev.TASK_SUBMITTED:
                if task_id not in self.jobs:
                    self._put(None, _submitted(task_id, float(event["ts"]), data))
                continue
            job = self.jobs.get(task_id)
            if job is None or job.state not in ("queued", "running"):
                continue
            if event["type"] == ev.TASK_STARTED and job.state == "queued":
                self._start(job, int(data["start"]), float(event["ts"]))
            elif event["type"] == ev.TASK_CANCEL:
                self._put(job, job._replace(cancel_asked=True))
            elif event["type"] == ev.TASK_ENDED and int(data["start"]) == job.starts:
                self._put(job, _ended(job, data, float(event["ts"])))

    def dump(self) -> dict[str, Any]:
        """As plain values, for `load_board`."""
        return {"fields": Job._fields, "jobs": list(self.jobs.values()), "starts": list(self.starts)}

    def _start(self, job: Job, start: int, ts: float) -> None:
        self._put(job, job._replace(state="running", starts=start, started_at=ts, run_id=None, not_before=None))
        self.starts.append(Start(ts, job.queue, job.profile))

    def take(self, job: Job) -> None:
        """Add a job as it is."""
        self._put(None, job)

    def _put(self, old: Job | None, new: Job) -> None:
        if old is not None:
            self.counts[old.state] -= 1
            self._leave(old)
        self.jobs[new.task_id] = new
        self.counts[new.state] += 1
        if new.state == "queued":
            insort(self.waiting, _place(new))
        elif new.state == "running":
            self.running[new.task_id] = None

    def _leave(self, job: Job) -> None:
        if job.state == "queued":
            del self.waiting[bisect_left(self.waiting, _place(job))]
        elif job.state == "running":
            del self.running[job.task_id]


def _submitted(task_id: str, ts: float, data: dict[str, Any]) -> Job:
    return Job(
        task_id, ts, queue=intern(str(data.get("queue", "default"))), priority=int(data.get("priority", 100)), not_before=data.get("not_before"),
        depends_on=tuple(data.get("depends_on") or ()), max_retries=int(data.get("max_retries", 0)), profile=intern(str(data.get("profile", ""))),
        allow_write=bool(data.get("allow_write")), title=str(data.get("title", "")),
        resources=tuple(data.get("resources") or ()), writes=tuple(data.get("writes") or ()),
    )  # fmt: skip


def _ended(job: Job, data: dict[str, Any], ts: float) -> Job:
    again = bool(data.get("again"))
    state: JobState = "queued" if again else data["state"]
    reason = data.get("reason")
    return job._replace(
        state=state, reason=intern(str(reason)) if reason else None, run_id=data.get("run_id"), not_before=data.get("not_before") if again else None,
        failures=job.failures + int(again and not data.get("free")), ended_at=None if again else ts,
    )  # fmt: skip


def load_board(raw: dict[str, Any]) -> Board:
    """From `dump`. Raises KeyError, TypeError, ValueError for what is none, or of another version."""
    if tuple(raw["fields"]) != Job._fields:
        raise ValueError("of another version")
    board = Board()
    for row in raw["jobs"]:
        board.take(_from_row(row))
    board.starts.extend(Start(*row) for row in raw["starts"])
    return board


def _from_row(row: list[Any]) -> Job:
    job = Job(*row)
    return job._replace(
        queue=intern(job.queue), profile=intern(job.profile), reason=intern(job.reason) if job.reason else None,
        depends_on=tuple(job.depends_on), resources=tuple(job.resources), writes=tuple(job.writes),
    )  # fmt: skip
