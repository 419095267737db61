"""What a fix loop does next. Pure. The table, read from the top:

| when | move |
|---|---|
| everything that was asked for holds | approve |
| a finding was fixed and came back twice | escalate |
| what fails is nothing that the worker can mend, or nothing was measured | escalate |
| the rounds are used up | escalate |
| the same failure twice, after a restart | escalate |
| the same failure twice | restart: a fresh conversation with the contract and the findings, in the same worktree |
| else | fix: the maker goes on, with the failures |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["approve", "fix", "restart", "escalate"]
MAX_ROUNDS = 3


class Round(NamedTuple):
    """One look at a result. `how`: start, fix or restart; `failing`: what fails, `name#fingerprint`, the same for the same failure."""

    run_id: str
    how: str
    verdict: str
    failing: frozenset[str]
    oscillating: tuple[str, ...] = ()
    verify_id: str | None = None
    review_id: str | None = None


class Move(NamedTuple):
    """The move, and why."""

    kind: Kind
    reason: str


def choose_move(rounds: Sequence[Round], most: int = MAX_ROUNDS) -> Move:
    """`rounds` are those so far, the look at the result that came in first; `most` is how often the maker may try again."""
    last = rounds[-1]
    names = ", ".join(sorted({name.partition("#")[0] for name in last.failing}))
    if last.verdict == "APPROVE" and not last.failing:
        return Move("approve", "everything that was asked for holds")
    if last.oscillating:
        return Move(
            "escalate", f"{', '.join(last.oscillating)} was fixed and came back twice: it goes round in circles"
        )
    if last.verdict not in ("APPROVE", "HOLD") or not last.failing:
        return Move("escalate", f"the worker cannot mend it: {names or last.verdict}")
    tried = len(rounds) - 1
    if tried >= most:
        return Move("escalate", f"{most} rounds are used up and it still fails: {names}")
    if tried and rounds[-2].failing == last.failing:
        if any(entry.how == "restart" for entry in rounds):
            return Move("escalate", f"the same failure again after a restart: {names}")
        return Move("restart", f"the same failure twice: {names}")
    return Move("fix", f"still failing: {names}")
