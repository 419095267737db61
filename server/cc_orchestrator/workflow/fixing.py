"""The process of one fix loop: verify, review when asked, feed back, wait for the maker, again.

Holds the loop's lock for its life: killed, the loop is lost and told; the maker's run that it started is ended, its verifications and
reviews are jobs of their own.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, cast

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command
from cc_orchestrator.host.detach import take_stdin
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.record import read_task
from cc_orchestrator.verify.detached import Owned, own_job
from cc_orchestrator.verify.findings import Finding, list_open, take_fingerprint
from cc_orchestrator.verify.job import WatchedJob, read_job
from cc_orchestrator.verify.launch import start_verification
from cc_orchestrator.verify.record import read_result
from cc_orchestrator.verify.reviews import read_findings, read_outcome, record_close, record_outcome
from cc_orchestrator.verify.rulefile import load_rules
from cc_orchestrator.workflow.fix_moves import Move, Round, choose_move
from cc_orchestrator.workflow.review import Wanted, start_review
from cc_orchestrator.workflow.review_pack import render_findings
from cc_orchestrator.workflow.templates import read_template, render
from cc_orchestrator.workflow.workers import Caller, Reader, await_all, await_runs, continue_run, inside_job

SLACK_SECONDS = 60.0
#: Longer than any verification or review may take by its own limits.
JOB_SECONDS = 86_400.0
TAIL = 4_000


class _Seen(NamedTuple):
    """One look at a result: the round, and what a worker is told of it."""

    round: Round
    checks: str
    findings: str
    output: str


def main(args: list[str]) -> int:
    """`args`: job folder, lock descriptor (or -1: take it), bell descriptor (or -1: none). The argvs are on stdin, as JSON."""
    owned = own_job(args)
    if owned is None:
        return 1
    try:
        status, reason = "failed", f"internal: see {owned.job.log}"
        try:
            argvs = [tuple(argv) for argv in json.loads(take_stdin().decode("utf-8", "surrogateescape"))]
            shown = cast("list[str]", owned.request["commands"])
            commands = [Command(text, argv) for text, argv in zip(shown, argvs, strict=True)]
            status, reason = _loop(owned, commands)
        finally:
            # Whatever went wrong, the end is told; the traceback goes to the log.
            record_close(owned, "fix_loop", status, reason)
    finally:
        owned.close()
    return 0


def _loop(owned: Owned, commands: list[Command]) -> tuple[str, str]:
    caller = inside_job(owned)
    rounds: list[Round] = []
    run_id, how = str(owned.request["run_id"]), "start"
    try:
        while True:
            seen = _look(owned, commands, run_id, how, caller)
            rounds.append(seen.round)
            move = choose_move(rounds, int(owned.request["rounds"]))
            owned.step("round", number=len(rounds) - 1, move=move.kind, **_as_json(seen.round))
            if move.kind in ("approve", "escalate"):
                break
            how = _possible(owned, run_id, move)
            run_id = _send(owned, run_id, how, seen, len(rounds), caller)
    except CcError as error:
        if not rounds:
            return "failed", line(f"{error.code}: {error.message}", 300)
        move = Move("escalate", line(f"{error.code}: {error.message}", 300))
    outcome = "APPROVE" if move.kind == "approve" else "ESCALATE"
    result: dict[str, Any] = {
        "v": 1, "fix_id": owned.job.job_id, "run_id": rounds[-1].run_id, "task_id": owned.request["task_id"], "outcome": outcome,
        "reason": move.reason, "rounds": [_as_json(entry) for entry in rounds], "started_at": owned.request["created_at"],
        "finished_at": owned.clock.now(),
    }  # fmt: skip
    record_outcome(
        owned, result, outcome=outcome, reason=move.reason, last_run=rounds[-1].run_id, rounds=len(rounds) - 1
    )
    return "succeeded", ""


def _as_json(entry: Round) -> dict[str, Any]:
    raw = {**entry._asdict(), "failing": sorted(entry.failing), "oscillating": list(entry.oscillating)}
    return {key: value for key, value in raw.items() if value}


# ---------------------------------------------------------------- looking


def _look(owned: Owned, commands: list[Command], run_id: str, how: str, caller: Caller) -> _Seen:
    job, _made = start_verification(
        owned.workspace, run_id, commands, load_rules(owned.workspace, {}), timeout_seconds=float(owned.request["timeout_seconds"]),
        channel=caller.channel, clock=owned.clock,
    )  # fmt: skip
    owned.step("verify", verify_id=job.job_id, of=run_id)
    await_all([WatchedJob(job)], JOB_SECONDS, owned.clock)
    result = read_result(job, read_job(job))
    if result is None:
        return _Seen(Round(run_id, how, "ESCALATE", frozenset({"verification"}), (), job.job_id), "", "", "")
    open_ = [check for check in result["checks"] if check["required"] and check["outcome"] != "pass"]
    failing = {_name(check) for check in open_}
    review_id, verdict = None, str(result["verdict"])
    if verdict == "APPROVE" and owned.request.get("review") is not None:
        review_id, unanswered = _review(owned, run_id, caller)
        failing |= unanswered
        # No work of the maker's makes a reviewer answer, or two of them agree.
        verdict = "ESCALATE" if unanswered else verdict
    findings = read_findings(owned.workspace, str(owned.request["task_id"]))
    blockers = list_open(findings, owned.clock.now(), "blocker")
    failing |= {f"{row.id}#{row.fingerprint}" for row in blockers}
    oscillating = tuple(row.id for row in blockers if row.oscillates)
    entry = Round(run_id, how, verdict, frozenset(failing), oscillating, job.job_id, review_id)
    return _Seen(entry, _tell(open_), _tell_findings(findings, owned.clock.now()), _tell_output(result))


def _name(check: dict[str, Any]) -> str:
    """Which check, and which failure of it: numbers, times and the like do not make it another."""
    return f"{check['check']} {check['outcome']}#{take_fingerprint('', str(check.get('evidence', '')))}"


def _review(owned: Owned, run_id: str, caller: Caller) -> tuple[str, set[str]]:
    """The review's id, and why it does not count, if it does not. Its complaints about the result are findings."""
    raw = owned.request["review"]
    wanted = Wanted(tuple(raw["steps"]), tuple(Reader(**row) for row in raw["reviewers"]), float(raw["seconds"]))
    job, _made, _request = start_review(owned.workspace, run_id, wanted, caller)
    owned.step("review", review_id=job.job_id, of=run_id)
    await_all([WatchedJob(job)], JOB_SECONDS, owned.clock)
    return job.job_id, _find_unanswered(job)


