"""cc_poll, cc_wait, cc_run_status, cc_status, cc_last_run, cc_summarize_run, cc_compact_events: learn what runs do, for few tokens."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import InvalidRequest, NotFound
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.states import ENDS, LIVE
from cc_orchestrator.core.text import clean, cut
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT, outcome
from cc_orchestrator.operations.place import locate_run, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.artifacts import write_all
from cc_orchestrator.runs.fold import claimed, part
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.risk import find_flags, summarize_flags
from cc_orchestrator.runs.summary import brief_event, liveness, name_tools, next_call, summarize
from cc_orchestrator.runs.wait import Wake, Watched, WatchedRun, wait_for
from cc_orchestrator.store import index
from cc_orchestrator.store.journal import START, Cursor, last_events, parse_cursor, read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

#: Room for events in a controller's poll: with the summary the answer stays under 1.5 KB.
_CONTROLLER_EVENTS = 420
_CHATTER = frozenset(
    {"run.usage", "policy.decided", "system.stderr", "run.turn", "run.session", "run.created", "tool.finished"}
)


def size_of(value: Any) -> int:
    """Bytes of `value` as compact JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def drop_empty(value: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that say nothing."""
    return {key: entry for key, entry in value.items() if entry is not None and entry != [] and entry != {}}


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
        return _events(run, cursor, params.max_bytes, ctx.clock.now())
    return _controller(run, cursor, ctx.clock.now())


def _controller(run: RunDir, cursor: Cursor, now: float) -> dict[str, Any]:
    state, end = read_run(run)
    out = head(run, state, now)
    out["summary"] = summarize(state, now)
    fresh = read_page(run.journal, cursor, 1 << 18).events if cursor != START else last_events(run.journal, 12)
    rows = [brief_event(event, 120) for event in fresh if event["type"] not in _CHATTER]
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
    return drop_empty(out)


def head(run: RunDir, state: dict[str, Any], now: float) -> dict[str, Any]:
    """What every answer about one run begins with."""
    return {"run_id": run.run_id, "status": state["status"], "reason": state["reason"], "as_of": iso(now)}


def _events(run: RunDir, cursor: Cursor, max_bytes: int, now: float) -> dict[str, Any]:
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

    ids: Annotated[list[str], Field(min_length=1, max_length=200, description="run_… and ver_… ids.")]
    until: Literal["any", "all"] = "any"
    wake: Annotated[list[Wake], Field(description="finished always wakes.")] = ["finished", "question", "attention"]
    timeout_seconds: Annotated[float, Field(ge=0, le=MAX_WAIT)] = 45.0


def _wait(ctx: Context, params: WaitParams) -> dict[str, Any]:
    wake = frozenset(params.wake)
    watched = [_watched(ctx, name, wake) for name in dict.fromkeys(params.ids)]
    result = wait_for(
        watched, params.until, params.timeout_seconds, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress
    )
    # A lost run is closed and its tree killed before the answer.
    for item, look in result.woke:
        if look.status == "lost" and isinstance(item, WatchedRun):
            locate_run(ctx, item.id)
    now = ctx.clock.now()
    detailed = len(result.woke) == 1
    woke = [
        drop_empty({"id": item.id, "status": look.status, "reason": look.reason, "woke_by": look.woke})
        for item, look in result.woke
    ]
    if detailed and isinstance(result.woke[0][0], WatchedRun):
        woke[0]["summary"] = summarize(result.woke[0][0].reading.state, now, said=400)
    pending = [
        {"id": item.id, "status": look.status}
        | ({"liveness": liveness(item.reading.state, now)} if isinstance(item, WatchedRun) else {})
        for item, look in result.pending
    ]
    return {
        "woke": woke,
        "pending": pending[:20],
        "as_of": iso(now),
        "done": not pending,
        "next": _after_wait(result.woke, pending),
    }


def _watched(ctx: Context, name: str, wake: frozenset[str]) -> Watched:
    if is_id(name, "run"):
        _workspace, run = locate_run(ctx, name)
        return WatchedRun(run, wake)
    raise InvalidRequest(f"{name[:60]!a} is no run_… id", hint="cc_status lists ids")


def _after_wait(woke: list[tuple[Watched, Any]], pending: list[dict[str, Any]]) -> str:
    for item, _look in woke:
        if isinstance(item, WatchedRun):
            return next_call(item.reading.state)
        return f'cc_read {{"name":"cc_verification","arguments":{{"verify_id":"{item.id}"}}}}'
    return f"cc_wait {json.dumps({'ids': [row['id'] for row in pending[:20]]}, separators=(',', ':'))}"


class RunStatusParams(Params):
    """One run, or the list."""

    run_id: str | None = None
    include_finished: bool = False
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cwd: str | None = None


def _run_status(ctx: Context, params: RunStatusParams) -> dict[str, Any]:
    now = ctx.clock.now()
    if params.run_id is not None:
        _workspace, run = locate_run(ctx, params.run_id)
        state, end = read_run(run)
        return drop_empty({
            **head(run, state, now), "summary": summarize(state, now), "cursor": str(end), "done": state["status"] in ENDS,
            "next": next_call(state),
        })  # fmt: skip
    workspace = workspace_of(ctx, params.cwd)
    where = "1" if params.include_finished else "finished_at is null"
    rows = index.select(workspace.index, where, limit=params.limit + 1)
    listed = [_row(workspace, row, now) for row in rows[: params.limit]]
    kept: list[dict[str, Any]] = []
    room = 7_000
    for row in listed:
        room -= size_of(row)
        if room < 0:
            break
        kept.append(row)
    return {"runs": kept, "count": len(kept), "as_of": iso(now), "truncated": len(rows) > len(kept)}


def _row(workspace: Workspace, row: dict[str, Any], now: float) -> dict[str, Any]:
    out: dict[str, Any] = {
        "run_id": row["run_id"], "status": row["status"], "reason": row["reason"], "adapter": row["adapter"], "role": row["role"],
        "model": row["actual_model"] or row["model"], "cost_usd": row["cost_usd"],
    }  # fmt: skip
    if row["finished_at"] is None:
        path = workspace.run(str(row["run_id"]))
        if os.path.isdir(path):
            state = read_run(RunDir(path)).state
            out.update(status=state["status"], reason=state["reason"], liveness=liveness(state, now))
            out["elapsed_s"] = round(now - float(row["created_at"]))
    return {key: value for key, value in out.items() if value is not None}


class StatusParams(Params):
    """Which workspace."""

    cwd: str | None = None


def _status(ctx: Context, params: StatusParams) -> dict[str, Any]:
    workspace = workspace_of(ctx, params.cwd)
    now = ctx.clock.now()
    live = [_row(workspace, row, now) for row in index.select(workspace.index, "finished_at is null", limit=20)]
    attention = [row for row in live if row["status"] == "waiting" or row.get("liveness") == "slow"]
    recent = [_row(workspace, row, now) for row in index.select(workspace.index, "finished_at is not null", limit=5)]
    day = index.sums(workspace.index, now - 86_400)
    counts: dict[str, int] = {}
    cost, unknown = 0.0, 0
    for entry in day:
        counts[str(entry["status"])] = counts.get(str(entry["status"]), 0) + int(entry["runs"])
        cost += float(entry["cost_usd"] or 0)
        unknown += int(entry["cost_unknown"] or 0)
    return drop_empty({
        "workspace": workspace.root, "attention": attention[:5], "live": live[:6], "live_count": len(live), "recent": recent,
        "last_24h": {"runs": counts, "cost_usd": round(cost, 4), "runs_with_unknown_cost": unknown}, "as_of": iso(now),
        "next": next_from(live, recent),
    })  # fmt: skip


def next_from(live: list[dict[str, Any]], recent: list[dict[str, Any]]) -> str:
    """The call that fits best."""
    if live:
        return f"cc_wait {json.dumps({'ids': [row['run_id'] for row in live[:10]]}, separators=(',', ':'))}"
    if recent and recent[0]["status"] == "succeeded":
        return f'cc_verify {{"run_id":"{recent[0]["run_id"]}"}}'
    return 'cc_run_streaming {"task":"…"}'


class LastRunParams(Params):
    """One run or the latest."""

    run_id: str | None = None
    cwd: str | None = None


def _last_run(ctx: Context, params: LastRunParams) -> dict[str, Any]:
    if params.run_id is None:
        workspace = workspace_of(ctx, params.cwd)
        rows = index.select(workspace.index, limit=1)
        if not rows:
            raise NotFound(f"no run yet in {workspace.root}", hint='cc_run_streaming {"task":"…"}')
        run = RunDir(workspace.existing_run(str(rows[0]["run_id"])))
    else:
        _workspace, run = locate_run(ctx, params.run_id)
    return outcome(run, ctx.clock.now())


class SummarizeParams(Params):
    """Which run."""

    run_id: str
    write_artifacts: Annotated[bool, Field(description="Make the run's cache files anew (ended runs).")] = False


def _summarize(ctx: Context, params: SummarizeParams) -> dict[str, Any]:
    _workspace, run = locate_run(ctx, params.run_id)
    now = ctx.clock.now()
    state, _end = read_run(run)
    if params.write_artifacts:
        if state["status"] in LIVE:
            raise InvalidRequest(f"{run.run_id} is live: its supervisor writes its files", hint="write_artifacts=false")
        write_all(run, state, ctx.clock)
    snapshot = part(state, "snapshot")
    timeline = [
        f"{tool} x{count}" if count > 1 else tool for _first, _last, tool, count, _target in state["timeline"][-20:]
    ]
    said = claimed(state).get("text", "")
    return drop_empty({
        **head(run, state, now), "task_id": state["task_id"], "summary": summarize(state, now, said=0),
        "claimed": {"untrusted_text": cut(str(said), 1_500)} if said else None,
        "observed": part(state, "completion").get("observed"), "risk": _risk(state, now),
        "changed_files": [{key: row.get(key) for key in ("path", "status", "added", "deleted")} for row in snapshot.get("files", [])[:25]],
        "timeline": timeline, "notices": state["notices"][-5:], "stderr_tail": cut(state["stderr"][-400:], 400) or None,
        "path": run.path, "next": next_call(state),
    })  # fmt: skip


def _risk(state: dict[str, Any], now: float) -> dict[str, Any]:
    report = summarize_flags(find_flags(state, now))
    report["flags"] = [
        {key: flag[key] for key in ("code", "severity", "blocking", "message")} for flag in report["flags"][:8]
    ]
    return report


class CompactParams(Params):
    """Which run, from where."""

    run_id: str
    cursor: str | None = None
    max_bytes: Annotated[int, Field(ge=500, le=100_000)] = 4_000


def _compact(ctx: Context, params: CompactParams) -> dict[str, Any]:
    _workspace, run = locate_run(ctx, params.run_id)
    answer = _events(run, parse_cursor(params.cursor), params.max_bytes * 3, ctx.clock.now())
    rows: list[dict[str, Any]] = []
    for row in answer["events"]:
        if row["type"] in _CHATTER:
            continue
        same = (
            rows
            and row["type"] == "tool.started"
            and rows[-1].get("tool") == row.get("tool")
            and rows[-1]["type"] == row["type"]
        )
        if same:
            rows[-1]["times"] = rows[-1].get("times", 1) + 1
            rows[-1]["target"] = row.get("target")
        else:
            rows.append(row)
    state = read_run(run).state
    answer.update(events=rows, tools=name_tools(state))
    return answer


POLL = register(Operation(
    name="cc_poll", words=("poll",), toolset="core", effect="read", default_on=True, hot=True,
    summary="What a run does now, and what is new since a cursor. Cheap at any length.",
    params=PollParams, handler=_poll, aliases=("cc_poll_run",), positional="run_id", result_cap=210_000, idempotent=True,
    search_hint="poll progress status events of a run",
))  # fmt: skip
WAIT = register(Operation(
    name="cc_wait", words=("wait",), toolset="core", effect="read", default_on=True, hot=True,
    summary="Sleep until any or all of some runs or verifications finish, ask or need attention. Use it instead of polling.",
    params=WaitParams, handler=_wait, positional="ids", idempotent=True, search_hint="wait sleep until finished question",
))  # fmt: skip
RUN_STATUS = register(Operation(
    name="cc_run_status", words=("run-status",), toolset="core", effect="read",
    summary="One run without its events, or the list of live (or all) runs.",
    params=RunStatusParams, handler=_run_status, positional="run_id", idempotent=True, search_hint="list runs status",
))  # fmt: skip
STATUS = register(Operation(
    name="cc_status", words=("status",), toolset="core", effect="read", default_on=True,
    summary="The workspace at a glance: what needs you first, live runs, recent ends, cost of the day.",
    params=StatusParams, handler=_status, idempotent=True, search_hint="overview workspace dashboard attention",
))  # fmt: skip
LAST_RUN = register(Operation(
    name="cc_last_run", words=("last-run",), toolset="core", effect="read",
    summary="The latest (or one) run with what the worker says it did.",
    params=LastRunParams, handler=_last_run, positional="run_id", idempotent=True, search_hint="last run result answer output",
))  # fmt: skip
SUMMARIZE = register(Operation(
    name="cc_summarize_run", words=("summarize",), toolset="core", effect="write",
    summary="A run on one page: claim, observation, risk flags, changed files, tool timeline.",
    params=SummarizeParams, handler=_summarize, positional="run_id", idempotent=True, search_hint="summary report risk changed files",
))  # fmt: skip
COMPACT = register(Operation(
    name="cc_compact_events", words=("events",), toolset="core", effect="read",
    summary="A run's events from a cursor, repeated tools folded.",
    params=CompactParams, handler=_compact, positional="run_id", idempotent=True, search_hint="events timeline log",
))  # fmt: skip
