"""cc_run_streaming and cc_run_agent: start a supervised run."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError

from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.errors import CcError, Corrupt, InvalidRequest, PolicyDenied
from cc_orchestrator.core.late import load
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import prepare_workspace, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register, tell_fields
from cc_orchestrator.policy.trust import Effective, effective
from cc_orchestrator.routing.route import choose_route
from cc_orchestrator.runs.circuit import tell_limit
from cc_orchestrator.runs.fold import claimed
from cc_orchestrator.runs.launch import Launched, LaunchRequest, launch
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.spec import Limits, Scope, Setup
from cc_orchestrator.runs.summary import liveness, next_call, summarize
from cc_orchestrator.runs.wait import WatchedRun, wait_for
from cc_orchestrator.store import atomic
from cc_orchestrator.store.journal import START, Cursor
from cc_orchestrator.store.paths import Workspace, existing_folder
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.record import create_task, drop_task
from cc_orchestrator.verify.commands import is_repeatable, parse_commands
from cc_orchestrator.workflow.readiness import require_ready
from cc_orchestrator.workflow.secrets import lend_secrets, with_secrets
from cc_orchestrator.workflow.standing import profile_of, read_ceilings
from cc_orchestrator.workflow.workers import cli_route

ROLES = (
    "requirements", "architecture", "development", "testing", "review", "performance", "compatibility", "documentation",
    "automation", "security", "supervisor", "implementation", "ops", "multimodal",
)  # fmt: skip
MAX_TASK = 6_000_000
#: Longest time one call may take: clients give up at 300 s.
MAX_WAIT = 280.0

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Bytes = Annotated[int, Field(ge=1, le=10_000_000_000)]


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,253}(:[0-9]{1,5})?$")]


class ScopeParams(Params):
    """Where a write run may write; globs relative to the repository."""

    allow: Annotated[list[str], Field(max_length=200)] = []
    deny: Annotated[list[str], Field(max_length=200)] = []
    commands: Annotated[
        list[str], Field(max_length=100, description="Beginnings of allowed commands; default: any in its tree.")
    ] = []
    max_diff_lines: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class WorktreeParams(Params):
    """A fresh worktree's extras."""

    install: Annotated[list[str], Field(max_length=10, description="Commands, no shell.")] = []
    install_seconds: Annotated[float, Field(gt=0, le=7_200)] = 600.0
    links: Annotated[list[str], Field(max_length=20, description="e.g. node_modules")] = []
    grant_files: Annotated[list[str], Field(max_length=50, description="Secrets for .worktreeinclude.")] = []


class RunParams(Params):
    """Parameters of a new run."""

    task: Annotated[str, Field(min_length=1, max_length=MAX_TASK, description="What to do, complete in itself.")]
    adapter: Annotated[str, Field(description="claude, codex, codex-exec or fake.")] = "claude"
    role: Annotated[str, Field(description="Perspective, e.g. implementation, review, testing.")] = "implementation"
    profile: str | None = None
    model: Annotated[str | None, Field(description="Default: the CLI's own.")] = None
    cwd: Annotated[str | None, Field(description="Project folder; default: the server's.")] = None
    allow_write: Annotated[bool, Field(description="Write in an own git worktree; else read-only.")] = False
    scope: ScopeParams | None = None
    risk: Annotated[
        Literal["low", "medium", "high"] | None, Field(description="Reviews needed to accept: none, one, two.")
    ] = None
    trust: Annotated[
        int | None,
        Field(
            ge=0,
            le=3,
            description="T0 reads, T1 own tree (default of a writer), T2 may ask for risky acts, T3 alone in fs.",
        ),
    ] = None
    sandbox: Annotated[
        Literal["none", "worktree", "fs", "fs+net"] | None,
        Field(description="How far it is held; refused if it cannot be had. Default: worktree, or none for a reader."),
    ] = None
    sandbox_hosts: Annotated[list[Host], Field(max_length=50, description="More hosts at fs+net.")] = []
    worktree: WorktreeParams | None = None
    secrets: Annotated[list[str], Field(max_length=20, description="Granted variables, by name.")] = []
    context: Annotated[str, Field(max_length=MAX_TASK)] = ""
    client_request_id: Annotated[str | None, Field(description="Repeat-safe: same id, same run.")] = None
    script: Annotated[
        dict[str, Any] | str | None, Field(description="fake only: steps, or a JSON/YAML file in cwd.")
    ] = None
    include_partial_messages: bool = False
    timeout_seconds: Seconds = 1800.0
    silence_seconds: Seconds | None = 600.0
    question_seconds: Seconds = 300.0
    on_stall: Literal["report", "nudge", "recover"] = "report"
    resume_on_limit: Annotated[bool, Field(description="Go on by itself when a provider's limit is over.")] = False
    max_turns: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000_000)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0, le=100_000)] | None = None
    max_output_bytes: Bytes | None = 20_000_000
    max_events_bytes: Bytes | None = 10_000_000
    soft_output_bytes: Bytes | None = 5_000_000
    output_budget_policy: Literal["stop", "truncate"] = "stop"
    kill_on_excessive_output: bool = False
    final_only: bool = False
    final_max_chars: Annotated[int, Field(ge=1_000, le=200_000)] = 20_000