def _find_unanswered(job: JobDir) -> set[str]:
    review = read_outcome(job, read_job(job))
    if review is None:
        return {"review lost"}
    outcomes = {str(row["outcome"]) for row in review["reviewers"]}
    if {"passed", "failed"} <= outcomes:
        return {"reviewers disagree"}
    return {f"reviewer {outcome}" for outcome in outcomes - {"passed", "failed"}}


def _tell(checks: list[dict[str, Any]]) -> str:
    rows = [f"{check['check']}: {check['outcome']}. {check.get('evidence', '')}" for check in checks]
    return "\n".join(line(row, 600) for row in rows) or "none"


def _tell_findings(findings: dict[str, Finding], now: float) -> str:
    return render_findings(list_open(findings, now, "blocker", "warn"))


def _tell_output(result: dict[str, Any]) -> str:
    parts = [
        f"$ {entry['command']}\n{str(entry.get('tail', ''))[-TAIL:]}"
        for entry in result["ran"]
        if entry["outcome"] != "pass"
    ]
    return "\n\n".join(parts[:4])


# ---------------------------------------------------------------- sending back


def _possible(owned: Owned, run_id: str, move: Move) -> str:
    """`fix`, or `restart` where the maker left no conversation to go on with."""
    run = RunDir(owned.workspace.run(run_id))
    can = find_adapter(read_spec(run.spec).adapter).capabilities.resume and read_run(run).state["session_id"]
    return "fix" if move.kind == "fix" and can else "restart"


def _send(owned: Owned, run_id: str, how: str, seen: _Seen, number: int, caller: Caller) -> str:
    """Start the maker's next run, and wait for its end; its id."""
    run = RunDir(owned.workspace.run(run_id))
    values = {"checks": seen.checks, "findings": seen.findings, "output": seen.output}
    if how == "fix":
        values |= {"round": str(number), "rounds": str(owned.request["rounds"])}
    else:
        values["goal"] = str(read_task(owned.workspace, str(owned.request["task_id"]))["goal"])
    prompt = render(read_template(how), values, os.urandom(12).hex())
    launched = continue_run(
        owned.workspace, run, prompt, caller, fresh=how == "restart", request_id=f"{owned.job.job_id}/{number}"
    )
    spec = launched.spec
    owned.step("worker", run_id=spec.run_id, how=how, number=number)
    await_runs(owned.workspace, [spec.run_id], spec.limits.timeout_seconds + SLACK_SECONDS, owned.clock)
    return spec.run_id
