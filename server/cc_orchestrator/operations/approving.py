"""cc_approvals: what a person has approved or shall approve; durable, used once. And the passphrase by which a person is known."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.asking import Risk
from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import Conflict, InvalidRequest, NotFound
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.persons import enroll_passphrase, require_person
from cc_orchestrator.operations.place import locate_run, prepare_workspace, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.requesting import open_request, status_now, target_of
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.policy.approvals import (
    DEFAULT_SECONDS,
    LONGEST_SECONDS,
    Approval,
    read_approvals,
)
from cc_orchestrator.store import ledger
from cc_orchestrator.store.approvalfile import change, read_rows
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record

Answer = dict[str, Any]
_SHOWN = 15


class ApprovalsParams(Params):
    """What to do; which approval, or what it is to cover."""

    action: Literal["list", "show", "request", "approve", "deny", "revoke", "chain", "enroll"] = "list"
    approval_id: str | None = None
    what: Annotated[str, Field(max_length=1_000, description="request, chain: what for, in a sentence.")] = ""
    run_id: Annotated[str | None, Field(description="chain: only this run. request: its result is the target.")] = None
    task_id: Annotated[str | None, Field(description="chain: all runs of this task.")] = None
    risk: Risk = "high"
    seconds: Annotated[float, Field(gt=0, le=LONGEST_SECONDS)] = DEFAULT_SECONDS
    kinds: Annotated[list[Literal["read", "edit", "command", "network", "other"]], Field(max_length=5)] = []
    commands: Annotated[list[str], Field(max_length=50, description="chain: beginnings of single commands.")] = []
    paths: Annotated[list[str], Field(max_length=50, description="chain: globs.")] = []
    steps: Annotated[int, Field(ge=1, le=1_000)] = 10
    max_cost_usd: Annotated[float | None, Field(gt=0)] = None
    reason: Annotated[str, Field(max_length=500)] = ""
    cwd: str | None = None


def _approvals(ctx: Context, params: ApprovalsParams) -> Answer:
    if params.action == "enroll":
        return {
            "enrolled": True,
            "replaced": enroll_passphrase(ctx),
            "kept": "a salted verifier in the per-user folder",
        }
    workspace = workspace_of(ctx, params.cwd)
    if params.action in ("request", "chain"):
        return _open(ctx, workspace, params)
    found = read_approvals(read_rows(workspace))
    if params.action == "list":
        rows = sorted(found.values(), key=lambda entry: entry.requested_at, reverse=True)
        return {
            "approvals": [_row(ctx, workspace, entry) for entry in rows[:_SHOWN]],
            "count": len(rows),
            "truncated": len(rows) > _SHOWN,
        }
    if params.approval_id is None or params.approval_id not in found:
        raise NotFound(
            f"there is no approval {str(params.approval_id)[:60]!a} here", hint='cc_approvals {"action":"list"}'
        )
    if params.action == "show":
        return _row(ctx, workspace, found[params.approval_id])
    return _decide(ctx, workspace, params, found[params.approval_id])


def _row(ctx: Context, workspace: Workspace, entry: Approval) -> Answer:
    chain = entry.chain
    status = status_now(workspace, entry, ctx.clock.now())
    return drop_empty({
        "approval_id": entry.approval_id, "status": status, "what": line(entry.what, 200), "risk": entry.risk, "run_id": entry.run_id,
        "task_id": entry.task_id, "target": entry.target[:12], "requested_by": entry.requested_by, "approver": entry.approver,
        "channel": entry.channel, "expires": iso(entry.expires), "latency_s": None if entry.latency is None else round(entry.latency, 1),
        "steps_left": chain.steps - entry.used if chain is not None else None,
        "next": f'a person: cc-orchestrator approvals approve --approval-id {entry.approval_id}' if status == "open" else None,
    })  # fmt: skip


def _open(ctx: Context, workspace: Workspace, params: ApprovalsParams) -> Answer:
    chain = params.action == "chain"
    if not params.what.strip():
        raise InvalidRequest(
            "say what it is for", hint='cc_approvals {"action":"request","what":"merge run_… into main"}'
        )
    if params.run_id is not None:
        workspace, run = locate_run(ctx, params.run_id, params.cwd)
        if chain and params.task_id not in (None, spec_of(run).task_id):
            raise InvalidRequest(f"{params.run_id} is no run of {params.task_id}", hint="leave task_id out")
    if chain and params.run_id is None and params.task_id is None:
        raise InvalidRequest("a chain is for one run or one task", hint='run_id="run_…" or task_id="task_…"')
    if chain and not (params.kinds or params.commands or params.paths):
        raise InvalidRequest(
            "a chain covers kinds, commands or paths", hint='kinds=["network"] or commands=["npm install"]'
        )
    by = require_person(ctx, f"consenting to up to {params.steps} acts", "approvals chain …") if chain else ctx.channel
    target = target_of(workspace, params.run_id or "") if not chain else ""
    now = ctx.clock.now()
    covered = {
        "kinds": params.kinds,
        "commands": params.commands,
        "paths": params.paths,
        "steps": params.steps,
        "cost_usd": params.max_cost_usd,
        "risk": params.risk,
    }
    request = {
        "what": params.what,
        "run": params.run_id,
        "task": params.task_id,
        "target": target,
        "chain": covered if chain else None,
    }
    prepare_workspace(ctx, workspace)
    approval_id, repeated = open_request(
        workspace, request, what=params.what, risk=params.risk, by=by, now=now, seconds=params.seconds, target=target,
        run_id=params.run_id, task_id=params.task_id, chain=covered if chain else None,
    )  # fmt: skip
    if chain:
        # Who consents has decided.
        _record(ctx, workspace, approval_id, "allow", by, params.reason)
    entry = read_approvals(read_rows(workspace))[approval_id]
    return {**_row(ctx, workspace, entry), "repeated": repeated}


def _decide(ctx: Context, workspace: Workspace, params: ApprovalsParams, entry: Approval) -> Answer:
    now = ctx.clock.now()
    if params.action == "revoke":
        change(
            workspace, lambda _rows: {"approval_id": entry.approval_id, "revoked": True, "by": ctx.channel, "ts": now}
        )
    else:
        decision = "allow" if params.action == "approve" else "deny"
        command = f"approvals approve --approval-id {entry.approval_id}"
        by = require_person(ctx, f"approving {line(entry.what, 80)}", command) if decision == "allow" else ctx.channel
        _record(ctx, workspace, entry.approval_id, decision, by, params.reason)
    return _row(ctx, workspace, read_approvals(read_rows(workspace))[entry.approval_id])


def _record(ctx: Context, workspace: Workspace, approval_id: str, decision: str, by: str, reason: str) -> None:
    """One decision, under the lock: the second is a Conflict, but a no after a yes that is not used yet counts."""
    now = ctx.clock.now()

    def decide(rows: list[Record]) -> Answer:
        entry = read_approvals(rows)[approval_id]
        status = status_now(workspace, entry, now)
        if status != "open" and not (status == "allowed" and decision == "deny"):
            raise Conflict(
                f"{approval_id} is {status} and is not decided again",
                hint=f'cc_approvals {{"action":"show","approval_id":"{approval_id}"}}',
            )
        return {
            "approval_id": approval_id,
            "decision": decision,
            "by": by,
            "channel": ctx.channel,
            "ts": now,
            "reason": line(reason, 500),
        }

    change(workspace, decide)
    entry = read_approvals(read_rows(workspace))[approval_id]
    observed = {
        "decision": decision, "what": line(entry.what, 300), "risk": entry.risk, "latency_s": round(entry.latency or 0.0, 3),
    }  # fmt: skip
    ledger.append(workspace.ledger, {
        "kind": "approval", "ts": now, "actor": by, "channel": ctx.channel, "observed": observed, "claimed": {},
        "subject": drop_empty({"approval_id": approval_id, "run_id": entry.run_id}),
    })  # fmt: skip


register(Operation(
    name="cc_approvals", words=("approvals",), toolset="review", effect="write", act="grant",
    summary="Durable approvals: list, request, deny, revoke; a person approves, consents to a chain of acts, or enrolls a passphrase.",
    description="Decided once, used once, stale when its target moved. A chain lets up to `steps` acts of a run or task pass unasked.",
    params=ApprovalsParams, handler=_approvals, positional="action", search_hint="approval approve consent chain passphrase person",
))  # fmt: skip
