"""Merges an accepted result into a branch: forecast, candidate, journal, compare-and-swap, receipt. Never pushes.

Everything that can refuse comes before the journal names what is about to happen; from there on a crash is found and told:
whether the target holds the result is looked up, never guessed.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Conflict, InvalidRequest, Unavailable, VerifyFailed
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import approved_result, last_decision
from cc_orchestrator.delivery.reviewed import check_reviewed
from cc_orchestrator.host.candidate import (
    Conflicts,
    Merged,
    advance_branch,
    branch_commit,
    checked_out_at,
    merge_candidate,
)
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.process import identify
from cc_orchestrator.host.tree import HELPER, end_helpers
from cc_orchestrator.host.worktree import is_clean
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic, jobdir, ledger, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.job import read_job

LOCK_SECONDS = 60.0


class Delivered(NamedTuple):
    """A delivery that is done. `how` is one of merged, fast_forward, already_contained."""

    delivery_id: str
    how: str
    target: str
    before: str
    after: str
    result: str
    tested_tree: bool
    receipt: dict[str, Any]
    repeated: bool


def deliver(workspace: Workspace, run_id: str, target: str, *, channel: str, clock: Clock) -> Delivered:
    """Do it, or refuse and change nothing. One at a time in a workspace.

    Raises Conflict (the run is live; merge conflicts; the target is dirty, moved or the run's own), VerifyFailed (not
    accepted, or changed since), NotFound (no such branch), InvalidRequest, Busy, Unavailable, Corrupt.
    """
    spec, state = read_ended_run(workspace, run_id)
    if workspace.repository is None or not spec.allow_write:
        raise InvalidRequest(
            f"{run_id} is read-only: it has nothing to deliver", hint="start a run with allow_write=true"
        )
    folder = workspace.at("deliveries")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    git = Git(workspace.repository, as_orchestrator=True)
    with lock.Exclusive(os.path.join(folder, "lock"), timeout=LOCK_SECONDS):
        try:
            before = _check_target(workspace, git, spec, target)
            result = check_accepted(workspace, spec, state, clock.now())
            commit, tree = str(result["commit"]), str(result["tree"])
            if git.try_run("merge-base", "--is-ancestor", commit, before)[0] == 0:
                known = _find_earlier(workspace, run_id, target, commit)
                if known is not None:
                    return known
                merged, how = Merged(before, tree, True), "already_contained"
            else:
                merged, how = _forecast(git, spec, before, commit, target)
        except GitError as error:
            raise Unavailable(
                f"{run_id} cannot be delivered to {target}: {error}", hint="nothing was changed"
            ) from error
        plan: dict[str, Any] = {
            "run_id": run_id, "task_id": spec.task_id, "target": target, "before": before, "after": merged.commit,
            "result": commit, "how": how, "verify_id": result["verify_id"], "tested_tree": merged.tree == tree,
            "actor": "controller", "channel": channel,
        }  # fmt: skip
        return _carry_out(workspace, git, plan, clock)


def check_accepted(workspace: Workspace, spec: RunSpec, state: dict[str, Any], now: float) -> dict[str, Any]:
    """The approving verification that the run's acceptance rests on. Raises VerifyFailed, Busy, Corrupt."""
    accept = f'cc_accept {{"run_id":"{spec.run_id}","decision":"accept"}}'
    decision = last_decision(workspace, spec.run_id)
    if decision is None:
        raise VerifyFailed(f"{spec.run_id} was not accepted", hint=accept)
    observed = decision["observed"]
    if observed.get("decision") != "accept":
        raise VerifyFailed(f"the latest decision over {spec.run_id} is {observed.get('decision')}", hint=accept)
    result = approved_result(workspace, spec, state)
    if any(observed.get(key) != result[key] for key in ("commit", "tree", "rules")):
        raise VerifyFailed(f"{spec.run_id} changed after it was accepted: the acceptance has expired", hint=accept)
    # A waiver may have run out since, or a later review may have found something.
    check_reviewed(workspace, spec, state, result, now)
    return result


def _check_target(workspace: Workspace, git: Git, spec: RunSpec, target: str) -> str:
    """The target's commit now. Raises NotFound, InvalidRequest, Conflict."""
    if target.startswith(("refs/", "cc/")) or target == spec.branch:
        raise InvalidRequest(
            f"{target[:80]!a} is no target: a local branch of yours is expected, by its short name, not a run's own",
            hint='target="main"',
        )
    before = branch_commit(git, target)
    place = checked_out_at(git, target)
    if place is not None and os.path.isdir(place):
        if os.path.realpath(place).startswith(os.path.realpath(workspace.folder) + os.sep):
            raise Conflict(f"{target} is checked out by a run in {place}", hint="deliver to another branch")
        if not is_clean(place):
            raise Conflict(
                f"{target} is checked out in {place}, which has uncommitted changes; nothing was changed",
                hint="commit or move them, then deliver again; or deliver to another branch",
            )
    return before


def _forecast(git: Git, spec: RunSpec, before: str, commit: str, target: str) -> tuple[Merged, str]:
    message = f"Merge the result of {spec.run_id} into {target}\n\nCC-Run: {spec.run_id}\nCC-Task: {spec.task_id}\n"
    found = merge_candidate(git, before, commit, message)
    if isinstance(found, Conflicts):
        names = ", ".join(line(path, 100) for path in dict.fromkeys(found.paths[:8]))
        raise Conflict(
            f"{spec.run_id} conflicts with {target} in {names or 'its history'}; nothing was changed",
            hint=f"merge {target} into the run's branch by a new run, verify and accept that one",
        )
    return found, "fast_forward" if found.fast_forward else "merged"


