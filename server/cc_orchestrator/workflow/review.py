"""Starts a review: what is reviewed, by whom, against which steps; then a process of its own drives the reviewers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.errors import CcError, Conflict, InvalidRequest, NotFound, Unavailable
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.delivery.reviewed import find_standing
from cc_orchestrator.runs.launch import find_executable
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.record import create_task, read_task
from cc_orchestrator.verify.detached import start_detached
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import current_result
from cc_orchestrator.verify.reviews import reviews_of
from cc_orchestrator.workflow.review_pack import latest_result
from cc_orchestrator.workflow.reviewers import choose_reviewers, declare
from cc_orchestrator.workflow.workers import Caller, Reader

#: What is asked for when nobody named steps.
DEFAULT_STEPS = (
    "The change does what the task asks for, all of it, and nothing that it does not ask for.",
    "The change is correct: no case of the task gives a wrong result, and no test or check was weakened, skipped or deleted.",
)
PURPOSE = "review"


class Wanted(NamedTuple):
    """What is asked of a review."""

    steps: tuple[str, ...]
    readers: tuple[Reader, ...]
    seconds: float


def start_review(
    workspace: Workspace, run_id: str, wanted: Wanted, caller: Caller
) -> tuple[JobDir, bool, dict[str, Any]]:
    """The job, whether this call made it, and its request. The same review under way is joined.

    Raises Conflict (the run is live, or is a reviewer), InvalidRequest (no result), NotFound, Unavailable (no reviewer).
    """
    spec, state = read_ended_run(workspace, run_id)
    if read_task(workspace, spec.task_id).get("purpose") == PURPOSE:
        raise Conflict(f"{run_id} is a reviewer's run: a review is not reviewed", hint="name the maker's run")
    commit, tree = current_result(spec, state)
    if commit is None:
        raise InvalidRequest(
            f"{run_id} has no result: only a run that writes leaves a commit to review",
            hint="start one with allow_write=true",
        )
    result = latest_result(workspace, run_id)
    _refuse_planted(run_id, result)
    needed = find_standing(workspace, spec, state, result, caller.clock.now()).needed
    readers, declared = _find_readers(spec, wanted.readers, max(1, needed), caller.env)
    request: dict[str, Any] = {
        "v": 1, "run_id": run_id, "task_id": spec.task_id, "commit": commit, "tree": tree,
        "steps": [mask_text(step) for step in wanted.steps or DEFAULT_STEPS], "reviewers": [reader._asdict() for reader in readers],
        "declared": declared, "seconds": wanted.seconds, "workspace_root": workspace.root, "repository": workspace.repository,
        "actor": "controller", "channel": caller.channel,
    }  # fmt: skip
    folder = workspace.reviews(spec.task_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(folder, "lock")):
        for job in reviews_of(workspace, spec.task_id)[:1]:
            running = atomic.read_json(job.request) or {}
            same = all(running.get(key) == value for key, value in request.items() if key != "channel")
            if same and read_job(job).status == "running":
                return job, False, running
        return _start(workspace, folder, spec, request, caller)


def _start(
    workspace: Workspace, folder: str, spec: RunSpec, request: dict[str, Any], caller: Caller
) -> tuple[JobDir, bool, dict[str, Any]]:  # fmt: skip
    now = caller.clock.now()
    review_id = new_id("rev", now=now)
    # A task of their own: in the maker's they would count as users of its worktree.
    task = create_task(
        workspace, f"Review of {spec.run_id}", scope={}, channel=caller.channel, clock=caller.clock, purpose=PURPOSE
    )
    request = {**request, "review_id": review_id, "review_task_id": task, "created_at": now}
    job = start_detached(
        workspace, os.path.join(folder, review_id), request, module="cc_orchestrator.workflow.reviewing", stdin=b"", clock=caller.clock,
        env=caller.env,
    )  # fmt: skip
    return job, True, request


def _refuse_planted(run_id: str, result: dict[str, Any] | None) -> None:
    for check in (result or {}).get("checks", []):
        if check["check"] == "repository" and check["outcome"] == "fail":
            raise Conflict(
                f"something was planted in the repository during {run_id}: a checkout of its result could run it",
                hint=f'cc_read {{"name":"cc_verification","arguments":{{"run_id":"{run_id}","full":true}}}}',
            )


def _find_readers(
    spec: RunSpec, wanted: Sequence[Reader], count: int, env: Mapping[str, str]
) -> tuple[list[Reader], list[str]]:  # fmt: skip
    """The reviewers as asked for, or chosen; with what is not as independent as it should be."""
    installed = {name for name in adapter_names() if _is_installed(name, env)}
    if not wanted:
        choice = choose_reviewers(spec.adapter, installed, count)
        if not choice.adapters:
            raise Unavailable(f"there is no reviewer: {choice.declared[0]}", hint="cc_doctor")
        return [Reader(name, None, "review", {}) for name in choice.adapters], list(choice.declared)
    missing = [reader.adapter for reader in wanted if reader.adapter not in installed]
    if missing:
        raise Unavailable(f"no reviewer can be had of {', '.join(missing)}: not installed", hint="cc_doctor")
    return list(wanted), declare(spec.adapter, [reader.adapter for reader in wanted])


def _is_installed(name: str, env: Mapping[str, str]) -> bool:
    try:
        find_executable(find_adapter(name), env)
    except NotFound:
        raise
    except CcError:
        return False
    return True
