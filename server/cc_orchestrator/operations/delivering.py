"""cc_accept, cc_deliver, cc_delivery, cc_rollback_run: decide over a result, bring it to a branch, and take it back.

Pushing, cleaning up and releasing are decisions of their own: nothing here does them, and no parameter turns them on.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, cast

from pydantic import Field

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import Decision, decide
from cc_orchestrator.delivery.deliver import deliver, foresee, foresee_rollback, position, roll_back
from cc_orchestrator.delivery.forecast import Clash, Forecast
from cc_orchestrator.delivery.history import as_landed
from cc_orchestrator.delivery.progress import as_error, read_progress
from cc_orchestrator.delivery.request import Request, read_request
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import MAX_WAIT
from cc_orchestrator.operations.place import locate_job, locate_run
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.runs.wait import wait_for
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.commands import MAX_COMMANDS
from cc_orchestrator.verify.job import WatchedJob, read_job

MAX_BATCH = 50
Answer = dict[str, Any]
Branch = Annotated[str, Field(min_length=1, max_length=250, description="A local branch.")]
Commands = Annotated[list[Annotated[str, Field(min_length=1, max_length=400)]], Field(max_length=MAX_COMMANDS)]
Wait = Annotated[float, Field(ge=0, le=MAX_WAIT, description="Bound of this call; then cc_wait.")]


class AcceptParams(Params):
    """The decision over a run's result."""

    run_id: str
    decision: Annotated[
        Decision, Field(description="accept needs a current APPROVE; the others are always possible.")
    ] = "accept"
    reason: Annotated[str, Field(max_length=2_000)] = ""


def _accept(ctx: Context, params: AcceptParams) -> Answer:
    workspace, run = locate_run(ctx, params.run_id)
    done = decide(workspace, run.run_id, params.decision, params.reason, channel=ctx.channel, clock=ctx.clock)
    observed = done.receipt["observed"]
    return drop_empty({
        "run_id": run.run_id, "decision": observed["decision"], "verify_id": observed.get("verify_id"),
        "commit": observed.get("commit"), "failing": observed.get("failing"), "receipt": done.receipt["n"],
        "repeated": done.repeated or None, "next": _after_decision(run.run_id, observed, params.reason),
    })  # fmt: skip


def _after_decision(run_id: str, observed: Answer, reason: str) -> str:
    if observed["decision"] == "accept" and observed.get("commit"):
        return f'cc_deliver {{"run_id":"{run_id}","target":"main"}}'
    if observed["decision"] == "request_fix":
        wishes = [line(str(text), 160) for text in cast("list[Any]", observed.get("failing") or [])]
        if reason.strip():
            wishes.insert(0, line(reason, 300))
        text = "Fix: " + ("; ".join(wishes) or "…")
        arguments = json.dumps(
            {"run_id": run_id, "instruction": line(text, 700)}, ensure_ascii=False, separators=(",", ":")
        )
        return f"cc_send_instruction {arguments}"
    if observed["decision"] == "abandon":
        return f'cc_call {{"name":"cc_worktree","arguments":{{"action":"show","run_id":"{run_id}"}}}}'
    return "cc_status {}"


class DeliverParams(Params):
    """What to deliver, and where."""

    run_id: str | None = None
    run_ids: Annotated[
        list[str],
        Field(max_length=MAX_BATCH, description="A batch: what is green lands, a culprit is found and handed back."),
    ] = []
    target: Branch
    gate_commands: Annotated[Commands | None, Field(description="Default: the runs' verified test commands.")] = None
    timeout_seconds: Annotated[float, Field(gt=0, le=7_200, description="For each of gate_commands.")] = 600.0
    dry_run: Annotated[bool, Field(description="Only tell conflicts with the target and other tasks.")] = False
    wait_seconds: Wait = 45.0


