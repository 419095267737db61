"""The signs of life of one worker, as its supervisor sees them: what its stream said, and what its tree did. Pure, bounded.

Times are monotonic seconds. Only differences of samples count: above what an idle process does by itself (timers, a collector).
"""

from __future__ import annotations

import sys
from typing import Literal

from cc_orchestrator.host.vitals import Sample
from cc_orchestrator.runs.liveness import Vitals

#: Share of a core, and bytes a second, that are work and no noise.
BUSY_CPU, BUSY_BYTES = 0.05, 8_192
#: Bytes sent that are a request and no keep-alive.
SENT_BYTES = 1_000
#: Seconds between samples while something is in doubt, and otherwise. Without /proc each costs a look at the whole table.
CLOSE_LOOK, FAR_LOOK = (1.0, 5.0) if sys.platform == "linux" else (5.0, 15.0)
#: Idle seconds from which it is in doubt, and from which its connections are looked at.
DOUBT_SECONDS, WIRE_SECONDS = 2.0, 5.0


class Pulse:
    """Remembers the last sample and when there last was what."""

    def __init__(self, now: float) -> None:
        self.life = now  # the stream
        self.activity: float | None = None  # the tree
        self.prompt = ""
        self.closed: float | None = None
        self.streaming = False
        self._held = now
        self._heard: float | None = None
        self._last: Sample | None = None
        self._sampled = now
        self._cpu: float | None = None
        self._talk = 0
        self._before: frozenset[int] | None = None
        self._seen = False
        self._gone: float | None = None

    # ------------------------------------------------------------ the stream

    def act(self, now: float) -> None:
        """The worker did or said something of its own."""
        self.life, self.streaming, self.prompt = now, False, ""

    def stir(self, now: float) -> None:
        """A piece of a message that has not ended came."""
        self.life, self.streaming, self.prompt = now, True, ""

    def talk(self, size: int) -> None:
        """Bytes that came through its pipes: they are no work of its tree."""
        self._talk += size

    def hold(self, now: float) -> None:
        """It waits for somebody else: no silence of its own."""
        self._held = now

    def begin_command(self) -> None:
        """A command begins: processes that come from now on are its own."""
        self._before = frozenset(self._last.pids) if self._last is not None else None
        self._seen, self._gone = False, None

    def end_command(self) -> None:
        """No command is in flight."""
        self._before, self._seen, self._gone = None, False, None

    # ------------------------------------------------------------ the tree

    def interval(self, now: float, *, command: bool) -> float:
        """Seconds from one sample to the next."""
        return CLOSE_LOOK if command or now - self.life >= DOUBT_SECONDS else FAR_LOOK

    def due(self, now: float, *, command: bool) -> bool:
        """Whether it is time for a sample."""
        return self._last is None or now - self._sampled >= self.interval(now, command=command)

    def wants_wire(self, now: float, silence: float | None) -> bool:
        """Whether a sample should look at connections."""
        return now - self.life >= min(WIRE_SECONDS, silence if silence is not None else WIRE_SECONDS)

    def take(self, sample: Sample, now: float) -> None:
        """One more sample."""
        last, passed = self._last, now - self._sampled
        self._last, self._sampled = sample, now
        self._mind_command(sample, now)
        talk, self._talk = self._talk, 0
        if last is None or passed <= 0:
            return
        self._cpu = max(0.0, sample.cpu - last.cpu) / passed
        moved = 0 if sample.io is None or last.io is None else sample.io - last.io - talk
        heard = _grown(sample.received, last.received, sample.sockets, last.sockets)
        sent = _grown(sample.sent, last.sent, sample.sockets, last.sockets)
        if heard:
            self._heard = now
        busy = self._cpu >= BUSY_CPU or moved / passed >= BUSY_BYTES
        if busy or heard or sent >= SENT_BYTES or sample.pids != last.pids:
            self.activity = now

    def _mind_command(self, sample: Sample, now: float) -> None:
        if self._before is None:
            return
        alive = bool(set(sample.pids) - self._before)
        if alive:
            self._seen, self._gone = True, None
        elif self._seen and self._gone is None:
            self._gone = now

    # ------------------------------------------------------------ what it comes to

    def silent(self, now: float) -> float:
        """Seconds without any sign of life and without anything that it waits for."""
        return now - max(self.life, self._held, self.activity or 0.0)

    def vitals(self, now: float) -> Vitals:
        """What a judgement needs."""
        child: Literal["unknown", "alive", "gone"] = "unknown"
        if self._seen:
            child = "alive" if self._gone is None else "gone"
        return Vitals(
            idle=now - self.life,
            quiet=None if self._last is None else now - max(self.activity or 0.0, self.life),
            cpu=self._cpu,
            sockets=None if self._last is None else self._last.sockets,
            heard=None if self._heard is None else now - self._heard,
            streaming=self.streaming,
            closed=None if self.closed is None else now - self.closed,
            child=child,
            gone=None if self._gone is None else now - self._gone,
            prompt=self.prompt,
        )


def _grown(new: int | None, old: int | None, sockets: int | None, before: int | None) -> int:
    """By how much a sum over connections grew. A connection that closed takes its bytes along: then nothing is known."""
    if new is None or old is None or sockets is None or before is None:
        return 0
    return max(0, new - old)
