"""Workspaces with a past: runs made through the store's own writers, so that they are what a real past leaves behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.runs.artifacts import write_all
from cc_orchestrator.runs.closing import settle
from cc_orchestrator.runs.fold import fold
from cc_orchestrator.runs.recorder import write_fold
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, hidden_folder, reveal
from kit.repos import make_repo

_BATCH = 1_000
_CLOCK = SystemClock()


def make_workspace(folder: str | Path, files: int) -> Workspace:
    """A repository with so many files, and its workspace folder."""
    names = {f"src/p{number % 100:02d}/m{number:05d}.py": f"value = {number}\n" for number in range(files)}
    root = os.path.realpath(make_repo(folder, names))
    os.makedirs(os.path.join(root, ".agent-workspace", "runs"))
    return Workspace(root, root)


def add_run(workspace: Workspace, events: int) -> RunDir:
    """A finished run whose journal has about so many events, with its caches, index row and receipt."""
    now = _CLOCK.now()
    run_id, task_id = new_id("run", now=now), new_id("task", now=now)
    spec = RunSpec(
        run_id=run_id, task_id=task_id, created_at=now, workspace_root=workspace.root, repository=workspace.repository,
        cwd=workspace.root, adapter="fake", executable="", role="implementation", allow_write=False, prompt_sha256="0" * 64,
        prompt_bytes=100, task="a run of the past", model="model-small",
    )  # fmt: skip
    hidden, held = hidden_folder(workspace.runs, run_id)
    try:
        atomic.write_json(hidden.spec, spec.to_json())
        journal = Journal(hidden.journal, run_id, _CLOCK)
        state = fold(())
        try:
            for batch in _batches(spec, events):
                state = fold(journal.append(batch), state)
            journal.sync()
            write_fold(hidden, journal.size, state)
        finally:
            journal.close()
        write_all(hidden, state, _CLOCK)
        run = reveal(hidden, workspace.runs, run_id)
        settle(spec, state, _CLOCK)
    finally:
        os.close(held)
    return run


def _batches(spec: RunSpec, events: int) -> Iterator[list[Fact]]:
    created = {"run_id": spec.run_id, "task_id": spec.task_id, "adapter": spec.adapter, "role": spec.role, "model": spec.model,
               "allow_write": False, "cwd": spec.cwd}  # fmt: skip
    batch = [
        Fact(ev.RUN_CREATED, created),
        Fact(ev.RUN_STARTED, {"pid": 1, "pid_start": "0", "supervisor_pid": 1, "containment": "none", "cwd": spec.cwd}),
        Fact(ev.RUN_SESSION, {"session_id": "s", "model": "model-small-1"}),
    ]
    for number in range(max(0, events - 6)):
        batch.append(_middle(number))
        if len(batch) >= _BATCH:
            yield batch
            batch = []
    usage = {"model": "model-small-1", "input_tokens": 5_000, "output_tokens": 900, "cost_usd": 0.012, "total": True}
    claimed = {"claimed": {"text": "I did what was asked."}, "observed": {"results": 1}}
    batch += [
        Fact(ev.RUN_USAGE, usage),
        Fact(ev.RUN_RESULT, {"text": "I did what was asked.", "is_error": False, "index": 1, "turns": 3}),
        Fact(ev.RUN_FINISHED, {"status": "succeeded", "reason": "completed", "usage": usage, "completion": claimed}),
    ]
    yield batch


def _middle(number: int) -> Fact:
    which = number % 3
    if which == 0:
        data = {
            "id": f"t{number}",
            "tool": ("Read", "Grep", "Bash")[number % 9 // 3],
            "kind": "read",
            "target": f"src/m{number}.py",
        }
        return Fact(ev.TOOL_STARTED, data)
    if which == 1:
        return Fact(ev.TOOL_FINISHED, {"id": f"t{number - 1}", "ok": True})
    text = f"I looked at part {number} and found that the parser handles it as described; now on to the next one." * 2
    return Fact(ev.RUN_MESSAGE, {"text": text, "chars": len(text)})
