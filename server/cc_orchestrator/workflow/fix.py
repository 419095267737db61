"""Starts a fix loop on an ended write run: check, feed what fails back to the maker, check again; at most a few rounds."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import Busy, Conflict, InvalidRequest
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.host.command import Command
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.record import read_task
from cc_orchestrator.verify.detached import start_detached
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.reviews import reviews_of
from cc_orchestrator.workflow.review import PURPOSE, Wanted
from cc_orchestrator.workflow.workers import Caller


class Loop(NamedTuple):
    """What is asked of a fix loop. `review` None: the checks alone decide."""

    commands: Sequence[Command]
    timeout_seconds: float
    rounds: int
    review: Wanted | None


def start_fix_loop(workspace: Workspace, run_id: str, loop: Loop, caller: Caller) -> tuple[JobDir, bool]:
    """The job, and whether this call made it; the same loop under way is joined.

    Raises Conflict (the run is live, or a reviewer's), InvalidRequest (read-only), Busy (another loop of the task is under way).
    """
    spec, _state = read_ended_run(workspace, run_id)
    if not spec.allow_write:
        raise InvalidRequest(
            f"{run_id} is read-only: there is nothing to fix", hint="start a run with allow_write=true"
        )
    if read_task(workspace, spec.task_id).get("purpose") == PURPOSE:
        raise Conflict(f"{run_id} is a reviewer's run", hint="name the maker's run")
    review = loop.review
    request: dict[str, Any] = {
        "v": 1, "run_id": run_id, "task_id": spec.task_id, "commands": [command.shown for command in loop.commands],
        "timeout_seconds": loop.timeout_seconds, "rounds": loop.rounds,
        "review": None if review is None else {
            "steps": list(review.steps), "reviewers": [reader._asdict() for reader in review.readers], "seconds": review.seconds,
        },
        "workspace_root": workspace.root, "repository": workspace.repository, "actor": "controller", "channel": caller.channel,
    }  # fmt: skip
    folder = workspace.reviews(spec.task_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(folder, "lock")):
        for job in reviews_of(workspace, spec.task_id, "fix")[:1]:
            if read_job(job).status != "running":
                continue
            running = atomic.read_json(job.request) or {}
            if any(running.get(key) != value for key, value in request.items() if key != "channel"):
                raise Busy(
                    f"{job.job_id} works on {spec.task_id} at this moment", hint=f'cc_wait {{"ids":["{job.job_id}"]}}'
                )
            return job, False
        now = caller.clock.now()
        fix_id = new_id("fix", now=now)
        argvs = json.dumps([command.argv for command in loop.commands]).encode("utf-8", "surrogateescape")
        job = start_detached(
            workspace, os.path.join(folder, fix_id), {**request, "fix_id": fix_id, "created_at": now},
            # Not in argv and in no file of ours: a command may hold a secret.
            module="cc_orchestrator.workflow.fixing", stdin=argvs, clock=caller.clock, env=caller.env,
        )  # fmt: skip
        return job, True