def _deliver(ctx: Context, params: DeliverParams) -> Answer:
    workspace, runs = _locate(ctx, params)
    request = Request(
        kind="merge", target=params.target, runs=runs, gate_commands=_texts(params.gate_commands), gate_seconds=params.timeout_seconds,
        channel=ctx.channel,
    )  # fmt: skip
    if params.dry_run:
        return _foresee(ctx, workspace, request)
    placed = deliver(workspace, request, ctx.clock)
    if placed.job is None:
        assert placed.receipt is not None
        row = as_landed(placed.receipt)
        return drop_empty({
            "delivery_id": placed.receipt["subject"]["delivery_id"], "status": "succeeded", **row, "repeated": True, "pushed": False,
        })  # fmt: skip
    answer = _wait(ctx, workspace, placed.job, params.wait_seconds)
    others = [clash for clash in placed.forecast.clashes if clash.other != params.target] if placed.forecast else []
    if others:
        answer["will_conflict"] = _briefly(others, 6)
    return answer


def _texts(commands: list[str] | None) -> tuple[str, ...] | None:
    return None if commands is None else tuple(commands)


def _locate(ctx: Context, params: DeliverParams) -> tuple[Workspace, tuple[str, ...]]:
    single = [] if params.run_id is None else [params.run_id]
    names = list(dict.fromkeys(single + params.run_ids))
    if not names:
        raise InvalidRequest(
            "neither run_id nor run_ids was given", hint='cc_deliver {"run_id":"run_…","target":"main"}'
        )
    places = [locate_run(ctx, name)[0] for name in names]
    if any(place != places[0] for place in places):
        raise InvalidRequest("the runs belong to different workspaces", hint="one delivery for each workspace")
    return places[0], tuple(names)


def _foresee(ctx: Context, workspace: Workspace, request: Request) -> Answer:
    seen, refused = foresee(workspace, request, ctx.clock)
    clean = [
        run_id for run_id in request.runs if all(run_id not in (clash.run_id, clash.other) for clash in seen.clashes)
    ]
    return {
        "target": request.target, "dry_run": True, "conflicts": _briefly(seen.clashes, 60), "clean": clean, "refused": refused,
        **_counts(seen), "next": f'cc_deliver {{"run_ids":{json.dumps(list(request.runs))},"target":"{request.target}"}}',
    }  # fmt: skip


def _counts(seen: Forecast) -> Answer:
    return {"conflict_count": len(seen.clashes), "compared": seen.pairs, "not_compared": seen.left_out}


def _briefly(clashes: list[Clash], most: int) -> list[Answer]:
    return [clash.to_json() for clash in clashes[:most]]


