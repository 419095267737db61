"""Plays what happened to a worker over time through today's adapter, fold, tracker and limits, with a clock that nobody waits for.

A case is data: steps at times, what holds at some times, and when a stall began. Steps (one key each, several a step allowed):

    {"fact": [type, data]}          recorded as it is
    {"line": object | text}         one stdout line, through the adapter's session
    {"stderr": text}                one stderr line, through the session
    {"world": {cpu, io, net, ping, sockets, pids}}   from now on: share of a core, bytes a second, bytes every `ping` seconds, processes
    {"asks": text}                  the line on stderr that has not ended
    {"eof": true}                   stdout ends
    {"exit": code}                  the worker ends
    {"every": seconds, "until": t, "do": step}       that step again and again
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from cc_orchestrator.adapters.base import Effect, Session
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Ask
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.states import ENDS, status_of
from cc_orchestrator.host.vitals import Sample
from cc_orchestrator.runs.fold import apply, new_state
from cc_orchestrator.runs.limits import Measures, check_limits
from cc_orchestrator.runs.liveness import Judgement, judge
from cc_orchestrator.runs.spec import Limits
from cc_orchestrator.runs.tracker import Tracker
from kit.transcripts import request_in

EPOCH = 1_767_225_600.0
TICK = 1.0
Step = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One worker's life. `family` names the bound that its naming is held to; `onset` is when the true stall began.

    `expect`: time -> liveness (at the last look before it). `named`: the word (and code) that the stall must get. A case without
    `onset` is healthy: it must neither be ended nor be called a stall.
    """

    name: str
    family: str
    steps: list[tuple[float, Step]]
    end: float
    silence: float | None = 60.0
    adapter: str = "fake"
    onset: float | None = None
    named: tuple[str, str] = ("suspected_stall", "")
    expect: dict[float, str] = field(default_factory=dict[float, str])
    kills: bool = False


@dataclass
class Played:
    """`rows`: (time, judgement) at each look; `doors`: what a door said then; `killed`: when its silence would have ended it."""

    rows: list[tuple[float, Judgement]]
    doors: list[tuple[float, Judgement]]
    killed: float | None
    told: list[tuple[float, dict[str, Any]]]
    state: dict[str, Any]

    def at(self, time: float) -> str:
        """The word at the last look before a time."""
        return next(found.liveness for when, found in reversed(self.rows) if when <= time)

    def first(self, liveness: str, code: str = "", since: float = 0.0) -> float | None:
        """When it was first called that, from `since` on."""
        for when, found in self.rows:
            if when >= since and found.liveness == liveness and code in ("", found.code):
                return when
        return None


class World:
    """Counters of a tree that grow at set rates."""

    def __init__(self) -> None:
        self.rates: dict[str, float] = {"cpu": 0.0, "io": 0.0, "net": 0.0, "ping": 0.0, "sockets": 1}
        self.pids: tuple[int, ...] = (100,)
        self.cpu = self.io = self.net = 0.0
        self.piped = 0
        self._at = 0.0

    def advance(self, now: float) -> None:
        passed = now - self._at
        self.cpu += self.rates["cpu"] * passed
        self.io += self.rates["io"] * passed
        self.net += self.rates["net"] * passed
        ping = self.rates["ping"]
        if ping:
            self.net += 60 * (int(now / ping) - int(self._at / ping))
        self._at = now

    def change(self, given: dict[str, Any]) -> None:
        self.pids = tuple(given.get("pids", self.pids))
        self.rates.update({key: value for key, value in given.items() if key != "pids"})

    def sample(self, network: bool) -> Sample:
        sockets = int(self.rates["sockets"]) if network else None
        received = int(self.net) if network else None
        # What goes through a pipe is written by the worker as well.
        return Sample(
            self.pids, round(self.cpu, 2), int(self.io) + self.piped, sockets, received, 0 if network else None
        )


