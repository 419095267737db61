"""Ending a live worker: whoever wants it ended says so here, and one ladder takes the steps. The thin half of `stopping.py`."""

from __future__ import annotations

from collections.abc import Callable

from cc_orchestrator.adapters.base import Effect
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.recorder import Recorder
from cc_orchestrator.runs.stopping import Ladder
from cc_orchestrator.runs.worker import Worker

#: How long a worker may linger, doing nothing, after its result and the end of its input.
LINGER_SECONDS = 20.0


class Descent:
    """The way down of one worker. `do` carries out what its session wants done; `grace` is seconds for each step."""

    def __init__(
        self, worker: Worker, recorder: Recorder, clock: Clock, grace: float, do: Callable[[list[Effect]], None]
    ) -> None:
        self._worker = worker
        self._recorder = recorder
        self._clock = clock
        self._grace = grace
        self._do = do
        self._ladder: Ladder | None = None
        self._results = 0
        self.lingered = False

    @property
    def begun(self) -> bool:
        """Whether somebody wants it ended."""
        return self._ladder is not None

    @property
    def hard(self) -> bool:
        """Whether the worker has been asked to stop, not just to conclude."""
        return self._ladder is not None and self._ladder.hard

    @property
    def due(self) -> float | None:
        """Monotonic time of the next step."""
        return None if self._ladder is None else self._ladder.due

    def stop(self, stop: Stop, step: str) -> None:
        """End it, from `step` on; what is under way is only ever hastened."""
        if self._ladder is None:
            self._results = self._recorder.state["results"]
            self._ladder = Ladder(stop, self._clock.mono(), first=step, grace=self._grace)
        elif not self._ladder.hard or step == "kill":
            self._ladder.escalate(stop, step)

    def conclude(self, stop: Stop) -> None:
        """Ask the worker to end. The wall clock's request is only a courtesy: its own end comes later by itself."""
        if stop.reason == "timeout":
            self._do(self._worker.session.conclude(stop.detail))
        elif self._ladder is None:
            self._ladder = Ladder(stop, self._clock.mono(), first="conclude", grace=self._grace)

    def shoo(self, now: float) -> None:
        """A worker that gave its result and was told that nothing more comes has to go."""
        self.lingered = True
        self._recorder.record(
            [Fact(ev.SYSTEM_NOTICE, {"code": "lingering", "text": "gave its result and did not exit; ended by us"})]
        )
        self._ladder = Ladder(Stop("completed", "supervisor"), now, first="terminate", grace=self._grace)

    def advance(self, now: float) -> None:
        """Take the step that is due, if one is."""
        if self._ladder is None:
            return
        step = self._ladder.advance(now)
        if step is not None:
            self._take(self._ladder, step)

    def _take(self, ladder: Ladder, step: str) -> None:
        stop = ladder.stop
        self._recorder.record(
            [Fact(ev.RUN_STOPPING, {"reason": stop.reason, "step": step, "by": stop.by, "detail": stop.detail})]
        )
        session = self._worker.session
        if step == "conclude":
            effects = session.conclude(stop.detail)
            if effects:
                self._do(effects)
            else:
                ladder.escalate(stop, "interrupt")
        elif step == "interrupt":
            effects = session.interrupt()
            self._do(effects)
            if not effects:
                self._worker.signal("INT")
            if not effects or not self._worker.adapter.capabilities.settles:
                self._worker.feed.finish()
        elif step == "terminate":
            self._worker.signal("TERM")
        else:
            self._worker.kill_everything()

    @property
    def heeded(self) -> bool:
        """Whether a worker that was given up for its silence gave a real result after all: what comes late is not thrown away."""
        state = self._recorder.state
        late = self._ladder is not None and self._ladder.stop.reason == "silence" and state["results"] > self._results
        return late and state["claims_done"]

    def final_stop(self) -> Stop | None:
        """A ladder that never took a step, or only shooed a lingerer away, leaves the end to what the worker said."""
        if self._ladder is None or self.lingered or self._ladder.step == "":
            return None
        if self.heeded:
            self._recorder.record(
                [
                    Fact(
                        ev.SYSTEM_NOTICE,
                        {
                            "code": "late_result",
                            "text": "it was given up for its silence and gave its result after all",
                        },
                    )
                ]
            )
            return None
        return self._ladder.stop
