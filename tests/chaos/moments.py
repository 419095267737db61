"""The moments at which something is killed: a stretch of a run's life, seen from outside, and a little chance after it."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from pathlib import Path

from cc_orchestrator.store.paths import Workspace
from chaos import truth

#: How long a moment may take to come; when it does not (everything is over), the kill comes then.
WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.0005


def _listed(path: str, prefix: str = "") -> bool:
    try:
        return any(name.startswith(prefix) for name in os.listdir(path))
    except OSError:
        return False


def _told(workspace: Workspace, *types: str) -> bool:
    wanted = [f'"{kind}"'.encode() for kind in types]
    try:
        names = [name for name in os.listdir(workspace.runs) if name.startswith("run_")]
    except OSError:
        return False
    for name in names:
        try:
            data = Path(workspace.runs, name, "events.ndjson").read_bytes()
        except OSError:
            continue
        if any(kind in data for kind in wanted):
            return True
    return False


#: While a door is at work.
DOOR: dict[str, Callable[[Workspace], bool]] = {
    "at once": lambda workspace: True,
    "workspace": lambda workspace: os.path.isdir(workspace.folder),
    "unborn": lambda workspace: _listed(workspace.runs, ".new-"),
    "listed": lambda workspace: _listed(os.path.join(workspace.runs, ".open")),
    "visible": lambda workspace: _listed(workspace.runs, "run_"),
    "supervised": lambda workspace: bool(truth.supervisors(workspace)),
    "started": lambda workspace: _told(workspace, "run.started"),
}
#: While a run lives.
RUN: dict[str, Callable[[Workspace], bool]] = {
    "supervised": lambda workspace: bool(truth.supervisors(workspace)),
    "worktree": lambda workspace: _listed(workspace.at("worktrees")) or bool(truth.marked(workspace)),
    "marked": lambda workspace: bool(truth.marked(workspace)),
    "started": lambda workspace: _told(workspace, "run.started"),
    "said": lambda workspace: _told(workspace, "run.message"),
    "result": lambda workspace: _told(workspace, "run.result"),
    "exited": lambda workspace: _told(workspace, "run.exited"),
    "finished": lambda workspace: _told(workspace, "run.finished"),
    "receipt": lambda workspace: _listed(workspace.ledger, "receipts-"),
}


def await_moment(
    has_come: Callable[[Workspace], bool], workspace: Workspace, chance: float, meanwhile: Callable[[], None]
) -> None:
    """Return `chance` seconds after the moment; `meanwhile` is done between looks (a poll of the runs)."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not has_come(workspace) and time.monotonic() < deadline:
        meanwhile()
        select.select((), (), (), _LOOK_SECONDS)
    end = time.monotonic() + chance
    while (left := end - time.monotonic()) > 0:
        meanwhile()
        select.select((), (), (), min(left, 0.005))
