"""A delivery as it was asked for: durable before anything happens. Requests for one branch are served in the order of `n`."""

from __future__ import annotations

import os
import shutil
from typing import Any, NamedTuple, cast

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.store import atomic, jobdir
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.job import QUEUED, read_job

LOCK_SECONDS = 30.0


class Request(NamedTuple):
    """One delivery. `kind` is merge or revert; `gate_commands` None means those of the runs' verifications; seconds for each.

    `undo` belongs to a revert: `{delivery_id, before, after, result}`, the delivery that is taken back.
    """

    kind: str
    target: str
    runs: tuple[str, ...]
    gate_commands: tuple[str, ...] | None
    gate_seconds: float
    channel: str
    actor: str = "controller"
    undo: dict[str, Any] | None = None
    delivery_id: str = ""
    n: int = 0
    created_at: float = 0.0

    @property
    def what(self) -> tuple[Any, ...]:
        """What makes two requests the same."""
        return (self.kind, self.target, self.runs, self.gate_commands, self.gate_seconds)


def read_request(job: JobDir) -> Request:
    """The request of a delivery. Corrupt when it cannot be read."""
    raw = atomic.read_json(job.request) or {}
    try:
        values = {key: value for key, value in raw.items() if key in Request._fields}
        values["runs"] = tuple(cast("list[str]", raw["runs"]))
        gates = cast("list[str] | None", raw.get("gate_commands"))
        values["gate_commands"] = None if gates is None else tuple(gates)
        return Request(**values)
    except (KeyError, TypeError) as error:
        raise Corrupt(f"the request of {job.job_id} cannot be read: {error!r}", hint="deliver again") from error


def is_waiting(job: JobDir) -> bool:
    """Whether it waits its turn, and can be served."""
    if not read_job(job).queued:
        return False
    try:
        read_request(job)
    except Corrupt:
        return False
    return True


def queue(workspace: Workspace, target: str | None = None) -> list[tuple[JobDir, Request]]:
    """Deliveries whose end is not told, first come first: those for `target`, or all."""
    found: list[tuple[JobDir, Request]] = []
    for job in jobdir.live_jobs(workspace, "dlv"):
        try:
            request = read_request(job)
        except Corrupt:
            continue
        if target in (None, request.target):
            found.append((job, request))
    return sorted(found, key=lambda entry: entry[1].n)


def enqueue(workspace: Workspace, draft: Request, clock: Clock) -> tuple[JobDir, bool]:
    """The job, and whether this call made it. Only under the lock of the deliveries. Raises OSError."""
    for job, known in queue(workspace, draft.target):
        if known.what == draft.what and not read_job(job).told:
            return job, False
    _remove_unborn(workspace)
    delivery_id = new_id("dlv", now=clock.now())
    request = draft._replace(delivery_id=delivery_id, n=_next_number(workspace), created_at=clock.now())
    job = JobDir(workspace.delivery(delivery_id))
    hidden = JobDir(os.path.join(workspace.deliveries, f".new-{delivery_id}"))
    os.mkdir(hidden.path, 0o700)
    atomic.write_json(hidden.request, {"v": 2, **request._asdict()})
    journal = Journal(hidden.journal, delivery_id, clock)
    try:
        journal.append([Fact(ev.JOB_STEP, {"step": QUEUED, "n": request.n, "target": request.target})])
        journal.sync()
    finally:
        journal.close()
    jobdir.announce(workspace, job)
    os.rename(hidden.path, job.path)
    atomic.sync_folder(workspace.deliveries)
    return job, True


def _next_number(workspace: Workspace) -> int:
    path = workspace.at("deliveries", "next.json")
    number = int((atomic.read_json(path) or {}).get("n", 0)) + 1
    atomic.write_json(path, {"n": number})
    return number


def _remove_unborn(workspace: Workspace) -> None:
    """What a caller that died before its request was visible left: whoever holds the lock is the only one who makes any."""
    for name in os.listdir(workspace.deliveries):
        if name.startswith(".new-"):
            shutil.rmtree(workspace.at("deliveries", name), ignore_errors=True)
