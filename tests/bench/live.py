"""A live run under the bench's hand: its worker says what is written into a pipe, when it is written."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.door import Door
from cc_orchestrator.host import bell as bells
from cc_orchestrator.runs.reading import Reading, read_run
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

#: Everything that could end a run early is off: a benchmark floods on purpose.
NO_BUDGETS: dict[str, Any] = {
    "max_output_bytes": None,
    "max_events_bytes": None,
    "soft_output_bytes": None,
    "silence_seconds": None,
}


class LiveRun:
    """A started run and its worker's mouth (a FIFO that its script plays)."""

    def __init__(self, door: Door, workspace: Workspace, run_id: str, mouth: int, ear: socket.socket) -> None:
        self.door = door
        self.run = RunDir(workspace.run(run_id))
        self.run_id = run_id
        self._mouth = mouth
        self.ear = ear

    def say(self, text: str) -> None:
        """One line of the worker."""
        self.write(json.dumps({"event": "say", "text": text}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Bytes of the worker's stdout."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._mouth, view) :]

    def until(self, told: Callable[[Reading], bool], seconds: float = 60.0) -> Reading:
        """Sleep on the run's bell until the journal says so. Raises TimeoutError."""
        return until(self.run, self.ear, told, seconds)


@contextmanager
def live_run(door: Door, workspace: Workspace) -> Iterator[LiveRun]:
    """Start a read-only run; its worker ends when the block does."""
    path = workspace.at("runs", f".mouth-{time.monotonic_ns()}")
    os.mkfifo(path, 0o600)
    script = {"steps": [{"transcript": {"path": path}}, {"result": {"text": "done"}}]}
    answer = door.call("cc_run_streaming", task="Speak.", adapter="fake", script=script, **NO_BUDGETS)
    mouth = os.open(path, os.O_WRONLY)
    ear = listen(RunDir(workspace.run(answer["run_id"])))
    live = LiveRun(door, workspace, answer["run_id"], mouth, ear)
    try:
        live.until(lambda reading: reading.state["session_id"] is not None)
        yield live
    finally:
        os.close(mouth)
        live.until(lambda reading: reading.state["finished_at"] is not None)
        ear.close()
        os.unlink(path)


def listen(run: RunDir) -> socket.socket:
    """The run's bell."""
    with open(run.bell, encoding="utf-8") as file:
        ear = bells.listen(file.read().strip())
    if ear is None:
        raise RuntimeError(f"{run.run_id} has no bell")
    return ear


def until(run: RunDir, ear: socket.socket, told: Callable[[Reading], bool], seconds: float = 60.0) -> Reading:
    """Sleep on a bell until the journal says so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    reading = read_run(run)
    while not told(reading):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(
                f"{run.run_id}: not within {seconds:g} s; {reading.state['status']} {reading.state['reason']}"
            )
        # The end of the bell is an answer as well: then a short sleep stands in for it.
        if select.select([ear], [], [], min(left, 0.5))[0] and not ear.recv(4096):
            time.sleep(0.01)
        reading = read_run(run, reading)
    return reading
