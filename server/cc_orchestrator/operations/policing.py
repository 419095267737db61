"""cc_policy: what the policies say of an act, why, what a change of them would change, and whether they are policies at all."""

from __future__ import annotations

import os
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import ToolCall, ToolKind
from cc_orchestrator.core.errors import CcError, InvalidRequest
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty, fit
from cc_orchestrator.policy.engine import Engine, Source
from cc_orchestrator.policy.judge import Judge
from cc_orchestrator.policy.posture import Posture
from cc_orchestrator.policy.validation import find_problems
from cc_orchestrator.runs.ruling import load_engine, posture_of
from cc_orchestrator.store import index
from cc_orchestrator.store.journal import START, read_page
from cc_orchestrator.store.paths import Workspace, existing_folder, state_home
from cc_orchestrator.store.policyfiles import shipped_policies, shipped_schema, workspace_policies
from cc_orchestrator.store.rundir import RunDir

Answer = dict[str, Any]
_SHOWN = 20
_PAGE = 1 << 22


class PolicyParams(Params):
    """What to do; the act; for whom."""

    action: Literal["check", "explain", "simulate", "validate"] = "check"
    command: Annotated[str | None, Field(max_length=20_000)] = None
    path: Annotated[str | None, Field(max_length=4_000, description="For kind read or edit.")] = None
    host: Annotated[str | None, Field(max_length=300)] = None
    kind: Literal["read", "edit", "command", "network", "delegate", "ask", "other"] | None = None
    run_id: Annotated[str | None, Field(description="Judge as for this run; else as for the fields below.")] = None
    trust: Annotated[int, Field(ge=0, le=3)] = 1
    role: str = "implementation"
    allow_write: bool | None = None
    scope_allow: Annotated[list[str], Field(max_length=100)] = []
    scope_deny: Annotated[list[str], Field(max_length=100)] = []
    commands: Annotated[list[str], Field(max_length=100)] = []
    sandbox: Literal["none", "worktree", "fs", "fs+net"] = "worktree"
    policies: Annotated[
        str | None, Field(max_length=200_000, description="simulate: Cedar text instead of the workspace's files.")
    ] = None
    last: Annotated[int, Field(ge=1, le=200, description="simulate: so many runs.")] = 20
    cwd: str | None = None


