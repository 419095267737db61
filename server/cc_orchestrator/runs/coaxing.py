"""What is done about a stalled worker before it is given up: pure. nudge → interrupt → a follow-up, as far as the run's setting goes.

`report`: named, and ended when its silence is over. `nudge`: told first that it is silent, once for each stall, and given time to
answer. `recover`: also given up when it is stuck in a way that waiting does not mend, and gone on with by a run in its conversation.
"""

from __future__ import annotations

from typing import Literal

from cc_orchestrator.runs.liveness import STUCK, Judgement

OnStall = Literal["report", "nudge", "recover"]
Step = Literal["", "nudge", "give_up"]
#: Seconds that a worker has to answer, at most; and nudges in one run.
ANSWER_SECONDS, MOST_NUDGES = 30.0, 3


class Coaxing:
    """One run. `steers`: the CLI takes instructions while it works."""

    def __init__(self, on_stall: OnStall, silence: float | None, *, steers: bool) -> None:
        self._on_stall = on_stall
        self._nudged: float | None = None
        self._since: float | None = None
        self.nudges = 0
        can = on_stall != "report" and steers
        #: Seconds that are given for an answer.
        self.grace = (ANSWER_SECONDS if silence is None else min(ANSWER_SECONDS, silence)) if can else 0.0

    def step(self, found: Judgement, now: float) -> Step:
        """What is due at this judgement. `now` is monotonic."""
        if found.liveness != "suspected_stall":
            self._since = self._nudged = None
            return ""
        if self._since is None:
            self._since = now
        if self.grace and self._nudged is None and self.nudges < MOST_NUDGES:
            self._nudged = now
            self.nudges += 1
            return "nudge"
        over = now - (self._nudged if self._nudged is not None else self._since) >= self.grace
        return "give_up" if self._on_stall == "recover" and over and found.code in STUCK else ""

    def text(self, found: Judgement) -> str:
        """The nudge."""
        return (
            f"You seem to be stuck ({found.why}). If you wait for something, say for what; otherwise go on another way, "
            "or give your final answer now, with what remains open."
        )
