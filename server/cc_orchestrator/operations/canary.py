"""cc_canary: one real turn of each CLI, from start to answer. The only proof that a login, a model and a network are there."""

from __future__ import annotations

import os
import tempfile
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.host import bell as bells
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.fold import claimed, part
from cc_orchestrator.runs.launch import LaunchRequest, find_executable, launch
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.spec import Limits
from cc_orchestrator.runs.wait import WatchedRun, wait_for
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.workflow.readiness import require_ready
from cc_orchestrator.workflow.workers import cli_route, stop_runs

TASK = "Answer with the single word ready. Use no tool."


class CanaryParams(Params):
    """Which CLIs, how long."""

    adapters: Annotated[list[str], Field(max_length=10, description="Default: all that are installed.")] = []
    model: str | None = None
    timeout_seconds: Annotated[float, Field(ge=5, le=250, description="For each.")] = 60.0


def _canary(ctx: Context, params: CanaryParams) -> dict[str, Any]:
    rows = sing(ctx, tuple(params.adapters) or _installed(ctx), params.model, params.timeout_seconds)
    return {
        "ok": bool(rows) and all(row["ok"] for row in rows),
        "checks": rows,
        "next": 'cc_run_streaming {"task":"…"}' if rows else "install a CLI: cc_doctor",
    }


def _installed(ctx: Context) -> tuple[str, ...]:
    found: list[str] = []
    for name in adapter_names():
        adapter = find_adapter(name)
        if not adapter.capabilities.needs_model_service:
            continue
        try:
            find_executable(adapter, ctx.env)
        except CcError:
            continue
        found.append(name)
    return tuple(found)


def sing(ctx: Context, adapters: tuple[str, ...] | None, model: str | None, seconds: float) -> list[dict[str, Any]]:
    """One row for each adapter (None: all that are installed): `{check, ok, found, fix?}`. Each costs one small model request."""
    return [_one(ctx, name, model, seconds) for name in (_installed(ctx) if adapters is None else adapters)]


def _one(ctx: Context, name: str, model: str | None, seconds: float) -> dict[str, Any]:
    find_adapter(name)
    try:
        require_ready(ctx.env, name)
        with tempfile.TemporaryDirectory(prefix="cc-canary-", ignore_cleanup_errors=True) as folder:
            return _turn(ctx, name, model, seconds, os.path.realpath(folder))
    except CcError as error:
        return {"check": f"canary {name}", "ok": False, "found": error.message, "fix": error.hint}


def _turn(ctx: Context, name: str, model: str | None, seconds: float, folder: str) -> dict[str, Any]:
    workspace = Workspace(folder)
    os.makedirs(workspace.runs)
    begun = ctx.clock.mono()
    request = LaunchRequest(
        task=TASK, task_id=new_id("task"), cwd=folder, adapter=name, model=model, role="testing", channel=ctx.channel,
        route=cli_route(ctx.env, name, folder), limits=Limits(timeout_seconds=seconds, silence_seconds=seconds, question_seconds=5.0, max_turns=3),
    )  # fmt: skip
    run = RunDir(workspace.run(launch(workspace, request, ctx.env, ctx.clock).spec.run_id))
    watched = WatchedRun(run, frozenset())
    wait_for([watched], "any", seconds + 5.0, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    stop_runs([run], "the canary's time is over", ctx.clock)
    state = read_run(run).state
    if state["status"] not in LIVE:
        bells.wait_closed(run.bell, 5.0)
    took = f"{ctx.clock.mono() - begun:.1f} s"
    if state["status"] == "succeeded":
        cost = state["usage"].get("cost_usd")
        by = state["actual_model"] or "its default model"
        said = line(str(claimed(state).get("text", "")), 40)
        found = f"one turn in {took} by {by}, cost {'unknown' if cost is None else f'{cost:.4f} USD'}: {said!a}"
        return {"check": f"canary {name}", "ok": True, "found": found}
    asked = part(state, "waiting").get("kind")
    why = line(str(state["detail"] or (f"waited for {asked}" if asked else "no answer")), 200)
    return {
        "check": f"canary {name}", "ok": False, "found": f"{state['status']} ({state['reason']}) after {took}: {why}",
        "fix": f"start {name} by hand in this environment, log in, then repeat",
    }  # fmt: skip


register(Operation(
    name="cc_canary", words=("canary",), toolset="workspace", effect="open_world",
    summary="One real turn of each installed CLI: proves login, model and network. Costs one small request each.",
    params=CanaryParams, handler=_canary, search_hint="canary login first run proof doctor",
))  # fmt: skip
