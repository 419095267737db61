"""Asks for a delivery: what can be refused is refused before anything is queued; then the branch's process does the work."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Conflict, InvalidRequest, Unavailable
from cc_orchestrator.delivery.acceptance import check_accepted
from cc_orchestrator.delivery.forecast import Forecast, Result, forecast, is_delivered, open_results
from cc_orchestrator.delivery.gates import gates_of, parse_gates
from cc_orchestrator.delivery.history import latest_delivery, refuse_undone
from cc_orchestrator.delivery.request import LOCK_SECONDS, Request, enqueue, queue
from cc_orchestrator.delivery.rollback import Rollback, plan_rollback, refuse_unsafe
from cc_orchestrator.delivery.service import serve_branch
from cc_orchestrator.delivery.stack import merge_onto, read_accepted
from cc_orchestrator.delivery.target import check_target_in_use
from cc_orchestrator.host.candidate import tree_of
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.record import current_result

#: Most seconds for comparing with other tasks: on the way of a delivery, and when only that was asked for.
PASSING_SECONDS = 1.5
ASKED_SECONDS = 15.0


class Placed(NamedTuple):
    """A delivery that is queued or under way, or the receipt of one that was done before."""

    job: JobDir | None
    receipt: dict[str, Any] | None
    forecast: Forecast | None


def deliver(workspace: Workspace, request: Request, clock: Clock) -> Placed:
    """Queue it. One run alone is checked at once, as far as today's target can tell; a batch in its turn.

    Raises Conflict (the run is live; merge conflicts; the target is dirty or the run's own), VerifyFailed (not accepted, or
    changed since), NotFound (no such branch), InvalidRequest, Busy, Unavailable, Corrupt; then nothing was queued.
    """
    parse_gates(request.gate_commands or ())
    specs = [_deliverable(workspace, run_id, request.target)[0] for run_id in request.runs]
    git = Git(str(workspace.repository), as_orchestrator=True)
    try:
        before = check_target_in_use(workspace, git, request.target)
        if len(specs) == 1:
            receipt = _check_one(workspace, git, request, specs[0], before, clock.now())
            if receipt is not None:
                return Placed(None, receipt, None)
        seen = look_ahead(workspace, git, request, clock, PASSING_SECONDS)
    except GitError as error:
        raise Unavailable(
            f"{', '.join(request.runs[:3])} cannot be delivered to {request.target}: {error}",
            hint="nothing was changed",
        ) from error
    return Placed(_place(workspace, request, clock), None, seen)


def _place(workspace: Workspace, request: Request, clock: Clock) -> JobDir:
    os.makedirs(workspace.deliveries, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(workspace.deliveries, "lock"), timeout=LOCK_SECONDS):
        job, _made = enqueue(workspace, request, clock)
        serve_branch(workspace, request.target)
    return job


def _deliverable(workspace: Workspace, run_id: str, target: str) -> tuple[RunSpec, dict[str, Any]]:
    spec, state = read_ended_run(workspace, run_id)
    if workspace.repository is None or not spec.allow_write:
        raise InvalidRequest(
            f"{run_id} is read-only: it has nothing to deliver", hint="start a run with allow_write=true"
        )
    if target == spec.branch:
        raise InvalidRequest(f"{target[:80]!a} is no target: it is the run's own branch", hint='target="main"')
    return spec, state


def _check_one(
    workspace: Workspace, git: Git, request: Request, spec: RunSpec, before: str, now: float
) -> dict[str, Any] | None:  # fmt: skip
    """Everything that its turn would refuse anyway; the receipt, if it was delivered before."""
    run_id = spec.run_id
    entry = read_accepted(workspace, git, request, run_id, before, now)
    if entry.contained:
        return latest_delivery(workspace, run_id, request.target, entry.commit)
    merge_onto(git, before, entry._replace(after_tree=tree_of(git, before)), request.target, ())
    return None


def look_ahead(workspace: Workspace, git: Git, request: Request, clock: Clock, seconds: float) -> Forecast:
    """The forecast for a request's runs. Raises CcError, GitError."""
    results: list[Result] = []
    for run_id in request.runs:
        spec, state = _deliverable(workspace, run_id, request.target)
        commit, _tree = current_result(spec, state)
        if commit is None:
            raise Conflict(f"{run_id} has no result", hint="start a new run")
        if not is_delivered(git, request.target, commit):
            results.append(Result(run_id, spec.task_id, commit, False))
    return forecast(git, results, open_results(workspace, git, request.target), request.target, clock, seconds=seconds)


def foresee(workspace: Workspace, request: Request, clock: Clock) -> tuple[Forecast, list[dict[str, Any]]]:
    """Only look: the forecast, and which of the runs would be refused now, and why. Raises what `deliver` raises for ids."""
    git = Git(str(workspace.repository), as_orchestrator=True)
    try:
        check_target_in_use(workspace, git, request.target)
        seen = look_ahead(workspace, git, request, clock, ASKED_SECONDS)
    except GitError as error:
        raise Unavailable(f"nothing can be foretold for {request.target}: {error}", hint="cc_doctor") from error
    refused: list[dict[str, Any]] = []
    for run_id in request.runs:
        try:
            spec, state = _deliverable(workspace, run_id, request.target)
            result = check_accepted(workspace, spec, state, clock.now())
            refuse_undone(workspace, run_id, request.target, str(result["commit"]))
            gates_of(workspace, spec, result, request)
        except CcError as error:
            refused.append({"run_id": run_id, "code": error.code, "why": error.message[:200]})
    return seen, refused


def position(workspace: Workspace, job: JobDir, target: str) -> int:
    """How many deliveries to the same branch come before this one."""
    names = [other.job_id for other, _request in queue(workspace, target)]
    return names.index(job.job_id) if job.job_id in names else 0


def foresee_rollback(workspace: Workspace, run_id: str, target: str | None) -> Rollback:
    """What taking a delivery back would do. Raises NotFound, Conflict, Unavailable, Corrupt."""
    if workspace.repository is None:
        raise InvalidRequest(f"{workspace.root} is no git repository: nothing was delivered", hint="cc_status {}")
    try:
        return plan_rollback(workspace, run_id, target)
    except GitError as error:
        raise Unavailable(f"the delivery of {run_id} cannot be looked at: {error}", hint="cc_doctor") from error


def roll_back(workspace: Workspace, found: Rollback, draft: Request, clock: Clock) -> JobDir:
    """Queue the revert of a delivery that was looked at. Conflict when it is not safe."""
    refuse_unsafe(found)
    parse_gates(draft.gate_commands or ())
    undo = {"delivery_id": found.undoes, "before": found.before, "after": found.after, "result": found.result}
    return _place(workspace, draft._replace(undo=undo), clock)
