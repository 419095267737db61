"""Runs what a verification has to run on the result: tests, linters, claimed commands, hold-out checks, live proofs; reads their reports."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command, Ran
from cc_orchestrator.host.git import GitError
from cc_orchestrator.host.tree import Tree
from cc_orchestrator.policy.globs import matches_any
from cc_orchestrator.runs.cell import Held, choose_cell
from cc_orchestrator.runs.spec import Setup
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.commands import parse_commands
from cc_orchestrator.verify.contents import read_file
from cc_orchestrator.verify.contract import Judged, check_contract, check_holdout, check_live_proof, judge_claim
from cc_orchestrator.verify.coverage import check_coverage
from cc_orchestrator.verify.diff import sealed_git
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.furnish import Bench, furnish
from cc_orchestrator.verify.ground import Ground, GroundError, clear_ground, compare_ground, prepare_ground
from cc_orchestrator.verify.junit import check_junit
from cc_orchestrator.verify.outcomes import check_sandbox, check_tests, judge_command
from cc_orchestrator.verify.reports import Report, read_reports, stamp_reports
from cc_orchestrator.verify.rulekey import holdout_folder
from cc_orchestrator.verify.rules import Claim, Rules

MAX_NAMED = 50
Step = Callable[..., None]


class Trial(NamedTuple):
    """What one verification runs, where, and how it tells what it does. `commands` are the caller's test commands."""

    workspace: Workspace
    job: JobDir
    clock: Clock
    step: Step
    seconds: float
    evidence: Evidence
    rules: Rules
    commands: Sequence[Command]


class Tried(NamedTuple):
    """Checks, and what is told beside them. `ran` are the test commands; `extra` the others by their group."""

    checks: list[Check]
    ran: Sequence[Ran] = ()
    extra: Mapping[str, list[Ran]] = MappingProxyType({})
    ground: str = ""
    made: Sequence[str] = ()
    changed: Sequence[str] = ()
    containment: str = ""
    sandbox: dict[str, Any] | None = None


#: The commands by group, in the order in which they run.
_Plan = dict[str, list[Command]]


def _plan(trial: Trial) -> _Plan:
    rules = trial.rules
    asked = {
        "lint": rules.lint if rules.wants("lint") else (),
        "claim": tuple(claim.command for claim in rules.claims if claim.command),
        "proof": tuple(proof.command for proof in rules.live_proof if proof.command),
        "holdout": (*rules.holdout_commands, *(claim.command for claim in rules.holdout_claims if claim.command)),
    }
    return {"command": list(trial.commands), **{name: parse_commands(texts) for name, texts in asked.items()}}


def run_trial(trial: Trial, checks: Sequence[Check]) -> Tried:
    """Run all of it against the result, and look at what it left. `checks` are those already made."""
    plan = _plan(trial)
    if not trial.evidence.spec.allow_write:
        return Tried([_check_tests(trial, (), "")])
    why_not = _find_reason_not_to(trial.evidence, checks)
    if not any(plan.values()) or why_not:
        return Tried(_judge(trial, plan, {}, [], "", why_not))
    spec = trial.evidence.spec
    try:
        ground = prepare_ground(
            trial.workspace,
            spec,
            str(trial.evidence.commit),
            str(trial.evidence.tree),
            trial.job.path,
            mode=trial.rules.ground,
        )
    except GroundError as error:
        why = f"the result could not be checked out: {line(str(error), 200)}"
        return Tried(_judge(trial, plan, {}, [], "", why))
    since = trial.clock.now()
    tree = Tree.contain(trial.job.job_id)
    cell = choose_cell([spec], os.environ, outside=trial.rules.sandbox == "none")
    bench = Bench(trial.job, str(spec.repository), trial.clock, spec.setup, spec.checkout, cell)
    ran: dict[str, list[Ran]] = {}
    reports: list[Report] = []
    try:
        with bench.hold(ground.root, tree, None if ground.disposable else spec.branch) as held:
            unheld = held.why_not
            missing = unheld or _furnish(trial, bench, ground, held)
            if not missing:
                ran, reports = _run_groups(trial, plan, ground, bench, held)
    finally:
        tree.close()
    found = _judge(trial, plan, ran, reports, ground.root, missing)
    check, made, changed = _look_after(trial, ground, since)
    extra = {name: entries for name, entries in ran.items() if name not in ("command", "holdout")}
    return Tried(
        [*found, *check_sandbox(cell, unheld), check], ran.get("command", ()), extra, ground.why or "the run's worktree", made, changed,
        tree.level, cell.to_json(),
    )  # fmt: skip


