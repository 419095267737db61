"""The one seam for time. `now` is wall time for people and files; `mono` is for every limit, so a clock set back harms nothing."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time in seconds."""

    def now(self) -> float:
        """Epoch seconds; may jump."""
        ...

    def mono(self) -> float:
        """Monotonic seconds; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def mono(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()


def iso(epoch: float) -> str:
    """`2026-01-31T12:00:00.123Z`."""
    whole = int(epoch // 1)
    millis = int((epoch - whole) * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{millis:03d}Z"
