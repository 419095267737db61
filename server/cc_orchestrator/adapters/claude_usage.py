"""What a Claude Code session has used: the provider's own figures, cumulative over the session, less what was before this run."""

from __future__ import annotations

from typing import cast

from cc_orchestrator.adapters.lines import Object, number_at, object_at, text_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line

Totals = dict[str, float]
_FIGURES = {
    "input_tokens": "inputTokens", "output_tokens": "outputTokens", "cache_read_tokens": "cacheReadInputTokens",
    "cache_write_tokens": "cacheCreationInputTokens", "reasoning_tokens": "thinkingTokens",
}  # fmt: skip


class Meter:
    """The figures of one process. `recorded` is what we know of the session before it; None when the session is new."""

    def __init__(self, recorded: Totals | None) -> None:
        self.model = ""
        self._before: Totals = dict(recorded or {})
        self._fixed = recorded is None
        self._models: dict[str, Totals] = {}

    def take_base(self, session: Object) -> bool:
        """The CLI's own figures of a resumed session before its first turn: they know more than our record. Once only."""
        if self._fixed:
            return False
        self._fixed = True
        self._before = _of_session(session, "model_usage") or self._before
        return True

    def between(self, session: Object) -> list[Fact]:
        """Figures of `get_usage`."""
        return self._fact(_of_session(session, "model_usage"))

    def at_result(self, value: Object) -> list[Fact]:
        """Figures of a result."""
        self._fixed = True
        self._add_models(object_at(value, "model_usage_since_last_result"))
        return self._fact(_of_session(value, "modelUsage"))

    def _fact(self, totals: Totals) -> list[Fact]:
        """Nothing is said when nothing is known."""
        if not totals:
            return []
        data: Object = {**own_part(totals, self._before), "total": True, "session_totals": {**self._before, **totals}}
        if self.model:
            data["model"] = self.model
        if self._models:
            data["models"] = {name: dict(figures) for name, figures in self._models.items()}
        return [Fact(ev.RUN_USAGE, data)]

    def _add_models(self, model_usage: Object) -> None:
        for name, row in _rows(model_usage)[:20]:
            known = self._models.setdefault(line(name, 200), {})
            for key, figure in session_totals({name: row}, number_at(row, "costUSD")).items():
                known[key] = round(known.get(key, 0) + figure, 9)


def session_totals(model_usage: Object, cost: float | None) -> Totals:
    """Cumulative figures over all models; empty when the CLI names none.

    A cost whose basis is unknown is the CLI's guess for a model that it does not know: it is left out.
    """
    rows = _rows(model_usage)
    if not rows:
        return {}
    totals: Totals = {}
    for ours, theirs in _FIGURES.items():
        found = [figure for _name, row in rows if (figure := number_at(row, theirs)) is not None]
        if found:
            totals[ours] = sum(found)
    if cost is not None and all(text_at(row, "costBasis") != "unknown" for _name, row in rows):
        totals["cost_usd"] = cost
    return totals


def own_part(totals: Totals, before: Totals) -> Totals:
    """This run's part of a session's totals."""
    return {key: round(max(0, figure - before.get(key, 0)), 9) for key, figure in totals.items()}


def _of_session(value: Object, models_key: str) -> Totals:
    return session_totals(object_at(value, models_key), number_at(value, "total_cost_usd"))


def _rows(model_usage: Object) -> list[tuple[str, Object]]:
    return [(name, cast("Object", row)) for name, row in model_usage.items() if isinstance(row, dict)]
