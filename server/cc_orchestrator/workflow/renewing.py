"""The process that goes on after a run that was given up for its silence: one follow-up in its worktree, then it ends."""

from __future__ import annotations

import os
from typing import cast

from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.text import line
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.renewal import Renewal, request_of
from cc_orchestrator.runs.wait import WatchedRun
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.record import read_task
from cc_orchestrator.workflow.workers import Caller, await_all, continue_run

#: How long the old supervisor may take to go, once it has told its end.
SETTLE_SECONDS = 10.0
_RESUME = (
    "You were stopped because you gave no sign of life ({why}). Look at what you had done, then go on with the task; take another way "
    "if the last step was what hung."
)
_REPLACE = (
    "{goal}\n\nAn earlier worker got stuck on this ({why}) and was stopped. What it left is in this folder: check it before you build "
    "on it."
)


def main(args: list[str]) -> int:
    """`args`: the ended run's folder, and `resume` or `replace`."""
    run, renewal = RunDir(args[0]), cast("Renewal", args[1])
    clock = SystemClock()
    await_all([WatchedRun(run, frozenset())], SETTLE_SECONDS, clock)
    spec = read_spec(run.spec)
    workspace = Workspace(spec.workspace_root, spec.repository)
    why = line(str(read_run(run).state["detail"] or "silence"), 200)
    fresh = renewal == "replace"
    goal = str(read_task(workspace, spec.task_id)["goal"]) if fresh else ""
    text = _REPLACE.format(goal=goal, why=why) if fresh else _RESUME.format(why=why)
    caller = Caller(dict(os.environ), clock, spec.channel)
    continue_run(workspace, run, text, caller, fresh=fresh, request_id=request_of(run.run_id, renewal))
    return 0