def _furnish(trial: Trial, bench: Bench, ground: Ground, held: Held) -> str:
    """Give a fresh checkout what the run's worktree had; why it has not, "" when it has."""
    spec = trial.evidence.spec
    if not ground.disposable:
        return ""
    if spec.setup != Setup():
        trial.step("furnish", links=len(spec.setup.links), install=len(spec.setup.install))
    try:
        return furnish(bench, ground.root, held)
    except (GroundError, OSError) as error:
        return f"a fresh checkout got not what the run's worktree had: {line(str(error), 200)}"


def _find_reason_not_to(evidence: Evidence, checks: Sequence[Check]) -> str:
    if evidence.commit is None or evidence.tree is None:
        return "the run has no result commit to test"
    if any(check.name == "repository" and check.outcome == "fail" for check in checks):
        # A checkout would run what was planted.
        return "not run: something was planted in the repository (see check repository)"
    return ""


def _run_groups(
    trial: Trial, plan: _Plan, ground: Ground, bench: Bench, held: Held
) -> tuple[dict[str, list[Ran]], list[Report]]:
    globs = (*trial.rules.junit, *trial.rules.coverage.files)
    before = stamp_reports(ground.root, globs)
    cwd = os.path.join(ground.root, trial.evidence.spec.subfolder)
    ran: dict[str, list[Ran]] = {}
    reports: list[Report] = []
    for name, commands in plan.items():
        ran[name] = [_run(trial, name, number, command, cwd, bench, held) for number, command in enumerate(commands, 1)]
        if name == "command":
            reports = read_reports(ground.root, globs, before)
    return ran, reports


def _run(trial: Trial, group: str, number: int, command: Command, cwd: str, bench: Bench, held: Held) -> Ran:
    shown = {"command": command.shown} if group != "holdout" else {}
    trial.step(group, number=number, **shown)
    # Only hold-out commands see their folder: the others run what the worker wrote before them.
    shown_folders = (holdout_folder(trial.workspace),) if group == "holdout" else ()
    entry = held.run(
        command,
        cwd=cwd,
        env=bench.env(),
        seconds=trial.seconds,
        log_path=trial.job.at(f"{group}-{number}.log"),
        clock=trial.clock,
        readable=shown_folders,
    )
    trial.step(f"{group}_end", number=number, outcome=entry.outcome, exit=entry.exit, seconds=entry.seconds)
    return entry


def _check_tests(trial: Trial, ran: Sequence[Ran], why_not: str) -> Check:
    check = check_tests(ran, len(trial.commands), why_not)
    if not trial.commands and trial.evidence.spec.allow_write and trial.rules.preset == "strict":
        return Check("tests", "unverified", None, None, "preset strict wants test_commands", "blocked", fixable=False)
    return check


