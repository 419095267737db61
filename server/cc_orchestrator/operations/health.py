"""cc_doctor and cc_mock_stream_test: is this machine fit, and does the whole path work here?"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator import __version__
from cc_orchestrator.adapters.base import Adapter
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.errors import CcError, InvalidRequest
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host import probe
from cc_orchestrator.host.sandbox_probe import probe_sandbox
from cc_orchestrator.host.tree import containment_level
from cc_orchestrator.operations.canary import sing
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.auditing import check_workspace_ledger
from cc_orchestrator.runs.control import append_control
from cc_orchestrator.runs.fold import claimed
from cc_orchestrator.runs.launch import LaunchRequest, find_executable, launch
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.wait import WatchedRun, wait_for
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import Workspace, find_workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.workflow.readiness import read_gates

CANARY_SECONDS = 60.0


class DoctorParams(Params):
    """Where to look."""

    cwd: str | None = None
    canary: Annotated[
        bool, Field(description="Also one real turn of each CLI (command line only; else cc_canary).")
    ] = False


def _doctor(ctx: Context, params: DoctorParams) -> dict[str, Any]:
    if params.canary and (ctx.channel != "cli" or ctx.worker_run_id):
        raise InvalidRequest(
            "cc_doctor only reads; a canary starts a worker and costs a request", hint='cc_call {"name":"cc_canary"}'
        )
    checks = [
        _python(),
        _git(ctx),
        _bytecode(),
        _environment(ctx),
        _containment(),
        _sandbox(ctx),
        _bell(),
        *_adapters(ctx),
        *_workspace(ctx, params),
        *(sing(ctx, None, None, CANARY_SECONDS) if params.canary else ()),
    ]
    return {
        "ok": all(row["ok"] for row in checks if row.get("needed", True)), "version": __version__,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "checks": [{key: value for key, value in row.items() if key != "needed"} for row in checks],
        "next": 'cc_run_streaming {"task":"…"}',
    }  # fmt: skip


def _check(name: str, ok: bool, found: str, fix: str = "", *, needed: bool = True) -> dict[str, Any]:
    row: dict[str, Any] = {"check": name, "ok": ok, "found": found}
    if fix and not ok:
        row["fix"] = fix
    row["needed"] = needed
    return row


def _python() -> dict[str, Any]:
    return _check("python", sys.version_info >= (3, 10), platform.python_version(), "Python 3.10 or newer")


def _git(ctx: Context) -> dict[str, Any]:
    ok, text = probe.ask(["git", "--version"], env=ctx.env)
    numbers = [int(part) for part in text.rpartition(" ")[2].split(".")[:2] if part.isdigit()] if ok else []
    return _check("git", len(numbers) == 2 and numbers >= [2, 38], text, "git 2.38 or newer: delivery uses merge-tree")


def _bytecode() -> dict[str, Any]:
    ok = probe.has_bytecode("pydantic.main")
    return _check(
        "bytecode",
        ok,
        "compiled" if ok else "missing: every start is about twice as slow",
        "install with bytecode",
        needed=False,
    )


def _containment() -> dict[str, Any]:
    level = containment_level()
    return _check(
        "containment",
        level in ("cgroup", "subreaper", "job"),
        level,
        "process trees are held by session and marker only",
        needed=False,
    )


def _sandbox(ctx: Context) -> dict[str, Any]:
    """The highest level that may be asked for, by a probe that was run just now."""
    report = probe_sandbox(ctx.env)
    if report.level is None:
        return _check("sandbox", False, f"none: {report.why}", "levels fs and fs+net are refused here", needed=False)
    total = len(report.answers)
    text = f"{report.backend}: up to {report.level}, {total - len(report.failed)} of {total} held"
    if report.gaps:
        text += "; " + "; ".join(report.gaps)
    return _check("sandbox", not report.failed, text, "not held: " + "; ".join(report.failed), needed=False)


def _bell() -> dict[str, Any]:
    try:
        bell = bells.Bell.create(bells.new_path(new_id("run")))
    except OSError as error:
        return _check(
            "bell", False, f"no sockets: {error.strerror}", "waits fall back to looking twice a second", needed=False
        )
    bell.close()
    return _check("bell", True, "waits are woken by events")


def _adapters(ctx: Context) -> list[dict[str, Any]]:
    return [_adapter(ctx, find_adapter(name)) for name in adapter_names()]


def _adapter(ctx: Context, adapter: Adapter) -> dict[str, Any]:
    """Installed, its version, and which of its variables this door can pass on (names only)."""
    try:
        path = find_executable(adapter, ctx.env)
    except CcError as error:
        return _check(
            f"adapter {adapter.name}",
            False,
            error.message,
            "install the CLI, or set " + adapter.executable_env,
            needed=False,
        )
    ok, text = (True, "bundled") if not adapter.executables else probe.ask([path, "--version"], env=ctx.env)
    gates = read_gates(ctx.env, adapter.name)
    text += _keys(adapter, ctx) + "".join(f"; {gate.code}: {gate.text}" for gate in gates)
    fix = "; ".join(gate.fix for gate in gates if gate.sure)
    return _check(f"adapter {adapter.name}", ok and not any(gate.sure for gate in gates), text, fix, needed=False)


def _keys(adapter: Adapter, ctx: Context) -> str:
    """Which of the CLI's variables this door has and which keys it has not: names only."""
    names = [name for name in adapter.env_allow if not name.endswith("*") and ctx.env.get(name)]
    keys = [name for name in adapter.secret_env if not name.endswith("*")]
    text = f"; passes on {', '.join(names[:8])}" if names else ""
    if adapter.capabilities.needs_model_service and keys and not any(ctx.env.get(name) for name in keys):
        text += f"; not set here: {', '.join(keys[:6])} (then the CLI's own login is what counts)"
    return text


