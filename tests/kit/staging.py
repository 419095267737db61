"""Runs whose folder a test has prepared itself: for what no request can ask for (a program that vanished, a broken spec)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.host.detach import detach_light
from cc_orchestrator.store import atomic
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import find_workspace
from cc_orchestrator.store.rundir import RunDir, hidden_folder, mark_open, reveal
from kit.door import Door
from kit.waiting import until


def prepare(door: Door, *steps: dict[str, Any], **changes: Any) -> RunDir:
    """A complete run folder, as a launch leaves it, with fields of the spec changed; nothing is started."""
    model = door.start_fake({"result": "the model of a spec"})
    door.finish(model)
    run_id = new_id("run")
    workspace = find_workspace(str(door.cwd), door.env)
    spec = {**door.spec(model).to_json(), "run_id": run_id, "options": {"script": {"steps": list(steps)}}, **changes}
    mark_open(workspace.runs, run_id)
    hidden, held = hidden_folder(workspace.runs, run_id)
    atomic.write_json(hidden.spec, spec)
    journal = Journal(hidden.journal, run_id, SystemClock())
    journal.append([Fact(ev.RUN_CREATED, {"run_id": run_id, "task_id": spec["task_id"], "adapter": "fake"})])
    journal.close()
    os.close(held)
    return reveal(hidden, workspace.runs, run_id)


def supervise(door: Door, run: RunDir) -> None:
    """Start the run's supervisor, which takes its lock itself."""
    detach_light(
        "cc_orchestrator.runs.supervisor", [run.path, "-1", "-1"], cwd=str(door.cwd), env=door.env, stdin_fd=None,
        pass_fds=(), stderr_path=run.log,
    )  # fmt: skip


def stage(door: Door, *steps: dict[str, Any], **changes: Any) -> str:
    """Prepare and start; returns once the supervisor owns the run or has ended it."""
    run = prepare(door, *steps, **changes)
    supervise(door, run)
    until(lambda: run.is_owned() or b"run.finished" in Path(run.journal).read_bytes(), what="the supervisor")
    return os.path.basename(run.path)
