"""Waits, bounded, for the first sign of life of a run that was just started."""

from __future__ import annotations

import select
import socket

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.host import bell as bells
from cc_orchestrator.runs.fold import State
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.store.rundir import RunDir


def first_sign(run: RunDir, clock: Clock, limit: float) -> State:
    """The state once the worker runs or the run is over, or after `limit` seconds whatever it is then."""
    deadline = clock.mono() + limit
    ears = bells.listen_named(run.bell)
    try:
        reading = read_run(run)
        while reading.state["status"] in ("created", "starting"):
            left = deadline - clock.mono()
            if left <= 0:
                break
            if ears is None:
                select.select((), (), (), min(left, 0.02))
            else:
                ready, _, _ = select.select((ears,), (), (), left)
                if ready and not _hear(ears):
                    reading = read_run(run, reading)
                    break
            reading = read_run(run, reading)
        return reading.state
    finally:
        if ears is not None:
            ears.close()


def _hear(ears: socket.socket) -> bool:
    """Take the rings; False at the end of the bell. A supervisor that is killed resets what it had not taken yet."""
    try:
        return bool(ears.recv(4096))
    except OSError:
        return False
