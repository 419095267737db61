"""The price table of CC Switch, an application that keeps profiles for coding CLIs. Read-only; what cannot be read is empty."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from cc_orchestrator.core.late import load

_QUERY = "select * from model_pricing limit 2000"
_COLUMNS = {
    "input": "input_cost_per_million", "output": "output_cost_per_million", "cache_read": "cache_read_cost_per_million",
    "cache_write": "cache_creation_cost_per_million",
}  # fmt: skip


def read_ccswitch_prices(env: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """`{model: {input, output, cache_read, cache_write}}` in US dollars per million tokens."""
    path = os.path.join(env.get("HOME") or os.path.expanduser("~"), ".cc-switch", "cc-switch.db")
    if not os.path.exists(path):
        return {}
    lite = load("sqlite3")
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    try:
        with closing(lite.connect(f"file:{quoted}?mode=ro", uri=True, timeout=0.5)) as db:
            db.row_factory = lite.Row
            rows = [dict(row) for row in db.execute(_QUERY)]
    except lite.Error:
        return {}
    return {str(row.get("model_id")): _prices(row) for row in rows}


def _prices(row: dict[str, Any]) -> dict[str, float]:
    """Decimals stand there as text; one that is none is left out."""
    found: dict[str, float] = {}
    for ours, theirs in _COLUMNS.items():
        try:
            found[ours] = float(row[theirs])
        except (KeyError, TypeError, ValueError):
            continue
    return found
