"""The durable record of a task: written once, before its first run. Status is never stored here; it is read from the runs."""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import NotFound
from cc_orchestrator.core.ids import check_id, new_id
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import cut
from cc_orchestrator.store import atomic, index
from cc_orchestrator.store.paths import Workspace

VERSION = 1


def create_task(
    workspace: Workspace, goal: str, *, scope: dict[str, Any], channel: str, clock: Clock, risk: str | None = None,
    purpose: str = "work",
) -> str:  # fmt: skip
    """Record a task and return its id. `risk` says how many reviews its results need; `purpose` is work or review. Raises OSError."""
    task_id = new_id("task", now=clock.now())
    folder = workspace.at("tasks", task_id)
    os.makedirs(folder, exist_ok=True)
    masked = mask_text(goal)
    record = {
        "v": VERSION,
        "task_id": task_id,
        "created_at": clock.now(),
        "goal": cut(masked, 20_000),
        "scope": scope,
        "risk": risk,
        "purpose": purpose,
        "channel": channel,
    }
    atomic.write_json(os.path.join(folder, "task.json"), record)
    return task_id


def drop_task(workspace: Workspace, task_id: str) -> None:
    """Take back a task whose first run could not be launched."""
    folder = workspace.at("tasks", check_id(task_id, "task"))
    try:
        os.unlink(os.path.join(folder, "task.json"))
        os.rmdir(folder)
    except OSError:
        pass


def read_task(workspace: Workspace, task_id: str) -> dict[str, Any]:
    """The record; NotFound when there is none."""
    record = atomic.read_json(workspace.at("tasks", check_id(task_id, "task"), "task.json"))
    if record is None:
        raise NotFound(f"there is no task {task_id} in {workspace.root}", hint="cc_status lists tasks and runs")
    return record


def runs_of(workspace: Workspace, task_id: str) -> list[str]:
    """Ids of the task's runs, newest first."""
    return [
        str(row["run_id"])
        for row in index.select(workspace.index, "task_id = ?", (check_id(task_id, "task"),), limit=200)
    ]
