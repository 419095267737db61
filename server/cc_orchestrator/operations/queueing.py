"""cc_queue_submit, cc_queue_tick, cc_queue_status, cc_queue_cancel, cc_queue_policy: work that waits for its turn."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.redact import mask, mask_text
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import RunParams, ScopeParams, Seconds, check_role, load_script
from cc_orchestrator.operations.place import prepare_workspace, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register, tell_fields
from cc_orchestrator.operations.size import drop_empty, size_of
from cc_orchestrator.routing.route import choose_route
from cc_orchestrator.runs.wait import wait_for
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.paths import Workspace, existing_folder
from cc_orchestrator.tasks.board import REMEMBERED_STARTS, STATES, Board, Job
from cc_orchestrator.tasks.queue import (
    QueueReader,
    Submission,
    ask_cancel,
    find_job,
    read_policy,
    read_queue,
    rouse_engine,
    submit,
)
from cc_orchestrator.tasks.schedule import QueuePolicy, schedule
from cc_orchestrator.tasks.watching import WatchedQueue, WatchedTask, current_run

Answer = dict[str, Any]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,60}$")]
#: How long a tick waits for what can be started to be started.
TICK_SECONDS = 10.0
_ROOM = 6_500


class QueueSubmitParams(RunParams):
    """A run for the queue: what cc_run_streaming takes, and when its turn comes."""

    timeout_seconds: Seconds = 900.0
    priority: Annotated[
        int | None, Field(ge=-1000, le=1000, description="Higher goes first. Default: policy, 100.")
    ] = None
    queue: Name = "default"
    not_before: Annotated[str | float | None, Field(description="ISO 8601 or epoch seconds.")] = None
    depends_on: Annotated[list[str], Field(max_length=100, description="Jobs that must be done before.")] = []
    resources: Annotated[list[Name], Field(max_length=20, description="Names it needs alone, e.g. port-8080.")] = []
    max_retries: Annotated[
        int | None,
        Field(ge=0, le=5, description="After a failure; 0: none. Default: policy, 1 for readers, 0 for writers."),
    ] = None


def _submit(ctx: Context, params: QueueSubmitParams) -> Answer:
    cwd = existing_folder(params.cwd or ctx.cwd)
    workspace = workspace_of(ctx, cwd)
    prepare_workspace(ctx, workspace)
    policy = read_policy(workspace)
    submission = _submission(ctx, params, cwd, policy)
    task_id, created = submit(workspace, submission, ctx.clock)
    rouse_engine(workspace, ctx.env)
    board = read_queue(workspace)
    job = board.jobs[task_id]
    return drop_empty({
        "job_id": task_id, "task_id": task_id, "status": job.state, "queue": job.queue, "priority": job.priority,
        "not_before": iso(job.not_before) if job.not_before is not None else None, "max_retries": job.max_retries,
        "timeout_seconds": submission.start["timeout_seconds"], "repeated": None if created else True,
        "ahead": sum(1 for row in board.waiting if row < (-job.priority, job.created_at, task_id)) if job.state == "queued" else None,
        "next": f'cc_wait {{"ids":["{task_id}"]}}',
    })  # fmt: skip


def _submission(ctx: Context, params: QueueSubmitParams, cwd: str, policy: QueuePolicy) -> Submission:
    """Everything checked that can be checked now: a job that cannot start must not find out at night."""
    check_role(params.role)
    choose_route(params.adapter, params.model, params.profile, adapter_names())
    if params.resume_on_limit:
        raise InvalidRequest("resume_on_limit is for direct runs: the queue tries again itself", hint="max_retries=1")
    start = {name: value for name, value in params.model_dump(mode="json").items() if name in RunParams.model_fields}
    if isinstance(params.script, str):
        start["script"] = load_script(params.script, cwd)
    start.update(cwd=cwd, client_request_id=None)
    if "timeout_seconds" not in params.model_fields_set:
        start["timeout_seconds"] = policy.default_timeout_seconds
    _refuse_secrets(start)
    RunParams.model_validate(start)
    facts = drop_empty({
        "queue": params.queue, "priority": policy.default_priority if params.priority is None else params.priority,
        "not_before": _when(params.not_before), "depends_on": list(dict.fromkeys(params.depends_on)),
        "max_retries": _retries(params, policy), "profile": params.adapter if params.profile is None else f"{params.adapter}/{params.profile}",
        "allow_write": params.allow_write, "resources": sorted(set(params.resources)),
        "writes": list(params.scope.allow) if params.allow_write and params.scope is not None else [],
        "title": line(mask_text(params.task[:2_000]), 80),
    })  # fmt: skip
    scope = (params.scope or ScopeParams()).model_dump()
    return Submission(params.task, start, facts, scope, ctx.channel, params.risk, params.client_request_id)


def _refuse_secrets(start: Answer) -> None:
    """The text lies on disk until its turn, and a worker must get what was said: so no secret, and no mask in its place."""
    text = json.dumps([start["task"], start["context"], start["script"]], ensure_ascii=False)
    kinds = mask(text.encode("utf-8", "replace"))[1]
    if kinds:
        raise InvalidRequest(
            f"the task holds what looks like a secret ({', '.join(sorted(kinds))}), and a queued task lies on disk; nothing was queued",
            hint='grant it by name: secrets=["NAME"], or start at once: cc_run_streaming',
        )


def _retries(params: QueueSubmitParams, policy: QueuePolicy) -> int:
    if params.allow_write:
        if params.max_retries and not policy.retry_write_enabled:
            raise InvalidRequest(
                "a run that writes is not tried again by itself here: max_retries must be 0",
                hint='max_retries=0; or cc_queue_policy {"config":{"retry_write_enabled":1},"apply":true}',
            )
        return params.max_retries or 0
    return policy.retry_failed_read_only if params.max_retries is None else params.max_retries


def _when(value: str | float | None) -> float | None:
    if value is None or isinstance(value, float | int):
        return value
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise InvalidRequest(f"not_before {value[:60]!a} is no time: {error}", hint="2026-01-31T22:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


# ---------------------------------------------------------------- status, tick, cancel


class QueueStatusParams(Params):
    """What to list."""

    include_finished: bool = True
    state: Literal["queued", "running", "done", "failed", "timed_out", "cancelled"] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 30
    cwd: str | None = None


def _status(ctx: Context, params: QueueStatusParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    board = read_queue(workspace)
    policy = read_policy(workspace)
    now = ctx.clock.now()
    states = {params.state} if params.state else set(STATES) if params.include_finished else {"queued", "running"}
    held = schedule(board, policy, now).held
    jobs = [job for job in _in_order(board, params) if job.state in states]
    rows: list[Answer] = []
    room = _ROOM
    for job in jobs[: params.limit]:
        row = _row(workspace, job, held.get(job.task_id), now)
        room -= size_of(row)
        if room < 0:
            break
        rows.append(row)
    return {
        "jobs": rows, "count": len(jobs), "state_counts": {state: count for state, count in board.counts.items() if count},
        "policy": _shown(policy), "engine": "running" if lock.is_held(workspace.engine("lock")) else "idle",
        "as_of": iso(now), "truncated": len(rows) < len(jobs), "next": _after(board),
    }  # fmt: skip


def _in_order(board: Board, params: QueueStatusParams) -> list[Job]:
    """Running, then queued by their turn, then ended, the latest first."""
    jobs = [board.jobs[task_id] for task_id in board.running]
    jobs += [board.jobs[row[2]] for row in board.waiting]
    if params.include_finished or params.state not in (None, "queued", "running"):
        ended = [job for job in board.jobs.values() if job.ended_at is not None]
        jobs += sorted(ended, key=lambda job: -(job.ended_at or 0))
    return jobs


def _row(workspace: Workspace, job: Job, held: str | None, now: float) -> Answer:
    return drop_empty({
        "job_id": job.task_id, "status": job.state, "reason": job.reason, "waits_for": held if job.state == "queued" else None,
        "run_id": current_run(workspace, job), "priority": job.priority, "queue": job.queue if job.queue != "default" else None, "title": job.title,
        "attempts": job.starts or None, "not_before": iso(job.not_before) if job.not_before is not None else None,
        "age_s": round(now - job.created_at),
    })  # fmt: skip


def _after(board: Board) -> str:
    live = [*board.running, *(row[2] for row in board.waiting)]
    if live:
        return f"cc_wait {json.dumps({'ids': live[:8]}, separators=(',', ':'))}"
    return 'cc_queue_submit {"task":"…"}'


class QueueTickParams(Params):
    """Which workspace."""

    cwd: str | None = None


def _tick(ctx: Context, params: QueueTickParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    watched = WatchedQueue(workspace, read_policy(workspace))
    before = dict(watched.board.jobs)
    if watched.board.live:
        rouse_engine(workspace, ctx.env)
        wait_for([watched], "any", TICK_SECONDS, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    board, now = watched.board, ctx.clock.now()
    started = [
        job for job in board.jobs.values() if job.starts > (before[job.task_id].starts if job.task_id in before else 0)
    ]
    return {
        "max_concurrent": read_policy(workspace).max_concurrent, "slots_used": len(board.running),
        "started": [_row(workspace, job, None, now) for job in started[:20]], "started_count": len(started),
        "state_counts": {state: count for state, count in board.counts.items() if count}, "as_of": iso(now), "next": _after(board),
    }  # fmt: skip


class QueueCancelParams(Params):
    """Which job."""

    job_id: str
    cwd: str | None = None


def _cancel(ctx: Context, params: QueueCancelParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    job = find_job(workspace, read_queue(workspace), params.job_id)
    if job.ended_at is not None:
        row = _row(workspace, job, None, ctx.clock.now())
        return {
            "cancelled": job.state == "cancelled",
            "note": "it had already ended",
            "job": row,
            "next": "cc_queue_status {}",
        }
    ask_cancel(workspace, job.task_id, ctx.channel, ctx.clock)
    rouse_engine(workspace, ctx.env)
    watched = WatchedTask(workspace, job.task_id, frozenset(), QueueReader(workspace), lambda: None)
    wait_for([watched], "any", TICK_SECONDS, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    job = watched.job
    return {
        "cancelled": job.state == "cancelled", "job": _row(workspace, job, None, ctx.clock.now()),
        "next": "cc_queue_status {}" if job.ended_at is not None else f'cc_wait {{"ids":["{job.task_id}"]}}',
    }  # fmt: skip


# ---------------------------------------------------------------- policy


class CapConfig(Params):
    """A limit."""

    max_concurrent: Annotated[int | None, Field(ge=0, le=1000)] = None
    starts: Annotated[
        int | None, Field(ge=1, le=REMEMBERED_STARTS, description="At most so many in any `seconds`.")
    ] = None
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0


class AccountConfig(CapConfig):
    """A provider's account and who uses it."""

    profiles: Annotated[list[str], Field(min_length=1, max_length=50, description="adapter or adapter/profile")]


