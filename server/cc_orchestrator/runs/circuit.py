"""Whether the account that a start would use is limited by its provider at this moment, as other runs of this workspace found out.

A warning, never a refusal: which account a CLI uses is its own affair, and limits differ from model to model.
"""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.runs.failures import LONGEST_PAUSE
from cc_orchestrator.runs.fold import State, part
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

#: So many runs are looked at, the latest first.
_MOST = 20


def tell_limit(workspace: Workspace, adapter: str, profile: str | None, now: float) -> tuple[str, ...]:
    """One sentence when the same adapter and profile is limited until a time to come; nothing when nobody knows. Never raises."""
    try:
        where = "adapter = ? and created_at > ? and (finished_at is null or reason = 'rate_limited')"
        for row in index.select(workspace.index, where, (adapter, now - 2 * LONGEST_PAUSE), limit=_MOST):
            run = RunDir(workspace.run(str(row["run_id"])))
            state = read_run(run).state
            until = limited_until(state)
            if until is None or until <= now or read_spec(run.spec).profile != profile:
                continue
            if not _served_since(workspace, adapter, profile, float(state["finished_at"] or now)):
                name = adapter if profile is None else f"{adapter}/{profile}"
                return (f"{name} is limited by its provider until {iso(until)}, as {run.run_id} was told",)
    except (CcError, OSError):
        pass
    return ()


def limited_until(state: State) -> float | None:
    """Until when a provider limits a run (live), or its conversation (ended); epoch seconds. Pure."""
    if state["status"] in LIVE:
        waiting = part(state, "waiting")
        return waiting.get("until") if waiting.get("kind") == "rate_limit" else None
    failure: dict[str, Any] = part(state, "failure")
    return failure.get("not_before") if failure.get("class") == "provider_limit" else None


def _served_since(workspace: Workspace, adapter: str, profile: str | None, when: float) -> bool:
    """Whether a run of the same account came to a good end after that."""
    where = "adapter = ? and status = 'succeeded' and finished_at > ?"
    rows = index.select(workspace.index, where, (adapter, when), limit=_MOST)
    return any(read_spec(RunDir(workspace.run(str(row["run_id"]))).spec).profile == profile for row in rows)
