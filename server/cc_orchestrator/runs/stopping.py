"""The ladder by which a worker is ended: conclude → interrupt → terminate → kill. Pure: monotonic time in, steps out."""

from __future__ import annotations

from cc_orchestrator.runs.outcome import Stop

STEPS = ("conclude", "interrupt", "terminate", "kill")
#: Seconds that a worker has to come to an end by itself after it was asked to conclude.
CONCLUDE_SECONDS = 30.0


class Ladder:
    """One descent. Each rung is given its time once; the last one has no end but the kernel's."""

    def __init__(self, stop: Stop, now: float, *, first: str, grace: float) -> None:
        self.stop = stop
        self.step = ""
        self._next = first
        self._grace = grace
        self._due = now

    @property
    def due(self) -> float | None:
        """Monotonic time of the next step, None after the last."""
        return self._due if self._next else None

    @property
    def hard(self) -> bool:
        """Whether the worker has been asked to stop, not just to conclude."""
        return self.step not in ("", "conclude")

    def advance(self, now: float) -> str | None:
        """The step to take now, if one is due."""
        if not self._next or now < self._due:
            return None
        self.step = self._next
        after = STEPS.index(self.step) + 1
        self._next = STEPS[after] if after < len(STEPS) else ""
        self._due = now + (CONCLUDE_SECONDS if self.step == "conclude" else self._grace)
        return self.step

    def escalate(self, stop: Stop, step: str) -> None:
        """Go on from `step` at once, if that is further down; the first hard reason stays the reason."""
        if not self.hard:
            self.stop = stop
        if self._next and STEPS.index(step) >= STEPS.index(self._next):
            self._next, self._due = step, 0.0
        elif self._next and step == self._next:
            self._due = 0.0
