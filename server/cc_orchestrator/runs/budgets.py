"""The budgets of a workspace as values: what `budgets.json` may say, whom it binds, and how it tightens one run's own limits. Pure.

    {"day": {"max_cost_usd": 5}, "workspace": {…}, "workflow": {…}, "task": {"max_runs": 4}, "run": {…}, "models": {"opus": {…}},
     "unknown_cost": "allow", "request_cost_usd": 0.05, "request_tokens": 20000}

`day`, `workspace`, `workflow` and `task` are shared by all runs of that day (UTC, by their start), workspace, workflow or task;
`run` and `models` bind each run by itself. `request_*` is what one request may cost: so much is reserved ahead.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.clock import iso
from cc_orchestrator.runs.spec import Limits, RunSpec

#: What is counted, and whether it is a whole number. `runs` of a task are its attempts; `concurrent` are live at the same time.
METRICS = {
    "cost_usd": False, "tokens": True, "turns": True, "wall_seconds": False, "output_bytes": True, "runs": True, "concurrent": True,
}  # fmt: skip
SHARED = ("workspace", "day", "workflow", "task")
_RUN_METRICS = ("cost_usd", "tokens", "turns", "wall_seconds", "output_bytes")
_WORDS = ("unknown_cost", "request_cost_usd", "request_tokens")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

Ceiling = dict[str, float]
#: The default of all that have none: shared, so never changed.
_NOTHING: Ceiling = {}


class Budgets(NamedTuple):
    """What may be used. Ceilings are by metric; one that is not named is unlimited."""

    shared: dict[str, Ceiling]
    run: Ceiling
    models: dict[str, Ceiling]
    refuse_unknown_cost: bool = False
    request: Ceiling = _NOTHING


NONE = Budgets({}, {}, {})


def parse_budgets(raw: dict[str, Any]) -> Budgets:
    """From `budgets.json`. ValueError says which field is wrong and what it must be."""
    unknown = sorted(set(raw) - {*SHARED, "run", "models", *_WORDS})
    if unknown:
        raise ValueError(f"unknown field {unknown[0][:60]!a}; known: {', '.join((*SHARED, 'run', 'models', *_WORDS))}")
    shared = {scope: _ceiling(scope, raw.get(scope), tuple(METRICS)) for scope in SHARED}
    models = {
        name: _ceiling(f"models.{name[:60]}", ceiling, _RUN_METRICS)
        for name, ceiling in _object("models", raw.get("models")).items()
    }
    word = raw.get("unknown_cost") or "allow"
    if word not in ("allow", "refuse"):
        raise ValueError("unknown_cost must be allow or refuse")
    request = {
        metric: _number(f"request_{metric}", raw[f"request_{metric}"], whole=METRICS[metric])
        for metric in ("cost_usd", "tokens")
        if raw.get(f"request_{metric}") is not None
    }
    run = _ceiling("run", raw.get("run"), _RUN_METRICS)
    return Budgets(
        {scope: ceiling for scope, ceiling in shared.items() if ceiling}, run, models, word == "refuse", request
    )


def _object(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")
    return cast("dict[str, Any]", value)


def _ceiling(name: str, value: Any, metrics: tuple[str, ...]) -> Ceiling:
    given = _object(name, value)
    known = [f"max_{metric}" for metric in metrics]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"unknown field {name}.{unknown[0][:60]}; known: {', '.join(known)}")
    return {
        metric: _number(f"{name}.max_{metric}", given[f"max_{metric}"], whole=METRICS[metric])
        for metric in metrics
        if given.get(f"max_{metric}") is not None
    }


def _number(name: str, value: Any, *, whole: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e15:
        raise ValueError(f"{name} must be a number above 0")
    if whole and value != int(value):
        raise ValueError(f"{name} must be a whole number")
    return value


# ---------------------------------------------------------------- whom they bind


def scope_names(spec: RunSpec) -> dict[str, str]:
    """The shared budgets that a run falls under: `{kind: name of its account}`."""
    names = {"workspace": "workspace", "day": f"day-{day_of(spec.created_at)}", "task": spec.task_id}
    if spec.workflow:
        names["workflow"] = f"workflow-{spec.workflow}"
    return names


def day_of(epoch: float) -> str:
    """The UTC day, `2026-01-31`."""
    return iso(epoch)[:10]


def tighten(limits: Limits, budgets: Budgets, model: str | None) -> Limits:
    """A run's limits, none wider than the workspace's for each run and for its model."""
    for ceiling in (budgets.run, budgets.models.get(model or "", {})):
        for metric, name in (
            ("cost_usd", "max_cost_usd"), ("tokens", "max_tokens"), ("turns", "max_turns"), ("wall_seconds", "timeout_seconds"),
            ("output_bytes", "max_output_bytes"),
        ):  # fmt: skip
            allowed, asked = ceiling.get(metric), getattr(limits, name)
            if allowed is not None and (asked is None or asked > allowed):
                limits = limits._replace(**{name: int(allowed) if METRICS[metric] else float(allowed)})
    if budgets.refuse_unknown_cost and has_money(limits, budgets):
        limits = limits._replace(refuse_unknown_cost=True)
    return limits


def has_money(limits: Limits, budgets: Budgets) -> bool:
    """Whether any budget of a run is one of money."""
    return limits.max_cost_usd is not None or any("cost_usd" in ceiling for ceiling in budgets.shared.values())


def raised(before: Budgets, after: Budgets) -> list[str]:
    """Names of the limits of `before` that `after` widens or drops: `day.max_cost_usd`."""
    found: list[str] = []
    pairs = [(kind, before.shared.get(kind, {}), after.shared.get(kind, {})) for kind in SHARED]
    pairs.append(("run", before.run, after.run))
    pairs += [(f"models.{name}", ceiling, after.models.get(name, {})) for name, ceiling in before.models.items()]
    for name, old, new in pairs:
        found += [f"{name}.max_{metric}" for metric, limit in old.items() if new.get(metric, limit + 1) > limit]
    if before.refuse_unknown_cost and not after.refuse_unknown_cost:
        found.append("unknown_cost")
    found += [f"request_{metric}" for metric, size in before.request.items() if after.request.get(metric, 0) < size]
    return found