def _policy(ctx: Context, params: PolicyParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    if params.action == "validate":
        return _validate(workspace, params)
    if params.action == "simulate":
        return _simulate(ctx, workspace, params)
    call = _call(params)
    judged = Judge(load_engine(workspace), _posture(ctx, workspace, params), "claude").judge(call)
    ruling = judged.ruling
    out: Answer = {"decision": ruling.decision, "rule": ruling.rule, "reason": ruling.reason, "risk": ruling.risk}
    if params.action == "explain":
        rows = [
            drop_empty({
                "act": act.action, "what": line(act.path or act.host or act.program, 160), "place": spot.place if spot else None,
                "real": spot.real if spot and spot.real != act.path else None, "decision": verdict.ruling.decision,
                "rule": verdict.ruling.rule, "matched": list(verdict.matched),
            })
            for act, spot, verdict in judged.acts
        ]  # fmt: skip
        out.update(acts=rows[:_SHOWN], truncated=len(rows) > _SHOWN, untold=judged.untold or None)
    return drop_empty(out)


def _call(params: PolicyParams) -> ToolCall:
    given = [name for name in ("command", "path", "host") if getattr(params, name) is not None]
    if len(given) > 1 or (not given and params.kind in (None, "read", "edit", "command", "network")):
        raise InvalidRequest(
            "name one act: command, path (with kind read or edit) or host", hint='cc_policy {"command":"git push"}'
        )
    kinds: dict[str, ToolKind] = {"command": "command", "path": "read", "host": "network"}
    kind = params.kind or kinds[given[0]]
    target = str(getattr(params, given[0])) if given else ""
    paths = (target,) if kind in ("read", "edit") and target else ()
    return ToolCall("act", kind, target, paths, target if kind == "command" else None)


def _posture(ctx: Context, workspace: Workspace, params: PolicyParams) -> Posture:
    if params.run_id is not None:
        _workspace, run = locate_run(ctx, params.run_id, params.cwd)
        return posture_of(spec_of(run), run.outbox, ctx.env)
    folder = existing_folder(params.cwd or ctx.cwd)
    may_write = params.allow_write if params.allow_write is not None else params.trust > 0
    # A writer's tree is one of its own below the workspace's folder; a reader looks at the checkout itself.
    tree = os.path.join(workspace.worktrees, "task") if may_write else folder
    return Posture(
        allow_write=may_write, cwd=tree, outbox=os.path.join(workspace.runs, "run", "outbox"), scope_allow=tuple(params.scope_allow),
        scope_deny=tuple(params.scope_deny), trust=params.trust if may_write else 0, role=params.role, sandbox=params.sandbox,
        commands=tuple(params.commands), records=workspace.folder, checkout=workspace.root, state=state_home(ctx.env),
        home=ctx.env.get("HOME") or os.path.expanduser("~"),
    )  # fmt: skip


def _validate(workspace: Workspace, params: PolicyParams) -> Answer:
    own = (
        [Source("given", params.policies)]
        if params.policies is not None
        else [Source(*text) for text in workspace_policies(workspace)]
    )
    sources = [*(Source(*text) for text in shipped_policies()), *own]
    problems = find_problems(sources, shipped_schema())
    out: Answer = {
        "ok": not problems,
        "files": [source.name for source in sources],
        "problems": [problem._asdict() for problem in problems[:_SHOWN]],
    }
    if not problems:
        out["rules"] = len(Engine(sources, shipped_schema()).rules)
    return out


def _simulate(ctx: Context, workspace: Workspace, params: PolicyParams) -> Answer:
    """Every recorded decision of the last runs, judged again."""
    own = (
        [Source("given", params.policies)]
        if params.policies is not None
        else [Source(*text) for text in workspace_policies(workspace)]
    )
    engine = Engine([*(Source(*text) for text in shipped_policies()), *own], shipped_schema())
    rows = index.select(workspace.index, limit=params.last)
    changed: list[Answer] = []
    counts: Counter[str] = Counter()
    decided, skipped = 0, 0
    for row in rows:
        run = RunDir(workspace.run(str(row["run_id"])))
        try:
            judge = Judge(engine, posture_of(spec_of(run), run.outbox, ctx.env), str(row["adapter"]))
        except CcError:
            skipped += 1
            continue
        for call, was, seq in _decisions(run):
            decided += 1
            now = judge.decide(call)
            if now.decision != was:
                counts[f"{was} -> {now.decision}"] += 1
                changed.append(
                    {
                        "run_id": run.run_id,
                        "seq": seq,
                        "was": was,
                        "now": now.decision,
                        "rule": now.rule,
                        "target": line(call.target, 120),
                    }
                )
    return fit({
        "runs": len(rows) - skipped, "runs_unreadable": skipped or None, "decisions": decided, "changes": dict(counts), "changed": changed[:_SHOWN],
        "truncated": len(changed) > _SHOWN,
    }, 8_192)  # fmt: skip


def _decisions(run: RunDir) -> list[tuple[ToolCall, str, int]]:
    """Recorded calls with what was decided then; paths are those of the tool's own event."""
    found: list[tuple[ToolCall, str, int]] = []
    paths: dict[str, tuple[str, ...]] = {}
    cursor = START
    while True:
        page = read_page(run.journal, cursor, _PAGE)
        for event in page.events:
            data = event["data"]
            if event["type"] == ev.TOOL_STARTED:
                paths[str(data.get("id"))] = tuple(data.get("paths") or ())
            elif event["type"] == ev.POLICY_DECIDED and data.get("kind"):
                target = str(data.get("target") or "")
                if target.endswith("…"):
                    # Only its beginning is on record: nothing can be said of the rest.
                    continue
                known = paths.get(str(data.get("tool_use_id")), ()) or (
                    (target,) if data["kind"] in ("read", "edit") and target else ()
                )
                call = ToolCall(
                    str(data.get("tool")), data["kind"], target, known, target if data["kind"] == "command" else None
                )
                found.append((call, str(data.get("decision")), int(event["seq"])))
        if not page.more or page.cursor == cursor:
            return found
        cursor = page.cursor


register(Operation(
    name="cc_policy", words=("policy",), toolset="review", effect="read",
    summary="What a worker may do: check or explain one act, simulate changed policies over past runs, validate the files.",
    description="Cedar files in .agent-workspace/policies/*.cedar stand over the shipped rules for T0-T3; forbid wins, a permit with @ask asks.",
    params=PolicyParams, handler=_policy, positional="action", idempotent=True, search_hint="policy allow deny ask rule cedar permission trust",
))  # fmt: skip