#: What Codex leaves an MCP server; a door that has no more cannot pass on keys, proxies or certificates.
_BARE = frozenset({"HOME", "LANG", "PATH", "TERM", "TMPDIR"})
_IGNORED = frozenset({"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"})


def _environment(ctx: Context) -> dict[str, Any]:
    """Whether this door got more than the few variables that some clients pass on."""
    more = {name for name in ctx.env if not name.startswith("CC_")} - _BARE - _IGNORED
    return _check(
        "environment",
        bool(more),
        f"{len(more)} variables beyond {', '.join(sorted(_BARE))}"
        if more
        else f"only {', '.join(sorted(set(ctx.env) & _BARE))}",
        "the client passes on nothing else: name the variables that workers need (keys, base URLs, proxies, certificates) in its "
        "MCP configuration, or log the CLIs in",
        needed=False,
    )


def _folder(workspace: Workspace) -> dict[str, Any]:
    """Whether the workspace folder is there and writable, or could be made."""
    there = os.path.lexists(workspace.folder)
    usable = os.path.isdir(workspace.folder) if there else True
    writable = os.access(workspace.folder if there else workspace.root, os.W_OK)
    found = workspace.folder if usable else f"{workspace.folder} is no folder"
    text = found + ("" if workspace.repository else " (no git: read-only runs only)")
    return _check("workspace", usable and writable, text, "make it a folder that you may write")


def _workspace(ctx: Context, params: DoctorParams) -> list[dict[str, Any]]:
    try:
        workspace = find_workspace(params.cwd or ctx.cwd, ctx.env)
    except CcError as error:
        return [_check("workspace", False, error.message, error.hint)]
    rows = [_folder(workspace)]
    report = check_workspace_ledger(workspace)
    found = f"{report.count} receipts" if report.ok else "; ".join(f"{row[0]}: {row[1]}" for row in report.problems[:3])
    rows.append(
        _check("ledger", report.ok, found, "a receipt was changed, removed or cut off: look before you trust it")
    )
    try:
        index.select(workspace.index, limit=1)
        rows.append(_check("index", True, "readable"))
    except CcError as error:
        rows.append(_check("index", False, error.message, "cc_recover"))
    return rows


