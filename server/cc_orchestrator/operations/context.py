"""What handlers receive: where the caller is, its environment, time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cc_orchestrator.core.clock import Clock, SystemClock


def _ignore(_done: float, _total: float | None, _message: str) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Context:
    """One call's surroundings. `progress` and `cancelled` come from the surface; handlers run in a worker thread.

    `worker_run_id` is set when the caller is itself a worker of ours (environment CC_RUN_ID).
    """

    cwd: str
    env: Mapping[str, str]
    channel: str = "cli"
    clock: Clock = field(default_factory=SystemClock)
    progress: Callable[[float, float | None, str], None] = _ignore
    cancelled: Callable[[], bool] = _never

    @property
    def worker_run_id(self) -> str | None:
        """The run whose worker is calling, if one is."""
        return self.env.get("CC_RUN_ID") or None

    @classmethod
    def here(cls, channel: str) -> Context:
        """The context of this process."""
        return cls(cwd=os.getcwd(), env=dict(os.environ), channel=channel)
