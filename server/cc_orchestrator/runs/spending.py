"""What a live run spends: its cost where the CLI tells none, its part of shared budgets, and what its worker is told of them.

The supervisor's half of `accounts.py`: it asks for the next slice when figures have changed, before the worker needs it. Nothing is
read or written while nothing changed, nor for a run that no shared budget binds.
"""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.events import Fact
from cc_orchestrator.routing.prices import Table, cost_of
from cc_orchestrator.runs.accounts import Answer, extend
from cc_orchestrator.runs.limits import Breach, Measures
from cc_orchestrator.runs.purse import Amounts
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

State = dict[str, Any]

#: How long to wait before an account that could not be reached is asked again, and how long a run may go on without.
RETRY_SECONDS, PATIENCE_SECONDS = 1.0, 30.0
#: What a worker is told of a limit that is near.
_WORDS = {
    "max_turns": "turns", "max_tokens": "tokens", "max_cost_usd": "money", "max_wall_seconds": "time", "timeout_seconds": "time",
    "max_output_bytes": "output", "max_events_bytes": "output",
}  # fmt: skip
_WHOSE = {
    "day": "today's shared ",
    "workspace": "the workspace's shared ",
    "task": "the task's ",
    "workflow": "the workflow's ",
}


class Spending:
    """One run's money and its share of what several runs may use."""

    def __init__(self, run: RunDir, spec: RunSpec, clock: Clock) -> None:
        self._run = run
        self._spec = spec
        self._clock = clock
        self._workspace = Workspace(spec.workspace_root, spec.repository)
        self._shares = bool(spec.shared_budgets)
        self._prices: Table | None = None
        self._priced: tuple[Any, ...] = ()
        self._answers: list[Answer] = []
        self._asked: Amounts = {}
        self._failing_since: float | None = None
        self._retry_at = 0.0

    # ------------------------------------------------------------ what it costs

    def price(self, state: State) -> list[Fact]:
        """The cost by a price table, when the CLI told new figures and no cost of its own. At most one fact, usage."""
        usage = state["usage"]
        if not usage or state["cost_source"] == "provider":
            return []
        figures = (usage.get("input_tokens"), usage.get("output_tokens"), usage.get("cache_read_tokens"), usage.get("cache_write_tokens"),
                   state["actual_model"])  # fmt: skip
        if figures == self._priced:
            return []
        self._priced = figures
        if self._prices is None:
            self._prices = _kept_prices(self._run)
        cost = cost_of(usage, state["models"], state["actual_model"] or self._spec.model, self._prices)
        if cost is None:
            return []
        return [Fact(ev.RUN_USAGE, {"cost_usd": cost.usd, "cost_source": cost.source, "total": True})]

    # ------------------------------------------------------------ what it may use

    def check(self, now: Measures) -> list[Breach]:
        """Shared budgets that are near or used up, hardest first; asks for the next slices when it is time."""
        found: list[Breach] = []
        if self._spec.limits.refuse_unknown_cost and now.tokens and now.cost_usd is None:
            found.append(Breach("unknown_cost", "budget_unknown", "conclude", now.tokens, 0))
        if not self._shares:
            return found
        used = amounts(now)
        if not self._is_due(used):
            return found
        mono = self._clock.mono()
        if mono < self._retry_at:
            return found
        try:
            self._answers = extend(self._workspace, self._spec, used)
        except (OSError, CcError):
            self._retry_at = mono + RETRY_SECONDS
            self._failing_since = mono if self._failing_since is None else self._failing_since
            if mono - self._failing_since >= PATIENCE_SECONDS:
                found.append(
                    Breach("shared_budgets", "budget_unknown", "conclude", mono - self._failing_since, PATIENCE_SECONDS)
                )
            return found
        self._failing_since = None
        self._asked = used
        return found + breaches(self._answers)

    def _is_due(self, used: Amounts) -> bool:
        if not self._asked:
            return True
        return any(
            used.get(metric, 0) > amount for answer in self._answers for metric, amount in answer.grant.again.items()
        )

    def close(self, now: Measures) -> None:
        """Note the last figures, bytes among them, which no journal has. A failure costs only those."""
        if not self._shares:
            return
        try:
            extend(self._workspace, self._spec, amounts(now))
        except (OSError, CcError):
            return


def _kept_prices(run: RunDir) -> Table:
    """Those that launch laid beside the spec; empty when they cannot be read."""
    try:
        return atomic.read_json(run.prices) or {}
    except (OSError, CcError):
        return {}


def amounts(now: Measures) -> Amounts:
    """Measures as an account counts them. An unknown cost counts as none there, and the account counts the run as unknown."""
    used: Amounts = {
        "runs": 1, "concurrent": 1, "turns": now.turns, "wall_seconds": round(now.elapsed, 3), "output_bytes": now.output_bytes,
    }  # fmt: skip
    if now.tokens is not None:
        used["tokens"] = now.tokens
    if now.cost_usd is not None:
        used["cost_usd"] = now.cost_usd
    return used


def breaches(answers: list[Answer]) -> list[Breach]:
    """What accounts said, as the limits of a run say it; hardest first."""
    found: list[Breach] = []
    for kind, grant in answers:
        short = {row.metric for row in grant.shortages}
        rows = [*grant.shortages, *(row for row in grant.near if row.metric not in short)]
        found += [
            Breach(f"{kind}.max_{row.metric}", f"{kind}_budget", row.level, row.used, row.allowed) for row in rows
        ]
    found.sort(key=lambda breach: ("hard", "conclude", "soft").index(breach.level))
    return found


def warning(breach: Breach) -> str | None:
    """What the worker is told when a limit is near; None when it is nothing of its concern."""
    kind, _, name = breach.limit.rpartition(".")
    word = _WORDS.get(name)
    if breach.level != "soft" or word is None:
        return None
    if name == "max_turns" and breach.allowed - breach.measured < 1:
        # The last turn has begun: what is said now would be read in a turn more.
        return None
    share = min(99, int(100 * breach.measured / breach.allowed))
    return (
        f"Budget notice: {share} % of {_WHOSE.get(kind, 'your ')}{word} budget is used. Finish the essential part now."
    )
