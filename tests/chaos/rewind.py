"""Puts a finished run back to the moment in which its supervisor was killed: what came later is taken from the files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cc_orchestrator.host import bell as bells
from cc_orchestrator.store.paths import Workspace, find_workspace
from cc_orchestrator.store.rundir import RunDir, mark_open, mark_settled
from kit.door import Door

CACHES = ("fold.json", "status.json", "progress_summary.json", "latest_decision.md", "risk_flags.json", "report.md")


def workspace_of(door: Door) -> Workspace:
    """The door's workspace."""
    return find_workspace(str(door.cwd), door.env)


def rewind(door: Door, run_id: str, last: str, *, receipt: bool = False, row: bool = False) -> RunDir:
    """The run as it was after its first event of type `last`. `receipt`, `row`: those had been written."""
    workspace = workspace_of(door)
    run = door.run(run_id)
    lines = Path(run.journal).read_bytes().splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if f'"{last}"'.encode() in line)
    Path(run.journal).write_bytes(b"".join(lines[: end + 1]))
    for name in CACHES:
        Path(run.at(name)).unlink(missing_ok=True)
    if last == "run.created":
        for stream in ("stdout", "stderr"):
            Path(run.raw(stream)).unlink(missing_ok=True)
    if not receipt:
        shutil.rmtree(workspace.ledger)
    if not row:
        for suffix in ("", "-wal", "-shm"):
            Path(workspace.index + suffix).unlink(missing_ok=True)
    mark_open(workspace.runs, run_id)
    return run


def leave_socket(run: RunDir) -> Path:
    """A bell whose owner is dead."""
    path = bells.new_path(run.run_id)
    Path(run.bell).write_text(path, encoding="utf-8")
    bells.Bell.create(path).release()
    return Path(path)


def forget_mark(door: Door, run_id: str) -> None:
    """The list of open runs does not know the run."""
    mark_settled(workspace_of(door).runs, run_id)


def lose_list(door: Door) -> None:
    """The list of open runs itself is gone."""
    shutil.rmtree(os.path.join(workspace_of(door).runs, ".open"))
