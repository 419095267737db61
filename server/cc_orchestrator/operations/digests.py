"""cc_summarize_run and cc_compact_events: one run on a page, and its events."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import cut
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.operations.watching import CHATTER, head, page_of
from cc_orchestrator.runs.artifacts import write_all
from cc_orchestrator.runs.fold import claimed, part
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.risk import find_flags, summarize_flags
from cc_orchestrator.runs.summary import name_tools, next_call, summarize
from cc_orchestrator.store.journal import parse_cursor


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
    answer = page_of(run, parse_cursor(params.cursor), params.max_bytes * 3, ctx.clock.now())
    rows: list[dict[str, Any]] = []
    for row in answer["events"]:
        if row["type"] in CHATTER:
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
