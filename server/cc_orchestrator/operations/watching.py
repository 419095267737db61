"""cc_poll and cc_wait: learn what runs do, for few tokens."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.core.text import clean
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT
from cc_orchestrator.operations.place import JOBS, locate_job, locate_queued, locate_run, settle_lost
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.requesting import locate_approval
from cc_orchestrator.operations.size import drop_empty, fit, size_of
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.summary import brief_event, next_call, summarize, tell_liveness
from cc_orchestrator.runs.wait import Look, Wake, Watched, WatchedRun, Woken, wait_for
from cc_orchestrator.store.journal import START, Cursor, last_events, parse_cursor, read_page
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.queue import QueueReader
from cc_orchestrator.tasks.watching import WatchedTask
from cc_orchestrator.verify.job import WatchedJob

#: A status-like answer has at most this many bytes.
SMALL = 1_536
#: Room for events in a controller's poll: with the summary the answer stays under 1.5 KB.
_CONTROLLER_EVENTS = 420
CHATTER = frozenset(
    {"run.usage", "policy.decided", "system.stderr", "run.turn", "run.session", "run.created", "tool.finished"}
)


class PollParams(Params):
    """Which run, from where, how much."""

    run_id: str
    cursor: Annotated[str | None, Field(description="Of your last answer: only what is new since.")] = None
    mode: Literal["controller", "events", "raw"] = "controller"
    max_bytes: Annotated[int, Field(ge=500, le=200_000, description="For modes events and raw.")] = 6_000


def _poll(ctx: Context, params: PollParams) -> dict[str, Any]:
    _workspace, run = locate_run(ctx, params.run_id)
    cursor = parse_cursor(params.cursor)
    if params.mode == "raw":
        return _raw(run, cursor, params.max_bytes)
    if params.mode == "events":
        return page_of(run, cursor, params.max_bytes, ctx.clock.now())
    return _controller(run, cursor, ctx.clock.now())


def _controller(run: RunDir, cursor: Cursor, now: float) -> dict[str, Any]:
    state, end = read_run(run)
    out = head(run, state, now)
    out["summary"] = summarize(state, now)
    fresh = read_page(run.journal, cursor, 1 << 18).events if cursor != START else last_events(run.journal, 12)
    rows = [brief_event(event, 120) for event in fresh if event["type"] not in CHATTER]
    kept: list[dict[str, Any]] = []
    room = _CONTROLLER_EVENTS
    for row in reversed(rows):
        room -= size_of(row) + 1
        if room < 0:
            break
        kept.insert(0, row)
    out["events"] = kept
    out["new_events"] = max(0, end.seq - cursor.seq)
    out.update(cursor=str(end), done=state["status"] in ENDS, next=next_call(state))
    return fit(drop_empty(out), SMALL)


def head(run: RunDir, state: dict[str, Any], now: float) -> dict[str, Any]:
    """What every answer about one run begins with."""
    return {"run_id": run.run_id, "status": state["status"], "reason": state["reason"], "as_of": iso(now)}


def page_of(run: RunDir, cursor: Cursor, max_bytes: int, now: float) -> dict[str, Any]:
    """Brief events after a cursor, at most `max_bytes` of them but at least one when there is one."""
    state, _end = read_run(run)
    page = read_page(run.journal, cursor, max_bytes * 4)
    rows: list[dict[str, Any]] = []
    used, after = 0, cursor
    for event, place in zip(page.events, page.after, strict=True):
        row = brief_event(event)
        used += size_of(row) + 1
        if used > max_bytes and rows:
            break
        rows.append(row)
        after = place
    if len(rows) == len(page.events):
        after = page.cursor
    out = head(run, state, now)
    more = page.more or len(rows) < len(page.events)
    out.update(
        events=rows, cursor=str(after), truncated=more, done=state["status"] in ENDS and not more, next=next_call(state)
    )
    return {key: value for key, value in out.items() if value is not None}


def _raw(run: RunDir, cursor: Cursor, max_bytes: int) -> dict[str, Any]:
    path = run.at("stdout.raw")
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(min(cursor.offset, size))
            data = file.read(max_bytes)
    except FileNotFoundError:
        data, size = b"", 0
    end = data.rfind(b"\n") + 1
    if end:
        data = data[:end]
    offset = min(cursor.offset, size) + len(data)
    return {
        "run_id": run.run_id, "untrusted_stdout": clean(data.decode("utf-8", "replace")), "cursor": str(Cursor(offset, 0)),
        "size": size, "truncated": offset < size, "path": path,
    }  # fmt: skip


class WaitParams(Params):
    """What to wait for."""

    ids: Annotated[
        list[str],
        Field(
            min_length=1, max_length=200, description="run_…, task_… (queued), ver_…, rev_…, fix_…, dlv_…, apr_… ids."
        ),
    ]
    until: Literal["any", "all"] = "any"
    wake: Annotated[list[Wake], Field(description="finished always wakes.")] = ["finished", "question", "attention"]
    timeout_seconds: Annotated[
        float | None, Field(ge=0, le=MAX_WAIT, description="Default: 45, more for a client that bears more.")
    ] = None


def _wait(ctx: Context, params: WaitParams) -> dict[str, Any]:
    wake = frozenset(params.wake)
    queues: dict[str, QueueReader] = {}
    watched = [_watched(ctx, name, wake, queues) for name in dict.fromkeys(params.ids)]
    result = _sleep(ctx, watched, params)
    woken = [(item, _settle(ctx, item, look)) for item, look in result.woke]
    now = ctx.clock.now()
    detailed = len(woken) == 1
    woke = [
        drop_empty({"id": item.id, "status": look.status, "reason": look.reason, "woke_by": look.woke})
        for item, look in woken
    ]
    if detailed and isinstance(result.woke[0][0], WatchedRun):
        woke[0]["summary"] = summarize(result.woke[0][0].reading.state, now, said=400)
    for row, (item, _look) in zip(woke, woken, strict=True):
        if isinstance(item, WatchedTask) and item.run_id:
            row["run_id"] = item.run_id
    pending = [
        {"id": item.id, "status": look.status}
        | (tell_liveness(item.reading.state, now) if isinstance(item, WatchedRun) else {})
        for item, look in result.pending
    ]
    return {
        "woke": woke,
        "pending": pending[:20],
        "as_of": iso(now),
        "done": not pending,
        "next": _after_wait(result.woke, pending),
    }


def _settle(ctx: Context, item: Watched, look: Look) -> Look:
    """What is lost is closed, and what is left of its tree killed, before the answer, which then has its reason."""
    if look.status != "lost" or isinstance(item, WatchedTask):
        return look
    (locate_run if isinstance(item, WatchedRun) else locate_job)(ctx, item.id)
    return item.look(ctx.clock.now())


def _sleep(ctx: Context, watched: list[Watched], params: WaitParams) -> Woken:
    """Wait as long as was asked for, or as long as this client is known to bear."""
    given = params.timeout_seconds
    seconds = ctx.patience.seconds(ctx.client) if given is None else given
    begun = ctx.clock.mono()
    result = wait_for(watched, params.until, seconds, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    slept = ctx.clock.mono() - begun
    if ctx.cancelled():
        ctx.patience.gave_up(ctx.client, slept)
    elif given is None and not result.woke:
        ctx.patience.came_back_empty(ctx.client, slept)
    return result


def _watched(ctx: Context, name: str, wake: frozenset[str], queues: dict[str, QueueReader]) -> Watched:
    if is_id(name, "run"):
        _workspace, run = locate_run(ctx, name)
        return WatchedRun(run, wake)
    if any(is_id(name, kind) for kind in JOBS):
        _workspace, job = locate_job(ctx, name)
        return WatchedJob(job)
    if is_id(name, "apr"):
        return locate_approval(ctx, name)
    if is_id(name, "task"):
        workspace = locate_queued(ctx, name)
        queue = queues.setdefault(workspace.root, QueueReader(workspace))
        return WatchedTask(workspace, name, wake, queue, lambda: settle_lost(ctx, workspace))
    raise InvalidRequest(
        f"{name[:60]!a} is no run_…, task_…, ver_…, rev_…, fix_…, dlv_… or apr_… id", hint="cc_status lists ids"
    )


def _after_wait(woke: list[tuple[Watched, Any]], pending: list[dict[str, Any]]) -> str:
    for item, _look in woke:
        if isinstance(item, WatchedRun):
            return next_call(item.reading.state)
        if isinstance(item, WatchedTask):
            return f'cc_run_status {{"run_id":"{item.run_id}"}}' if item.run_id else "cc_queue_status {}"
        if is_id(item.id, "dlv"):
            return f'cc_read {{"name":"cc_delivery","arguments":{{"delivery_id":"{item.id}"}}}}'
        if is_id(item.id, "apr"):
            return f'cc_approvals {{"action":"show","approval_id":"{item.id}"}}'
        if is_id(item.id, "rev") or is_id(item.id, "fix"):
            return f'cc_read {{"name":"cc_review","arguments":{{"id":"{item.id}"}}}}'
        return f'cc_read {{"name":"cc_verification","arguments":{{"verify_id":"{item.id}"}}}}'
    return f"cc_wait {json.dumps({'ids': [row['id'] for row in pending[:20]]}, separators=(',', ':'))}"


POLL = register(Operation(
    name="cc_poll", words=("poll",), toolset="core", effect="read", default_on=True, hot=True,
    summary="What a run does now, and what is new since a cursor. Cheap at any length.",
    params=PollParams, handler=_poll, aliases=("cc_poll_run",), positional="run_id", result_cap=210_000, idempotent=True,
    search_hint="poll progress status events of a run",
))  # fmt: skip
WAIT = register(Operation(
    name="cc_wait", words=("wait",), toolset="core", effect="read", default_on=True, hot=True,
    summary="Sleep until any or all of some runs, verifications or deliveries finish, ask or need attention. Use it instead of polling.",
    params=WaitParams, handler=_wait, positional="ids", idempotent=True, search_hint="wait sleep until finished question",
))  # fmt: skip
