"""What earlier verifications of a task said: how often each check failed, and the latest word per result and check."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import Result, read_result, verifications

_MOST_RUNS = 100


class Past(NamedTuple):
    """`failed` maps a check to the results (commits) on which it did not pass; `problem` says why it cannot be known."""

    failed: dict[str, frozenset[str]]
    problem: str


def read_past(workspace: Workspace, task_id: str) -> Past:
    """Over all finished verifications of a task's runs. An unreadable one is a problem, never a blank."""
    failed: dict[str, set[str]] = defaultdict(set)
    try:
        for result in results_of_task(workspace, task_id):
            for check in result["checks"]:
                if check.get("required") and check.get("outcome") != "pass":
                    failed[str(check.get("check"))].add(str(result.get("commit")))
    except (CcError, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        return Past({}, f"an earlier verification cannot be read: {str(error)[:200]}")
    return Past({name: frozenset(commits) for name, commits in failed.items()}, "")


def results_of_task(workspace: Workspace, task_id: str) -> Iterator[Result]:
    """Results of every run of a task, the latest first within a run. Raises Corrupt, OSError."""
    try:
        rows = index.select(workspace.index, "task_id = ?", (task_id,), limit=_MOST_RUNS)
    except Corrupt:
        # The index is no truth and is built anew; without it only the caller's own run is known.
        rows = []
    for row in rows:
        yield from results_of_run(workspace, str(row["run_id"]))


def results_of_run(workspace: Workspace, run_id: str) -> Iterator[Result]:
    """Results of a run's verifications, the latest first. Raises Corrupt, OSError."""
    for job in verifications(workspace, run_id):
        result = read_result(job, read_job(job))
        if result is not None:
            yield result


def latest_by_head(results: Sequence[Result]) -> dict[str, dict[str, dict[str, Any]]]:
    """`{commit: {check: {outcome, verify_id, …}}}`: per result and check the latest word. `results` the latest first."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for result in results:
        checks = found.setdefault(str(result.get("commit")), {})
        for check in result["checks"]:
            checks.setdefault(
                str(check["check"]),
                {"outcome": check["outcome"], "label": check.get("label"), "verify_id": result["verify_id"]},
            )
    return found


def check_store(past: Past, journal: str = "") -> Check:
    """Whether the run's journal (`journal`: what is wrong with it) and what was verified before can still be read."""
    if journal or past.problem:
        return Check("store", "unverified", None, None, journal or past.problem, "blocked", fixable=False)
    return Check("store", "pass")


def escalate_repeats(checks: Sequence[Check], past: Past, commit: str | None, limit: int) -> list[Check]:
    """A check that does not pass on the `limit`-th result of a task is no longer the worker's to mend. Pure."""
    found: list[Check] = []
    for check in checks:
        others = past.failed.get(check.name, frozenset()) - {str(commit)}
        if check.required and check.outcome != "pass" and check.fixable and len(others) + 1 >= limit:
            text = f"{check.evidence}; not passed on {len(others) + 1} results of this task".removeprefix("; ")
            check = replace(check, fixable=False, evidence=text[-480:])
        found.append(check)
    return found
