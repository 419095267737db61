"""cc_decision_review: should a proposed action be taken, judged over what is on record."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.delivery.acceptance import last_decision
from cc_orchestrator.delivery.reviewed import find_standing
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT
from cc_orchestrator.operations.place import locate_run, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.reviewing import ReviewerParams, Steps, await_job, wanted_of
from cc_orchestrator.runs.auditing import check_workspace_ledger
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.risk import find_flags
from cc_orchestrator.store import ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.counsel import Counsel, Record, give_counsel
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import current_result, speaks_of_now
from cc_orchestrator.workflow.review import start_review
from cc_orchestrator.workflow.review_pack import latest_result
from cc_orchestrator.workflow.workers import Caller


class DecisionReviewParams(Params):
    """What is about to be done, and on what grounds."""

    proposed_action: Annotated[str, Field(min_length=1, max_length=12_000)]
    task: Annotated[str, Field(max_length=20_000)] = ""
    run_id: str | None = None
    evidence: Annotated[str, Field(max_length=20_000, description="Kept as a claim; it lifts nothing.")] = ""
    reviewers: Annotated[list[ReviewerParams], Field(max_length=6, description="Have the result reviewed first.")] = []
    acceptance_steps: Steps = []
    wait_seconds: Annotated[float, Field(ge=0, le=MAX_WAIT, description="For the reviewers.")] = 45.0
    cwd: str | None = None


def _decision_review(ctx: Context, params: DecisionReviewParams) -> dict[str, Any]:
    pending = ""
    record: Record | None = None
    if params.run_id is None:
        workspace = workspace_of(ctx, params.cwd)
    else:
        workspace, run = locate_run(ctx, params.run_id, params.cwd)
        pending = _have_reviewed(ctx, workspace, run, params)
        record = _collect(ctx, workspace, run)
    report = check_workspace_ledger(workspace)
    problems = tuple(f"{problem.where}: {problem.what}" for problem in report.problems)
    counsel = give_counsel(params.proposed_action, record, ledger_problems=problems, pending=pending)
    receipt = _write_receipt(ctx, workspace, params, counsel, record)
    return _answer(counsel, record, receipt)


def _have_reviewed(ctx: Context, workspace: Workspace, run: RunDir, params: DecisionReviewParams) -> str:
    """The id of a review that was asked for and is not done; "" when there is none."""
    if not params.reviewers:
        return ""
    wanted = wanted_of(ctx, params.reviewers, params.acceptance_steps, 900.0)
    job, _made, _request = start_review(workspace, run.run_id, wanted, Caller(ctx.env, ctx.clock, ctx.channel))
    await_job(ctx, job, params.wait_seconds)
    return job.job_id if read_job(job).status == "running" else ""


def _collect(ctx: Context, workspace: Workspace, run: RunDir) -> Record:
    """What is on record of the run."""
    spec, state = spec_of(run), read_run(run).state
    now = ctx.clock.now()
    result = latest_result(workspace, run.run_id)
    standing = find_standing(workspace, spec, state, result, now)
    checks: list[dict[str, Any]] = result["checks"] if result is not None else []
    return Record(
        run_id=run.run_id, status=state["status"], live=state["status"] in LIVE, writes=spec.allow_write,
        verdict=str((result or {}).get("verdict") or ""), current=result is not None and speaks_of_now(result, spec, state),
        failing=tuple(f"{row['check']} {row['outcome']}" for row in checks if row["required"] and row["outcome"] != "pass"),
        tests_ran=any(row["check"] == "tests" and row["outcome"] == "pass" for row in checks),
        accepted=_is_accepted(workspace, run, current_result(spec, state)), review_problems=tuple(standing.problems),
        reviewers_disagree=standing.disagree, open_blockers=tuple(row.id for row in standing.blockers),
        flags=tuple(f"{flag.code}: {line(flag.message, 140)}" for flag in find_flags(state, now) if flag.blocking),
    )  # fmt: skip


def _is_accepted(workspace: Workspace, run: RunDir, result: tuple[str | None, str | None]) -> bool:
    decision = last_decision(workspace, run.run_id)
    if decision is None or result[0] is None:
        return False
    observed = decision["observed"]
    return observed.get("decision") == "accept" and (observed.get("commit"), observed.get("tree")) == result


def _write_receipt(
    ctx: Context, workspace: Workspace, params: DecisionReviewParams, counsel: Counsel, record: Record | None
) -> dict[str, Any]:  # fmt: skip
    said = {"proposed_action": params.proposed_action, "task": params.task, "evidence": params.evidence}
    return ledger.append(workspace.ledger, {
        "kind": "counsel", "ts": ctx.clock.now(), "actor": "controller", "channel": ctx.channel,
        "subject": {} if record is None else {"run_id": record.run_id},
        "observed": {**counsel._asdict(), "verification": record.verdict if record is not None else None},
        "claimed": {key: cut(mask_text(value), 2_000) for key, value in said.items() if value},
    })  # fmt: skip


def _answer(counsel: Counsel, record: Record | None, receipt: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {
        "verdict": counsel.verdict, "confidence": counsel.confidence, "kind": counsel.kind, "objections": list(counsel.objections),
        "missing_evidence": list(counsel.missing_evidence), "required_changes": list(counsel.required_changes),
        "receipt": receipt["n"],
    }  # fmt: skip
    if record is not None:
        out["on_record"] = {
            "run_id": record.run_id, "run_status": record.status, "verdict": record.verdict or "never verified", "current": record.current,
            "tests_ran": record.tests_ran, "accepted": record.accepted,
        }  # fmt: skip
    calls = [text for text in counsel.required_changes if text.startswith("cc_")]
    out["next"] = calls[0] if calls else "cc_status {}"
    return out


register(Operation(
    name="cc_decision_review", words=("decision-review",), toolset="review", effect="write",
    summary="Approve, revise or block a proposed action by what is on record: verification, receipts, reviews. Claims lift nothing.",
    params=DecisionReviewParams, handler=_decision_review, aliases=("cc_supervise_decision",), positional="proposed_action",
    long_texts=("proposed_action", "evidence"), search_hint="decision review approve revise block supervise",
))  # fmt: skip