class QueueConfig(Params):
    """What a workspace's queue allows."""

    max_concurrent: Annotated[int, Field(ge=1, le=1000)] = 3
    default_priority: Annotated[int, Field(ge=-1000, le=1000)] = 100
    default_timeout_seconds: Seconds = 900.0
    retry_failed_read_only: Annotated[int, Field(ge=0, le=5)] = 1
    retry_write_enabled: Annotated[int, Field(ge=0, le=1)] = 0
    write_overlap: Annotated[
        Literal["wait", "allow"],
        Field(description="Writers whose scope.allow overlap: one after the other, or side by side."),
    ] = "wait"
    stop_timed_out: Annotated[Literal[True], Field(description="A run past its time is always stopped.")] = True
    queues: dict[Name, CapConfig] = {}
    profiles: Annotated[dict[str, CapConfig], Field(description="By adapter or adapter/profile.")] = {}
    accounts: Annotated[dict[Name, AccountConfig], Field(description="Profiles that share a provider's account.")] = {}


class QueuePolicyParams(Params):
    """Changes to the policy."""

    config: Annotated[dict[str, Any], Field(description="Keys to change; max_concurrent, queues, accounts, …")] = {}
    apply: Annotated[bool, Field(description="Write it; else only show what it would be.")] = False
    cwd: str | None = None


