"""cc_attention: what needs a person or a controller now, the most urgent first."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.text import line
from cc_orchestrator.insight.attention import collect
from cc_orchestrator.insight.escalation import LEVELS, Level, Ranked, rank
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty, size_of
from cc_orchestrator.operations.watching import SMALL

#: Room for rows; the rest is for the head of the answer.
_ROWS_BYTES = 1_150


class AttentionParams(Params):
    """From which level on, where."""

    level: Annotated[Level, Field(description="Leave out what is less urgent.")] = "info"
    cwd: str | None = None


def _attention(ctx: Context, params: AttentionParams) -> dict[str, Any]:
    workspace = workspace_of(ctx, params.cwd)
    now = ctx.clock.now()
    items, degraded = collect(workspace, now)
    found = [row for row in rank(items, now) if LEVELS.index(row.level) >= LEVELS.index(params.level)]
    rows: list[dict[str, Any]] = []
    room = _ROWS_BYTES
    for entry in found:
        row = _row(entry)
        room -= size_of(row) + 1
        if room < 0 and rows:
            break
        rows.append(row)
    counts = Counter(entry.level for entry in found)
    return drop_empty({
        "count": len(found), "attention": rows, "levels": {level: counts[level] for level in reversed(LEVELS) if counts[level]}, "as_of": iso(now),
        "degraded": [line(text, 80) for text in degraded[:2]], "truncated": True if len(rows) < len(found) else None,
        "next": rows[0]["next"] if rows else "cc_status {}",
    })  # fmt: skip


def _row(entry: Ranked) -> dict[str, Any]:
    item = entry.item
    return drop_empty({
        "level": entry.level, "code": item.code, "id": item.id, "since": iso(item.since)[:19] + "Z", "what": line(item.what, 150),
        "untrusted_text": line(item.said, 120) or None, "next": item.next,
    })  # fmt: skip


register(Operation(
    name="cc_attention", words=("attention",), toolset="core", effect="read",
    summary="What needs a person or a controller now, most urgent first: questions, approvals, blockers, stalls, bad ends, undecided results.",
    params=AttentionParams, handler=_attention, positional="level", idempotent=True, result_cap=SMALL,
    search_hint="attention inbox urgent escalation hold questions needs me waiting",
))  # fmt: skip
