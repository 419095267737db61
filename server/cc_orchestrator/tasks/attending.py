"""Sleeps in the engine's event loop: until a run has ended, until the engine is poked. Woken by bells, bounded by a slice."""

from __future__ import annotations

import asyncio
import selectors
import socket

from cc_orchestrator.core.states import ENDS
from cc_orchestrator.host import bell as bells
from cc_orchestrator.runs.reading import Reading, read_run
from cc_orchestrator.store import atomic
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

#: How often a run is looked at whose bell is silent: an owner may die without ringing.
SLICE_SECONDS = 1.0


async def await_end(run: RunDir) -> Reading:
    """The run's last state. Also returns for a run whose supervisor died (`lost`, which a sweep has to record)."""
    loop = asyncio.get_running_loop()
    rang = asyncio.Event()
    ear = _listen(run)
    if ear is not None:
        loop.add_reader(ear, _hear, loop, ear, rang)
    try:
        reading = read_run(run)
        while reading.state["status"] not in ENDS:
            await wait_set(rang, SLICE_SECONDS)
            rang.clear()
            reading = read_run(run, reading)
        return reading
    finally:
        if ear is not None:
            loop.remove_reader(ear)
            ear.close()


async def wait_set(event: asyncio.Event, seconds: float | None) -> None:
    """Sleep until the event is set, at most so long."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        pass


def _listen(run: RunDir) -> socket.socket | None:
    ear = bells.listen_named(run.bell)
    if ear is not None:
        ear.setblocking(False)
    return ear


def _hear(loop: asyncio.AbstractEventLoop, ear: socket.socket, rang: asyncio.Event) -> None:
    rang.set()
    try:
        while ear.recv(4096):
            pass
    except BlockingIOError:
        return
    except OSError:
        pass
    # The owner is gone: an ended bell would ring for ever.
    loop.remove_reader(ear)


class Doorbell:
    """The engine's own bell: doors poke it after they wrote, and listen to it for what happens in the queue."""

    def __init__(self, workspace: Workspace, poked: asyncio.Event) -> None:
        self._bell: bells.Bell | None = None
        self._poked = poked
        self._selector = selectors.DefaultSelector()
        path_file = workspace.engine("bell")
        bells.remove_dead(path_file)
        try:
            path = bells.new_path("engine")
            # The name first: whoever cleans up after us finds the socket by it.
            atomic.write_text(path_file, path)
            self._bell = bells.Bell.create(path)
        except OSError:
            # Without sockets the engine looks once a slice.
            return
        self._bell.register(self._selector)
        # A selector of the system is itself a descriptor that becomes readable.
        asyncio.get_running_loop().add_reader(self._selector.fileno(), self._serve)

    @property
    def works(self) -> bool:
        """Whether pokes come through."""
        return self._bell is not None

    def _serve(self) -> None:
        assert self._bell is not None
        for key, _events in self._selector.select(0):
            if self._bell.on_readable(key):
                self._poked.set()

    def ring(self) -> None:
        """Something happened in the queue."""
        if self._bell is not None:
            self._bell.ring()

    def close(self) -> None:
        """Listeners get the end of file."""
        if self._bell is not None:
            asyncio.get_running_loop().remove_reader(self._selector.fileno())
            self._bell.close()
        self._selector.close()
