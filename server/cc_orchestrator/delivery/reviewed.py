"""Holds an acceptance to the review policy: enough distinct reviewers for the task's risk, and no open blocker."""

from __future__ import annotations

from typing import Any, cast

from cc_orchestrator.core.errors import VerifyFailed
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.record import read_task, runs_of
from cc_orchestrator.verify.reviews import read_standing
from cc_orchestrator.verify.standing import Standing, weigh_risk


def find_standing(
    workspace: Workspace, spec: RunSpec, state: dict[str, Any], result: dict[str, Any] | None, now: float
) -> Standing:  # fmt: skip
    """How the run's result stands now; `result` is its latest verification. Raises NotFound (no task), Corrupt."""
    risk = weigh_risk(read_task(workspace, spec.task_id).get("risk"), _measured(result or {}))
    makers = frozenset({spec.run_id, *runs_of(workspace, spec.task_id)})
    return read_standing(workspace, spec, state, risk=risk, makers=makers, now=now)


def _measured(result: dict[str, Any]) -> int | None:
    """What the verification measured; None when it is of a time that measured nothing."""
    found = result.get("risk")
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("risk")
    return found if isinstance(found, int) else None


def check_reviewed(
    workspace: Workspace, spec: RunSpec, state: dict[str, Any], result: dict[str, Any], now: float
) -> Standing:  # fmt: skip
    """The standing, if it allows an acceptance. Raises VerifyFailed, NotFound, Corrupt."""
    standing = find_standing(workspace, spec, state, result, now)
    if standing.problems:
        raise VerifyFailed(
            f"{spec.run_id} is not reviewed well enough: {'; '.join(standing.problems)}",
            hint=f'cc_cross_review {{"run_id":"{spec.run_id}"}}; cc_review {{"run_id":"{spec.run_id}"}} shows findings',
            risk=standing.risk,
        )
    return standing
