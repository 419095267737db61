"""The door: one stdio MCP server over the registry, for both protocol eras. Stateless; may die at any time.

Arguments go to the registry as they came, so unknown fields are errors and messages are ours. Handlers run in worker threads;
cancellation reaches them as a flag, progress leaves them as notifications. Ends on EOF, SIGINT and SIGTERM alike, and takes no
worker with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from functools import partial
from typing import Any, cast

import anyio
import anyio.from_thread
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from cc_orchestrator import __version__
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.operations.catalog import TOOLSETS, listed
from cc_orchestrator.operations.context import Cancellation, Context
from cc_orchestrator.operations.greeting import on_door_start
from cc_orchestrator.operations.registry import Operation, find, invoke
from cc_orchestrator.operations.resources import NAMES, read_resource
from cc_orchestrator.operations.schemas import params_schema
from cc_orchestrator.surfaces.mcp import eliciting
from cc_orchestrator.surfaces.mcp.instructions import INSTRUCTIONS

#: Many waits may sleep at once; each holds a thread that does nothing.
MOST_CALLS = 100
_Ctx = ServerRequestContext[dict[str, Any]]


def main(argv: list[str]) -> int:
    """Serve until the client goes away. `--toolsets a,b` lists more tools."""
    toolsets = frozenset[str]()
    if argv[:1] == ["--toolsets"] and len(argv) == 2:
        toolsets = frozenset(argv[1].split(","))
    unknown = toolsets - {*TOOLSETS, "all"}
    if unknown or (argv and not toolsets):
        print(f"error: usage: cc-orchestrator mcp [--toolsets {','.join(TOOLSETS)}|all]", file=sys.stderr)  # noqa: T201
        return 2
    base = Context.here("mcp")
    anyio.run(partial(_serve, build(base, toolsets), base))
    # Threads may sleep in a wait; nothing they hold outlives the process.
    sys.stdout.flush()
    os._exit(0)


async def _serve(server: Server[Any], base: Context) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, group.cancel_scope)
        group.start_soon(_greet)
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())
        group.cancel_scope.cancel()


async def _greet() -> None:
    await anyio.to_thread.run_sync(on_door_start, Context.here("mcp"), abandon_on_cancel=True)


async def _end_on_signal(_scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _number in signals:
            # A blocking read of stdin cannot be cancelled; what was answered has been written.
            os._exit(0)


def build(base: Context, toolsets: frozenset[str] = frozenset()) -> Server[Any]:
    """A server over the registry, for stdio or for an in-memory client."""
    limiter: list[anyio.CapacityLimiter] = []

    async def list_tools(_ctx: _Ctx, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[describe(op) for op in listed(toolsets)])

    async def call_tool(
        ctx: _Ctx, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if not limiter:
            limiter.append(anyio.CapacityLimiter(MOST_CALLS))
        return await _call(base, ctx, params, limiter[0])

    async def list_templates(
        _ctx: _Ctx, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(
            name="run artifact",
            uri_template="cc://runs/{run_id}/{name}",
            description="A file of a run: " + ", ".join(NAMES),
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def list_resources(_ctx: _Ctx, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        return types.ListResourcesResult(resources=[])

    async def read(_ctx: _Ctx, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        try:
            mime, text = await anyio.to_thread.run_sync(read_resource, base, str(params.uri))
        except CcError as error:
            # Resources have no isError: a protocol error with our message is what a client shows.
            raise MCPError(code=types.INVALID_PARAMS, message=error.message, data=error.to_dict()) from error
        return types.ReadResourceResult(
            contents=[types.TextResourceContents(uri=params.uri, mime_type=mime, text=text)]
        )

    server: Server[Any] = Server(
        "cc-orchestrator", version=__version__, title="cc-orchestrator", instructions=INSTRUCTIONS, on_list_tools=list_tools,
        on_call_tool=call_tool, on_list_resources=list_resources, on_list_resource_templates=list_templates, on_read_resource=read,
    )  # fmt: skip
    server.middleware.append(eliciting.boundary())
    return server


def describe(op: Operation) -> types.Tool:
    """One tool of `tools/list`. No output schema: clients pay for it and none uses it."""
    meta: dict[str, Any] = (
        {"anthropic/alwaysLoad": True} if op.hot else {"anthropic/searchHint": op.search_hint} if op.search_hint else {}
    )
    return types.Tool(
        name=op.name, description=op.description or op.summary, input_schema=params_schema(op), _meta=meta or None,
        annotations=types.ToolAnnotations(
            read_only_hint=op.reads, destructive_hint=None if op.reads else op.effect == "destructive", idempotent_hint=op.idempotent or None,
            # What relays to any operation (cc_call) reaches as far as the farthest of them.
            open_world_hint=op.effect == "open_world" or not op.guarded,
        ),
    )  # fmt: skip


async def _call(
    base: Context, ctx: _Ctx, params: types.CallToolRequestParams, limiter: anyio.CapacityLimiter
) -> types.CallToolResult | types.InputRequiredResult:
    gone = Cancellation()
    try:
        op = find(params.name)
        inner = _with_client(base, ctx, gone)
        work = partial(invoke, op, inner, dict(params.arguments or {}))
        while True:
            answer = await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
            if op.name != "cc_wait" or not eliciting.can_ask(ctx):
                return _result(answer)
            personal = await anyio.to_thread.run_sync(eliciting.find_personal, inner, answer)
            if personal is None or eliciting.is_cancelled(params, personal):
                return _result(answer)
            outcome = await eliciting.ask_person(ctx, params, personal, inner)
            if isinstance(outcome, types.InputRequiredResult):
                return outcome
            if not outcome:
                return _result(answer)
    except anyio.get_cancelled_exc_class():
        gone.set()
        raise
    except CcError as error:
        return _failure(error)


def _with_client(base: Context, ctx: _Ctx, gone: Cancellation) -> Context:
    """The context with this request's progress and cancellation."""
    wants = bool(ctx.meta and ctx.meta.get("progress_token") is not None)

    def progress(done: float, total: float | None, message: str) -> None:
        if wants and not gone():
            try:
                anyio.from_thread.run(ctx.session.report_progress, done, total, message)
            except (RuntimeError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                gone.set()

    known = ctx.session.client_params
    name = known.client_info.name if known is not None else ""
    return replace(base, channel="mcp", client=name, progress=progress, cancelled=gone)


def _result(answer: dict[str, Any], *, is_error: bool = False) -> types.CallToolResult:
    """The same facts as text and as structure; halves of surrogate pairs, which no JSON text may hold, as `?`."""
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":"), default=str)
    safe = text.encode("utf-8", "replace").decode("utf-8")
    content = types.TextContent(type="text", text=safe)
    structured = answer if safe == text else cast("dict[str, Any]", json.loads(safe))
    return types.CallToolResult(content=[content], structured_content=structured, is_error=is_error)


def _failure(error: CcError) -> types.CallToolResult:
    return _result({"error": error.to_dict()}, is_error=True)
