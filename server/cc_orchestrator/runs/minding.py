"""Keeps an eye on one live worker: tells when the judgement over it changes, and does what is due about a stall.

The thin half of `tracker.py` and `coaxing.py`. Costs one sample of `/proc` a second at most, one in five seconds while it acts.
"""

from __future__ import annotations

from collections.abc import Callable

from cc_orchestrator.adapters.base import Effect, Send
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.host.vitals import Sample, take_sample
from cc_orchestrator.runs.coaxing import Coaxing
from cc_orchestrator.runs.descent import Descent
from cc_orchestrator.runs.liveness import Judgement
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.recorder import Recorder
from cc_orchestrator.runs.spec import Limits, RunSpec
from cc_orchestrator.runs.tracker import Tracker
from cc_orchestrator.runs.worker import Worker


class Minder:
    """One worker under watch. `do` carries out what its session wants done."""

    def __init__(
        self, worker: Worker, recorder: Recorder, clock: Clock, spec: RunSpec, descent: Descent,
        do: Callable[[list[Effect]], None],
    ) -> None:  # fmt: skip
        self._worker = worker
        self._recorder = recorder
        self._clock = clock
        self._descent = descent
        self._do = do
        silence = spec.limits.silence_seconds
        self.tracker = Tracker(clock.mono(), silence)
        self._coaxing = Coaxing(spec.limits.on_stall, silence, steers=worker.adapter.capabilities.steer)

    def bound(self, limits: Limits) -> Limits:
        """The run's limits, with the time that coaxing takes."""
        if limits.silence_seconds is None:
            return limits
        return limits._replace(silence_seconds=limits.silence_seconds + self._coaxing.grace)

    def hear(self, data: bytes, found: list[Effect], *, is_error: bool) -> None:
        """A line came, and what its adapter made of it."""
        self.tracker.hear(data, found, self._clock.mono(), self._clock.now(), is_error=is_error)

    def look(self, now: float) -> None:
        """Once a second: judge, tell what is new, do what is due."""
        tracker = self.tracker
        if not tracker.due(now):
            return
        found = tracker.look(
            self._recorder.state,
            now,
            self._clock.now(),
            self._sample,
            closed=not self._worker.out.open,
            asks=self._worker.err.unfinished(),
        )
        # On its way down nothing is new about it.
        news = None if self._descent.hard else tracker.news(found)
        if news is not None:
            self._recorder.record([news])
        if not self._descent.begun:
            self._mind_stall(found, now)

    def _sample(self, network: bool) -> Sample:
        return take_sample(self._worker.tree.members(), network=network)

    def _mind_stall(self, found: Judgement, now: float) -> None:
        """Coax a worker that is stalled; give up one that only waiting does not help."""
        step = self._coaxing.step(found, now)
        if step == "nudge":
            effects = self._worker.session.instruct(self._coaxing.text(found), f"nudge-{self._coaxing.nudges}")
            if any(isinstance(effect, Send) for effect in effects):
                self._do(effects)
        elif step == "give_up":
            self._descent.stop(Stop("silence", "stall", found.why), "interrupt")