class RunAndWaitParams(RunParams):
    """Parameters of a new run that is waited for."""

    wait_seconds: Annotated[float, Field(ge=0, le=MAX_WAIT, description="Bound of this call, not of the worker.")] = (
        45.0
    )


def limits_of(params: RunParams) -> Limits:
    """The run's budgets."""
    names = ("timeout_seconds", "silence_seconds", "question_seconds", "on_stall", "resume_on_limit",
             "max_turns", "max_tokens", "max_cost_usd", "max_output_bytes",
             "max_events_bytes", "soft_output_bytes", "output_budget_policy", "kill_on_excessive_output", "final_only",
             "final_max_chars")  # fmt: skip
    return Limits(**{name: getattr(params, name) for name in names})


def _setup(workspace: Workspace, params: RunParams) -> Setup:
    """What the call says of the worktree, else the workspace's own file. Raises InvalidRequest, Corrupt."""
    given = params.worktree
    if given is not None and not params.allow_write:
        raise InvalidRequest("worktree is for a run that writes", hint="allow_write=true, or leave worktree out")
    if given is None:
        path = workspace.worktree_settings
        if not params.allow_write or not os.path.exists(path):
            return Setup()
        try:
            given = WorktreeParams.model_validate(atomic.read_json(path) or {})
        except ValidationError as error:
            raise Corrupt(
                f"{path} is not what it must be: {line(tell_fields(error, 3), 300)}",
                hint='{"install":["npm ci"],"links":["node_modules"]}',
            ) from None
    commands = parse_commands(given.install)
    for command in commands:
        if not is_repeatable(command):
            raise InvalidRequest(
                f"install command {command.shown!a} is too long or holds a secret", hint="put it into a script"
            )
    return Setup(
        tuple(command.argv for command in commands), given.install_seconds, tuple(given.links), tuple(given.grant_files)
    )  # fmt: skip


def _options(params: RunParams, cwd: str) -> dict[str, Any]:
    if params.script is None:
        return {}
    if params.adapter != "fake":
        raise InvalidRequest(f"script is for adapter fake, not {params.adapter}", hint="leave script out")
    return {"script": params.script if isinstance(params.script, dict) else load_script(params.script, cwd)}