class Player:
    """One case, played."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.state = new_state()
        self.world = World()
        self.tracker = Tracker(0.0, case.silence)
        self.session: Session = find_adapter(case.adapter).session(request_in("/nowhere"))
        self.closed = False
        self.asks = b""
        self.now = 0.0
        self.played = Played([], [], None, [], self.state)
        self.session.begin()
        self.record([
            Fact(ev.RUN_CREATED, {"run_id": "run_x", "task_id": "task_x", "adapter": case.adapter}),
            Fact(ev.RUN_STARTED, {"pid": 100}),
        ])  # fmt: skip

    def play(self) -> Played:
        """All of it."""
        self.look()
        for time, step in _spread(self.case):
            self.run_to(time)
            self.do(step)
            if self.tracker.due(self.now):
                self.look()
        self.run_to(self.case.end)
        return self.played

    def run_to(self, time: float) -> None:
        """Looks come once a second, as in the supervisor's loop."""
        while self.now + TICK <= time:
            self.now = round(self.now + TICK - self.now % TICK, 6)
            self.look()
        self.now = time

    def look(self) -> None:
        """What the supervisor does at each look."""
        wall = EPOCH + self.now
        if self.state["status"] in ENDS:
            found = judge(self.state, wall)
            self.played.rows.append((self.now, found))
            return
        self.world.advance(self.now)
        found = self.tracker.look(self.state, self.now, wall, self.world.sample, closed=self.closed, asks=self.asks)
        news = self.tracker.news(found)
        if news is not None:
            self.record([news])
            self.played.told.append((self.now, news.data))
        self.played.rows.append((self.now, found))
        self.played.doors.append((self.now, judge(self.state, wall)))
        measures = Measures(0.0, self.tracker.silent, 0, 0, 0, None, None)
        limits = Limits(silence_seconds=self.case.silence)
        if self.played.killed is None and any(breach.level == "hard" for breach in check_limits(limits, measures)):
            self.played.killed = self.now

    def do(self, step: Step) -> None:
        """One step."""
        if "world" in step:
            self.world.advance(self.now)
            self.world.change(step["world"])
        if "fact" in step:
            fact = Fact(step["fact"][0], step["fact"][1])
            if fact.type == ev.QUESTION_ANSWERED:
                self.tracker.touch(self.now)
            self.take(json.dumps(fact.data).encode(), [fact])
        if "line" in step:
            given = step["line"]
            data = given.encode() if isinstance(given, str) else json.dumps(given, separators=(",", ":")).encode()
            self.take(data, self.session.on_line(data, data))
        if "stderr" in step:
            data = step["stderr"].encode()
            self.take(data, self.session.on_stderr(data), is_error=True)
        if "asks" in step:
            self.asks = step["asks"].encode()
        if "eof" in step:
            self.closed = True
        if "exit" in step:
            self.end(step["exit"])

    def take(self, data: bytes, effects: list[Effect], *, is_error: bool = False) -> None:
        """As `Watch` does: the tracker hears all, the journal gets the facts, questions are asked."""
        self.world.piped += len(data) + 1
        self.tracker.hear(data, effects, self.now, EPOCH + self.now, is_error=is_error)
        self.record([effect for effect in effects if isinstance(effect, Fact)])
        for number, ask in enumerate(effect for effect in effects if isinstance(effect, Ask)):
            if not ask.gate:
                asked = {"question_id": f"q_{self.state['seq']}_{number}", "kind": ask.kind, "text": ask.text}
                self.record([Fact(ev.QUESTION_ASKED, {**asked, "deadline": EPOCH + self.now + 300})])

    def end(self, code: int) -> None:
        """The exit, as the supervisor tells it."""
        ending = self.session.ending(code, None)
        self.record([Fact(ev.RUN_EXITED, {"exit": code, "leftovers": 0})])
        self.look()
        self.record([Fact(ev.RUN_FINISHED, {"status": status_of(ending.reason), "reason": ending.reason})])
        self.look()

    def record(self, facts: list[Fact]) -> None:
        """Into the fold."""
        for fact in facts:
            event = {"seq": self.state["seq"] + 1, "ts": EPOCH + self.now, "type": fact.type, "data": fact.data}
            apply(self.state, event)


def _spread(case: Case) -> list[tuple[float, Step]]:
    found: list[tuple[float, Step]] = []
    for time, step in case.steps:
        if "every" not in step:
            found.append((time, step))
            continue
        at = time
        while at <= step["until"]:
            found.append((at, step["do"]))
            at += step["every"]
    return sorted(found, key=lambda row: row[0])


def play(case: Case) -> Played:
    """One case, from its start to its end."""
    return Player(case).play()