class MockParams(Params):
    """How long it may take."""

    timeout_seconds: Annotated[float, Field(ge=5, le=120)] = 20.0


_SCRIPT: dict[str, Any] = {
    "steps": [
        {"say": {"text": "looking"}},
        {"tool": {"tool": "Read", "target": "README.md", "ok": True}},
        {"usage": {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.001}},
        {"result": {"text": "done"}},
    ]
}


def _mock_stream_test(ctx: Context, params: MockParams) -> dict[str, Any]:
    """The whole path with the bundled worker in a folder of its own: start, events, end, stop, receipt, replayed fold."""
    gates: dict[str, bool] = {}
    details: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="cc-mock-") as folder:
        workspace = Workspace(os.path.realpath(folder))
        os.makedirs(workspace.runs)
        state = _ended(ctx, workspace, _SCRIPT, params.timeout_seconds)
        gates["starts_and_ends"] = state["status"] == "succeeded"
        gates["events"] = state["messages"] == 1 and state["tool_count"] == 1
        gates["usage_from_the_worker"] = state["usage"].get("cost_usd") == 0.001
        gates["claim_kept_apart"] = claimed(state).get("text") == "done"
        stopped = _stopped(ctx, workspace, params.timeout_seconds)
        gates["stops"] = stopped["status"] == "stopped" and stopped["reason"] == "user_requested"
        report = check_workspace_ledger(workspace)
        gates["receipts"] = report.ok and report.count == 2
        details = {
            "first": state["status"],
            "second": stopped["status"],
            "receipts": report.count,
            "containment": state["containment"],
        }
    return {"ok": all(gates.values()), "gates": gates, "details": details}


def _begin(ctx: Context, workspace: Workspace, script: dict[str, Any]) -> RunDir:
    request = LaunchRequest(
        task="self test", task_id=new_id("task"), cwd=workspace.root, adapter="fake", role="testing", options={"script": script},
        channel=ctx.channel,
    )  # fmt: skip
    return RunDir(workspace.run(launch(workspace, request, ctx.env, ctx.clock).spec.run_id))


def _ended(ctx: Context, workspace: Workspace, script: dict[str, Any], timeout: float) -> dict[str, Any]:
    run = _begin(ctx, workspace, script)
    watched = WatchedRun(run, frozenset())
    wait_for([watched], "any", timeout, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    return _settled(run)


def _stopped(ctx: Context, workspace: Workspace, timeout: float) -> dict[str, Any]:
    run = _begin(ctx, workspace, {"steps": [{"hang": {}}]})
    append_control(run, "stop", ctx.clock, force=True, reason="self test", actor="controller", channel=ctx.channel)
    with open(run.bell, encoding="utf-8") as file:
        bells.poke(file.read().strip())
    watched = WatchedRun(run, frozenset())
    wait_for([watched], "any", timeout, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    return _settled(run)


def _settled(run: RunDir) -> dict[str, Any]:
    """The end state once the supervisor has let go of the folder: only then are receipts written and the folder free."""
    state = read_run(run).state
    if state["status"] not in LIVE:
        bells.wait_closed(run.bell, 5.0)
    return state


register(Operation(
    name="cc_doctor", words=("doctor",), toolset="core", effect="read", default_on=True,
    summary="Is this machine fit: Python, git, CLIs, workspace, ledger, containment.",
    params=DoctorParams, handler=_doctor, aliases=("cc_healthcheck",), idempotent=True, search_hint="doctor health check install version",
))  # fmt: skip
register(Operation(
    name="cc_mock_stream_test", words=("mock-stream-test",), toolset="workspace", effect="write",
    summary="Self test: the whole path with the bundled worker in a folder of its own.", params=MockParams, handler=_mock_stream_test,
    search_hint="self test mock",
))  # fmt: skip
