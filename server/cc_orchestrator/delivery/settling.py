"""Closes a delivery whose process died, by what the target holds."""

from __future__ import annotations

import os

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.events import Fact
from cc_orchestrator.delivery.progress import Progress, read_progress
from cc_orchestrator.delivery.promotion import Desk, conclude, tell_landed
from cc_orchestrator.delivery.request import is_waiting, read_request
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.candidate import contains
from cc_orchestrator.host.git import Git
from cc_orchestrator.host.tree import end_helpers, kill_remains
from cc_orchestrator.host.worktree import branch_place, has_changes
from cc_orchestrator.store import jobdir, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.ground import remove_disposable
from cc_orchestrator.verify.job import read_job

KILL_SECONDS = 4.0


def settle_delivery(workspace: Workspace, job: JobDir, clock: Clock) -> bool:
    """Tell the end of a delivery that was begun and has no owner; whether it was ours to tell. Raises OSError, CcError."""
    held = lock.take(job.lock)
    if held is None:
        return False
    try:
        # The journal first: it closes off a torn line, which may turn out to be the end.
        journal = Journal(job.journal, job.job_id, clock)
        try:
            state = read_job(job)
            if is_waiting(job):
                return False
            # Its git and its gates may still be at work: only when that is over can be told where the branch is.
            end_helpers(job.job_id)
            kill_remains(job.job_id, [], deadline_s=KILL_SECONDS)
            remove_disposable(workspace.repository, job.at("tree"))
            bells.remove_dead(job.bell)
            if state.told:
                jobdir.retire(workspace, job.job_id)
                return False
            _tell(workspace, job, journal, clock)
        finally:
            journal.close()
        return True
    finally:
        os.close(held)


def _tell(workspace: Workspace, job: JobDir, journal: Journal, clock: Clock) -> None:
    try:
        request = read_request(job)
    except Corrupt as error:
        # Nobody can say what it was to do: it is told as lost, so that it does not stand in the way of others.
        journal.append([Fact(ev.JOB_FINISHED, {"status": "lost", "reason": error.message})])
        journal.sync()
        jobdir.retire(workspace, job.job_id)
        return
    git = Git(str(workspace.repository), as_orchestrator=True)
    desk = Desk(workspace, git, job, journal, request, clock)
    died = f"its process died and {request.target} does not hold the result"
    found: Progress = read_progress(job)
    if found.open_move is not None:
        if contains(git, f"refs/heads/{request.target}", str(found.open_move["after"])):
            tell_landed(desk, found.open_move, "its process died after the branch had moved; found by looking")
        else:
            place = branch_place(git, request.target)
            if place is not None and os.path.isdir(place) and has_changes(place):
                died += f"; look at {place}, its files may be half updated"
    conclude(desk, died=died)