def _wait(ctx: Context, workspace: Workspace, job: JobDir, seconds: float) -> Answer:
    """The answer once it is over; the refusal of a single run as the error that it is."""
    wait_for([WatchedJob(job)], "any", seconds, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    if read_job(job).status == "lost":
        locate_job(ctx, job.job_id)
    request = read_request(job)
    answer = _tell(workspace, job, request)
    refused = read_progress(job).refused
    if answer["status"] == "failed" and len(request.runs) == 1 and refused:
        raise as_error(refused[0], delivery_id=job.job_id)
    return answer


def _tell(workspace: Workspace, job: JobDir, request: Request) -> Answer:
    """A delivery as a controller reads it."""
    state = read_job(job)
    found = read_progress(job)
    out: Answer = {"delivery_id": job.job_id, "status": state.status, "target": request.target}
    if request.kind == "revert":
        out["undoes"] = (request.undo or {}).get("delivery_id")
    if state.status == "running":
        before = position(workspace, job, request.target)
        out.update(
            run_ids=list(request.runs),
            step=state.step,
            before_it=before or None,
            next=f'cc_wait {{"ids":["{job.job_id}"]}}',
        )
    elif len(request.runs) == 1 and found.landed:
        out.update({key: value for key, value in found.landed[0].items() if key != "task_id"})
    else:
        keys = ("run_id", "how", "before", "after", "tested_tree", "gates", "receipt")
        out["landed"] = [{key: row[key] for key in keys if key in row} for row in found.landed]
    if state.status != "running":
        out["refused"] = [
            {"run_id": row["run_id"], "code": row["code"], "why": line(row["message"], 400), "next": row["hint"]}
            for row in found.refused
        ]
        out.update(reason=(state.end or {}).get("reason"), pushed=False, note=_note(out, found.landed))
    return {key: value for key, value in out.items() if value not in (None, [], "")}


def _note(out: Answer, landed: tuple[Answer, ...]) -> str | None:
    untested = any(
        row.get("gates") == "none" and not row.get("tested_tree") and row["how"] != "already_contained"
        for row in landed
    )
    return "there were no gate commands: no test ran on the merge itself" if untested and out else None


class DeliveryParams(Params):
    """Which delivery."""

    delivery_id: str
    gates: Annotated[bool, Field(description="With what the gate commands said.")] = False


def _delivery(ctx: Context, params: DeliveryParams) -> Answer:
    workspace, job = locate_job(ctx, params.delivery_id)
    answer = _tell(workspace, job, read_request(job))
    if params.gates:
        answer["gates_run"] = [_gates(row) for row in read_progress(job).gates[-12:]]
    return answer


def _gates(row: Answer) -> Answer:
    ran = cast("list[Answer]", row.get("ran") or [])
    return {
        "commit": row["commit"], "outcome": row["outcome"], "why": line(str(row.get("why", "")), 300),
        "ran": [{**{key: entry[key] for key in ("command", "outcome", "exit", "seconds") if key in entry},
                 "untrusted_tail": line(str(entry.get("tail", "")), 200)} for entry in ran[:6]],
    }  # fmt: skip


class RollbackParams(Params):
    """Which delivered run to take back."""

    run_id: str
    target: Annotated[str | None, Field(description="Default: where it was delivered last.")] = None
    dry_run: Annotated[bool, Field(description="Only look and tell.")] = True
    confirm: Annotated[bool, Field(description="The same as dry_run=false.")] = False
    gate_commands: Annotated[Commands, Field(description="Must pass on the revert before the branch moves.")] = []
    timeout_seconds: Annotated[float, Field(gt=0, le=7_200, description="For each of gate_commands.")] = 600.0
    wait_seconds: Wait = 45.0


def _rollback(ctx: Context, params: RollbackParams) -> Answer:
    workspace, run = locate_run(ctx, params.run_id)
    found = foresee_rollback(workspace, run.run_id, params.target)
    if params.dry_run and not params.confirm:
        call = f'cc_rollback_run {{"run_id":"{run.run_id}","target":"{found.target}","dry_run":false}}'
        return drop_empty({
            "run_id": run.run_id, "target": found.target, "dry_run": True, "safe": found.safe, "undoes": found.undoes,
            "how": "a revert commit on the target; nothing is reset", "checks": found.checks, "files": len(found.paths),
            "paths": [line(path, 120) for path in found.paths[:15]], "changed_again_since": [line(path, 120) for path in found.later[:15]],
            "already_pushed_to": found.pushed_to, "next": call if found.safe else "see checks",
        })  # fmt: skip
    draft = Request(
        kind="revert", target=found.target, runs=(run.run_id,), gate_commands=tuple(params.gate_commands), gate_seconds=params.timeout_seconds,
        channel=ctx.channel,
    )  # fmt: skip
    return _wait(ctx, workspace, roll_back(workspace, found, draft, ctx.clock), params.wait_seconds)


register(Operation(
    name="cc_accept", words=("accept",), toolset="core", effect="write", act="accept", default_on=True,
    summary="Accept, reject, request a fix of or abandon an ended run's result; accept needs a current APPROVE.",
    params=AcceptParams, handler=_accept, positional="run_id", result_cap=1_536, idempotent=True, search_hint="accept reject fix abandon decide",
))  # fmt: skip
register(Operation(
    name="cc_deliver", words=("deliver",), toolset="core", effect="destructive", act="merge", default_on=True,
    summary="Merge accepted results into a local branch: in turn, after their gates passed on the merge. Never pushes.",
    params=DeliverParams, handler=_deliver, positional="run_id", result_cap=8_192, idempotent=True,
    search_hint="deliver merge branch land batch queue forecast conflicts",
))  # fmt: skip
register(Operation(
    name="cc_delivery", words=("delivery",), toolset="review", effect="read",
    summary="One delivery by its id: what landed, what was handed back and why, what its gates said.",
    params=DeliveryParams, handler=_delivery, positional="delivery_id", idempotent=True, search_hint="delivery gates landed refused",
))  # fmt: skip
register(Operation(
    name="cc_rollback_run", words=("rollback-run",), toolset="review", effect="destructive", act="merge",
    summary="Take a delivered run back by a revert commit, if that is proved safe; looks only, unless dry_run=false.",
    params=RollbackParams, handler=_rollback, positional="run_id", result_cap=4_096, search_hint="rollback revert undo delivery",
))  # fmt: skip
