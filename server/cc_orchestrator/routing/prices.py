"""What a model's tokens cost: price tables laid over each other, and the cost of a run's figures. Pure.

A table is `{model: {"input", "output", "cache_read", "cache_write": US dollars per million tokens, "origin"}}`. A model that no table
names has no price: what it costs stays unknown, it is never guessed from a name that looks alike. The shipped table is `prices.json`
beside this file, with its date and the source of each row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple, cast

#: Figures of a run's usage, and the rate that each is paid by.
_RATES = (
    ("input_tokens", "input"), ("output_tokens", "output"), ("cache_read_tokens", "cache_read"), ("cache_write_tokens", "cache_write"),
)  # fmt: skip
RATES = tuple(rate for _figure, rate in _RATES)
#: Dates at the end of a model's full name, e.g. -20250929 or -2026-04-01; and marks of a context window, e.g. [1m].
_DATE = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d)$")
_WINDOW = re.compile(r"\[[0-9]+[km]\]$")

Table = dict[str, dict[str, Any]]


class Cost(NamedTuple):
    """US dollars, and the table that gave the price: override, cc-switch or table."""

    usd: float
    source: str


def read_table(models: object, origin: str, *, strict: bool = False) -> Table:
    """Rows of a foreign table that are prices. `strict`: ValueError names the first row that is none."""
    found: Table = {}
    if not isinstance(models, dict):
        if strict:
            raise ValueError("models must be an object of {model: {input, output, …}}")
        return found
    for name, raw in cast("dict[Any, Any]", models).items():
        row = _row(raw)
        if row is not None and isinstance(name, str):
            found[_plain(name)] = {**row, "origin": origin}
        elif strict:
            raise ValueError(
                f"{str(name)[:80]!a} needs input and output, numbers from 0: US dollars per million tokens"
            )
    return found


def _row(raw: Any) -> dict[str, float] | None:
    if not isinstance(raw, dict):
        return None
    given = cast("dict[str, Any]", raw)
    row: dict[str, float] = {}
    for rate in RATES:
        value = given.get(rate)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1_000_000:
            return None
        row[rate] = float(value)
    return row if "input" in row and "output" in row else None


def lay_over(tables: Iterable[Table]) -> Table:
    """One table of several, the first of which counts most."""
    merged: Table = {}
    for table in tables:
        for name, row in table.items():
            merged.setdefault(name, row)
    return merged


def price_of(table: Table, model: str | None) -> dict[str, Any] | None:
    """The row of a model, by its name, or by its name without provider, date and window. None when there is none."""
    if not model:
        return None
    name = _plain(model)
    for candidate in (name, _DATE.sub("", name), _DATE.sub("", name.rpartition("/")[2])):
        if candidate in table:
            return table[candidate]
    return None


def _plain(model: str) -> str:
    return _WINDOW.sub("", model.strip().lower())


def cost_of(usage: dict[str, Any], models: dict[str, dict[str, Any]], model: str | None, table: Table) -> Cost | None:
    """What a run's figures cost; None when it cannot be told.

    `models` are the figures of each model, used when they are all of the run's; else all of `usage` is priced as `model`'s.
    """
    shares = {name: figures for name, figures in models.items() if _tokens(figures)}
    if not shares or abs(sum(map(_tokens, shares.values())) - _tokens(usage)) > 0.5:
        shares = {model or "": usage}
    if not _tokens(usage):
        return None
    total, source = 0.0, ""
    for name, figures in shares.items():
        row = price_of(table, name)
        if row is None:
            return None
        for figure, rate in _RATES:
            # Without a rate of its own a cached token is paid like any other.
            total += float(figures.get(figure) or 0) * float(row.get(rate, row["input"]))
        source = source or str(row["origin"])
    return Cost(round(total / 1e6, 9), source)


def _tokens(figures: dict[str, Any]) -> float:
    return sum(float(figures.get(figure) or 0) for figure, _rate in _RATES)
