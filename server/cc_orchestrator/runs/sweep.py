"""Records what died: takes the lock of a run whose owner is gone, kills what is left of its tree, appends `run.lost`.

The only repair there is; reads never do it. It runs at a door's start and before calls, and costs one look at the list of open
runs when nothing is lost. A run that ended gets what its supervisor did not live to write: receipt, row, caches. The index
and the list are made anew from the run folders when they are missing or broken.
"""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.sandbox_ground import remove_private
from cc_orchestrator.host.tree import end_helpers, kill_remains
from cc_orchestrator.runs.artifacts import write_all
from cc_orchestrator.runs.closing import bare_row, index_row, settle
from cc_orchestrator.runs.failures import describe_failure
from cc_orchestrator.runs.fold import State, fold
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.recorder import release_ballast, write_fold
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import TreeError, drop_place, take_result
from cc_orchestrator.store import index, ledger, lock
from cc_orchestrator.store.journal import Journal, last_events, read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, is_being_made, mark_open, mark_settled, open_runs

KILL_SECONDS = 4.0


def sweep(workspace: Workspace, clock: Clock) -> list[str]:
    """Close every lost run and settle what died before it was settled; ids of the lost. What another sweep closes is left to it."""
    if not os.path.isdir(workspace.runs):
        return []
    lost: list[str] = []
    for run_id in _open_runs(workspace):
        try:
            if _close_lost(workspace, run_id, clock):
                lost.append(run_id)
        except (OSError, CcError):
            # A full disk or one unreadable folder must not keep the others from their end; the next sweep tries again.
            continue
    return lost


def _open_runs(workspace: Workspace) -> list[str]:
    names = open_runs(workspace.runs)
    if names is None or not _has_index(workspace):
        rebuild_index(workspace)
        names = open_runs(workspace.runs) or []
    return [name for name in names if is_id(name, "run")]


def _has_index(workspace: Workspace) -> bool:
    try:
        index.select(workspace.index, limit=1)
    except Corrupt:
        index.set_aside(workspace.index)
    return os.path.exists(workspace.index)


def _close_lost(workspace: Workspace, run_id: str, clock: Clock) -> bool:
    run = RunDir(workspace.run(run_id))
    # A launch shows its folder by a rename: it is in one of the two places, or it died.
    if not os.path.isdir(run.path) and not is_being_made(workspace.runs, run_id) and not os.path.isdir(run.path):
        mark_settled(workspace.runs, run_id)
        return False
    if not os.path.isdir(run.path) or run.is_owned():
        return False
    held = lock.take(run.lock)
    if held is None:
        return False
    try:
        return _close(workspace, run, clock)
    finally:
        os.close(held)


def _close(workspace: Workspace, run: RunDir, clock: Clock) -> bool:
    """Only under the run's lock. Every step may be repeated, because this too may be killed."""
    try:
        spec = read_spec(run.spec)
    except Corrupt:
        spec = None
    end_helpers(run.run_id)
    # The journal first: it closes off a torn line, which may turn out to be the end.
    journal = Journal(run.journal, run.run_id, clock)
    try:
        state = fold(read_page(run.journal, max_bytes=1 << 28).events)
        killed = kill_remains(run.run_id, _recorded(state), deadline_s=KILL_SECONDS)
        bells.remove_dead(run.bell)
        release_ballast(run)
        run.remove_temporary()
        lost = state["status"] not in ENDS
        if lost:
            journal.append(_end(run, spec, state, killed), actor="sweep")
            journal.sync()
            state = fold(read_page(run.journal, max_bytes=1 << 28).events)
        write_fold(run, journal.size, state)
    finally:
        journal.close()
    write_all(run, state, clock)
    if spec is None:
        # Without a spec there is no receipt, but the index must not call the run live for ever.
        index.put(workspace.index, [bare_row(run, state)])
        mark_settled(workspace.runs, run.run_id)
    elif settle(spec, state, clock, again=True):
        mark_settled(workspace.runs, run.run_id)
    return lost


def _recorded(state: State) -> list[tuple[int, str]]:
    return [(int(state["pid"]), str(state["pid_start"]))] if state["pid"] and state["pid_start"] else []


def _end(run: RunDir, spec: RunSpec | None, state: State, killed: int) -> list[Fact]:
    started = state["pid"] is not None or run.may_have_started
    facts = _result(spec) if started else []
    if not started and spec is not None:
        _take_back(spec)
    detail = f"{killed} processes of the worker's tree were killed" if started else "no worker was started"
    remove_private(run.private, run.run_id)
    data: dict[str, Any] = {
        "status": "lost", "reason": "supervisor_died" if started else "never_started", "killed": killed,
        "detail": f"the supervisor died without a final event; {detail}",
    }  # fmt: skip
    # Nothing follows by itself, so no time enters.
    data["failure"] = describe_failure(str(data["reason"]), now=0.0, seed=run.run_id)
    return [*facts, Fact(ev.RUN_LOST, data)]


def _take_back(spec: RunSpec) -> None:
    try:
        drop_place(spec)
    except TreeError:
        # Left for the cleaning of worktrees.
        return


def _result(spec: RunSpec | None) -> list[Fact]:
    """What a lost write run left in its tree is kept as well: late work is never thrown away."""
    if spec is None or not spec.allow_write or spec.worktree is None or not os.path.isdir(spec.worktree):
        return []
    try:
        return [Fact(ev.RUN_SNAPSHOT, take_result(spec, commits=True))]
    except TreeError:
        return []


def rebuild_index(workspace: Workspace) -> list[str]:
    """Make the index and the list of open runs anew from the run folders; the ids of runs that have not ended.

    A run without a readable spec is known by its journal alone.
    """
    if not os.path.isdir(workspace.runs):
        # Nothing ran here yet, and perhaps nothing hides our folder from git yet.
        return []
    rows: list[dict[str, Any]] = []
    owned: list[dict[str, Any]] = []
    live: list[str] = []
    done = _with_receipt(workspace)
    for name in _run_names(workspace):
        run = RunDir(os.path.join(workspace.runs, name))
        is_owned = run.is_owned()
        try:
            state = read_run(run).state
            row = _row(run, state)
            told = _told(run, state)
            if not told:
                live.append(name)
                row["finished_at"] = None
            if not told or name not in done:
                mark_open(workspace.runs, name)
        except OSError:
            continue
        (owned if is_owned else rows).append(row)
    try:
        index.put(workspace.index, rows)
        # Their supervisors may have written the last word meanwhile.
        index.put(workspace.index, owned, keep=True)
    except OSError:
        pass
    return live


def _row(run: RunDir, state: State) -> dict[str, Any]:
    try:
        return index_row(read_spec(run.spec), state)
    except Corrupt:
        return bare_row(run, state)


def _run_names(workspace: Workspace) -> list[str]:
    try:
        return [name for name in sorted(os.listdir(workspace.runs), reverse=True) if is_id(name, "run")]
    except OSError:
        return []


def _told(run: RunDir, state: State) -> bool:
    """Whether the journal itself holds the end: a reader's `lost` may be only what it concluded."""
    if state["status"] != "lost":
        return state["status"] in ENDS
    return any(event["type"] == ev.RUN_LOST for event in last_events(run.journal, 3))


def _with_receipt(workspace: Workspace) -> set[str]:
    found = ledger.receipts(workspace.ledger, kind="run", limit=10_000_000)
    return {str(record["subject"].get("run_id")) for record in found}


def forget_unborn(run: RunDir) -> None:
    """What a launch that died before its run was visible left elsewhere."""
    bells.remove_dead(run.bell)
