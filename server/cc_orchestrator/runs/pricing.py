"""Which prices count for a run: the tables of workspace, user, CC Switch and ours, laid over each other when the run is made.

They are kept beside its spec, so that what a run cost can be told again later, by the prices of its day.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.adapters.base import Capabilities
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.text import line
from cc_orchestrator.host.ccswitch_prices import read_ccswitch_prices
from cc_orchestrator.routing import prices
from cc_orchestrator.routing.prices import Table, lay_over, price_of, read_table
from cc_orchestrator.store import atomic
from cc_orchestrator.store.paths import Workspace, config_home
from cc_orchestrator.store.rundir import RunDir

_SHIPPED = os.path.join(os.path.dirname(prices.__file__), "prices.json")
_EXAMPLE = '{"models":{"my-model":{"input":1.0,"output":4.0}}}'


def load_prices(workspace: Workspace, env: Mapping[str, str]) -> Table:
    """All prices, each with its origin. Corrupt names a price file of the user's that is none."""
    return lay_over((
        _overrides(workspace.prices), _overrides(os.path.join(config_home(env), "prices.json")),
        read_table(read_ccswitch_prices(env), "cc-switch"), read_table(shipped_prices()["models"], "table"),
    ))  # fmt: skip


def shipped_prices() -> dict[str, Any]:
    """Our own table: `{as_of, unit, note, models}`."""
    return atomic.read_json(_SHIPPED) or {"as_of": "unknown", "models": {}}


def _overrides(path: str) -> Table:
    raw = atomic.read_json(path)
    if raw is None:
        return {}
    try:
        if set(raw) - {"models", "as_of", "note"}:
            raise ValueError(
                f"unknown field {line(min(set(raw) - {'models', 'as_of', 'note'}), 60)!a}; known: models, as_of, note"
            )
        return read_table(raw.get("models"), "override", strict=True)
    except ValueError as error:
        raise Corrupt(f"{path}: {error}", hint=_EXAMPLE) from error


def keep_prices(run: RunDir, table: Table) -> None:
    """Write them beside the run's spec. Raises OSError."""
    atomic.write_json(run.prices, table, durable=False, indent=None)


def money_gap(capabilities: Capabilities, model: str | None, table: Table) -> str | None:
    """Why a budget of money cannot be kept, or not as it is meant; None when the CLI tells its cost or has a price and live tokens."""
    if capabilities.cost == "live":
        return None
    if price_of(table, model) is None:
        return (
            f"no price is known for {model}: what it costs is unknown, and no budget of money can be kept"
            if model
            else "the CLI's default model may have no known price: then no budget of money can be kept"
        )
    if capabilities.tokens != "live":
        return "its cost is worked out from a price table when its tokens are told, at the end: no budget of money can stop it before"
    return None
