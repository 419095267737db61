"""A clock that tests move by hand. It satisfies `core.clock.Clock`."""

from __future__ import annotations

from cc_orchestrator.core.clock import SystemClock


class FakeClock:
    """Wall time starts at `now`, monotonic time at `mono`; both in seconds."""

    def __init__(self, now: float = 1_767_225_600.0, mono: float = 1_000.0) -> None:
        self._now = now
        self._mono = mono

    def now(self) -> float:
        """Epoch seconds."""
        return self._now

    def mono(self) -> float:
        """Monotonic seconds."""
        return self._mono

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self._now += seconds
        self._mono += seconds

    def set_wall(self, now: float) -> None:
        """Somebody sets the wall clock; monotonic time does not notice."""
        self._now = now


class Shifted(SystemClock):
    """The machine's clock, so many seconds ahead: a caller who comes later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        """Epoch seconds."""
        return super().now() + self._seconds
