"""What an agent profile may be trusted with now: its standing, lowered here when its record calls for it."""

from __future__ import annotations

import os
from typing import NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.policy.trust import WINDOW, WORKSPACE, Standing, Trial, current, demote
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.store.standings import append_standing, read_standings
from cc_orchestrator.verify.history import results_of_run

#: Ends that say nothing of the worker: somebody stopped it, its budget was small, its service or this machine failed.
_NOT_ITS_DOING = frozenset({
    "user_requested", "max_turns", "max_tokens", "max_cost", "output_bytes", "events_bytes", "api_error", "auth_failed", "rate_limited",
    "cli_not_found", "spawn_failed", "worktree_failed", "disk_full", "internal", "session_not_found", "never_started", "supervisor_died",
    "task_budget", "workflow_budget", "day_budget", "workspace_budget", "budget_unknown",
})  # fmt: skip


class Ceilings(NamedTuple):
    """The two standings that bound a run beside what it asks for."""

    profile: Standing
    workspace: Standing


def profile_of(adapter: str, profile: str | None) -> str:
    """The name under which a worker's record is kept."""
    return adapter if profile in (None, "", "default", "current") else f"{adapter}/{profile}"


def read_ceilings(workspace: Workspace, profile: str, clock: Clock) -> Ceilings:
    """Standings as of now; a demotion that is due is recorded first. Raises Corrupt, OSError, Busy."""
    rows = read_standings(workspace)
    standing = current(rows, profile)
    lower = demote(standing, _trials(workspace, profile, standing.since), clock.now())
    if lower is not None:
        append_standing(workspace, {
            "ts": lower.since, "subject": profile, "level": lower.level, "by": lower.by, "channel": "orchestrator", "reason": lower.reason,
        })  # fmt: skip
        standing = lower
    return Ceilings(standing, current(rows, WORKSPACE))


def _trials(workspace: Workspace, profile: str, since: float) -> list[Trial]:
    adapter = profile.partition("/")[0]
    try:
        rows = index.select(workspace.index, "adapter = ? and finished_at > ?", (adapter, since), limit=4 * WINDOW)
    except Corrupt:
        # A cache that cannot be read (a full disk, too): until a sweep has made it anew the standing stays as it is.
        return []
    told = [row for row in rows if row["reason"] not in _NOT_ITS_DOING][:WINDOW]
    return [_trial(workspace, row) for row in told]


def _trial(workspace: Workspace, row: dict[str, object]) -> Trial:
    run_id = str(row["run_id"])
    good, violations = row["status"] == "succeeded", 0
    run = RunDir(workspace.run(run_id))
    if os.path.isdir(run.path):
        violations = int(read_run(run).state.get("violations") or 0)
    try:
        verdict = next(results_of_run(workspace, run_id), None)
    except (CcError, OSError):
        verdict = None
    if verdict is not None:
        good = good and verdict.get("verdict") == "APPROVE"
        strayed = any(check.get("check") == "scope" and check.get("outcome") == "fail" for check in verdict["checks"])
        violations += int(strayed)
    return Trial(run_id, float(str(row["finished_at"])), good, violations)
