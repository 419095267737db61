"""cc_tools, cc_read, cc_call: every operation can be found and called, whether a client lists it or not."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import Operation, Params, find, invoke, operations, register
from cc_orchestrator.operations.schemas import params_schema

#: With this many hits or fewer the schemas are shown as well.
_FEW = 3


class ToolsParams(Params):
    """What to look for."""

    query: Annotated[str, Field(max_length=200, description="Words or a name; empty lists all names.")] = ""
    limit: Annotated[int, Field(ge=1, le=20)] = 6


def _tools(_ctx: Context, params: ToolsParams) -> dict[str, Any]:
    words = params.query.lower().replace("-", "_").split()
    if not words:
        by_set: dict[str, list[str]] = {}
        for op in operations():
            by_set.setdefault(op.toolset, []).append(op.name)
        return {"toolsets": by_set, "next": 'cc_tools {"query":"<name>"} shows parameters'}
    ranked = sorted(((_rank(op, words), op) for op in operations()), key=lambda pair: -pair[0])
    hits = [op for rank, op in ranked if rank > 0][: params.limit]
    if hits and _rank(hits[0], words) >= 100:
        hits = hits[:1]
    rows: list[dict[str, Any]] = []
    for op in hits:
        row: dict[str, Any] = {"name": op.name, "summary": op.summary, "effect": op.effect}
        row["parameters"] = params_schema(op) if len(hits) <= _FEW else sorted(op.params.model_fields)
        rows.append(row)
    call = "cc_read" if hits and hits[0].reads else "cc_call"
    return {
        "operations": rows,
        "next": f'{call} {{"name":"{hits[0].name}","arguments":{{}}}}' if hits else 'cc_tools {"query":""}',
    }


def _rank(op: Operation, words: list[str]) -> int:
    names = (op.name, *op.aliases)
    text = " ".join((*names, op.summary, op.search_hint, op.description, *op.params.model_fields)).lower()
    rank = 0
    for word in words:
        if any(word in (name, name.removeprefix("cc_")) for name in names):
            rank += 100
        elif any(word in name for name in names):
            rank += 10
        elif word in text:
            rank += 1
    return rank


class CallParams(Params):
    """Which operation, with which arguments."""

    name: str
    arguments: dict[str, Any] = {}


def _inner(name: str) -> Operation:
    op = find(name)
    if op.name in ("cc_call", "cc_read"):
        raise InvalidRequest(f"{op.name} does not call itself", hint='cc_tools {"query":""} lists operations')
    return op


def _read(ctx: Context, params: CallParams) -> dict[str, Any]:
    op = _inner(params.name)
    if not op.reads:
        raise InvalidRequest(
            f"{op.name} is not read-only ({op.effect})", hint=f'cc_call {{"name":"{op.name}","arguments":{{…}}}}'
        )
    return invoke(op, ctx, params.arguments)


def _call(ctx: Context, params: CallParams) -> dict[str, Any]:
    return invoke(_inner(params.name), ctx, params.arguments)


register(Operation(
    name="cc_tools", words=("tools",), toolset="core", effect="read", default_on=True, summary="Find any other operation and its parameters.",
    params=ToolsParams, handler=_tools, positional="query", idempotent=True, search_hint="find list operations tools help",
))  # fmt: skip
register(Operation(
    name="cc_read", words=("read",), toolset="core", effect="read", default_on=True, summary="Call any read-only operation by name.",
    params=CallParams, handler=_read, positional="name", idempotent=True, result_cap=210_000, search_hint="call read operation by name",
))  # fmt: skip
register(Operation(
    name="cc_call", words=("call",), toolset="core", effect="destructive", default_on=True, guarded=False,
    summary="Call any operation by name.", params=CallParams, handler=_call, positional="name", result_cap=210_000,
    search_hint="call any operation by name",
))  # fmt: skip
