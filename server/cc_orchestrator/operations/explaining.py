"""cc_explain: why is this so? From journals and receipts alone, with the numbers of the events that say it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.errors import CcError, InvalidRequest, NotFound
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import name_obstacles, next_after
from cc_orchestrator.delivery.progress import read_progress
from cc_orchestrator.insight.causes import (
    Event,
    Placed,
    about_event,
    about_question,
    find_chain,
    say_why,
    show_event,
    tell_failure,
)
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import JOBS, locate_job, locate_run, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.reviewing import describe_loop
from cc_orchestrator.operations.size import drop_empty, size_of
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.summary import next_call
from cc_orchestrator.store import index
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import START, read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import read_result, speaks_of_now

Answer = dict[str, Any]
_BYTES, _PAGE = 2_048, 1 << 22
#: Room for rows; the sentence, the remedy and the handles take the rest.
_ROWS_BYTES = 1_250
#: Runs that are looked through for a question.
_MOST_RUNS = 60
_MOST_FIGURES = 8


class ExplainParams(Params):
    """What to explain."""

    id: Annotated[str, Field(description="run_…, q_…, ver_…, dlv_…, rev_… or fix_…")]
    seq: Annotated[int | None, Field(ge=1, description="One event of the run, e.g. a policy decision.")] = None
    cwd: str | None = None


def _explain(ctx: Context, params: ExplainParams) -> Answer:
    if is_id(params.id, "run"):
        _workspace, run = locate_run(ctx, params.id, params.cwd)
        return _event(run, params.seq) if params.seq is not None else _run(ctx, run)
    if params.seq is not None:
        raise InvalidRequest("seq counts the events of a run", hint='cc_explain {"id":"run_…","seq":7}')
    if is_id(params.id, "q"):
        return _question(ctx, params)
    kind = next((kind for kind in JOBS if is_id(params.id, kind)), None)
    if kind is None:
        raise InvalidRequest(
            f"{params.id[:60]!a} is no id of a run, question, verification, review, fix loop or delivery",
            hint="cc_attention {} names what there is",
        )
    workspace, job = locate_job(ctx, params.id, params.cwd)
    if kind == "ver":
        return _verification(workspace, job)
    return _delivery(job) if kind == "dlv" else _loop(job)


# ---------------------------------------------------------------- runs


def _run(ctx: Context, run: RunDir) -> Answer:
    state = read_run(run).state
    chain = find_chain(_placed(run))
    begun = state["created_at"]
    rows = [show_event(placed.event, begun) for placed in chain.rows]
    flying = [show_event(placed.event, begun, 160) for placed in chain.tools]
    kept, cut_off = _newest(rows, _ROWS_BYTES - size_of(flying))
    first = next((row.before for row in chain.rows if kept and row.event["seq"] == kept[0]["seq"]), str(START))
    live = state["status"] in LIVE
    return drop_empty({
        "id": run.run_id, "status": state["status"], "reason": state["reason"], "why": say_why(state, ctx.clock.now()),
        "failure": tell_failure(state), "chain": kept, "in_flight" if live else "in_flight_at_end": flying,
        "truncated": True if cut_off else None, "events": f'cc_poll {{"run_id":"{run.run_id}","mode":"events","cursor":"{first}"}}',
        "next": next_call(state),
    })  # fmt: skip


def _newest(rows: list[Answer], room: int) -> tuple[list[Answer], bool]:
    """As many as there is room for, the latest: the end says most."""
    kept: list[Answer] = []
    for row in reversed(rows):
        room -= size_of(row) + 1
        if room < 0 and kept:
            return kept, True
        kept.insert(0, row)
    return kept, False


def _placed(run: RunDir) -> Iterator[Placed]:
    cursor = START
    while True:
        page = read_page(run.journal, cursor, _PAGE)
        before = str(cursor)
        for event, place in zip(page.events, page.after, strict=True):
            yield Placed(event, before)
            before = str(place)
        if not page.more or page.cursor == cursor:
            return
        cursor = page.cursor


def _all(run: RunDir) -> Iterator[Event]:
    return (placed.event for placed in _placed(run))


def _event(run: RunDir, seq: int) -> Answer:
    found = about_event(seq, _all(run))
    if not found:
        raise NotFound(f"{run.run_id} has no event {seq}", hint=f'cc_poll {{"run_id":"{run.run_id}","mode":"events"}}')
    begun = read_run(run).state["created_at"]
    data = next(event["data"] for event in found if event["seq"] == seq)
    out: Answer = {"id": run.run_id, "seq": seq, "chain": [show_event(event, begun, 240) for event in found]}
    if data.get("rule"):
        out["why"] = f"{data.get('decision')} by {data['rule']}: {line(str(data.get('reason') or 'no objection'), 300)}"
        out["next"] = f'cc_read {{"name":"cc_policy","arguments":{{"action":"explain","run_id":"{run.run_id}",…}}}}'
    return out


def _question(ctx: Context, params: ExplainParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    for row in index.select(workspace.index, limit=_MOST_RUNS):
        run = RunDir(workspace.run(str(row["run_id"])))
        try:
            state = read_run(run).state
        except (CcError, OSError):
            continue
        entry = state["questions"].get(params.id)
        if entry is None:
            continue
        decision = entry.get("decision")
        why = (
            f"{decision} by {entry.get('by')}" if decision else f"open; unanswered it is {entry.get('default', 'deny')}"
        )
        rows = [show_event(event, state["created_at"], 240) for event in about_question(params.id, _all(run))]
        return {"id": params.id, "run_id": run.run_id, "why": why, "chain": rows, "next": next_call(state)}
    raise NotFound(f"none of the last {_MOST_RUNS} runs asked {params.id}", hint="cc_attention {} lists open questions")


# ---------------------------------------------------------------- jobs


def _verification(workspace: Workspace, job: JobDir) -> Answer:
    state = read_job(job)
    out: Answer = {"id": job.job_id, "status": state.status}
    result = read_result(job, state)
    if result is None:
        why = (
            f"at {state.step or 'its start'}"
            if state.status == "running"
            else (state.end or {}).get("reason") or "its process died"
        )
        return {**out, "why": line(str(why), 300), "log": job.log, "next": f'cc_wait {{"ids":["{job.job_id}"]}}'}
    run = RunDir(workspace.run(str(result["run_id"])))
    current = speaks_of_now(result, spec_of(run), read_run(run).state)
    obstacles = name_obstacles(result)
    stuck = [
        str(check["check"])
        for check in result["checks"]
        if check.get("required")
        and check["outcome"] != "pass"
        and (check.get("override") or check.get("fixable") is False)
    ]
    figures = [
        {key: _short(check[key]) for key in ("check", "outcome", "measured", "limit") if check.get(key) is not None}
        for check in result["checks"]
        if check["outcome"] != "pass"
    ]
    why = {
        "APPROVE": "all required checks passed",
        "HOLD": f"{len(obstacles)} required checks did not pass, and the worker can mend them",
        "ESCALATE": f"the worker cannot mend {', '.join(stuck)}" if stuck else "no required check was made",
    }[str(result["verdict"])]  # fmt: skip
    return drop_empty({
        **out, "run_id": run.run_id, "verdict": result["verdict"], "why": why, "obstacles": obstacles, "figures": figures[:_MOST_FIGURES],
        "current": current,
        "expired": None if current else "the result or the rules changed since", "commit": result["commit"],
        "next": next_after(result) if current else f'cc_verify {{"run_id":"{run.run_id}","test_commands":["…"]}}',
    })  # fmt: skip


def _short(value: Any) -> Any:
    """A figure as it is, anything longer in a line."""
    return value if isinstance(value, int | float) else line(str(value), 60)


def _delivery(job: JobDir) -> Answer:
    state, progress = read_job(job), read_progress(job)
    gates = [
        {"commit": row["commit"], "outcome": row["outcome"], "why": line(str(row.get("why", "")), 160)}
        for row in progress.gates[-3:]
    ]
    refused = [
        {"run_id": row["run_id"], "code": row["code"], "message": line(str(row["message"]), 300), "hint": line(str(row.get("hint") or ""), 160)}
        for row in progress.refused[:3]
    ]  # fmt: skip
    queued = "it waits its turn" if state.queued else ""
    reason = line(str((state.end or {}).get("reason") or queued or state.step or "its process died"), 300)
    read = f'cc_read {{"name":"cc_delivery","arguments":{{"delivery_id":"{job.job_id}","gates":true}}}}'
    return drop_empty({
        "id": job.job_id, "status": state.status, "why": reason, "landed": [row["run_id"] for row in progress.landed[:5]],
        "refused": refused, "gates": gates, "events": job.journal, "next": read,
    })  # fmt: skip


def _loop(job: JobDir) -> Answer:
    state = read_job(job)
    out: Answer = {"id": job.job_id, "status": state.status}
    if is_id(job.job_id, "fix"):
        told = describe_loop(job)
        out.update(
            why=told.get("reason") or told.get("step"),
            outcome=told.get("outcome"),
            rounds=told.get("rounds"),
            next=told["next"],
        )
        return drop_empty(out)
    why = (state.end or {}).get("reason") or state.step or "its process died"
    out.update(why=line(str(why), 300), next=f'cc_read {{"name":"cc_review","arguments":{{"id":"{job.job_id}"}}}}')
    return out


register(Operation(
    name="cc_explain", words=("explain",), toolset="core", effect="read",
    summary="Why is this so: a run's end or wait, a denied call, a question, a verdict, a delivery. Facts with event numbers.",
    params=ExplainParams, handler=_explain, positional="id", idempotent=True, result_cap=_BYTES,
    search_hint="why explain cause reason failed denied waiting held refused",
))  # fmt: skip
