"""What reviews leave in `reviews/<task_id>/`: a folder for each with `review.json`, and the task's `findings.json`.

Written here alone, by whoever holds the review's lock or the folder's. Each review is bound to a commit and its tree.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any, cast

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.runs.anchoring import anchor_ledger
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic, jobdir, ledger, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.detached import Owned
from cc_orchestrator.verify.findings import Event, Finding, fold_findings
from cc_orchestrator.verify.job import JobState, read_job
from cc_orchestrator.verify.record import current_result
from cc_orchestrator.verify.standing import Standing, Vote, judge_standing

Review = dict[str, Any]


def reviews_of(workspace: Workspace, task_id: str, kind: str = "rev") -> list[JobDir]:
    """The reviews (or fix loops, `fix`) of a task, the latest first."""
    folder = workspace.reviews(task_id)
    try:
        names = [name for name in os.listdir(folder) if is_id(name, kind)]
    except OSError:
        return []
    return [JobDir(os.path.join(folder, name)) for name in sorted(names, reverse=True)]


def read_outcome(job: JobDir, state: JobState) -> Review | None:
    """What a finished job recorded; None while there is nothing. Corrupt when it is gone or not what was recorded."""
    if state.result is None:
        return None
    path = job.at("result.json")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise Corrupt(f"{path}, the record of {job.job_id}, is missing", hint="review again") from error
    if hashlib.sha256(data).hexdigest() != state.result.get("sha256"):
        raise Corrupt(f"{path} is not what {job.job_id} wrote", hint="cc_receipts; review again")
    return cast("Review", json.loads(data))


def record_outcome(owned: Owned, result: Review, **facts: Any) -> None:
    """Write the record, then the step that decides. `facts` go into the step, and so into the receipt."""
    path = owned.job.at("result.json")
    atomic.write_json(path, result)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    owned.step("result", sha256=digest, status="succeeded", **facts)
    owned.journal.sync()


def record_close(owned: Owned, kind: str, status: str, reason: str) -> None:
    """Receipt of `kind`, final event, and no longer under way. Only the holder of the job's lock may."""
    facts = read_job(owned.job).result or {}
    id_name = "review_id" if kind == "review" else "fix_id"
    observed = {"status": status, "reason": reason or None, **{key: facts[key] for key in facts if key != "step"}}
    observed["status"] = status
    request = owned.request
    written = ledger.append(owned.workspace.ledger, {
        "kind": kind, "ts": owned.clock.now(), "actor": request.get("actor"), "channel": request.get("channel"),
        "subject": {id_name: owned.job.job_id, "run_id": request.get("run_id", ""), "task_id": request.get("task_id", "")},
        "observed": {key: value for key, value in observed.items() if value is not None}, "claimed": {},
    }, once=True)  # fmt: skip
    end = {"status": status, "reason": reason, "receipt": {"n": written["n"], "hash": written["hash"]}}
    owned.journal.append([Fact(ev.JOB_FINISHED, {key: value for key, value in end.items() if value})])
    owned.journal.sync()
    jobdir.retire(owned.workspace, owned.job.job_id)
    anchor_ledger(owned.workspace, owned.clock)


# ---------------------------------------------------------------- findings


def read_findings(workspace: Workspace, task_id: str) -> dict[str, Finding]:
    """`{id: finding}` of a task. Corrupt when the file cannot be read: then nothing may be taken for closed."""
    return fold_findings(_events(workspace, task_id))


def _events(workspace: Workspace, task_id: str) -> list[Event]:
    raw = atomic.read_json(os.path.join(workspace.reviews(task_id), "findings.json"))
    if raw is None:
        return []
    events = raw.get("events")
    if not isinstance(events, list):
        raise Corrupt(f"the findings of {task_id} cannot be read", hint="review again, or restore findings.json")
    return cast("list[Event]", events)


def add_findings(
    workspace: Workspace, task_id: str, make: Callable[[dict[str, Finding]], list[Event]]
) -> tuple[dict[str, Finding], list[Event]]:  # fmt: skip
    """Add the events that `make` derives from what is there, under the lock; all findings and the new events."""
    folder = workspace.reviews(task_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(folder, "findings.lock")):
        events = _events(workspace, task_id)
        news = make(fold_findings(events))
        if news:
            events = [*events, *news]
            atomic.write_json(os.path.join(folder, "findings.json"), {"v": 1, "task_id": task_id, "events": events})
        return fold_findings(events), news


# ---------------------------------------------------------------- votes


def list_votes(workspace: Workspace, task_id: str) -> list[Vote]:
    """All votes of all finished reviews of a task, oldest first. Raises Corrupt."""
    votes: list[Vote] = []
    for job in reversed(reviews_of(workspace, task_id)):
        review = read_outcome(job, read_job(job))
        if review is None:
            continue
        votes += [
            Vote(
                job.job_id, str(row.get("run_id") or ""), str(row["adapter"]), str(row.get("actual_model") or row.get("model") or ""),
                str(row["outcome"]), str(review["commit"]), str(review["tree"]),
            )
            for row in cast("list[dict[str, Any]]", review["reviewers"])
        ]  # fmt: skip
    return votes


def read_standing(
    workspace: Workspace, spec: RunSpec, state: dict[str, Any], *, risk: str, makers: frozenset[str], now: float
) -> Standing:  # fmt: skip
    """How the run's result stands with its reviewers. `makers`: runs of the maker's conversation. Raises Corrupt."""
    commit, tree = current_result(spec, state)
    return judge_standing(
        risk, list_votes(workspace, spec.task_id), read_findings(workspace, spec.task_id), commit=commit, tree=tree,
        makers=makers, now=now,
    )  # fmt: skip
