"""cc_cross_review, cc_review, cc_review_pack: have a result judged by others, and read what they said."""

from __future__ import annotations

import os
from typing import Annotated, Any, cast

from pydantic import Field

from cc_orchestrator.core.errors import InvalidRequest, NotFound
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.reviewed import find_standing
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT, ROLES, load_script
from cc_orchestrator.operations.place import locate_job, locate_run, spec_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.wait import wait_for
from cc_orchestrator.store import atomic
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.findings import Finding, list_open
from cc_orchestrator.verify.job import WatchedJob, read_job
from cc_orchestrator.verify.record import current_result
from cc_orchestrator.verify.reviews import read_findings, read_outcome, reviews_of
from cc_orchestrator.workflow.review import Wanted, start_review
from cc_orchestrator.workflow.review_pack import collect_pack, describe_standing, latest_result, write_pack
from cc_orchestrator.workflow.workers import Caller, Reader

Steps = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=2_000)]],
    Field(max_length=50, description="What has to hold; a verdict on each. Default: does the task, correctly."),
]


class ReviewerParams(Params):
    """One reviewer."""

    adapter: Annotated[str, Field(description="claude, codex, codex-exec or fake.")]
    model: str | None = None
    role: Annotated[str, Field(description="Perspective: review, security, testing, …")] = "review"
    script: Annotated[dict[str, Any] | str | None, Field(description="fake only.")] = None


class CrossReviewParams(Params):
    """Whose result, by whom, against what."""

    run_id: str
    reviewers: Annotated[
        list[ReviewerParams],
        Field(max_length=6, description="Default: as many as the risk asks for, of another vendor."),
    ] = []
    acceptance_steps: Steps = []
    timeout_seconds: Annotated[float, Field(gt=0, le=14_400, description="For each reviewer.")] = 900.0
    wait_seconds: Annotated[
        float, Field(ge=0, le=MAX_WAIT, description="Bound of this call; then cc_wait with review_id.")
    ] = 45.0


def wanted_of(ctx: Context, reviewers: list[ReviewerParams], steps: list[str], seconds: float) -> Wanted:
    """Checked: roles, scripts. Raises InvalidRequest."""
    readers: list[Reader] = []
    for row in reviewers:
        if row.role not in ROLES:
            raise InvalidRequest(f"there is no role {row.role[:60]!a}; known: {', '.join(ROLES)}", hint='role="review"')
        if row.script is not None and row.adapter != "fake":
            raise InvalidRequest(f"script is for adapter fake, not {row.adapter}", hint="leave script out")
        script = load_script(row.script, ctx.cwd) if isinstance(row.script, str) else row.script
        readers.append(Reader(row.adapter, row.model, row.role, {} if script is None else {"script": script}))
    return Wanted(tuple(steps), tuple(readers), seconds)


def _cross_review(ctx: Context, params: CrossReviewParams) -> dict[str, Any]:
    wanted = wanted_of(ctx, params.reviewers, params.acceptance_steps, params.timeout_seconds)
    workspace, run = locate_run(ctx, params.run_id)
    job, _made, _request = start_review(workspace, run.run_id, wanted, Caller(ctx.env, ctx.clock, ctx.channel))
    await_job(ctx, job, params.wait_seconds)
    return describe_review(ctx, workspace, job)