def _find_earlier(workspace: Workspace, run_id: str, target: str, commit: str) -> Delivered | None:
    for receipt in ledger.receipts(workspace.ledger, {"run_id": run_id}, kind="delivery", limit=50):
        observed = receipt["observed"]
        if observed.get("status") == "succeeded" and (observed.get("target"), observed.get("result")) == (
            target,
            commit,
        ):
            return _as_delivered(receipt, repeated=True)
    return None


def _as_delivered(receipt: dict[str, Any], *, repeated: bool) -> Delivered:
    observed = receipt["observed"]
    return Delivered(
        receipt["subject"]["delivery_id"], observed["how"], observed["target"], observed["before"], observed["after"],
        observed["result"], bool(observed.get("tested_tree")), receipt, repeated,
    )  # fmt: skip


# ---------------------------------------------------------------- doing it


def _carry_out(workspace: Workspace, git: Git, plan: dict[str, Any], clock: Clock) -> Delivered:
    """Journal, move, receipt."""
    delivery_id = new_id("dlv", now=clock.now())
    job = JobDir(workspace.delivery(delivery_id))
    os.mkdir(job.path, 0o700)
    held = lock.take(job.lock)
    assert held is not None, "nobody knows this folder yet"
    try:
        atomic.write_json(job.request, {"v": 1, "delivery_id": delivery_id, "created_at": clock.now(), **plan})
        journal = Journal(job.journal, delivery_id, clock)
        try:
            jobdir.announce(workspace, job)
            pid = os.getpid()
            journal.append([Fact(ev.JOB_STARTED, {"pid": pid, "pid_start": identify(pid), "run_id": plan["run_id"]}),
                            Fact(ev.JOB_STEP, {"step": "advance", **plan})])  # fmt: skip
            journal.sync()
            if plan["how"] != "already_contained":
                _advance(workspace, git, job, journal, plan)
            return _as_delivered(_record(workspace, job, journal, "succeeded", {}, clock), repeated=False)
        finally:
            journal.close()
    finally:
        os.close(held)


def _advance(workspace: Workspace, git: Git, job: JobDir, journal: Journal, plan: dict[str, Any]) -> None:
    try:
        advance_branch(git, plan["target"], plan["before"], plan["after"], env={HELPER: job.job_id})
    except (CcError, GitError) as error:
        # Refused at the last moment: nothing moved, so there is nothing to give a receipt for.
        text = line(str(error), 300)
        journal.append([Fact(ev.JOB_FINISHED, {"status": "failed", "reason": text})])
        journal.sync()
        jobdir.retire(workspace, job.job_id)
        if isinstance(error, CcError):
            raise
        raise Unavailable(f"{plan['target']} could not be moved: {text}", hint="cc_doctor") from error


def _record(
    workspace: Workspace, job: JobDir, journal: Journal, status: str, more: dict[str, Any], clock: Clock
) -> dict[str, Any]:  # fmt: skip
    """The step that decides, the receipt, the end; the receipt."""
    plan = atomic.read_json(job.request) or {}
    journal.append([Fact(ev.JOB_STEP, {"step": "result", "status": status, **more})])
    journal.sync()
    observed = {"status": status, **more}
    observed.update(
        {key: plan.get(key) for key in ("how", "target", "before", "after", "result", "verify_id", "tested_tree")}
    )
    receipt = ledger.append(workspace.ledger, {
        "kind": "delivery", "ts": clock.now(), "actor": plan.get("actor"), "channel": plan.get("channel"),
        "subject": {"delivery_id": job.job_id, "run_id": plan.get("run_id", ""), "task_id": plan.get("task_id", "")},
        "observed": observed, "claimed": {},
    }, once=True)  # fmt: skip
    end = {"status": status, **more, "receipt": {"n": receipt["n"], "hash": receipt["hash"]}}
    journal.append([Fact(ev.JOB_FINISHED, end)])
    journal.sync()
    jobdir.retire(workspace, job.job_id)
    return receipt


def settle_delivery(workspace: Workspace, job: JobDir, clock: Clock) -> bool:
    """Close a delivery whose process died, by what the target holds; whether it was ours to close. Raises OSError, CcError."""
    held = lock.take(job.lock)
    if held is None:
        return False
    try:
        # The journal first: it closes off a torn line, which may turn out to be the end.
        journal = Journal(job.journal, job.job_id, clock)
        try:
            if read_job(job).told:
                jobdir.retire(workspace, job.job_id)
                return False
            # Its git may still be at work: only when that is over can be told where the branch is.
            end_helpers(job.job_id)
            status, more = _find_out(workspace, job)
            _record(workspace, job, journal, status, more, clock)
        finally:
            journal.close()
        return True
    finally:
        os.close(held)


def _find_out(workspace: Workspace, job: JobDir) -> tuple[str, dict[str, Any]]:
    """`(status, facts)`: succeeded when the target holds what was to be delivered."""
    plan = atomic.read_json(job.request) or {}
    if workspace.repository is None or not plan:
        return "lost", {"reason": "its process died before it said what it would do"}
    git = Git(workspace.repository)
    contained = git.try_run("merge-base", "--is-ancestor", plan["after"], f"refs/heads/{plan['target']}")[0] == 0
    if contained:
        return "succeeded", {"reason": "its process died after the branch had moved; found by looking"}
    place = checked_out_at(git, plan["target"])
    where = f"; look at {place}, its files may be half updated" if place is not None and not is_clean(place) else ""
    return "lost", {"reason": f"its process died and {plan['target']} does not hold the result{where}"}
