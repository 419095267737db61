"""The supervisor's loop over one live worker: pipes, control, questions, limits, the ladder down, the exit.

One selector, one thread; it wakes for bytes, for the bell, for the exit, and for the next deadline. All deciding is in pure
modules (limits, stopping, questions, outcome); this only does.
"""

from __future__ import annotations

import os
import selectors
import signal
from typing import Any

from cc_orchestrator.adapters.base import CloseInput, Effect, Ending, Send, Signal
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Ask
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.redact import Fragment, Line
from cc_orchestrator.host.bell import Bell
from cc_orchestrator.host.process import Exit
from cc_orchestrator.runs.control import ControlReader
from cc_orchestrator.runs.descent import LINGER_SECONDS, Descent
from cc_orchestrator.runs.limits import Breach, Measures, check_limits, used_tokens
from cc_orchestrator.runs.minding import Minder
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.pump import Pump
from cc_orchestrator.runs.questions import Questions, Reply
from cc_orchestrator.runs.recorder import Recorder
from cc_orchestrator.runs.ruling import Rulings
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.spending import Spending, warning
from cc_orchestrator.runs.worker import Worker
from cc_orchestrator.store.rundir import RunDir

TICK_SECONDS = 1.0
#: How long pipes may stay open after the whole tree is dead.
DRAIN_SECONDS = 2.0