def await_job(ctx: Context, job: JobDir, seconds: float) -> None:
    """Wait for its end, at most `seconds`; a lost one is closed."""
    wait_for([WatchedJob(job)], "any", seconds, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    if read_job(job).status == "lost":
        locate_job(ctx, job.job_id)


def describe_review(ctx: Context, workspace: Workspace, job: JobDir) -> dict[str, Any]:
    """A review as a controller reads it."""
    state = read_job(job)
    request = atomic.read_json(job.request) or {}
    out: dict[str, Any] = {
        "review_id": job.job_id, "run_id": request.get("run_id"), "status": state.status, "commit": request.get("commit"),
        "declared": request.get("declared"),
    }  # fmt: skip
    if state.status == "running":
        started = [str(row["data"]["run_id"]) for row in read_page(job.journal, max_bytes=1 << 22).events
                   if row["data"].get("step") in ("reviewer", "repair")]  # fmt: skip
        return drop_empty({**out, "runs": started, "next": f'cc_wait {{"ids":["{job.job_id}"]}}'})
    review = read_outcome(job, state)
    if review is None:
        out.update(verdict=None, reason=(state.end or {}).get("reason") or "its process died")
        return drop_empty({**out, "next": f'cc_cross_review {{"run_id":"{request.get("run_id")}"}}'})
    spec = spec_of(run := RunDir(workspace.run(str(review["run_id"]))))
    commit, tree = current_result(spec, read_run(run).state)
    current = (commit, tree) == (review["commit"], review["tree"])
    findings = list_open(read_findings(workspace, spec.task_id), ctx.clock.now())
    if {"passed", "failed"} <= {row["outcome"] for row in review["reviewers"]}:
        out["reviewers_disagree"] = True
    out.update(
        verdict=review["verdict"], current=current, reviewers=[_brief(row) for row in review["reviewers"]],
        findings=[brief_finding(row) for row in findings[:20]], fixed=review["findings"]["fixed"],
        oscillating=review["oscillating"], receipt=cast("dict[str, Any]", (state.end or {}).get("receipt") or {}).get("n"),
        file=job.at("result.json"), next=_next(review, current),
    )  # fmt: skip
    return drop_empty(out)


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    failing = [
        {"step": step["step"], "verdict": step["verdict"], "untrusted_evidence": line(str(step["evidence"]), 240)}
        for step in row.get("steps", [])
        if step["verdict"] != "PASS"
    ]
    return drop_empty({
        "adapter": row["adapter"], "model": row["actual_model"] or row["model"], "run_id": row["run_id"], "outcome": row["outcome"],
        "repaired": row["repaired"] or None, "problems": row["problems"], "failing_steps": failing,
        "passed_steps": sum(step["verdict"] == "PASS" for step in row.get("steps", [])),
        "untrusted_summary": line(str(row.get("summary") or ""), 300) or None,
    })  # fmt: skip


def brief_finding(row: Finding) -> dict[str, Any]:
    """A finding in a list."""
    out: dict[str, Any] = {"finding_id": row.id, "severity": row.severity, "state": row.state}
    out["where"] = f"{row.path}:{row.line}" if row.line else row.path
    out.update(untrusted_text=line(row.text, 240), returns=row.returns, owner=row.owner, reason=line(row.reason, 200))
    return {key: value for key, value in out.items() if value}


def _next(review: dict[str, Any], current: bool) -> str:
    run_id = review["run_id"]
    if review["verdict"] == "passed" and current:
        return f'cc_accept {{"run_id":"{run_id}","decision":"accept"}}'
    if review["verdict"] == "failed" and current:
        return f'cc_fix_loop {{"run_id":"{run_id}","review":true,"test_commands":["…"]}}'
    return f'cc_cross_review {{"run_id":"{run_id}"}}'


class ReviewParams(Params):
    """One review or fix loop by its id, or how a run stands with its reviewers."""

    id: Annotated[str | None, Field(description="rev_… or fix_…")] = None
    run_id: str | None = None


def _review(ctx: Context, params: ReviewParams) -> dict[str, Any]:
    if params.id is not None:
        workspace, job = locate_job(ctx, params.id)
        if is_id(params.id, "fix"):
            return describe_loop(job)
        if not is_id(params.id, "rev"):
            raise InvalidRequest(f"{params.id} is no review or fix loop", hint="rev_… or fix_…")
        return describe_review(ctx, workspace, job)
    if params.run_id is None:
        raise NotFound("neither id nor run_id was given", hint='cc_review {"run_id":"run_…"}')
    workspace, run = locate_run(ctx, params.run_id)
    spec, state = spec_of(run), read_run(run).state
    standing = find_standing(workspace, spec, state, latest_result(workspace, run.run_id), ctx.clock.now())
    jobs = reviews_of(workspace, spec.task_id)
    out = {"run_id": run.run_id, "task_id": spec.task_id, **describe_standing(standing)}
    out["reviewers_disagree"] = standing.disagree or None
    out["reviews"] = [{"review_id": job.job_id, "status": read_job(job).status} for job in jobs[:10]]
    out["fix_loops"] = [job.job_id for job in reviews_of(workspace, spec.task_id, "fix")[:5]]
    out["next"] = f'cc_cross_review {{"run_id":"{run.run_id}"}}' if standing.problems else "cc_status {}"
    return drop_empty(out)


def describe_loop(job: JobDir) -> dict[str, Any]:
    """A fix loop as a controller reads it."""
    state = read_job(job)
    request = atomic.read_json(job.request) or {}
    out: dict[str, Any] = {"fix_id": job.job_id, "started_from": request.get("run_id"), "status": state.status}
    steps = [row["data"] for row in read_page(job.journal, max_bytes=1 << 22).events]
    rounds = [_brief_round(row) for row in steps if row.get("step") == "round"]
    if state.status == "running":
        worker = next((str(row["run_id"]) for row in reversed(steps) if row.get("step") == "worker"), None)
        return drop_empty(
            {
                **out,
                "step": state.step,
                "worker": worker,
                "rounds": rounds,
                "next": f'cc_wait {{"ids":["{job.job_id}"]}}',
            }
        )
    result = read_outcome(job, state)
    if result is None:
        out.update(outcome=None, reason=(state.end or {}).get("reason") or "its process died", rounds=rounds)
        return drop_empty({**out, "next": f'cc_fix_loop {{"run_id":"{request.get("run_id")}","test_commands":["…"]}}'})
    run_id = str(result["run_id"])
    approved = result["outcome"] == "APPROVE"
    out.update(
        outcome=result["outcome"], reason=line(str(result["reason"]), 500), run_id=run_id, rounds=rounds, file=job.at("result.json"),
        next=f'cc_accept {{"run_id":"{run_id}","decision":"accept"}}' if approved
        else f'cc_read {{"name":"cc_review","arguments":{{"run_id":"{run_id}"}}}}; a person decides',
    )  # fmt: skip
    return drop_empty(out)


def _brief_round(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("number", "how", "run_id", "verdict", "verify_id", "review_id", "move", "oscillating")
    failing = sorted({str(name).partition("#")[0] for name in row.get("failing", [])})
    return drop_empty({**{key: row.get(key) for key in keys}, "failing": failing[:8]})


class ReviewPackParams(Params):
    """Whose result."""

    run_id: str


def _review_pack(ctx: Context, params: ReviewPackParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    pack, patch = collect_pack(workspace, run.run_id, ctx.clock.now())
    folder = write_pack(workspace, pack, patch)
    verification: dict[str, Any] = pack["observed"]["verification"] or {}
    return drop_empty({
        "run_id": run.run_id, "commit": pack["head"]["commit"], "tree": pack["head"]["tree"], "base": pack["head"]["base"],
        "digest": pack["digest"], "folder": folder, "files": sorted(os.listdir(folder)),
        "change": {key: pack["change"][key] for key in ("file_count", "added", "deleted", "patch_cut")},
        "verdict": verification.get("verdict"), "current": verification.get("current"), "risk": pack["observed"]["review"]["risk"],
        "review_problems": pack["observed"]["review"]["problems"],
        "risk_flags": [flag["code"] for flag in pack["observed"]["risk_flags"]], "next": f'cc_cross_review {{"run_id":"{run.run_id}"}}',
    })  # fmt: skip


register(Operation(
    name="cc_cross_review", words=("cross-review",), toolset="review", effect="open_world", act="dispatch",
    summary="Have an ended run's result judged by read-only reviewers, of another vendor when there is one: a verdict per acceptance step.",
    params=CrossReviewParams, handler=_cross_review, positional="run_id", search_hint="review reviewer second opinion cross vendor judge",
))  # fmt: skip
register(Operation(
    name="cc_review", words=("review",), toolset="review", effect="read",
    summary="One review or fix loop by id, or how a run stands with the review policy of its risk.",
    params=ReviewParams, handler=_review, positional="id", idempotent=True, search_hint="review verdict standing reviewers findings",
))  # fmt: skip
register(Operation(
    name="cc_review_pack", words=("review-pack",), toolset="review", effect="write",
    summary="Write one bundle for whoever judges a result, bound to its head: task, change, checks, receipts, claims apart.",
    params=ReviewPackParams, handler=_review_pack, positional="run_id", idempotent=True, search_hint="review pack bundle evidence",
))  # fmt: skip
