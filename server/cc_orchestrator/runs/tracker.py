"""All that a supervisor remembers of a worker's signs of life, and the judgement over it, once a second. Pure: times, lines, facts
and samples come in; the words are `liveness.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cc_orchestrator.adapters.base import Effect
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from cc_orchestrator.host.vitals import Sample
from cc_orchestrator.runs.fold import State, part
from cc_orchestrator.runs.liveness import Judgement, judge
from cc_orchestrator.runs.pulse import Pulse
from cc_orchestrator.runs.stirring import ACTS, Stirring, find_prompt

#: Seconds between judgements, and between looks at pieces of one message.
LOOK_SECONDS, LINE_SECONDS = 1.0, 0.25
_MOST_TOOLS = 100


class Tracker:
    """One worker. Times are monotonic seconds unless they are called wall. `silence`: as in `Limits`."""

    def __init__(self, now: float, silence: float | None) -> None:
        self._silence_limit = silence
        self._pulse = Pulse(now)
        self._stirring = Stirring()
        self._tools: dict[str, dict[str, Any]] = {}
        self._looked = now - LOOK_SECONDS
        self._lined = now
        self._last: Judgement | None = None
        self._told: tuple[str, str] | None = None
        self._refused: float | None = None
        self._resumed = False
        #: Seconds without any sign of life and without anything that it waits for, at the last look.
        self.silent = 0.0

    # ------------------------------------------------------------ what came

    def hear(self, data: bytes, found: list[Effect], now: float, wall: float, *, is_error: bool = False) -> None:
        """A line came, and what its adapter made of it."""
        self._pulse.talk(len(data) + 1)
        if found:
            for effect in found:
                self._weigh(effect, data, now, wall)
        elif not self._pulse.streaming or now - self._lined >= LINE_SECONDS:
            # One of many pieces is enough.
            self._lined = now
            sign = self._stirring.judge(data)
            if sign == "piece":
                self._pulse.stir(now)
            elif sign == "news":
                self._pulse.act(now)
        if is_error or any(isinstance(effect, Fact) and effect.type == ev.SYSTEM_UNPARSED for effect in found):
            self._mind_prompt(data)

    def _mind_prompt(self, data: bytes) -> None:
        prompt = find_prompt(data.decode("utf-8", "replace")) if data else ""
        if prompt:
            self._pulse.prompt = prompt

    def _weigh(self, effect: Effect, data: bytes, now: float, wall: float) -> None:
        if not isinstance(effect, Fact):
            self._pulse.act(now)
        elif effect.type == ev.RUN_INSTRUCTED and not effect.data.get("delivered"):
            # Its CLI took a message; that is no doing of the worker.
            return
        elif effect.type in ACTS:
            self._pulse.act(now)
            self._mind_tool(effect, wall)
        elif effect.type == ev.RUN_RETRYING:
            self._pulse.hold(now)
            self._refused = now
        elif self._stirring.is_news(data):
            self._pulse.act(now)

    def feel(self, size: int, now: float) -> None:
        """A part of a line that is too long came."""
        self._pulse.talk(size)
        self._pulse.act(now)

    def touch(self, now: float) -> None:
        """It got an answer: the next word is its own."""
        self._pulse.act(now)

    def _mind_tool(self, fact: Fact, wall: float) -> None:
        """Calls in flight, also of a run that records none."""
        call = str(fact.data.get("id"))
        if fact.type == ev.TOOL_STARTED and len(self._tools) < _MOST_TOOLS:
            self._tools[call] = {**fact.data, "ts": wall}
            if fact.data.get("kind") == "command":
                self._pulse.begin_command()
        elif fact.type == ev.TOOL_FINISHED:
            self._tools.pop(call, None)
            if not self._in_command:
                self._pulse.end_command()

    @property
    def _in_command(self) -> bool:
        return any(tool.get("kind") == "command" for tool in self._tools.values())

    # ------------------------------------------------------------ what it comes to

    def due(self, now: float) -> bool:
        """Whether it is time to look."""
        return now - self._looked >= LOOK_SECONDS

    def unheard(self, now: float) -> float:
        """Seconds since the stream said anything that is life."""
        return now - self._pulse.life

    def look(
        self,
        state: State,
        now: float,
        wall: float,
        sample: Callable[[bool], Sample],
        *,
        closed: bool,
        asks: bytes = b"",
    ) -> Judgement:
        """Sample where it is due, and judge. `sample(network)` takes one; `closed`: its stdout has ended; `asks`: a line on stderr that
        has not."""
        self._looked = now
        if closed and self._pulse.closed is None:
            self._pulse.closed = now
        self._mind_prompt(asks)
        silence, pulse = self._silence_limit, self._pulse
        # Nobody is given up on what was seen a while ago.
        doubted = silence is not None and self._measure(state, now, wall) >= silence
        if doubted or pulse.due(now, command=self._in_command):
            pulse.take(sample(pulse.wants_wire(now, silence)), now)
        self.silent = self._measure(state, now, wall)
        seen = {**state, "open_tools": self._tools}
        self._resumed = bool(state["retrying"] and pulse.streaming and pulse.life > (self._refused or now))
        if self._resumed:
            # Pieces of an answer come, which no journal holds: the service serves again.
            seen["retrying"] = None
            if part(state, "waiting").get("kind") == "rate_limit":
                seen.update(status="running", waiting=None)
        self._last = judge(seen, wall, pulse.vitals(now), silence)
        return self._last

    def news(self, found: Judgement) -> Fact | None:
        """What the journal should hold of a judgement: a doubt that begins, changes its reason or ends. All else the fold knows."""
        key = (found.liveness, found.code) if found.code else None
        if key == self._told and not self._resumed:
            return None
        was, self._told = self._told, key
        before = was[0] if was else "retrying" if self._resumed else None
        data: dict[str, Any] = {
            "liveness": found.liveness, "was": before, "code": found.code or None, "why": found.why or None,
            "since": found.since if key else None, "evidence": found.evidence if key else None,
        }  # fmt: skip
        return Fact(ev.RUN_LIVENESS, {name: value for name, value in data.items() if value is not None})

    def _measure(self, state: State, now: float, wall: float) -> float:
        """An open question, a retry that is due later and a tool at work are no silence; a command whose process is gone is."""
        until = part(state, "retrying").get("until")
        asks = any(entry.get("decision") is None for entry in state["questions"].values())
        at_work = self._tools and (self._last is None or self._last.code != "tool_gone")
        if asks or at_work or (until or 0) > wall:
            self._pulse.hold(now)
        return self._pulse.silent(now)
