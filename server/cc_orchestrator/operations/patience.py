"""How long one call may sleep before its client gives up: learned, because no client says it.

A wait begins with 45 s, which every known client bears. Where a client is known to bear more, each wait that came back with
nothing makes the next one longer: fewer answers to read. A client that gave up is not made to sleep that long again. A door
keeps this in memory and begins anew after its start.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

FIRST_SECONDS = 45.0
#: Seconds that a client bears, by the name that it gives over MCP. Claude Code: no limit in effect; Codex: 300 s.
BORNE: dict[str, float] = {"claude-code": 280.0, "codex-mcp-client": 240.0}
GROWTH = 2.0
#: A call that was given up sooner was rather a person's doing than a limit; and no wait is made shorter than this.
LEAST_SECONDS = 20.0
_SHARE = 0.8


class Patience:
    """What this door has learned of its clients. Safe for many threads."""

    def __init__(self, first: float = FIRST_SECONDS, borne: Mapping[str, float] = BORNE) -> None:
        self._first = first
        self._borne = dict(borne)
        self._next: dict[str, float] = {}
        self._guard = threading.Lock()

    def seconds(self, client: str) -> float:
        """How long this client's next wait may sleep."""
        with self._guard:
            return min(self._next.get(client, self._first), self._borne.get(client, self._first))

    def came_back_empty(self, client: str, slept: float) -> None:
        """A wait slept through its time and nothing happened."""
        with self._guard:
            self._next[client] = max(slept * GROWTH, self._next.get(client, self._first))

    def gave_up(self, client: str, slept: float) -> None:
        """The client ended its call after `slept` seconds."""
        if slept < LEAST_SECONDS:
            return
        with self._guard:
            self._borne[client] = max(LEAST_SECONDS, slept * _SHARE)