def _judge(
    trial: Trial, plan: _Plan, ran: dict[str, list[Ran]], reports: Sequence[Report], root: str, why_not: str
) -> list[Check]:
    """One check for each thing that was asked for; what was not run is unverified."""
    rules, evidence = trial.rules, trial.evidence
    checks = [_check_tests(trial, ran.get("command", ()), why_not)]
    judged = {
        name: {command.shown: _judge_other(name, entry) for command, entry in zip(plan[name], entries, strict=True)}
        for name, entries in ran.items()
        if name != "command"
    }
    if plan["lint"]:
        checks.append(_check_lint(plan["lint"], judged.get("lint", {}), why_not))
    if rules.junit:
        mine = _matching(reports, rules.junit)
        checks.append(check_junit(mine, rules.junit))
    if rules.coverage.files:
        mine = _matching(reports, rules.coverage.files)
        checks.append(check_coverage(mine, rules.coverage, evidence.changes, root, evidence.spec.subfolder))
    if rules.claims:
        checks.append(check_contract(rules.claims, _judge_claims(trial, rules.claims, judged.get("claim", {}))))
    if rules.holdout_commands or rules.holdout_claims:
        done = judged.get("holdout", {})
        own = [done.get(command.shown, ("unverified", "")) for command in parse_commands(rules.holdout_commands)]
        checks.append(check_holdout([*own, *_judge_claims(trial, rules.holdout_claims, done)]))
    if rules.live_proof:
        shown = {proof.command: parse_commands([proof.command])[0].shown for proof in rules.live_proof if proof.command}
        done = judged.get("proof", {})
        checks.append(check_live_proof(rules, {text: done[mine] for text, mine in shown.items() if mine in done}))
    return checks


def _matching(reports: Sequence[Report], globs: Sequence[str]) -> list[Report]:
    return [report for report in reports if matches_any(report.path, globs)]


def _judge_other(group: str, ran: Ran) -> Judged:
    outcome, why = judge_command(ran)
    said = f"{line(ran.command, 80)}: {why}" if group != "holdout" else ""
    return outcome, said


def _check_lint(commands: Sequence[Command], judged: dict[str, Judged], why_not: str) -> Check:
    rows = [judged.get(command.shown, ("unverified", why_not or "it was not run")) for command in commands]
    bad = [why for outcome, why in rows if outcome == "fail"]
    open_ = [why for outcome, why in rows if outcome == "unverified"]
    measured = {"commands": len(rows), "failed": len(bad), "unverified": len(open_)}
    outcome = "fail" if bad else "unverified" if open_ else "pass"
    return Check(
        "lint", outcome, measured, None, "; ".join([*bad, *open_][:4]), "direct" if not open_ or bad else "blocked"
    )


def _judge_claims(trial: Trial, claims: Sequence[Claim], ran: dict[str, Judged]) -> list[Judged]:
    evidence = trial.evidence
    if evidence.commit is None or evidence.spec.repository is None or "diff" in evidence.problems:
        return [("unverified", "there is no result to look into")] * len(claims)
    git = sealed_git(evidence.spec.repository)
    files: dict[str, bytes | None] = {}
    for claim in claims:
        path = claim.path.removeprefix("./")
        if path and path not in files:
            try:
                files[path] = read_file(git, evidence.commit, path)
            except (GitError, CcError):
                files[path] = None
    by_text = {
        claim.command: ran[mine]
        for claim in claims
        if claim.command and (mine := parse_commands([claim.command])[0].shown) in ran
    }
    return [judge_claim(claim, evidence, files, by_text) for claim in claims]


def _look_after(trial: Trial, ground: Ground, since: float) -> tuple[Check, list[str], list[str]]:
    """The check `tree`, the files that the commands made, the tracked files that they changed."""
    try:
        drift = compare_ground(ground, trial.job.path)
    except GroundError as error:
        return Check("tree", "unverified", None, None, str(error), "blocked"), [], []
    # Files of the file system may be stamped a tick before our clock.
    clear_ground(trial.workspace, trial.evidence.spec, ground, drift, since - 0.1)
    changed, made = list(drift.changed), _named(drift.untracked)
    if changed:
        text = f"tracked files changed while the commands ran, so they did not test the result: {name_some(changed)}"
        return Check("tree", "unverified", {"changed": len(changed)}, {"changed": 0}, text), made, _named(changed)
    return Check("tree", "pass", {"made": len(drift.untracked)} if drift.untracked else None), made, []


def _named(paths: Sequence[str]) -> list[str]:
    return [line(path, 200) for path in paths[:MAX_NAMED]]
