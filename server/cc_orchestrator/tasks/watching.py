"""The queue for `runs.wait`: one job until it ends or its run asks; the whole queue until nothing more can start. Readers only."""

from __future__ import annotations

from collections.abc import Callable

from cc_orchestrator.runs.requests import claimed_run
from cc_orchestrator.runs.wait import Look, WatchedRun
from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.board import Job
from cc_orchestrator.tasks.queue import QueueReader, find_job
from cc_orchestrator.tasks.schedule import QueuePolicy, schedule

#: How often an engine that is not there is asked for.
ROUSE_SECONDS = 10.0


def request_id(task_id: str, start: int) -> str:
    """The `client_request_id` of a job's start: what makes it start once."""
    return f"{task_id}/{start}"


def current_run(workspace: Workspace, job: Job) -> str | None:
    """The job's latest run, if it has one."""
    if job.state == "running":
        return claimed_run(workspace, request_id(job.task_id, job.starts))
    return job.run_id


class WatchedTask:
    """One job: wakes at its end, and for what wakes one who waits for its run. Jobs that are waited for together share a reading.

    `rouse` is called when nobody serves the queue.
    """

    def __init__(
        self, workspace: Workspace, job_id: str, wake: frozenset[str], queue: QueueReader, rouse: Callable[[], object]
    ) -> None:
        self.id = job_id
        self.bell_path = workspace.engine("bell")
        self.job = find_job(workspace, queue.read(), job_id)
        self._workspace = workspace
        self._wake = wake
        self._queue = queue
        self._run: WatchedRun | None = None
        self._rouse = rouse
        self._rouse_at = 0.0

    @property
    def run_id(self) -> str | None:
        """The job's latest run, if it has one."""
        return current_run(self._workspace, self.job)

    def look(self, now: float) -> Look:
        """The job now."""
        self.job = self._queue.read().jobs[self.id]
        if self.job.ended_at is not None:
            return Look(self.job.state, self.job.reason, "finished")
        if now >= self._rouse_at and not lock.is_held(self._workspace.engine("lock")):
            # The engine died while somebody waits. Not at each look: one that cannot live is not started for ever.
            self._rouse_at = now + ROUSE_SECONDS
            self._rouse()
        run_id = self.run_id if self.job.state == "running" else None
        if run_id is None:
            return Look(self.job.state, self.job.reason, None)
        if self._run is None or self._run.id != run_id:
            self._run = WatchedRun(RunDir(self._workspace.run(run_id)), self._wake)
        found = self._run.look(now)
        # The end of its run is not yet its own: that is recorded, or it is tried again.
        return Look(self.job.state, found.reason, found.woke if found.woke != "finished" else None)


class WatchedQueue:
    """The queue: wakes when nothing more can start now."""

    def __init__(self, workspace: Workspace, policy: QueuePolicy) -> None:
        self.id = "queue"
        self.bell_path = workspace.engine("bell")
        self._policy = policy
        self._queue = QueueReader(workspace)
        self.board = self._queue.read()

    def look(self, now: float) -> Look:
        """The queue now."""
        plan = schedule(self._queue.read(), self._policy, now)
        return Look("running", None, "finished" if not plan.starts and not plan.drops else None)
