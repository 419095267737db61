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
from cc_orchestrator.host.detach import take_stdin
from cc_orchestrator.host.env import worker_env
from cc_orchestrator.host.process import identify
from cc_orchestrator.host.tree import HELPER, MARKER, Tree
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.checks import run_checks
from cc_orchestrator.verify.commands import Command, Ran, check_tests, run_command
from cc_orchestrator.verify.evidence import Evidence, collect_evidence
from cc_orchestrator.verify.ground import Ground, GroundError, clear_ground, compare_ground, prepare_ground
from cc_orchestrator.verify.record import record_end, record_result
from cc_orchestrator.verify.verdict import decide_verdict

MAX_NAMED = 50


def main(args: Sequence[str]) -> int:
    """`args`: job folder, lock descriptor (or -1: take it), bell descriptor (or -1: none). The argvs are on stdin, as JSON."""
    job = JobDir(args[0])
    held: int | None = int(args[1])
    if held == -1:
        held = lock.take(job.lock)
    if held is None:
        return 1
    os.set_inheritable(held, False)
    bell = Bell.inherit(int(args[2]), job.bell)
    argvs = _read_argvs()
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
            status, reason = _verify(_Job(workspace, job, journal, clock, request), argvs)
        finally:
            # Whatever went wrong, the end is told; the traceback goes to the log.
            record_end(workspace, job, journal, status, reason, clock)
    finally:
        journal.close()
        if bell is not None:
            bell.ring()
            bell.close()
    return 0


def _read_argvs() -> list[tuple[str, ...]]:
    return [tuple(argv) for argv in json.loads(take_stdin().decode("utf-8", "surrogateescape"))]


class _Job(NamedTuple):
    workspace: Workspace
    job: JobDir
    journal: Journal
    clock: Clock
    request: dict[str, Any]

    def step(self, name: str, **data: Any) -> None:
        self.journal.append([Fact(ev.JOB_STEP, {"step": name, **data})])


def _verify(job: _Job, argvs: list[tuple[str, ...]]) -> tuple[str, str]:
    """`(status, reason)` of the job."""
    try:
        result = _make_result(job, argvs)
        record_result(job.job, job.journal, result)
    except CcError as error:
        return "failed", line(f"{error.code}: {error.message}", 300)
    return "succeeded", ""


def _make_result(job: _Job, argvs: list[tuple[str, ...]]) -> dict[str, Any]:
    request = job.request
    evidence = collect_evidence(job.workspace, str(request["run_id"]))
    checks = run_checks(evidence)
    job.step("checks", outcomes={check.name: check.outcome for check in checks})
    shown = cast("list[str]", request["commands"])
    commands = [Command(text, argv) for text, argv in zip(shown, argvs, strict=True)]
    tested = _test(job, evidence, checks, commands)
    checks += tested.checks
    return {
        "v": 1, "verify_id": job.job.job_id, "run_id": evidence.spec.run_id, "task_id": evidence.spec.task_id,
        "status": "succeeded", "verdict": decide_verdict(checks), "checks": [check.to_json() for check in checks],
        "commit": evidence.commit, "tree": evidence.tree, "base": evidence.spec.base, "rules": request["rules"],
        "scope": evidence.spec.scope._asdict(), "commands": shown, "timeout_seconds": request["timeout_seconds"],
        "ran": [entry.to_json() for entry in tested.ran], "ground": tested.ground, "made": tested.made,
        "changed": tested.changed, "containment": tested.containment,
        "started_at": request["created_at"], "finished_at": job.clock.now(),
    }  # fmt: skip


class _Tested(NamedTuple):
    checks: list[Check]
    ran: list[Ran]
    ground: str
    made: list[str]
    changed: list[str]
    containment: str


def _test(job: _Job, evidence: Evidence, checks: list[Check], commands: list[Command]) -> _Tested:
    """Run the commands against the result, and look at what they left."""
    why_not = _find_reason_not_to(evidence, checks) if commands else ""
    if not commands or why_not:
        return _Tested([check_tests((), len(commands), why_not)], [], "", [], [], "")
    spec = evidence.spec
    try:
        ground = prepare_ground(job.workspace, spec, str(evidence.commit), str(evidence.tree), job.job.path)
    except GroundError as error:
        why = f"the result could not be checked out: {line(str(error), 200)}"
        return _Tested([check_tests((), len(commands), why)], [], "", [], [], "")
    since = job.clock.now()
    tree = Tree.contain(job.job.job_id)
    try:
        ran = _run_all(job, commands, os.path.join(ground.root, spec.subfolder), tree)
    finally:
        tree.close()
    check, made, changed = _look_after(job, evidence, ground, since)
    found = [check_tests(ran, len(commands)), check]
    return _Tested(found, ran, ground.why or "the run's worktree", made, changed, tree.level)


def _find_reason_not_to(evidence: Evidence, checks: list[Check]) -> str:
    if evidence.commit is None or evidence.tree is None:
        return "the run has no result commit to test"
    if any(check.name == "repository" and check.outcome == "fail" for check in checks):
        # A checkout would run what was planted.
        return "not run: something was planted in the repository (see check repository)"
    return ""


def _run_all(job: _Job, commands: list[Command], cwd: str, tree: Tree) -> list[Ran]:
    # The marker keeps our own doors and CLI shut to what the commands start, and lets a sweep find what is left of it.
    env = worker_env(os.environ, (), {MARKER: job.job.job_id})
    ran: list[Ran] = []
    for number, command in enumerate(commands, 1):
        job.step("command", number=number, command=command.shown)
        entry = run_command(
            command, cwd=cwd, env=env, seconds=float(job.request["timeout_seconds"]),
            log_path=job.job.at(f"command-{number}.log"), tree=tree, clock=job.clock,
        )  # fmt: skip
        job.step("command_end", number=number, outcome=entry.outcome, exit=entry.exit, seconds=entry.seconds)
        ran.append(entry)
    return ran


def _look_after(job: _Job, evidence: Evidence, ground: Ground, since: float) -> tuple[Check, list[str], list[str]]:
    """The check `tree`, the files that the commands made, the tracked files that they changed."""
    try:
        drift = compare_ground(ground, job.job.path)
    except GroundError as error:
        return Check("tree", "unverified", None, None, str(error), "blocked"), [], []
    # Files of the file system may be stamped a tick before our clock.
    clear_ground(job.workspace, evidence.spec, ground, drift, since - 0.1)
    changed = list(drift.changed)
    if changed:
        text = f"tracked files changed while the commands ran, so they did not test the result: {name_some(changed)}"
        return (
            Check("tree", "unverified", {"changed": len(changed)}, {"changed": 0}, text),
            _named(drift.untracked),
            _named(changed),
        )
    return (
        Check("tree", "pass", {"made": len(drift.untracked)} if drift.untracked else None),
        _named(drift.untracked),
        [],
    )


def _named(paths: Sequence[str]) -> list[str]:
    return [line(path, 200) for path in paths[:MAX_NAMED]]
