"""The process that serves the deliveries of one branch, one after the other, until none is left. Started by `delivery.service`.

It holds the branch's lock for its life and each delivery's lock while it serves that: killed, the one is lost and told so, and
the others wait for the next process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.landing import land
from cc_orchestrator.delivery.progress import as_row, read_progress
from cc_orchestrator.delivery.promotion import Desk, conclude, hand_back
from cc_orchestrator.delivery.request import LOCK_SECONDS, Request, queue
from cc_orchestrator.delivery.rollback import carry_out
from cc_orchestrator.delivery.settling import settle_delivery
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.process import identify
from cc_orchestrator.host.tree import HELPER
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.job import read_job


def main(args: Sequence[str]) -> int:
    """`args`: workspace root, repository, target, descriptor of the branch's lock (or -1: take it)."""
    workspace = Workspace(args[0], args[1])
    target = args[2]
    held: int | None = int(args[3])
    if held == -1:
        held = lock.take(workspace.branch_lock(target))
    if held is None:
        return 1
    os.set_inheritable(held, False)
    clock = SystemClock()
    served: set[str] = set()
    while True:
        job = _next(workspace, target, served)
        if job is None:
            # Whoever adds a delivery holds the same lock: nothing can come between the last look and the release.
            with lock.Exclusive(os.path.join(workspace.deliveries, "lock"), timeout=LOCK_SECONDS):
                if _next(workspace, target, served) is None:
                    os.close(held)
                    return 0
            continue
        served.add(job[0].job_id)
        _serve(workspace, *job, clock)


def _next(workspace: Workspace, target: str, served: set[str]) -> tuple[JobDir, Request] | None:
    return next((entry for entry in queue(workspace, target) if entry[0].job_id not in served), None)


def _serve(workspace: Workspace, job: JobDir, request: Request, clock: Clock) -> None:
    """One delivery to its end. Whatever goes wrong, the end is told; a traceback goes to the log."""
    if not read_job(job).queued:
        settle_delivery(workspace, job, clock)
        return
    # What we start for ourselves (git) is found and ended when we die in the middle of it.
    os.environ[HELPER] = job.job_id
    bell = _make_bell(job)
    try:
        # A caller that looks for dead ones may hold it for a moment.
        with lock.Exclusive(job.lock, timeout=LOCK_SECONDS):
            _own(workspace, job, request, clock)
    except (OSError, CcError) as error:
        # Its end could not be written (a full disk): the freed lock tells it, and a sweep writes it.
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        if bell is not None:
            bell.ring()
            bell.close()


def _own(workspace: Workspace, job: JobDir, request: Request, clock: Clock) -> None:
    journal = Journal(job.journal, job.job_id, clock)
    try:
        git = Git(str(workspace.repository), as_orchestrator=True)
        desk = Desk(workspace, git, job, journal, request, clock)
        pid = os.getpid()
        journal.append([Fact(ev.JOB_STARTED, {"pid": pid, "pid_start": identify(pid), "runs": list(request.runs)})])
        journal.sync()
        _do(desk)
        conclude(desk)
    finally:
        journal.close()


def _do(desk: Desk) -> None:
    try:
        if desk.request.kind == "revert":
            carry_out(desk)
        else:
            land(desk)
    except CcError as error:
        hand_back(desk, [as_row(run_id, error) for run_id in read_progress(desk.job).left(desk.request.runs)])
    except (GitError, OSError) as error:
        sys.excepthook(type(error), error, error.__traceback__)
        text = line(str(error), 300)
        rows = read_progress(desk.job).left(desk.request.runs)
        hand_back(desk, [
            {"run_id": run_id, "code": "unavailable", "message": f"{run_id} was not delivered: {text}", "hint": "cc_doctor"}
            for run_id in rows
        ])  # fmt: skip


def _make_bell(job: JobDir) -> bells.Bell | None:
    try:
        path = bells.new_path(job.job_id)
        # The name first: whoever cleans up after us finds the socket by it.
        atomic.write_text(job.bell, path)
        return bells.Bell.create(path)
    except OSError:
        return None
