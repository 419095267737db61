"""cc_score_worker: grades an ended run by what was observed of it, and keeps the score in the quality history."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.insight.quality import grade, keep, read_history
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.verify.evidence import read_ended_run


class ScoreParams(Params):
    """Which run, and what only a reader of its result can know. What is not given is observed."""

    run_id: str
    solved: Annotated[
        bool | None, Field(description="Default: what a current verification says, unless it was refused.")
    ] = None
    hallucination: Annotated[bool | None, Field(description="It said what is not so.")] = None
    needs_rework: Annotated[bool | None, Field(description="Default: not solved.")] = None
    notes: Annotated[str, Field(max_length=4_000)] = ""
    apply: Annotated[bool, Field(description="false: only show the score.")] = True


def _score(ctx: Context, params: ScoreParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    spec, state = read_ended_run(workspace, run.run_id)
    words = {"solved": params.solved, "hallucination": params.hallucination, "needs_rework": params.needs_rework}
    graded = grade(workspace, spec, {key: value for key, value in words.items() if value is not None}, ctx.clock)
    facts = graded.facts
    out: dict[str, Any] = {
        "run_id": run.run_id, "quality_score": graded.score.points,
        "deductions": [{"why": row.why, "points": row.points} for row in graded.score.deductions],
        "solved": facts.solved, "scope_ok": facts.scope_ok, "secret_ok": facts.secret_ok, "hallucination": facts.hallucination,
        "needs_rework": facts.needs_rework, "failure_flags": list(facts.failure_flags), "rework": facts.rework,
        "tokens": facts.tokens if facts.tokens is not None else "unknown", "unknown": list(graded.score.unknown),
        "given": list(graded.given), "status": state["status"], "role": spec.role, "profile": spec.profile,
        "declared_model": state["model"], "actual_model": state["actual_model"] or "unknown", "verify_id": graded.verify_id,
        "applied": params.apply,
    }  # fmt: skip
    if params.apply:
        kept = keep(workspace, spec, graded, params.notes, channel=ctx.channel, clock=ctx.clock)
        out.update(record=kept.record["n"], recorded_at=iso(kept.record["ts"]), repeated=kept.repeated or None)
    if graded.verify_id is None:
        out["next"] = f'cc_verify {{"run_id":"{run.run_id}","test_commands":["…"]}} proves it, then score again'
    history = read_history(workspace, state["actual_model"] or "unknown", spec.role)
    out["history"] = {"path": workspace.quality, "sound": history.ok, **history.standing._asdict()}
    return drop_empty(out)


register(Operation(
    name="cc_score_worker", words=("score-worker",), toolset="review", effect="write",
    summary="Grade an ended run, 0 to 100, by its verification, decision, flags and tokens; kept in the quality history.",
    params=ScoreParams, handler=_score, positional="run_id", search_hint="score quality grade model history",
))  # fmt: skip
