"""cc_run_status, cc_status, cc_last_run: the runs of a workspace at a glance."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import NotFound
from cc_orchestrator.core.states import ENDS, LIVE
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import outcome
from cc_orchestrator.operations.place import locate_run, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty, fit, size_of
from cc_orchestrator.operations.watching import SMALL, head
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.summary import next_call, summarize, tell_liveness
from cc_orchestrator.store import index
from cc_orchestrator.store.jobdir import live_jobs
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, later_runs
from cc_orchestrator.tasks.queue import read_queue

#: So many live runs are looked at; a workspace with more shows the latest.
_MOST_READ = 40
_URGENT = frozenset({"waiting", "rate_limited", "provider_down", "suspected_stall", "slow"})


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
            out.update(status=state["status"], reason=state["reason"], **tell_liveness(state, now))
            out["elapsed_s"] = round(now - float(row["created_at"]))
    return {key: value for key, value in out.items() if value is not None}


class StatusParams(Params):
    """Which workspace."""

    cwd: str | None = None


def _status(ctx: Context, params: StatusParams) -> dict[str, Any]:
    workspace = workspace_of(ctx, params.cwd)
    now = ctx.clock.now()
    live = [_row(workspace, row, now) for row in index.select(workspace.index, "finished_at is null", limit=_MOST_READ)]
    live = [row for row in live if row["status"] in LIVE]
    urgent = [row for row in live if row.get("liveness") in _URGENT]
    rest = [row for row in live if row not in urgent]
    recent = [_row(workspace, row, now) for row in index.select(workspace.index, "finished_at is not null", limit=4)]
    out = drop_empty({
        "workspace": workspace.root, "attention": urgent[:5], "live": rest[:6], "live_count": len(live) if len(live) < _MOST_READ else None,
        # Verifications, reviews, fix loops and deliveries under way: after a restart nobody else remembers their ids.
        "jobs": [*({"id": job.job_id} for job in live_jobs(workspace)[:6]), *_later(workspace)],
        "queue": _queue(workspace),
        "recent": recent, "last_24h": _day(workspace, now), "as_of": iso(now), "next": next_from([*urgent, *rest], recent),
    })  # fmt: skip
    if len(live) >= _MOST_READ:
        out["live_count"] = f"{_MOST_READ} or more"
    return _trim(out)


def _queue(workspace: Workspace) -> dict[str, int]:
    """How many jobs wait and run, when any do."""
    if not os.path.exists(workspace.queue_pending):
        return {}
    counts = read_queue(workspace).counts
    return {state: counts[state] for state in ("running", "queued") if counts[state]}


def _later(workspace: Workspace) -> list[dict[str, Any]]:
    """Ended runs that are gone on with by themselves when a provider's limit is over; cc_stop calls that off."""
    rows: list[dict[str, Any]] = []
    for run_id in later_runs(workspace.runs)[:4]:
        at = part(read_run(RunDir(workspace.run(run_id))).state, "failure").get("not_before")
        rows.append({"id": run_id, "goes_on_at": iso(at)} if at else {"id": run_id})
    return rows


def _day(workspace: Workspace, now: float) -> dict[str, Any]:
    """Runs by status and what they cost, of the last 24 hours."""
    counts: dict[str, int] = {}
    cost, unknown = 0.0, 0
    for entry in index.sums(workspace.index, now - 86_400):
        counts[str(entry["status"])] = counts.get(str(entry["status"]), 0) + int(entry["runs"])
        cost += float(entry["cost_usd"] or 0)
        unknown += int(entry["cost_unknown"] or 0)
    return {"runs": counts, "cost_usd": round(cost, 4), "runs_with_unknown_cost": unknown}


def _trim(out: dict[str, Any]) -> dict[str, Any]:
    """Under the cap by leaving out rows, the least urgent first."""
    for name, least in (("recent", 1), ("live", 2), ("recent", 0), ("attention", 1), ("live", 0)):
        while size_of(out) > SMALL and len(out.get(name, ())) > least:
            out[name] = out[name][:-1]
            out["truncated"] = True
    return fit(out, SMALL)


def next_from(live: list[dict[str, Any]], recent: list[dict[str, Any]]) -> str:
    """The call that fits best."""
    if live:
        return f"cc_wait {json.dumps({'ids': [row['run_id'] for row in live[:8]]}, separators=(',', ':'))}"
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


RUN_STATUS = register(Operation(
    name="cc_run_status", words=("run-status",), toolset="core", effect="read",
    summary="One run without its events, or the list of live (or all) runs.",
    params=RunStatusParams, handler=_run_status, positional="run_id", idempotent=True, search_hint="list runs status",
))  # fmt: skip
STATUS = register(Operation(
    name="cc_status", words=("status",), toolset="core", effect="read", default_on=True,
    summary="The workspace at a glance: what needs you first, live runs, recent ends, cost of the day.",
    params=StatusParams, handler=_status, idempotent=True, result_cap=SMALL, search_hint="overview workspace dashboard attention",
))  # fmt: skip
LAST_RUN = register(Operation(
    name="cc_last_run", words=("last-run",), toolset="core", effect="read",
    summary="The latest (or one) run with what the worker says it did.",
    params=LastRunParams, handler=_last_run, positional="run_id", idempotent=True, search_hint="last run result answer output",
))  # fmt: skip
