"""Install commands of a fresh worktree, run by the supervisor before its worker: contained, with a deadline, stopped like a run."""

from __future__ import annotations

import os

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command, Ran
from cc_orchestrator.host.env import worker_env
from cc_orchestrator.host.tree import MARKER, Tree
from cc_orchestrator.runs.cell import Held, choose_cell
from cc_orchestrator.runs.control import ControlReader
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.recorder import Recorder
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import Place
from cc_orchestrator.store.rundir import RunDir


def fit_out(run: RunDir, spec: RunSpec, place: Place, recorder: Recorder, clock: Clock) -> Stop | None:
    """Tell what was lent, then install; the reason to end the run when that fails or somebody stops it. Raises OSError."""
    _tell_lent(place, recorder)
    if not place.fresh or not spec.setup.install:
        return None
    control = ControlReader(run.control)
    stopped: list[str] = []

    def is_stopped() -> bool:
        stopped.extend(str(request.get("reason") or "") for request in control.read() if request.get("kind") == "stop")
        return bool(stopped)

    env = worker_env(os.environ, spec.setup.secrets, {MARKER: spec.run_id})
    known = [env[name].encode() for name in spec.setup.secrets if env.get(name)]
    cell = choose_cell([spec], os.environ)
    for number, argv in enumerate(spec.setup.install, 1):
        shown = line(mask_text(" ".join(argv)), 200)
        tree = Tree.contain(spec.run_id)
        try:
            with Held(cell, spec.worktree or place.cwd, run.at("install"), spec.run_id, tree, spec.branch) as held:
                ran = held.run(
                    Command(shown, argv), cwd=place.cwd, env=env, seconds=spec.setup.install_seconds,
                    log_path=run.at(f"install-{number}.log"), clock=clock, stop=is_stopped, known=known,
                )  # fmt: skip
        finally:
            tree.close()
        if stopped:
            return Stop("user_requested", "controller", stopped[0])
        recorder.record([Fact(ev.SYSTEM_NOTICE, {"code": "install", "text": _sum_up(ran)})])
        if ran.outcome != "exited" or ran.exit != 0:
            return Stop(
                "worktree_failed", "supervisor", f"install command failed: {_sum_up(ran)}; see install-{number}.log"
            )
    return None


def _sum_up(ran: Ran) -> str:
    end = ran.detail or (f"signal {ran.signal}" if ran.signal is not None else f"exit {ran.exit}")
    said = f": {line(ran.tail[-200:], 200)}" if ran.tail and ran.exit != 0 else ""
    return f"{ran.command}: {end} in {ran.seconds:g} s{said}"


def _tell_lent(place: Place, recorder: Recorder) -> None:
    lent = place.lent
    facts: list[Fact] = []
    if lent.copied:
        facts.append(_notice("lent", f"copied from the checkout: {_some(lent.copied)}"))
    if lent.linked:
        facts.append(
            _notice("linked", f"links into the checkout, which the worker can write through: {_some(lent.linked)}")
        )
    if lent.refused:
        facts.append(_notice("not_lent", "; ".join(f"{line(row.path, 80)}: {row.why}" for row in lent.refused[:8])))
    if facts:
        recorder.record(facts)


def _notice(code: str, text: str) -> Fact:
    return Fact(ev.SYSTEM_NOTICE, {"code": code, "text": line(text, 600)})


def _some(paths: list[str]) -> str:
    return ", ".join(line(path, 80) for path in paths[:10]) + (
        f" and {len(paths) - 10} more" if len(paths) > 10 else ""
    )