def load_script(name: str, cwd: str) -> dict[str, Any]:
    """A fake worker's script from a JSON or YAML file inside `cwd`. Raises InvalidRequest."""
    path = os.path.realpath(os.path.join(cwd, name))
    if not (path + os.sep).startswith(os.path.realpath(cwd) + os.sep) or not os.path.isfile(path):
        raise InvalidRequest(f"script {name[:100]!a} is not a file inside {cwd}", hint="give a path inside the project")
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    if path.endswith((".yaml", ".yml")):
        value = _yaml(text, path)
    else:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidRequest(f"script {path} is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"script {path} holds no object", hint='{"steps": [{"say": {"text": "hello"}}]}')
    return cast("dict[str, Any]", value)


def _yaml(text: str, path: str) -> Any:
    yaml = load("yaml")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRequest(f"script {path} is no YAML: {error}") from error


def _trust(ctx: Context, workspace: Workspace, params: RunParams) -> Effective:
    """The least of what is asked for, the profile and the workspace. InvalidRequest for a writer that may not write."""
    asked = params.trust if params.trust is not None else int(params.allow_write)
    ceilings = read_ceilings(workspace, profile_of(params.adapter, params.profile), ctx.clock)
    found = effective(asked, ceilings.profile, ceilings.workspace, params.sandbox or "none")
    if params.allow_write and found.level == 0:
        raise PolicyDenied(
            f"{params.adapter} is at T0 here and may only read ({found.limited_by or 'as asked'})",
            hint="allow_write=false; or a person raises it: cc-orchestrator trust set",
        )
    if not params.allow_write and found.level > 0:
        return Effective(0)
    return found


def check_role(role: str) -> None:
    """Raises InvalidRequest for a role that there is not."""
    if role not in ROLES:
        raise InvalidRequest(f"there is no role {role[:60]!a}; known: {', '.join(ROLES)}", hint='role="implementation"')


def start(ctx: Context, params: RunParams, task_id: str | None = None) -> tuple[Workspace, Launched]:
    """Check, record the task, launch. With `task_id` it is a run of that task, which is on record."""
    check_role(params.role)
    route = choose_route(params.adapter, params.model, params.profile, adapter_names())
    cwd = existing_folder(params.cwd or ctx.cwd)
    workspace = workspace_of(ctx, cwd)
    options = _options(params, cwd)
    declared = require_ready(ctx.env, route.adapter)
    prepare_workspace(ctx, workspace)
    setup = _setup(workspace, params)
    trust = _trust(ctx, workspace, params)
    trust_told = (f"trust is T{trust.level}: {trust.limited_by}",) if trust.limited_by else ()
    lent = lend_secrets(workspace, params.secrets, ctx.env, "", ctx.clock)
    setup = setup._replace(secrets=lent.host)
    scope = params.scope or ScopeParams()
    own = task_id is None
    task_id = task_id or create_task(
        workspace, params.task, scope=scope.model_dump(), channel=ctx.channel, clock=ctx.clock, risk=params.risk
    )
    request = LaunchRequest(
        task=params.task, task_id=task_id, cwd=cwd, adapter=route.adapter, role=params.role, profile=params.profile, model=route.model,
        context=params.context, allow_write=params.allow_write,
        scope=Scope(tuple(scope.allow), tuple(scope.deny), tuple(scope.commands), scope.max_diff_lines), limits=limits_of(params), setup=setup,
        partial_messages=params.include_partial_messages, options=options, client_request_id=params.client_request_id, channel=ctx.channel,
        route=with_secrets(cli_route(ctx.env, route.adapter, cwd), lent), secrets=tuple(dict.fromkeys(params.secrets)), sandbox=params.sandbox,
        trust=trust.level, declared=(*declared, *trust_told, *tell_limit(workspace, route.adapter, params.profile, ctx.clock.now())),
        sandbox_hosts=tuple(host if ":" in host else f"{host}:443" for host in params.sandbox_hosts),
    )  # fmt: skip
    try:
        launched = launch(workspace, request, ctx.env, ctx.clock)
    except (CcError, OSError):
        if own:
            drop_task(workspace, task_id)
        raise
    if own and not launched.created:
        drop_task(workspace, task_id)
    return workspace, launched


def started(launched: Launched, now: float) -> dict[str, Any]:
    """The answer of a start: ids, status, what to call next."""
    spec, state = launched.spec, launched.state
    out: dict[str, Any] = {
        "run_id": spec.run_id, "task_id": spec.task_id, "status": state["status"], "reason": state["reason"],
        "liveness": liveness(state, now), "adapter": spec.adapter, "model": spec.model or "CLI default",
        "cwd": spec.worktree or spec.cwd, "branch": spec.branch, "sandbox": spec.sandbox if spec.sandbox != "none" else None,
        "missing_in_worktree": [line(row, 80) for row in spec.missing[:5]] or None,
        "missing_count": len(spec.missing) or None, "declared": list(spec.declared) or None,
        "detail": cut(str(state["detail"]), 300) if state["detail"] else None,
        "repeated": True if not launched.created else None, "cursor": str(START), "next": next_call(state),
    }  # fmt: skip
    return {key: value for key, value in out.items() if value is not None}


def _run_streaming(ctx: Context, params: RunParams) -> dict[str, Any]:
    _workspace, launched = start(ctx, params)
    return started(launched, ctx.clock.now())


def _run_agent(ctx: Context, params: RunAndWaitParams) -> dict[str, Any]:
    workspace, launched = start(ctx, params)
    run = RunDir(workspace.run(launched.spec.run_id))
    watched = WatchedRun(run, frozenset({"finished", "question"}))
    wait_for([watched], "any", params.wait_seconds, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    return outcome(run, ctx.clock.now())


def outcome(run: RunDir, now: float, *, text: int = 4_000) -> dict[str, Any]:
    """A run with what the worker says it did, for callers that waited."""
    state, cursor = read_run(run)
    out: dict[str, Any] = {
        "run_id": run.run_id,
        "task_id": state["task_id"],
        "status": state["status"],
        "reason": state["reason"],
    }
    ended = state["status"] not in LIVE
    out.update(summarize(state, now, said=0 if ended else 300))
    if ended:
        said = claimed(state)
        out["claimed"] = {"untrusted_text": cut(str(said.get("text", "")), text)}
        if said.get("outbox"):
            out["claimed"]["outbox"] = said["outbox"][:10]
    out.update(cursor=str(Cursor(*cursor)), done=ended, next=next_call(state))
    return {key: value for key, value in out.items() if value is not None}


RUN_STREAMING = register(Operation(
    name="cc_run_streaming", words=("run-streaming",), toolset="core", effect="open_world", act="dispatch", default_on=True, hot=True,
    summary="Start a worker on a task; answers at once with run_id. Then cc_wait.",
    description="Start a supervised worker on a task and return its run_id at once. Read-only unless allow_write=true; a write "
    "run gets its own git worktree and its result is a commit. Follow with cc_wait.",
    params=RunParams, handler=_run_streaming, aliases=("cc_run_streaming_agent",), positional="task", result_cap=1_536,
    long_texts=("task", "context"),
    search_hint="start run launch delegate worker agent claude codex",
))  # fmt: skip

RUN_AGENT = register(Operation(
    name="cc_run_agent", words=("run",), toolset="core", effect="open_world", act="dispatch",
    summary="Start a worker and wait for its end, at most wait_seconds; past that it answers with the run_id.",
    params=RunAndWaitParams, handler=_run_agent, positional="task", long_texts=("task", "context"),
    search_hint="start run wait blocking worker",
))  # fmt: skip
