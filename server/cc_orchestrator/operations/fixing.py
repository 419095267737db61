"""cc_fix_loop, cc_findings, cc_resolve_finding: have failures mended, and decide over what reviewers found."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import InvalidRequest, NotFound
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import cut
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT
from cc_orchestrator.operations.place import locate_run, spec_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.reviewing import (
    ReviewerParams,
    Steps,
    await_job,
    brief_finding,
    describe_loop,
    wanted_of,
)
from cc_orchestrator.store import ledger
from cc_orchestrator.verify.commands import MAX_COMMANDS, parse_commands
from cc_orchestrator.verify.findings import Event, Finding, list_open
from cc_orchestrator.verify.reviews import add_findings, read_findings
from cc_orchestrator.workflow.fix import Loop, start_fix_loop
from cc_orchestrator.workflow.fix_moves import MAX_ROUNDS
from cc_orchestrator.workflow.workers import Caller

DAY = 86_400.0


class FixLoopParams(Params):
    """What to mend, checked by what."""

    run_id: str
    test_commands: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=4_000)]],
        Field(max_length=MAX_COMMANDS, description="Each split into argv, no shell; as in cc_verify."),
    ] = []
    review: Annotated[bool, Field(description="Also have each result that passes its checks reviewed.")] = False
    reviewers: Annotated[list[ReviewerParams], Field(max_length=6, description="Implies review.")] = []
    acceptance_steps: Steps = []
    max_rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = MAX_ROUNDS
    timeout_seconds: Annotated[float, Field(gt=0, le=7_200, description="For each command.")] = 600.0
    review_seconds: Annotated[float, Field(gt=0, le=14_400, description="For each reviewer.")] = 900.0
    wait_seconds: Annotated[
        float, Field(ge=0, le=MAX_WAIT, description="Bound of this call; then cc_wait with fix_id.")
    ] = 45.0


def _fix_loop(ctx: Context, params: FixLoopParams) -> dict[str, Any]:
    commands = parse_commands(params.test_commands)
    review = None
    if params.review or params.reviewers or params.acceptance_steps:
        review = wanted_of(ctx, params.reviewers, params.acceptance_steps, params.review_seconds)
    workspace, run = locate_run(ctx, params.run_id)
    loop = Loop(commands, params.timeout_seconds, params.max_rounds, review)
    job, _made = start_fix_loop(workspace, run.run_id, loop, Caller(ctx.env, ctx.clock, ctx.channel))
    await_job(ctx, job, params.wait_seconds)
    return describe_loop(job)


class FindingsParams(Params):
    """Of which run's task."""

    run_id: str
    state: Annotated[Literal["open", "all"], Field(description="An expired waiver is open.")] = "open"


def _findings(ctx: Context, params: FindingsParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    now = ctx.clock.now()
    found = read_findings(workspace, spec_of(run).task_id)
    rows = list_open(found, now) if params.state == "open" else sorted(found.values(), key=lambda row: int(row.id[1:]))
    return {
        "run_id": run.run_id, "findings": [_row(row, now) for row in rows[:60]], "truncated": len(rows) > 60,
        "oscillating": [row.id for row in found.values() if row.oscillates], "as_of": iso(now),
    }  # fmt: skip


def _row(row: Finding, now: float) -> dict[str, Any]:
    out = brief_finding(row)
    out["state"] = row.state_at(now)
    if row.expires_at is not None:
        out["expires"] = iso(row.expires_at)
    return out


class ResolveParams(Params):
    """The decision over a finding."""

    run_id: str
    finding_id: Annotated[str, Field(pattern=r"^F[0-9]{1,6}$")]
    decision: Annotated[
        Literal["waive", "reject", "reopen"],
        Field(description="waive: true, but accepted for a time; reject: not true; reopen: neither any more."),
    ]
    owner: Annotated[str, Field(min_length=1, max_length=200, description="Who answers for it.")]
    reason: Annotated[str, Field(min_length=10, max_length=2_000)]
    expires_days: Annotated[float | None, Field(gt=0, le=365, description="A waiver needs it.")] = None


def _resolve(ctx: Context, params: ResolveParams) -> dict[str, Any]:
    if (params.decision == "waive") != (params.expires_days is not None):
        raise InvalidRequest(
            "a waiver needs expires_days, and nothing else has it", hint='"decision":"waive","expires_days":14'
        )
    workspace, run = locate_run(ctx, params.run_id)
    spec = spec_of(run)
    now = ctx.clock.now()
    event: Event = {
        "ts": now, "kind": {"waive": "waived", "reject": "rejected", "reopen": "reopened"}[params.decision],
        "finding_id": params.finding_id, "owner": mask_text(params.owner), "reason": cut(mask_text(params.reason), 2_000),
    }  # fmt: skip
    if params.expires_days is not None:
        event["expires_at"] = now + params.expires_days * DAY

    def make(known: dict[str, Finding]) -> list[Event]:
        if params.finding_id not in known:
            raise NotFound(
                f"{spec.task_id} has no finding {params.finding_id}; known: {', '.join(list(known)[:20]) or 'none'}",
                hint=f'cc_findings {{"run_id":"{run.run_id}","state":"all"}}',
            )
        return [event]

    found, _news = add_findings(workspace, spec.task_id, make)
    row = found[params.finding_id]
    receipt = ledger.append(workspace.ledger, {
        "kind": "finding", "ts": now, "actor": "controller", "channel": ctx.channel,
        "subject": {"run_id": run.run_id, "task_id": spec.task_id, "finding_id": row.id},
        "observed": {"decision": params.decision, "severity": row.severity, "fingerprint": row.fingerprint, "expires_at": row.expires_at},
        "claimed": {"owner": row.owner, "reason": row.reason},
    })  # fmt: skip
    return {"run_id": run.run_id, **_row(row, now), "receipt": receipt["n"]}


register(Operation(
    name="cc_fix_loop", words=("fix-loop",), toolset="review", effect="open_world", act="dispatch",
    summary="Verify an ended write run and send what fails back to its worker, at most three rounds; ends in APPROVE or ESCALATE.",
    params=FixLoopParams, handler=_fix_loop, positional="run_id", search_hint="fix loop repair retry failing checks until approve",
))  # fmt: skip
register(Operation(
    name="cc_findings", words=("findings",), toolset="review", effect="read",
    summary="What reviewers found in the results of a run's task, and in which state it is.",
    params=FindingsParams, handler=_findings, positional="run_id", idempotent=True, search_hint="findings issues review open waived",
))  # fmt: skip
register(Operation(
    name="cc_resolve_finding", words=("resolve-finding",), toolset="review", effect="write",
    summary="Waive a finding for a time, reject or reopen it: by name and with a reason.",
    params=ResolveParams, handler=_resolve, positional="finding_id", search_hint="waive waiver reject finding false positive",
))  # fmt: skip
