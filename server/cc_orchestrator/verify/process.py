"""The process that owns one verification: collects the evidence, runs checks and commands, decides, tells the end.

Holds the job's lock for its life: killed, it is lost. Started by `verify.launch`.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command
from cc_orchestrator.host.detach import take_stdin
from cc_orchestrator.verify.checks import run_checks
from cc_orchestrator.verify.detached import Owned, own_job
from cc_orchestrator.verify.evidence import collect_evidence
from cc_orchestrator.verify.history import check_store, escalate_repeats, read_past
from cc_orchestrator.verify.record import record_end, record_result
from cc_orchestrator.verify.rules import Rules, apply_levels, choose_profile, from_json
from cc_orchestrator.verify.scanner import make_scan
from cc_orchestrator.verify.survey import summarize_evidence
from cc_orchestrator.verify.trial import Trial, run_trial
from cc_orchestrator.verify.verdict import decide_verdict, measure_risk


class _Asked(NamedTuple):
    """What came by stdin: one argv for each test command, and the rules."""

    argvs: list[tuple[str, ...]]
    rules: Rules


def main(args: list[str]) -> int:
    """`args`: job folder, lock descriptor (or -1: take it), bell descriptor (or -1: none). What to run and the rules are on stdin, as JSON."""
    job = own_job(args)
    if job is None:
        return 1
    try:
        status, reason = "failed", f"internal: see {job.job.log}"
        try:
            raw = json.loads(take_stdin().decode("utf-8", "surrogateescape"))
            asked = _Asked([tuple(argv) for argv in raw["argvs"]], from_json(raw["rules"]))
            status, reason = _verify(job, asked)
        finally:
            # Whatever went wrong, the end is told; the traceback goes to the log.
            record_end(job.workspace, job.job, job.journal, status, reason, job.clock)
    finally:
        job.close()
    return 0


def _verify(job: Owned, asked: _Asked) -> tuple[str, str]:
    """`(status, reason)` of the job."""
    try:
        result = _make_result(job, asked)
        record_result(job.job, job.journal, result)
    except CcError as error:
        return "failed", line(f"{error.code}: {error.message}", 300)
    return "succeeded", ""


def _make_result(job: Owned, asked: _Asked) -> dict[str, Any]:
    request = job.request
    evidence = collect_evidence(job.workspace, str(request["run_id"]))
    rules = choose_profile(asked.rules, [path for change in evidence.changes for path in change.paths])
    shown = cast("list[str]", request["commands"])
    commands = [Command(text, argv) for text, argv in zip(shown, asked.argvs, strict=True)]
    past = read_past(job.workspace, evidence.spec.task_id)
    scan = make_scan() if rules.scanner != "own" and rules.wants("secret_scanner") and evidence.changes else None
    made = [*run_checks(evidence, rules, commands, scan), check_store(past, evidence.problems.get("journal", ""))]
    job.step("checks", outcomes={check.name: check.outcome for check in made})
    seconds = float(request["timeout_seconds"])
    tried = run_trial(Trial(job.workspace, job.job, job.clock, job.step, seconds, evidence, rules, commands), made)
    checks = escalate_repeats(apply_levels([*made, *tried.checks], rules), past, evidence.commit, rules.fail_limit)
    return {
        "v": 2, "verify_id": job.job.job_id, "run_id": evidence.spec.run_id, "task_id": evidence.spec.task_id,
        "status": "succeeded", "verdict": decide_verdict(checks), "risk": measure_risk(checks),
        "checks": [check.to_json() for check in checks], "preset": rules.preset, "key": request["key"],
        "commit": evidence.commit, "tree": evidence.tree, "base": evidence.spec.base, "rules": request["rules"],
        "scope": evidence.spec.scope._asdict(), "commands": shown, "timeout_seconds": request["timeout_seconds"],
        "ran": [entry.to_json() for entry in tried.ran],
        "extra": {name: [entry.to_json() for entry in entries] for name, entries in tried.extra.items() if entries},
        "ground": tried.ground, "made": tried.made, "changed": tried.changed, "containment": tried.containment,
        "sandbox": tried.sandbox,
        "evidence": summarize_evidence(evidence), "started_at": request["created_at"], "finished_at": job.clock.now(),
    }  # fmt: skip
