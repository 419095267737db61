"""Starts a verification: folder, lock, bell, journal, and a detached process that owns them."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import Busy, CcError, InvalidRequest, Unavailable
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.text import line
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.detach import detach
from cc_orchestrator.store import atomic, jobdir, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.commands import Command
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
        "created_at": clock.now(),
    }  # fmt: skip
    folder = workspace.verification(run_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(folder, "lock")):
        for job in verifications(workspace, run_id)[:1]:
            if read_job(job).status == "running":
                return _join(job, request), False
        job_id = new_id("ver", now=clock.now())
        return _start(
            workspace, os.path.join(folder, job_id), {**request, "verify_id": job_id}, commands, rules, clock
        ), True


def _join(job: JobDir, request: dict[str, Any]) -> JobDir:
    running = atomic.read_json(job.request) or {}
    if running.get("rules") != request["rules"]:
        raise Busy(
            f"{job.job_id} verifies {request['run_id']} with other commands at this moment",
            hint=f'cc_wait {{"ids":["{job.job_id}"]}}, then verify again',
        )
    return job


def _start(
    workspace: Workspace, path: str, request: dict[str, Any], commands: Sequence[Command], rules: Loaded, clock: Clock
) -> JobDir:  # fmt: skip
    hidden = JobDir(os.path.join(os.path.dirname(path), f".new-{request['verify_id']}"))
    job = JobDir(path)
    with ExitStack() as undo:
        os.mkdir(hidden.path, 0o700)
        undo.callback(shutil.rmtree, hidden.path, ignore_errors=True)
        held = lock.take(hidden.lock)
        assert held is not None, "nobody knows this folder yet"
        undo.callback(os.close, held)
        atomic.write_json(hidden.request, request)
        bell = _make_bell(hidden, request["verify_id"])
        if bell is not None:
            undo.callback(bell.close)
        undo.callback(jobdir.retire, workspace, job.job_id)
        jobdir.announce(workspace, job)
        os.rename(hidden.path, path)
        undo.pop_all()
    if sys.platform == "win32":
        os.close(held)
        held = -1
    _detach(workspace, job, {"argvs": [command.argv for command in commands], "rules": rules.plain}, held, bell, clock)
    return job


def _make_bell(hidden: JobDir, name: str) -> bells.Bell | None:
    try:
        path = bells.new_path(name)
        # The name first: whoever cleans up after a launch that died here finds the socket by it.
        atomic.write_text(hidden.bell, path)
        return bells.Bell.create(path)
    except OSError:
        # Without sockets waiters look once a slice.
        return None


def _detach(
    workspace: Workspace, job: JobDir, secret: dict[str, Any], held: int, bell: bells.Bell | None, clock: Clock
) -> None:  # fmt: skip
    bell_fd = bell.fileno() if bell is not None else -1
    try:
        with tempfile.TemporaryFile() as file:
            # Not in argv and in no file of ours: a command may hold a secret, and a worker must not find its hold-out checks.
            file.write(json.dumps(secret).encode("utf-8", "surrogateescape"))
            file.flush()
            file.seek(0)
            # cwd is ours: a project's own modules must not be found in place of the library's.
            detach(
                "cc_orchestrator.verify.process", [job.path, str(held), str(bell_fd)], cwd=job.path,
                stdin_fd=file.fileno(), pass_fds=[fd for fd in (held, bell_fd) if fd >= 0], stderr_path=job.log,
            )  # fmt: skip
    except (OSError, CcError) as error:
        journal = Journal(job.journal, job.job_id, clock)
        try:
            journal.append(
                [Fact(ev.JOB_FINISHED, {"status": "failed", "reason": f"spawn_failed: {line(str(error), 200)}"})]
            )
            journal.sync()
        finally:
            journal.close()
        jobdir.retire(workspace, job.job_id)
        raise Unavailable(f"the verification {job.job_id} could not be started: {error}", hint="cc_doctor") from error
    finally:
        if held >= 0:
            os.close(held)
        if bell is not None:
            bell.release()
