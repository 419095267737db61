"""The process that owns one verification: collects the evidence, runs checks and commands, decides, tells the end.

Holds the job's lock for its life: killed, it is lost. Started by `verify.launch`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line
from cc_orchestrator.host.bell import Bell
from cc_orchestrator.host.process import identify
from cc_orchestrator.host.tree import HELPER
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.checks import run_checks
from cc_orchestrator.verify.commands import Command
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


def main(args: Sequence[str]) -> int:
    """`args`: job folder, lock descriptor (or -1: take it), bell descriptor (or -1: none). What to run and the rules are on stdin, as JSON."""
    job = JobDir(args[0])
    held: int | None = int(args[1])
    if held == -1:
        held = lock.take(job.lock)
    if held is None:
        return 1
    os.set_inheritable(held, False)
    bell = _take_bell(job, int(args[2]))
    asked = _read_asked()
    clock = SystemClock()
    # What we start for ourselves (git) is found and ended when we die in the middle of it.
    os.environ[HELPER] = job.job_id
    request = atomic.read_json(job.request) or {}
    workspace = Workspace(str(request["workspace_root"]), request.get("repository"))
    journal = Journal(job.journal, job.job_id, clock)
    try:
        pid = os.getpid()
        journal.append([Fact(ev.JOB_STARTED, {"pid": pid, "pid_start": identify(pid), "run_id": request["run_id"]})])
        journal.sync()
        status, reason = "failed", f"internal: see {job.log}"
        try:
            status, reason = _verify(_Job(workspace, job, journal, clock, request), asked)
        finally:
            # Whatever went wrong, the end is told; the traceback goes to the log.
            record_end(workspace, job, journal, status, reason, clock)
    finally:
        journal.close()
        if bell is not None:
            bell.ring()
            bell.close()
    return 0


def _take_bell(job: JobDir, fd: int) -> Bell | None:
    if fd < 0:
        return None
    os.set_inheritable(fd, False)
    try:
        with open(job.bell, encoding="utf-8") as file:
            return Bell.from_fd(fd, file.read().strip())
    except OSError:
        return None


def _read_asked() -> _Asked:
    parts: list[bytes] = []
    while chunk := os.read(0, 1 << 20):
        parts.append(chunk)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    raw = json.loads(b"".join(parts).decode("utf-8", "surrogateescape"))
    return _Asked([tuple(argv) for argv in raw["argvs"]], from_json(raw["rules"]))


class _Job(NamedTuple):
    workspace: Workspace
    job: JobDir
    journal: Journal
    clock: Clock
    request: dict[str, Any]

    def step(self, name: str, **data: Any) -> None:
        self.journal.append([Fact(ev.JOB_STEP, {"step": name, **data})])


def _verify(job: _Job, asked: _Asked) -> tuple[str, str]:
    """`(status, reason)` of the job."""
    try:
        result = _make_result(job, asked)
        record_result(job.job, job.journal, result)
    except CcError as error:
        return "failed", line(f"{error.code}: {error.message}", 300)
    return "succeeded", ""


def _make_result(job: _Job, asked: _Asked) -> dict[str, Any]:
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
        "evidence": summarize_evidence(evidence), "started_at": request["created_at"], "finished_at": job.clock.now(),
    }  # fmt: skip
