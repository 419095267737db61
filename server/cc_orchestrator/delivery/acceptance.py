"""The decision over a run's result, as a receipt. The latest counts, and only for the result that it was made about.

Accepting needs the run's latest verification to say APPROVE about what the run's ref names now, and no open
blocker (`delivery.blockers`). The others are always possible: reject (not like this), request_fix (its worker goes on with
it), abandon (nobody goes on with it).
"""

from __future__ import annotations

import os
from typing import Any, Literal, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import Busy, CcError, VerifyFailed
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.delivery.blockers import refuse_blockers
from cc_orchestrator.delivery.reviewed import check_reviewed
from cc_orchestrator.runs.anchoring import anchor_ledger
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import ledger, lock
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.check import from_json
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import current_result, read_result, speaks_of_now, verifications

Decision = Literal["accept", "reject", "request_fix", "abandon"]
Result = dict[str, Any]


class Decided(NamedTuple):
    """The receipt, and whether it was there before."""

    receipt: dict[str, Any]
    repeated: bool


def decide(
    workspace: Workspace, run_id: str, decision: Decision, reason: str, *, channel: str, clock: Clock
) -> Decided:  # fmt: skip
    """Record a decision. Raises Conflict (the run is live), VerifyFailed, Busy (a verification is under way), Corrupt."""
    spec, state = read_ended_run(workspace, run_id)
    folder = workspace.verification(run_id)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with lock.Exclusive(os.path.join(folder, "decision.lock")):
        observed: dict[str, Any] = {"decision": decision}
        if decision == "accept":
            result = approved_result(workspace, spec, state)
            check_reviewed(workspace, spec, state, result, clock.now())
            observed.update({key: result[key] for key in ("verify_id", "verdict", "commit", "tree", "rules")})
        else:
            observed["commit"], observed["tree"] = _result_or_nothing(spec, state)
        if decision == "request_fix":
            observed["failing"] = failing_checks(workspace, run_id)
        observed = {key: value for key, value in observed.items() if value is not None}
        last = last_decision(workspace, run_id)
        if last is not None and last["observed"] == observed:
            return Decided(last, True)
        said = mask_text(reason)
        receipt = ledger.append(workspace.ledger, {
            "kind": "acceptance", "ts": clock.now(), "actor": "controller", "channel": channel,
            "subject": {"run_id": run_id, "task_id": spec.task_id}, "observed": observed,
            "claimed": {"reason": cut(said, 2_000)} if said else {},
        })  # fmt: skip
        anchor_ledger(workspace, clock)
        return Decided(receipt, False)


def _result_or_nothing(spec: RunSpec, state: dict[str, Any]) -> tuple[str | None, str | None]:
    try:
        return current_result(spec, state)
    except CcError:
        return None, None


def failing_checks(workspace: Workspace, run_id: str) -> list[str]:
    """What stands in the way by the run's latest verification, one line each; nothing when there is none to read."""
    for job in verifications(workspace, run_id)[:1]:
        try:
            result = read_result(job, read_job(job))
        except CcError:
            return []
        return name_obstacles(result) if result is not None else []
    return []


def last_decision(workspace: Workspace, run_id: str) -> dict[str, Any] | None:
    """The receipt of the latest decision over a run's result."""
    found = ledger.receipts(workspace.ledger, {"run_id": run_id}, kind="acceptance", limit=1)
    return found[0] if found else None


def approved_result(workspace: Workspace, spec: RunSpec, state: dict[str, Any]) -> Result:
    """The run's latest verification, if it approves what is there now. Raises VerifyFailed, Busy, Corrupt."""
    again = f'cc_verify {{"run_id":"{spec.run_id}","test_commands":["…"]}}'
    jobs = verifications(workspace, spec.run_id)
    if not jobs:
        raise VerifyFailed(f"{spec.run_id} was never verified", hint=again)
    job = jobs[0]
    found = read_job(job)
    if found.status == "running":
        raise Busy(f"{job.job_id} still verifies {spec.run_id}", hint=f'cc_wait {{"ids":["{job.job_id}"]}}')
    result = read_result(job, found)
    if result is None:
        why = str((found.end or {}).get("reason") or "its process died")
        raise VerifyFailed(f"the verification {job.job_id} of {spec.run_id} is {found.status}: {why}", hint=again)
    if not speaks_of_now(result, spec, state):
        raise VerifyFailed(
            f"the result of {spec.run_id} or its rules changed after {job.job_id} verified them: that verdict has expired",
            hint=again, verify_id=job.job_id,
        )  # fmt: skip
    if result["verdict"] != "APPROVE":
        raise VerifyFailed(
            f"{job.job_id} says {result['verdict']} about {spec.run_id}: {explain(result)}",
            hint=next_after(result), verify_id=job.job_id, verdict=result["verdict"],
        )  # fmt: skip
    refuse_blockers(workspace, spec)
    return result


def explain(result: Result) -> str:
    """The checks that stand in the way, each with its evidence."""
    return "; ".join(name_obstacles(result)) or "no required check was made"


def name_obstacles(result: Result) -> list[str]:
    """Up to six required checks that did not pass, each with its evidence in one line."""
    checks = [from_json(raw) for raw in result["checks"]]
    return [
        f"{check.name} {check.outcome}" + (f" ({line(check.evidence, 160)})" if check.evidence else "")
        for check in checks
        if check.required and check.outcome != "pass"
    ][:6]


def next_after(result: Result) -> str:
    """The call that fits a verdict best."""
    run_id = result["run_id"]
    if result["verdict"] == "APPROVE":
        return f'cc_accept {{"run_id":"{run_id}","decision":"accept"}}'
    if result["verdict"] == "HOLD":
        return f'cc_send_instruction {{"run_id":"{run_id}","instruction":"fix: …"}}, then verify the new run'
    return f'cc_read {{"name":"cc_verification","arguments":{{"run_id":"{run_id}","full":true}}}}; a person decides'


def check_accepted(workspace: Workspace, spec: RunSpec, state: dict[str, Any], now: float) -> dict[str, Any]:
    """The approving verification that the run's acceptance rests on. Raises VerifyFailed, Busy, Corrupt."""
    accept = f'cc_accept {{"run_id":"{spec.run_id}","decision":"accept"}}'
    decision = last_decision(workspace, spec.run_id)
    if decision is None:
        raise VerifyFailed(f"{spec.run_id} was not accepted", hint=accept)
    observed = decision["observed"]
    if observed.get("decision") != "accept":
        raise VerifyFailed(f"the latest decision over {spec.run_id} is {observed.get('decision')}", hint=accept)
    result = approved_result(workspace, spec, state)
    if any(observed.get(key) != result[key] for key in ("commit", "tree", "rules")):
        raise VerifyFailed(f"{spec.run_id} changed after it was accepted: the acceptance has expired", hint=accept)
    # A waiver may have run out since, or a later review may have found something.
    check_reviewed(workspace, spec, state, result, now)
    return result