def _policy(ctx: Context, params: QueuePolicyParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    now = atomic.read_json(workspace.queue_policy) or {}
    try:
        wanted = QueueConfig.model_validate({**now, **params.config})
    except ValidationError as error:
        raise InvalidRequest(
            f"that is no queue policy: {line(tell_fields(error, 4), 400)}; known: {', '.join(QueueConfig.model_fields)}",
            hint='cc_queue_policy {"config":{"max_concurrent":3}}',
        ) from None
    if params.apply and params.config:
        prepare_workspace(ctx, workspace)
        atomic.write_json(workspace.queue_policy, wanted.model_dump(mode="json", exclude_unset=True))
        if os.path.exists(workspace.queue_pending):
            rouse_engine(workspace, ctx.env)
    shown = wanted.model_dump(mode="json", exclude_none=True)
    return {
        "applied": params.apply and bool(params.config), "policy": shown, "path": workspace.queue_policy,
        "next": "cc_queue_status {}" if params.apply else "apply=true writes it",
    }  # fmt: skip


def _shown(policy: QueuePolicy) -> Answer:
    plain = {key: value for key, value in policy._asdict().items() if not isinstance(value, dict)}
    caps = {key: sorted(getattr(policy, key)) for key in ("queues", "profiles", "accounts")}
    return {**plain, **{key: names for key, names in caps.items() if names}}


SUBMIT = register(Operation(
    name="cc_queue_submit", words=("queue-submit",), toolset="queue", effect="open_world", act="dispatch",
    summary="Queue a task: a worker starts on it when its turn comes, also after a restart. Answers at once with job_id.",
    params=QueueSubmitParams, handler=_submit, positional="task", result_cap=1_536, long_texts=("task", "context"),
    search_hint="queue submit task later priority batch many workers",
))  # fmt: skip
TICK = register(Operation(
    name="cc_queue_tick", words=("queue-tick",), toolset="queue", effect="open_world", act="dispatch",
    summary="See to it that everything is started that may start now, and say what was. The engine does it by itself.",
    params=QueueTickParams, handler=_tick, search_hint="queue start next jobs",
))  # fmt: skip
STATUS = register(Operation(
    name="cc_queue_status", words=("queue-status",), toolset="queue", effect="read", idempotent=True,
    summary="The queue: running, waiting in their order and why, ended; how many in each state.",
    params=QueueStatusParams, handler=_status, search_hint="queue jobs list pending",
))  # fmt: skip
CANCEL = register(Operation(
    name="cc_queue_cancel", words=("queue-cancel",), toolset="queue", effect="destructive", idempotent=True,
    summary="Take a job out of the queue, or stop its run.",
    params=QueueCancelParams, handler=_cancel, positional="job_id", search_hint="queue cancel remove job",
))  # fmt: skip
POLICY = register(Operation(
    name="cc_queue_policy", words=("queue-policy",), toolset="queue", effect="write", act="set",
    summary="Show or change how many jobs run at once (in all, by queue, profile, account), how often they start, retries.",
    params=QueuePolicyParams, handler=_policy, search_hint="queue concurrency rate limit retries settings",
))  # fmt: skip
