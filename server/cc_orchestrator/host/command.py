"""Runs one command for us, not for a worker: argv, never a shell; own session, deadline, the whole tree killed at each end.

Output goes into a log, masked before it is written and capped; its tail is kept for the answer. Standard library only.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.redact import Masker
from cc_orchestrator.core.text import clean, line, tail
from cc_orchestrator.host.process import Child, Exit, SpawnError, reap, spawn
from cc_orchestrator.host.tree import Tree

MAX_LOG_BYTES = 4_000_000
TAIL_BYTES = 1_500
KILL_SECONDS = 5.0
_DRAIN_SECONDS = 1.0
_SLICE = 0.25

Outcome = Literal["exited", "timeout", "not_found", "not_started"]


class Command(NamedTuple):
    """`shown` is the text as given, masked; `argv` what is started."""

    shown: str
    argv: tuple[str, ...]


class Ran(NamedTuple):
    """How one command went. `seconds` of the clock; `leftovers` processes that it left and that were killed; `tail` is masked."""

    command: str
    outcome: Outcome
    exit: int | None
    signal: int | None
    seconds: float
    leftovers: int
    output_bytes: int
    tail: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Without the fields that say nothing."""
        return {key: value for key, value in self._asdict().items() if value not in (None, "", 0) or key == "exit"}


class _Log:
    """A capped file and the tail of what went by."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._room = MAX_LOG_BYTES
        self.size = 0
        self.end = bytearray()

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self.end += data
        if len(self.end) > 16 * TAIL_BYTES:
            del self.end[: -4 * TAIL_BYTES]
        kept = data[: self._room]
        self._room -= len(kept)
        self._put(kept)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def close(self) -> None:
        left_out = self.size - MAX_LOG_BYTES
        if left_out > 0:
            self._put(f"\n[{left_out} bytes left out; the end follows]\n".encode() + bytes(self.end[-4 * TAIL_BYTES :]))
        os.close(self._fd)

    def tail(self) -> str:
        """The last words, safe to show."""
        return tail(clean(bytes(self.end[-4 * TAIL_BYTES :]).decode("utf-8", "replace")).strip(), TAIL_BYTES)


class _Stream:
    """One pipe of the command: bytes in, masked lines into the log."""

    def __init__(self, fd: int, log: _Log, known: Sequence[bytes]) -> None:
        self.fd = fd
        self._log = log
        self._masker = Masker(known)

    def take(self) -> bool:
        """Read what is there; False at the end of the pipe."""
        try:
            data = os.read(self.fd, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        for piece in self._masker.feed(data) if data else self._masker.flush():
            self._log.write(piece.masked + b"\n")
        return bool(data)


def run_command(
    command: Command, *, cwd: str, env: Mapping[str, str], seconds: float, log_path: str, tree: Tree, clock: Clock,
    stop: Callable[[], bool] | None = None, wrapped: bool = False, known: Sequence[bytes] = (),
) -> Ran:  # fmt: skip
    """Run one command to its end, its deadline (`seconds`) or until `stop` says so; nothing of it lives on. Raises OSError (the log).

    `known`: secrets of its environment, masked in the log. `wrapped`: what is started is a sandbox, and the command is below it.
    """
    begun = clock.mono()
    try:
        child = spawn(command.argv, env=env, cwd=cwd, stdin="null")
    except SpawnError as error:
        outcome = "not_found" if error.missing else "not_started"
        return Ran(command.shown, outcome, None, None, 0.0, 0, 0, "", line(str(error), 200))
    tree.adopt(child, wrapped=wrapped)
    log = _Log(log_path)
    streams = [_Stream(child.stdout, log, known), _Stream(child.stderr, log, known)]
    try:
        end = _pump(child, streams, begun + seconds, tree, clock, stop)
        alive = end is None
        took = clock.mono() - begun
        killed = tree.kill(KILL_SECONDS)
        _drain(streams, clock.mono() + _DRAIN_SECONDS, clock)
        end = end or reap(child) or Exit(None, 9)
    finally:
        tree.kill(KILL_SECONDS)
        log.close()
        for fd in (child.stdout, child.stderr, child.exit_fd):
            if fd is not None:
                os.close(fd)
    leftovers = max(0, killed - 1) if alive else killed
    detail = f"killed after {round(min(took, seconds), 1):g} s" if alive else ""
    outcome = "timeout" if alive else "exited"
    return Ran(
        command.shown, outcome, end.code, end.signal, round(took, 2), leftovers, log.size, log.tail(), detail
    )  # fmt: skip


def _pump(
    child: Child, streams: list[_Stream], deadline: float, tree: Tree, clock: Clock, stop: Callable[[], bool] | None
) -> Exit | None:  # fmt: skip
    """Read until the command's own process ends; None when its deadline or a stop came first."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.fd, selectors.EVENT_READ, stream)
        if child.exit_fd is not None:
            selector.register(child.exit_fd, selectors.EVENT_READ, None)
        while True:
            end = reap(child)
            if end is not None:
                return end
            left = deadline - clock.mono()
            if left <= 0 or (stop is not None and stop()):
                return None
            for key, _events in selector.select(min(left, _SLICE)):
                if isinstance(key.data, _Stream) and not key.data.take():
                    selector.unregister(key.fd)
            tree.sample()
            tree.reap_orphans()


def _drain(streams: list[_Stream], deadline: float, clock: Clock) -> None:
    """What is left in the pipes once everybody who could write is gone."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream.fd, selectors.EVENT_READ, stream)
        while selector.get_map() and clock.mono() < deadline:
            for key, _events in selector.select(_SLICE):
                if not key.data.take():
                    selector.unregister(key.fd)
