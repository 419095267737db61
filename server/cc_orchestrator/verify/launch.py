"""Starts a verification, or joins the one that is under way."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import Busy, InvalidRequest
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.host.command import Command
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.commands import is_repeatable
from cc_orchestrator.verify.detached import start_detached
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import verifications
from cc_orchestrator.verify.rulefile import Loaded
from cc_orchestrator.verify.verdict import hash_rules


def start_verification(
    workspace: Workspace, run_id: str, commands: Sequence[Command], rules: Loaded, *, timeout_seconds: float, channel: str, clock: Clock
) -> tuple[JobDir, bool]:  # fmt: skip
    """The job, and whether this call made it: the same request while one is under way gives that one.

    Raises Conflict (the run is live), InvalidRequest, Busy (another request is under way), Unavailable; nothing was started.
    """
    spec, _state = read_ended_run(workspace, run_id)
    if commands and not spec.allow_write:
        raise InvalidRequest(
            f"{run_id} is read-only: it has no result to test", hint=f'cc_verify {{"run_id":"{run_id}"}}'
        )
    shown = [command.shown for command in commands]
    request: dict[str, Any] = {
        "v": 1, "run_id": run_id, "task_id": spec.task_id, "commands": shown, "timeout_seconds": timeout_seconds,
        "rules": hash_rules(scope=spec.scope._asdict(), commands=shown, timeout_seconds=timeout_seconds, key=rules.key),
        "key": rules.key,
        "workspace_root": workspace.root, "repository": workspace.repository, "actor": "controller", "channel": channel,
        "created_at": clock.now(), "repeatable": all(is_repeatable(command) for command in commands),
    }  # fmt: skip
    folder = workspace.verification(run_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(folder, "lock")):
        for job in verifications(workspace, run_id)[:1]:
            if read_job(job).status == "running":
                return _join(job, request), False
        job_id = new_id("ver", now=clock.now())
        job = start_detached(
            workspace, os.path.join(folder, job_id), {**request, "verify_id": job_id}, module="cc_orchestrator.verify.process",
            # Not in argv and in no file of ours: a command may hold a secret, and a worker must not find its hold-out checks.
            stdin=json.dumps({"argvs": [command.argv for command in commands], "rules": rules.plain}).encode("utf-8", "surrogateescape"),
            clock=clock,
        )  # fmt: skip
        return job, True


def _join(job: JobDir, request: dict[str, Any]) -> JobDir:
    running = atomic.read_json(job.request) or {}
    if running.get("rules") != request["rules"]:
        raise Busy(
            f"{job.job_id} verifies {request['run_id']} with other commands at this moment",
            hint=f'cc_wait {{"ids":["{job.job_id}"]}}, then verify again',
        )
    return job