class Watch:
    """One live worker from its start to its exit."""

    def __init__(
        self, run: RunDir, spec: RunSpec, worker: Worker, recorder: Recorder, clock: Clock,
        selector: selectors.BaseSelector, bell: Bell | None,
    ) -> None:  # fmt: skip
        self._spec = spec
        self._worker = worker
        self._recorder = recorder
        self._clock = clock
        self._selector = selector
        self._bell = bell
        self._control = ControlReader(run.control)
        self._questions = Questions(Rulings(spec, run.outbox, os.environ), spec.limits.question_seconds)
        self._descent = Descent(worker, recorder, clock, spec.limits.grace_seconds, self._do)
        self._spending = Spending(run, spec, clock)
        self._minder = Minder(worker, recorder, clock, spec, self._descent, self._do)
        self._limits = self._minder.bound(spec.limits)
        self._said: set[tuple[str, str]] = set()
        self._begun = clock.mono()
        self._output_bytes = 0
        if spec.limits.final_only:
            worker.out.keep = worker.err.keep = False
        self._closed_input = False
        self.exited: dict[str, Any] | None = None
        self.ending: Ending | None = None
        # Before the start is told: whoever reads of it may ask for the end.
        signal.signal(signal.SIGTERM, self._on_term)

    # ------------------------------------------------------------ the loop

    def run(self) -> Stop | None:
        """Watch until the worker is gone; why we ended it, if we did."""
        worker, selector = self._worker, self._selector
        for pump in (worker.out, worker.err):
            selector.register(pump.fd, selectors.EVENT_READ, pump)
        if worker.child.exit_fd is not None:
            selector.register(worker.child.exit_fd, selectors.EVENT_READ, "exit")
        if self._bell is not None:
            self._bell.register(selector)
        self._do(worker.session.begin())
        self._read_control()
        exit_status: Exit | None = None
        while exit_status is None:
            self._serve(self._timeout())
            self._tick()
            exit_status = worker.reap()
        self._after_exit(exit_status)
        return self._descent.final_stop()

    def _serve(self, timeout: float) -> None:
        for key, _events in self._selector.select(timeout):
            if isinstance(key.data, Pump):
                self._pump(key.data)
            elif key.data == "feed":
                self._worker.feed.flush()
                self._mind_feed()
            elif self._bell is not None and key.data != "exit" and self._bell.on_readable(key):
                self._read_control()

    def _timeout(self) -> float:
        now = self._clock.mono()
        wanted = [now + TICK_SECONDS, self._questions.due(), self._recorder.refresh_due(), self._descent.due]
        return max(0.0, min(due for due in wanted if due is not None) - now)

    def _tick(self) -> None:
        now = self._clock.mono()
        self._worker.tree.sample()
        self._worker.tree.reap_orphans()
        if self._bell is None:
            self._read_control()
        for reply in self._questions.expire(now):
            self._reply(reply)
        if self._recorder.disk_full:
            self._descent.stop(
                Stop("disk_full", "supervisor", "the disk is full: nothing more can be recorded"), "kill"
            )
        self._minder.look(now)
        self._mind_limits(now)
        self._mind_linger(now)
        # Not `now`: a ladder that began in this tick has its first step due after it.
        self._descent.advance(self._clock.mono())
        self._recorder.refresh()

    # ------------------------------------------------------------ bytes in, effects out

    def _pump(self, pump: Pump) -> None:
        pieces = pump.read()
        effects: list[Effect] = []
        for piece in pieces:
            effects += self._take(pump, piece)
        effects += [
            Fact(ev.ARTIFACT_MASKED, {"kind": kind, "count": count, "stream": pump.name})
            for kind, count in pump.masked_since().items()
        ]
        if not pump.open:
            self._selector.unregister(pump.fd)
        self._do(effects)

    def _take(self, pump: Pump, piece: Line | Fragment) -> list[Effect]:
        if isinstance(piece, Fragment):
            self._output_bytes += len(piece.masked)
            self._minder.tracker.feel(len(piece.masked), self._clock.mono())
            if not piece.last:
                return []
            return [Fact(ev.SYSTEM_OVERSIZED, {"stream": pump.name, "bytes": piece.total})]
        session = self._worker.session
        is_error = pump is self._worker.err
        found = session.on_stderr(piece.masked) if is_error else session.on_line(piece.masked, piece.original)
        self._minder.hear(piece.masked, found, is_error=is_error)
        if found:
            # Lines that say nothing (text deltas, status ticks) are kept, but do not count against the budget.
            self._output_bytes += len(piece.masked)
        return found

    def _do(self, effects: list[Effect]) -> None:
        facts: list[Fact] = []
        for effect in effects:
            if isinstance(effect, Fact):
                facts.append(effect)
            elif isinstance(effect, Send):
                self._worker.feed.send(effect.data)
            elif isinstance(effect, CloseInput):
                self._closed_input = True
                self._worker.feed.finish()
            elif isinstance(effect, Signal):
                self._worker.signal(effect.name)
            else:
                self._recorder.record(facts)
                facts = []
                # Before the answer lets it go on: the next request may be one too many.
                self._mind_limits(self._clock.mono())
                self._descent.advance(self._clock.mono())
                self._ask(effect)
        self._recorder.record(facts)
        self._mind_feed()

    def _ask(self, ask: Ask) -> None:
        facts, reply = self._questions.take(ask, now=self._clock.now(), mono=self._clock.mono())
        self._recorder.record(facts)
        if reply is not None:
            self._reply(reply)

    def _reply(self, reply: Reply) -> None:
        self._recorder.record(reply.facts)
        self._minder.tracker.touch(self._clock.mono())
        self._do(self._worker.session.answer(reply.key, reply.answer))

    def _mind_feed(self) -> None:
        """Keep stdin in the selector exactly while bytes wait for it."""
        feed = self._worker.feed
        known = next((fd for fd, key in self._selector.get_map().items() if key.data == "feed"), None)
        if feed.waiting and known is None and feed.fd is not None:
            self._selector.register(feed.fd, selectors.EVENT_WRITE, "feed")
        elif known is not None and not feed.waiting:
            self._selector.unregister(known)

    # ------------------------------------------------------------ control, limits, the way down

    def _on_term(self, _signal: int, _frame: object) -> None:
        self._descent.stop(Stop("user_requested", "signal", "the supervisor was asked to end by a signal"), "interrupt")

    def _read_control(self) -> None:
        for request in self._control.read():
            kind, control_id = request.get("kind"), str(request.get("id", ""))
            by = str(request.get("actor") or "controller")
            if kind == "stop":
                detail = str(request.get("reason") or "")
                self._descent.stop(Stop("user_requested", by, detail), "kill" if request.get("force") else "interrupt")
            elif kind == "instruct":
                self._do(self._worker.session.instruct(str(request.get("text", "")), control_id))
            elif kind == "answer":
                reply = self._questions.answer(
                    str(request.get("question_id")), str(request.get("decision")), by=by,
                    text=str(request.get("text") or ""), choices=request.get("choices") or {}, mono=self._clock.mono(),
                    channel=str(request.get("channel") or ""),
                )  # fmt: skip
                if reply is not None:
                    self._reply(reply)

    def _measures(self, now: float) -> Measures:
        state = self._recorder.state
        usage = state["usage"]
        return Measures(
            elapsed=now - self._begun, idle=self._minder.tracker.silent, output_bytes=self._output_bytes, events_bytes=self._recorder.size,
            turns=state["turns"], tokens=used_tokens(usage), cost_usd=usage.get("cost_usd"),
        )  # fmt: skip

    def _mind_limits(self, now: float) -> None:
        self._recorder.record(self._spending.price(self._recorder.state))
        measures = self._measures(now)
        for breach in (*check_limits(self._limits, measures), *self._spending.check(measures)):
            self._breach(breach)

    def _breach(self, breach: Breach) -> None:
        key = (breach.limit, breach.level)
        if key in self._said or self._descent.hard:
            return
        self._said.add(key)
        data = {
            "limit": breach.limit, "measured": round(breach.measured, 6), "allowed": breach.allowed,
            "level": "soft" if breach.level == "soft" else "hard", "action": breach.level,
        }  # fmt: skip
        detail = f"{breach.limit}: {round(breach.measured, 4)} of {breach.allowed}"
        if breach.level == "conclude" and breach.limit == "timeout_seconds":
            data["level"] = "soft"
        self._recorder.record([Fact(ev.RUN_LIMIT, data)])
        told = warning(breach)
        if told is not None and self._worker.adapter.capabilities.steer and not self._descent.begun:
            self._do(self._worker.session.instruct(told, f"budget-{breach.limit}"))
        if breach.level == "hard":
            self._descent.stop(Stop(breach.reason, "limit", detail), "interrupt")
        elif breach.level == "conclude":
            self._descent.conclude(Stop(breach.reason, "limit", detail))
        elif breach.level == "truncate":
            if breach.limit == "max_events_bytes":
                self._recorder.truncating = True
            else:
                self._worker.out.keep = self._worker.err.keep = False

    def _mind_linger(self, now: float) -> None:
        """A worker that gave its result and was told that nothing more comes has to go."""
        state = self._recorder.state
        done = self._closed_input and state["results"] and not self._descent.begun
        if done and self._minder.tracker.unheard(now) >= LINGER_SECONDS:
            self._descent.shoo(now)

    # ------------------------------------------------------------ the end

    def _after_exit(self, exit_status: Exit) -> None:
        worker = self._worker
        leftovers = worker.kill_everything()
        deadline = self._clock.mono() + DRAIN_SECONDS
        while (worker.out.open or worker.err.open) and self._clock.mono() < deadline:
            for key, _events in self._selector.select(deadline - self._clock.mono()):
                if isinstance(key.data, Pump):
                    self._pump(key.data)
        for pump in (worker.out, worker.err):
            if pump.open:
                self._selector.unregister(pump.fd)
        for question_id in list(self._questions.pending):
            reply = self._questions.answer(question_id, "deny", by="end of run")
            if reply is not None:
                self._recorder.record(reply.facts)
        self._recorder.record(self._spending.price(self._recorder.state))
        self._spending.close(self._measures(self._clock.mono()))
        self.exited = {
            "exit": exit_status.code,
            "signal": exit_status.signal,
            "leftovers": leftovers,
            **self._dropped(),
        }
        if self._descent.lingered or self._descent.heeded:
            exit_status = Exit(0, None)
        self.ending = worker.session.ending(exit_status.code, exit_status.signal)
        self._selector.close()

    def _dropped(self) -> dict[str, int]:
        """What a budget or `final_only` kept out of the files, where anything was."""
        counts = {
            "dropped_bytes": self._worker.out.dropped_bytes + self._worker.err.dropped_bytes,
            "dropped_events": self._recorder.dropped,
        }
        return {name: count for name, count in counts.items() if count}
