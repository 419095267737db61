"""The process that owns one run: started detached, holding the run's lock, until the worker and its whole tree are gone.

Standard library and our own rooms only. One thread, one selector. Everything it decides comes from pure modules; everything
it learns goes through the recorder. Any end is told: if this process is killed, the freed lock tells it.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
from collections.abc import Sequence
from typing import Any

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.core.text import line
from cc_orchestrator.host.bell import Bell
from cc_orchestrator.host.detach import detach, take_stdin
from cc_orchestrator.host.process import SpawnError
from cc_orchestrator.host.tree import HELPER
from cc_orchestrator.runs import closing
from cc_orchestrator.runs.artifacts import Artifacts
from cc_orchestrator.runs.fitting import fit_out
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.reading import read_spec
from cc_orchestrator.runs.recorder import Recorder
from cc_orchestrator.runs.renewal import announce, plan_later, plan_renewal, planned_renewal
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import Place, TreeError, prepare_place
from cc_orchestrator.runs.watch import Watch
from cc_orchestrator.runs.worker import Worker, request_for
from cc_orchestrator.store import lock
from cc_orchestrator.store.rundir import RunDir, mark_later, mark_settled


def main(args: Sequence[str]) -> int:
    """`args`: run folder, lock descriptor (or -1: take it), bell descriptor (or -1: none). The prompt is on stdin."""
    run = RunDir(args[0])
    held = int(args[1])
    if held < 0:
        taken = lock.take(run.lock)
        if taken is None:
            return 1
        held = taken
    os.set_inheritable(held, False)
    bell = Bell.inherit(int(args[2]), run.bell)
    prompt = take_stdin().decode("utf-8", "replace")
    clock = SystemClock()
    # Not SIG_IGN: that would be inherited by the worker and everything it starts, which then could not be interrupted.
    signal.signal(signal.SIGINT, _stay)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, _stay)
    spec = read_spec(run.spec)
    recorder = Recorder(
        run, clock, final_only=spec.limits.final_only,
        ring=bell.ring if bell is not None else _silence, artifacts=Artifacts(run, clock).write,
    )  # fmt: skip
    settled = False
    # What we start for ourselves (git) is found and ended gently when we die in the middle of it.
    os.environ[HELPER] = run.run_id
    try:
        settled = _own(run, spec, prompt, recorder, bell, clock)
    except Exception as error:  # noqa: BLE001 - a process edge: whatever it is, the run must get its end
        sys.excepthook(type(error), error, error.__traceback__)
        # An end that was told stays the only one; what came after it is left to a sweep.
        if recorder.state["status"] not in ENDS:
            stop = Stop("internal", "supervisor", line(repr(error), 300))
            settled = closing.close_run(run, spec, recorder, clock, stop=stop)
    finally:
        recorder.close()
        if bell is not None:
            bell.close()
    if settled:
        mark_settled(os.path.dirname(run.path), run.run_id)
    renewal = planned_renewal(recorder.state)
    if renewal is not None:
        _renew(run, spec, renewal)
    return 0


def _own(run: RunDir, spec: RunSpec, prompt: str, recorder: Recorder, bell: Bell | None, clock: Clock) -> bool:
    """Prepare, start, watch, close; whether nothing is left to do."""
    adapter = find_adapter(spec.adapter)
    try:
        place = prepare_place(spec)
    except TreeError as error:
        stop = Stop("worktree_failed", "supervisor", line(str(error), 300))
        return closing.close_run(run, spec, recorder, clock, stop=stop)
    stop = fit_out(run, spec, place, recorder, clock)
    if stop is not None:
        return closing.close_run(run, spec, recorder, clock, stop=stop, place=place)
    request = request_for(spec, run, place, prompt, os.environ)
    try:
        worker = Worker.start(adapter, request, spec)
    except SpawnError as error:
        reason = "cli_not_found" if error.missing else "spawn_failed"
        stop = Stop(reason, "supervisor", line(str(error), 300))
        return closing.close_run(run, spec, recorder, clock, stop=stop, place=place)
    try:
        return _watch(run, spec, place, worker, recorder, bell, clock)
    finally:
        worker.kill_everything()
        worker.close()


def _watch(
    run: RunDir, spec: RunSpec, place: Place, worker: Worker, recorder: Recorder, bell: Bell | None, clock: Clock
) -> bool:
    started: dict[str, Any] = {
        "pid": worker.child.pid, "pid_start": worker.child.identity, "supervisor_pid": os.getpid(),
        "containment": worker.tree.level, "cwd": place.cwd, "sandbox": spec.sandbox,
    }  # fmt: skip
    if spec.sandbox_backend:
        started["sandbox_backend"] = spec.sandbox_backend
    if spec.branch:
        started.update(branch=spec.branch, base=spec.base)
    watch = Watch(run, spec, worker, recorder, clock, selectors.DefaultSelector(), bell)
    recorder.record([Fact(ev.RUN_STARTED, started)])
    stop = watch.run()
    capabilities = worker.adapter.capabilities
    renewal = plan_renewal(spec, recorder.state, stop, capabilities)
    if renewal is None and watch.ending is not None:
        renewal = plan_later(spec, recorder.state, stop, watch.ending.reason, capabilities)
    if renewal is not None:
        recorder.record([announce(renewal)])
    return closing.close_run(
        run, spec, recorder, clock, stop=stop, place=place, ending=watch.ending, exited=watch.exited,
        commits=worker.confined.commits,
    )  # fmt: skip


def _renew(run: RunDir, spec: RunSpec, renewal: str) -> None:
    """Start what starts the follow-up. Last of all: what is started before is killed as the worker's."""
    env = {name: value for name, value in os.environ.items() if name != HELPER}
    try:
        if renewal == "later":
            # Before it begins: who waits long may die, and is then made good by the next door.
            mark_later(os.path.dirname(run.path), run.run_id)
        detach(
            "cc_orchestrator.workflow.renewing", [run.path, renewal], cwd=spec.workspace_root, stderr_path=run.log, env=env
        )  # fmt: skip
    except (OSError, CcError):
        # The end is told; a caller can go on from there by hand.
        pass


def _silence() -> None:
    return None


def _stay(_number: int, _frame: object) -> None:
    return None
