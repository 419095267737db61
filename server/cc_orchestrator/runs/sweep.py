"""Records what died: takes the lock of a run whose owner is gone, kills what is left of its tree, appends `run.lost`.

The only repair there is; reads never do it. It runs at a door's start and before calls, and costs one look into the index
when nothing is lost. The index itself is made anew from the run folders when it is missing or broken.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.host.tree import kill_remains
from cc_orchestrator.runs.artifacts import write_all
from cc_orchestrator.runs.closing import index_row, settle
from cc_orchestrator.runs.fold import State, fold
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.recorder import release_ballast, write_fold
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import TreeError, take_result
from cc_orchestrator.store import index, lock
from cc_orchestrator.store.journal import Journal, read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

KILL_SECONDS = 4.0


def live_run_ids(workspace: Workspace) -> list[str]:
    """Runs that the index believes live, newest first. A missing or broken index: all runs that have not ended."""
    try:
        if os.path.exists(workspace.index):
            return [str(row["run_id"]) for row in index.select(workspace.index, "finished_at is null", limit=10_000)]
    except Corrupt:
        index.set_aside(workspace.index)
    return rebuild_index(workspace)


def sweep(workspace: Workspace, clock: Clock) -> list[str]:
    """Close every lost run; their ids. Runs that another sweep is closing are left to it."""
    if not os.path.isdir(workspace.runs):
        return []
    return [run_id for run_id in live_run_ids(workspace) if _close_lost(workspace, run_id, clock)]


def _close_lost(workspace: Workspace, run_id: str, clock: Clock) -> bool:
    run = RunDir(workspace.run(run_id))
    if not os.path.isdir(run.path):
        return False
    if run.is_owned():
        return False
    held = lock.take(run.lock)
    if held is None:
        return False
    try:
        return _close(workspace, run, clock)
    finally:
        os.close(held)


def _close(workspace: Workspace, run: RunDir, clock: Clock) -> bool:
    state = fold(read_page(run.journal, max_bytes=1 << 28).events)
    try:
        spec = read_spec(run.spec)
    except Corrupt:
        spec = None
    if state["status"] in ENDS:
        # It ended well and died before the index knew.
        if spec is not None:
            settle(run, spec, state, clock)
        return False
    recorded = [(int(state["pid"]), str(state["pid_start"]))] if state["pid"] and state["pid_start"] else []
    killed = kill_remains(run.run_id, recorded, deadline_s=KILL_SECONDS)
    release_ballast(run)
    facts = _result(spec)
    started = state["pid"] is not None
    reason = "supervisor_died" if started else "never_started"
    facts.append(Fact(ev.RUN_LOST, {
        "status": "lost", "reason": reason, "killed": killed,
        "detail": f"the supervisor died without a final event; {killed} processes of the worker's tree were killed",
    }))  # fmt: skip
    journal = Journal(run.journal, run.run_id, clock)
    try:
        journal.append(facts, actor="sweep")
        journal.sync()
        state = fold(read_page(run.journal, max_bytes=1 << 28).events)
        write_fold(run, journal.size, state)
    finally:
        journal.close()
    if spec is not None:
        write_all(run, state, clock)
        settle(run, spec, state, clock)
    return True


def _result(spec: RunSpec | None) -> list[Fact]:
    """What a lost write run left in its tree is kept as well: late work is never thrown away."""
    if spec is None or not spec.allow_write or spec.worktree is None or not os.path.isdir(spec.worktree):
        return []
    try:
        return [Fact(ev.RUN_SNAPSHOT, take_result(spec, commits=True))]
    except TreeError:
        return []


def rebuild_index(workspace: Workspace) -> list[str]:
    """Make the index anew from the run folders; the ids that are live or lost. Folders without a readable spec are skipped."""
    rows: list[dict[str, Any]] = []
    live: list[str] = []
    try:
        names = sorted(os.listdir(workspace.runs), reverse=True)
    except OSError:
        return []
    for name in names:
        if not is_id(name, "run"):
            continue
        run = RunDir(os.path.join(workspace.runs, name))
        try:
            row = index_row(read_spec(run.spec), read_run(run).state)
        except (Corrupt, OSError):
            continue
        if row["status"] not in ENDS or row["status"] == "lost":
            live.append(name)
            if not _told(run):
                row["finished_at"] = None
        rows.append(row)
    try:
        index.put(workspace.index, rows)
    except OSError:
        pass
    return live


def _told(run: RunDir) -> bool:
    """Whether the journal itself holds the end."""
    state: State = fold(read_page(run.journal, max_bytes=1 << 28).events)
    return state["status"] in ENDS


def remove_unborn(workspace: Workspace) -> int:
    """Delete folders of launches that died before anything was visible; how many."""
    removed = 0
    try:
        names = [name for name in os.listdir(workspace.runs) if name.startswith(".new-")]
    except OSError:
        return 0
    for name in names:
        path = os.path.join(workspace.runs, name)
        held = lock.take(os.path.join(path, "lock")) if os.path.isdir(path) else None
        if held is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(held)
            removed += 1
    return removed
