"""The process that goes on after a run, where its settings say so: one follow-up in its worktree, then it ends.

After a silence it starts at once. After a provider's limit it sleeps until the limit is over; whoever stops the ended run
before that, stops this too.
"""

from __future__ import annotations

import os
import select
from typing import cast

from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import last_decision
from cc_orchestrator.runs.control import ControlReader
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.renewal import Renewal, request_of, tries_of
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.wait import WatchedRun
from cc_orchestrator.store import index, lock
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, later_file
from cc_orchestrator.tasks.record import read_task
from cc_orchestrator.workflow.workers import Caller, await_all, continue_run

#: How long the old supervisor may take to go, once it has told its end.
SETTLE_SECONDS = 10.0
#: How often a sleeper looks whether it was called off: nobody rings for an ended run.
LOOK_SECONDS = 1.0
_RESUME = (
    "You were stopped because you gave no sign of life ({why}). Look at what you had done, then go on with the task; take another way "
    "if the last step was what hung."
)
_REPLACE = (
    "{goal}\n\nAn earlier worker got stuck on this ({why}) and was stopped. What it left is in this folder: check it before you build "
    "on it."
)
_LATER = "The provider's limit that stopped you is over. Look at what you had done, then go on with the task."


def main(args: list[str]) -> int:
    """`args`: the ended run's folder, and `resume`, `replace` or `later`."""
    run, renewal = RunDir(args[0]), cast("Renewal", args[1])
    clock = SystemClock()
    await_all([WatchedRun(run, frozenset())], SETTLE_SECONDS, clock)
    spec = read_spec(run.spec)
    if renewal == "later":
        return _later(run, spec, clock)
    _go_on(run, spec, renewal, clock)
    return 0


def _later(run: RunDir, spec: RunSpec, clock: Clock) -> int:
    """Sleep, then go on; the mark goes when that is done or called off. Another process that holds the mark does it."""
    mark = later_file(os.path.dirname(run.path), run.run_id)
    held = lock.take(mark)
    if held is None:
        return 0
    try:
        at = float(part(read_run(run).state, "failure").get("not_before") or 0.0)
        if not _called_off(run, at, clock) and not _is_settled(run, spec):
            _go_on(run, spec, "later", clock)
        os.unlink(mark)
    finally:
        os.close(held)
    return 0


def _called_off(run: RunDir, at: float, clock: Clock) -> bool:
    """Sleep until `at` (epoch seconds); true as soon as somebody has stopped it."""
    control = ControlReader(run.control)
    while True:
        if any(request.get("kind") == "stop" for request in control.read()):
            return True
        left = at - clock.now()
        if left <= 0:
            return False
        select.select((), (), (), min(left, LOOK_SECONDS))


def _is_settled(run: RunDir, spec: RunSpec) -> bool:
    """Somebody went on with it by hand meanwhile, or decided that nobody shall."""
    workspace = Workspace(spec.workspace_root, spec.repository)
    if index.select(workspace.index, "parent_run_id = ?", (run.run_id,), limit=1):
        return True
    decision = last_decision(workspace, run.run_id)
    return decision is not None and decision["observed"].get("decision") == "abandon"


def _go_on(run: RunDir, spec: RunSpec, renewal: Renewal, clock: Clock) -> None:
    workspace = Workspace(spec.workspace_root, spec.repository)
    why = line(str(read_run(run).state["detail"] or "silence"), 200)
    if renewal == "replace":
        text = _REPLACE.format(goal=read_task(workspace, spec.task_id)["goal"], why=why)
    else:
        text = _LATER if renewal == "later" else _RESUME.format(why=why)
    caller = Caller(dict(os.environ), clock, spec.channel)
    request = request_of(run.run_id, renewal, tries_of(spec))
    continue_run(workspace, run, text, caller, fresh=renewal == "replace", request_id=request)
