"""What handlers receive: where the caller is, its environment, time, and whether it has gone away."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.host.ancestry import run_above
from cc_orchestrator.host.tree import MARKER
from cc_orchestrator.operations.patience import Patience


class Cancellation:
    """Set once, from any thread; wakes every wait that listens, so that a sleeping one ends at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._set = False
        self._listeners: list[socket.socket] = []

    def __call__(self) -> bool:
        return self._set

    def set(self) -> None:
        """The caller is gone."""
        with self._guard:
            self._set = True
            for end in self._listeners:
                end.send(b"\n")

    @contextmanager
    def listening(self) -> Generator[socket.socket, None, None]:
        """A socket that becomes readable once it is set; closed at the end of the block."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            with self._guard:
                self._listeners.append(ours)
                if self._set:
                    ours.send(b"\n")
            try:
                yield theirs
            finally:
                with self._guard:
                    self._listeners.remove(ours)


def _ignore(_done: float, _total: float | None, _message: str) -> None:
    return None


@dataclass(frozen=True)
class Context:
    """One call's surroundings. `progress` and `cancelled` come from the surface; handlers run in a worker thread.

    `worker` is the run whose worker started this process, found by its ancestors; `worker_run_id` also heeds the environment.
    `client` is the name that an MCP client gives; `patience` is what this door has learned of how long it waits.
    """

    cwd: str
    env: Mapping[str, str]
    channel: str = "cli"
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[float, float | None, str], None] = _ignore
    cancelled: Cancellation = field(default_factory=Cancellation)
    worker: str | None = None
    client: str = ""
    patience: Patience = field(default_factory=Patience)

    @property
    def worker_run_id(self) -> str | None:
        """The run whose worker is calling, if one is."""
        return self.env.get(MARKER) or self.worker

    def through(self, channel: str) -> Context:
        """The same caller, heard through another channel."""
        return replace(self, channel=channel)

    @classmethod
    def here(cls, channel: str) -> Context:
        """The context of this process."""
        return cls(cwd=os.getcwd(), env=dict(os.environ), channel=channel, worker=run_above(MARKER))
