"""Closes reviews and fix loops whose process died: with their result recorded they are completed, otherwise lost and told.

The workers that a lost one started are ended: nobody would read them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.detach import detach
from cc_orchestrator.host.tree import end_helpers
from cc_orchestrator.runs.reading import read_spec
from cc_orchestrator.store import atomic, jobdir, lock
from cc_orchestrator.store.jobdir import JobDir, live_jobs
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, later_file, later_runs
from cc_orchestrator.tasks.record import runs_of
from cc_orchestrator.verify.detached import Owned
from cc_orchestrator.verify.ground import remove_disposable
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.reviews import record_close
from cc_orchestrator.workflow.workers import stop_runs


def settle_workflows(workspace: Workspace, clock: Clock) -> list[str]:
    """Close every review and fix loop without a living owner; their ids. Raises OSError, CcError."""
    return [
        job.job_id
        for job in live_jobs(workspace, "rev", "fix")
        if not job.is_owned() and _settle(workspace, job, clock)
    ]


def settle_later(workspace: Workspace, env: Mapping[str, str]) -> list[str]:
    """See to it that somebody waits for each run that is to be gone on with; ids of those that had nobody. Raises OSError, CcError."""
    orphans: list[str] = []
    for run_id in later_runs(workspace.runs):
        run = RunDir(workspace.run(run_id))
        mark = later_file(workspace.runs, run_id)
        if not os.path.isdir(run.path):
            os.unlink(mark)
        elif not lock.is_held(mark) and not run.is_owned():
            detach(
                "cc_orchestrator.workflow.renewing",
                [run.path, "later"],
                cwd=workspace.root,
                stderr_path=run.log,
                env=env,
            )
            orphans.append(run_id)
    return orphans


def _settle(workspace: Workspace, job: JobDir, clock: Clock) -> bool:
    held = lock.take(job.lock)
    if held is None:
        return False
    try:
        # The journal first: it closes off a torn line, which may turn out to be the end.
        journal = Journal(job.journal, job.job_id, clock)
        try:
            owned = Owned(workspace, job, journal, clock, atomic.read_json(job.request) or {}, None)
            return _close(owned)
        finally:
            journal.close()
    finally:
        os.close(held)


def _close(owned: Owned) -> bool:
    state = read_job(owned.job)
    end_helpers(owned.job.job_id)
    if state.told:
        jobdir.retire(owned.workspace, owned.job.job_id)
        return False
    stop_runs(started_runs(owned.workspace, owned.job, owned.request), "what it worked for is lost", owned.clock)
    remove_disposable(owned.workspace.repository, owned.job.at("tree"))
    bells.remove_dead(owned.job.bell)
    done = state.result is not None
    kind = "review" if is_id(owned.job.job_id, "rev") else "fix_loop"
    record_close(owned, kind, "succeeded" if done else "lost", "" if done else "job_died")
    return True


def started_runs(workspace: Workspace, job: JobDir, request: dict[str, Any]) -> list[RunDir]:
    """The runs that a job started: those whose request id it made, also when it died before it could tell of them."""
    found: list[RunDir] = []
    for task_id in {str(request[key]) for key in ("task_id", "review_task_id") if request.get(key)}:
        for run_id in runs_of(workspace, task_id):
            run = RunDir(workspace.run(run_id))
            if os.path.isdir(run.path) and (read_spec(run.spec).client_request_id or "").startswith(f"{job.job_id}/"):
                found.append(run)
    return found
