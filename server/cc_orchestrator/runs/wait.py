"""Sleeps until any or all of some runs (or jobs) are worth looking at. Woken by their bells, never by a loop over files.

Thread-friendly and bounded: it looks up every `SLICE_SECONDS` to see whether the caller has gone away, and for what only time
brings (a stall; an owner that died without a bell).
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.host import bell as bells
from cc_orchestrator.runs.liveness import judge
from cc_orchestrator.runs.reading import Reading, read_run
from cc_orchestrator.store.journal import read_page
from cc_orchestrator.store.rundir import RunDir

Wake = Literal["finished", "question", "attention", "budget", "stalled", "progress"]
SLICE_SECONDS = 0.5
_PROGRESS = frozenset({ev.RUN_MESSAGE, ev.TOOL_FINISHED, ev.RUN_RESULT, ev.RUN_TURN})


class Look(NamedTuple):
    """What a look found: status and reason now, and which predicate woke, if one did."""

    status: str
    reason: str | None
    woke: str | None


class Watched(Protocol):
    """Something with an id, a bell and a state."""

    id: str
    bell_path: str

    def look(self, now: float) -> Look:
        """Read what is new and say whether it is worth waking for. `now` is epoch seconds."""
        ...


class WatchedRun:
    """One run. Events before the wait began do not wake, open questions do."""

    def __init__(self, run: RunDir, wake: frozenset[str]) -> None:
        self.id = run.run_id
        self.bell_path = run.bell
        self._run = run
        self._wake = wake
        self.reading: Reading = read_run(run)
        self._seen = self.reading.cursor
        self._notable: str | None = None

    def look(self, now: float) -> Look:
        """The run now."""
        self._read_news()
        self.reading = read_run(self._run, self.reading)
        state = self.reading.state
        return Look(state["status"], state["reason"], self._why(now))

    def _read_news(self) -> None:
        page = read_page(self._run.journal, self._seen, 1 << 22)
        self._seen = page.cursor
        for event in page.events:
            kind = event["type"]
            if "budget" in self._wake and kind == ev.RUN_LIMIT:
                self._notable = "budget"
            elif "attention" in self._wake and (kind in (ev.RUN_LIMIT, ev.RUN_RETRYING) or _alarms(event)):
                self._notable = "attention"
            elif "progress" in self._wake and kind in _PROGRESS:
                self._notable = "progress"

    def _why(self, now: float) -> str | None:
        state = self.reading.state
        if state["status"] in ENDS:
            return "finished"
        asked = any(entry.get("decision") is None for entry in state["questions"].values())
        if asked and ("question" in self._wake or "attention" in self._wake):
            return "question"
        if "stalled" in self._wake and self._stalls(now):
            return "stalled"
        return self._notable

    def _stalls(self, now: float) -> bool:
        """It does not get on, and nothing of it is seen to move."""
        found = judge(self.reading.state, now)
        return found.liveness == "suspected_stall" or found.code in ("no_news", "prompt")


def _alarms(event: dict[str, Any]) -> bool:
    """The supervisor says that a run is stuck, or asks where nobody can answer."""
    return event["type"] == ev.RUN_LIVENESS and event["data"].get("liveness") in ("suspected_stall", "waiting")


@runtime_checkable
class Rouses(Protocol):
    """A `cancelled` that also wakes a sleeping wait."""

    def listening(self) -> AbstractContextManager[socket.socket]:
        """A socket that becomes readable when it turns true."""
        ...


class Woken(NamedTuple):
    """`(watched, look)` of those that woke, and of those that did not."""

    woke: list[tuple[Watched, Look]]
    pending: list[tuple[Watched, Look]]


def wait_for(
    watched: list[Watched], until: str, timeout: float, clock: Clock, *, cancelled: Callable[[], bool],
    progress: Callable[[float, float | None, str], None],
) -> Woken:  # fmt: skip
    """Return when one (`any`) or all of them woke, at the timeout, or when the caller is gone."""
    begun = clock.mono()
    deadline = begun + timeout
    selector = selectors.DefaultSelector()
    ears: dict[str, socket.socket] = {}
    looked = begun
    stack = ExitStack()
    try:
        rouser: object = cancelled
        if isinstance(rouser, Rouses):
            selector.register(stack.enter_context(rouser.listening()), selectors.EVENT_READ, None)
        for item in watched:
            # The bell first, the look after it: nothing can slip between.
            _attach(selector, ears, item)
        looks = {item.id: item.look(clock.now()) for item in watched}
        while not _enough(looks, until) and not cancelled():
            now = clock.mono()
            if now >= deadline:
                break
            ready = selector.select(min(deadline - now, SLICE_SECONDS))
            for key, _events in ready:
                if key.data is not None:
                    _hear(key, looks, selector, ears, clock.now())
            # A chatty run must not keep the others, nor what only time brings, from being looked at.
            if not ready or clock.mono() - looked >= SLICE_SECONDS:
                looked = clock.mono()
                progress(looked - begun, timeout, f"{sum(look.woke is None for look in looks.values())} still going")
                _look_around(watched, looks, selector, ears, clock.now())
    finally:
        for ear in ears.values():
            ear.close()
        selector.close()
        stack.close()
    rows = [(item, looks[item.id]) for item in watched]
    return Woken([row for row in rows if row[1].woke], [row for row in rows if not row[1].woke])


def _hear(
    key: selectors.SelectorKey,
    looks: dict[str, Look],
    selector: selectors.BaseSelector,
    ears: dict[str, socket.socket],
    now: float,
) -> None:
    """A bell rang, or ended: its owner is done or dead."""
    item: Any = key.data
    if not _drain(key.fileobj):
        _detach(selector, ears, item)
    looks[item.id] = item.look(now)


def _look_around(
    watched: list[Watched],
    looks: dict[str, Look],
    selector: selectors.BaseSelector,
    ears: dict[str, socket.socket],
    now: float,
) -> None:
    """Once a slice: what only time brings (a stall, a death without a bell)."""
    for item in watched:
        if looks[item.id].woke is None:
            looks[item.id] = item.look(now)
            if item.id not in ears:
                _attach(selector, ears, item)


def _enough(looks: dict[str, Look], until: str) -> bool:
    hits = [look.woke is not None for look in looks.values()]
    return all(hits) if until == "all" else any(hits)


def _attach(selector: selectors.BaseSelector, ears: dict[str, socket.socket], item: Watched) -> None:
    ear = bells.listen_named(item.bell_path)
    if ear is not None:
        ear.setblocking(False)
        ears[item.id] = ear
        selector.register(ear, selectors.EVENT_READ, item)


def _detach(selector: selectors.BaseSelector, ears: dict[str, socket.socket], item: Watched) -> None:
    ear = ears.pop(item.id)
    selector.unregister(ear)
    ear.close()


def _drain(ear: Any) -> bool:
    """Take all rings; False at the end of the bell: its owner ended or died."""
    try:
        while True:
            if not ear.recv(4096):
                return False
    except BlockingIOError:
        return True
    except OSError:
        return False
