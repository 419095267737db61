"""cc_budget and cc_cost_guard: what runs may use together, what they have used, and whether one more may start."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import prepare_workspace, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.operations.trusting import require_person
from cc_orchestrator.runs.accounts import View, change_budgets, look, names_now, probe, read_budgets
from cc_orchestrator.runs.budgets import METRICS, Budgets, parse_budgets, raised
from cc_orchestrator.runs.pricing import load_prices, money_gap, shipped_prices
from cc_orchestrator.runs.purse import committed, spent
from cc_orchestrator.store import atomic, index, ledger
from cc_orchestrator.store.paths import Workspace

_DAY = 86_400
#: Runs that are listed for each budget, models for a day.
_HOLDERS, _MODELS = 8, 8

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]


class BudgetParams(Params):
    """Show, or set some limits."""

    action: Literal["show", "set"] = "show"
    budget: Annotated[
        dict[str, Any] | None,
        Field(
            description='For set, what changes: {"day":{"max_cost_usd":5}}. Shared: day (UTC, by start), workspace, workflow, task; for each '
            "run: run, models.<name>. max_cost_usd, max_tokens, max_turns, max_wall_seconds, max_output_bytes; shared also max_runs "
            "(of a task: attempts), max_concurrent; null: no limit. unknown_cost allow|refuse; request_cost_usd, request_tokens: reserved "
            "ahead for one request."
        ),
    ] = None
    task_id: str | None = None
    workflow: Label | None = None
    cwd: str | None = None


def _budget(ctx: Context, params: BudgetParams) -> dict[str, Any]:
    workspace = workspace_of(ctx, params.cwd)
    if params.action == "show":
        if params.budget is not None:
            raise InvalidRequest("budget is for action=set", hint='cc_budget {"action":"set","budget":{…}}')
        return _shown(ctx, workspace, params.task_id, params.workflow)
    if not params.budget:
        raise InvalidRequest("action=set needs budget", hint='{"action":"set","budget":{"day":{"max_cost_usd":5}}}')
    change(ctx, workspace, params.budget)
    return _shown(ctx, workspace, params.task_id, params.workflow)


def change(ctx: Context, workspace: Workspace, wanted: dict[str, Any]) -> None:
    """Lay `wanted` over the settings, with a receipt. ApprovalRequired: it allows more than now, and no person asks."""
    _parsed(wanted)
    prepare_workspace(ctx, workspace)

    def laid_over(raw: dict[str, Any]) -> dict[str, Any]:
        merged = _merge(raw, wanted)
        more = raised(read_budgets(workspace), _parsed(merged))
        if more:
            shown = json.dumps(wanted, separators=(",", ":"))
            require_person(
                ctx, f"allowing more than now ({', '.join(more[:5])})", f"budget --action set --budget '{shown}'"
            )
        return merged

    before, after = change_budgets(workspace, laid_over)
    ledger.append(workspace.ledger, {
        "kind": "budget", "ts": ctx.clock.now(), "actor": "controller" if ctx.channel == "mcp" else "user", "channel": ctx.channel, "subject": {},
        "observed": {"before": _plain(before), "after": _plain(after)}, "claimed": {},
    })  # fmt: skip


def _merge(old: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`wanted` over `old`, objects field by field; null takes a field away."""
    merged = dict(old)
    for key, value in wanted.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            known = merged.get(key)
            base = cast("dict[str, Any]", known) if isinstance(known, dict) else {}
            merged[key] = _merge(base, cast("dict[str, Any]", value))
        else:
            merged[key] = value
    return {key: value for key, value in merged.items() if value != {}}


def _parsed(raw: dict[str, Any]) -> Budgets:
    try:
        return parse_budgets(raw)
    except ValueError as error:
        raise InvalidRequest(f"budget: {error}", hint='{"day":{"max_cost_usd":5}}') from error


def _plain(budgets: Budgets) -> dict[str, Any]:
    out: dict[str, Any] = {**budgets.shared, "run": budgets.run, "models": budgets.models}
    if budgets.refuse_unknown_cost:
        out["unknown_cost"] = "refuse"
    return {key: value for key, value in out.items() if value}


# ---------------------------------------------------------------- what there is


def _shown(ctx: Context, workspace: Workspace, task_id: str | None, workflow: str | None) -> dict[str, Any]:
    now = ctx.clock.now()
    budgets = read_budgets(workspace)
    views = look(workspace, names_now(now, task_id, workflow), budgets)
    return drop_empty({
        "path": workspace.budget_settings, "settings": atomic.read_json(workspace.budget_settings) or "none: nothing is limited",
        "budgets": [_row(view, budgets, now) for view in views],
        "prices": {"shipped_as_of": shipped_prices()["as_of"], "models": len(load_prices(workspace, ctx.env))},
        "as_of": iso(now),
        "next": 'cc_cost_guard {}' if budgets.shared else 'cc_budget {"action":"set","budget":{"day":{"max_cost_usd":5}}}',
    })  # fmt: skip


def _row(view: View, budgets: Budgets, now: float) -> dict[str, Any]:
    account, ceiling = view.account, budgets.shared.get(view.kind, {})
    limits = {
        metric: {
            "limit": ceiling[metric], "used": _round(spent(account, metric)),
            "reserved": _round(committed(account, metric) - spent(account, metric)),
            "left": _round(max(0.0, ceiling[metric] - committed(account, metric))),
        }
        for metric in METRICS if metric in ceiling
    }  # fmt: skip
    holders = [
        {
            "run_id": run_id, "used": {metric: _round(hold["used"].get(metric, 0)) for metric in limits},
            "held": {metric: _round(hold["held"][metric]) for metric in limits if metric in hold["held"]},
        }
        for run_id, hold in sorted(account["holds"].items(), reverse=True)
    ]  # fmt: skip
    return drop_empty({
        "scope": view.kind, "account": view.name, "limits": limits, "holders": holders[:_HOLDERS],
        "more_holders": max(0, len(holders) - _HOLDERS) or None, "runs_of_unknown_cost": account["unknown_cost"] or None,
        "resets_at": iso((now // _DAY + 1) * _DAY) if view.kind == "day" else None,
    })  # fmt: skip


def _round(amount: float) -> float:
    rounded = round(amount, 6)
    return int(rounded) if rounded == int(rounded) else rounded


# ---------------------------------------------------------------- may one more start


class GuardParams(Params):
    """The start that is thought of, or a guard to set."""

    config: Annotated[
        dict[str, Any],
        Field(description="max_concurrent, max_timeout_seconds, per_model, output_budget.max_output_bytes."),
    ] = {}
    apply: Annotated[bool, Field(description="Write config; else only show.")] = False
    adapter: str = "claude"
    model: str | None = None
    task_id: str | None = None
    workflow: Label | None = None
    cwd: str | None = None


def _cost_guard(ctx: Context, params: GuardParams) -> dict[str, Any]:
    if params.adapter not in adapter_names():
        raise InvalidRequest(f"there is no adapter {params.adapter[:60]!a}; known: {', '.join(adapter_names())}")
    workspace = workspace_of(ctx, params.cwd)
    wanted = _from_guard(params.config)
    if params.apply and not wanted:
        raise InvalidRequest("apply needs a config", hint='{"config":{"max_concurrent":4},"apply":true}')
    if params.apply:
        change(ctx, workspace, wanted)
    now = ctx.clock.now()
    budgets = read_budgets(workspace)
    if wanted and not params.apply:
        budgets = _parsed(_merge(atomic.read_json(workspace.budget_settings) or {}, wanted))
    answers = probe(workspace, names_now(now, params.task_id, params.workflow), budgets)
    blocked = [
        f"{kind}.max_{row.metric}: {_round(row.used)} of {_round(row.allowed)} used, no room for another run"
        for kind, grant in answers for row in grant.shortages
    ]  # fmt: skip
    today, unknown = _today(workspace, now)
    warnings = [
        f"{kind}.max_{row.metric}: {row.used / row.allowed:.0%} used" for kind, grant in answers for row in grant.near
    ]
    gap = money_gap(find_adapter(params.adapter).capabilities, params.model, load_prices(workspace, ctx.env))
    if gap is not None:
        warnings.append(gap)
    if unknown:
        warnings.append(f"{unknown} runs of today have no known cost: they are in no sum of money")
    return drop_empty({
        "within_budget": not blocked, "blocked": blocked, "warnings": warnings, "today": today, "guard": _guard(budgets),
        "applied": params.apply, "path": workspace.budget_settings, "as_of": iso(now),
        "next": 'cc_budget {}' if blocked else 'cc_run_streaming {"task":"…"}',
    })  # fmt: skip


def _from_guard(config: dict[str, Any]) -> dict[str, Any]:
    """The predecessor's words in ours. InvalidRequest for one that has no counterpart."""
    wanted: dict[str, Any] = {}
    for key, value in config.items():
        if key == "max_concurrent":
            wanted["workspace"] = {"max_concurrent": value}
        elif key == "max_timeout_seconds":
            wanted.setdefault("run", {})["max_wall_seconds"] = value
        elif key == "per_model" and isinstance(value, dict):
            wanted["models"] = {
                name: {"max_wall_seconds": cast("dict[str, Any]", row).get("max_timeout_seconds") if isinstance(row, dict) else row}
                for name, row in cast("dict[str, Any]", value).items()
            }  # fmt: skip
        elif (
            key == "output_budget"
            and isinstance(value, dict)
            and set(cast("dict[str, Any]", value)) == {"max_output_bytes"}
        ):
            wanted.setdefault("run", {})["max_output_bytes"] = value["max_output_bytes"]
        else:
            raise InvalidRequest(
                f"config: {key[:60]!a} is not known here; known: max_concurrent, max_timeout_seconds, per_model, "
                "output_budget.max_output_bytes",
                hint="cc_budget has all limits; the other output budgets are parameters of cc_run_streaming",
            )
    return wanted


def _guard(budgets: Budgets) -> dict[str, Any]:
    """The settings in the predecessor's words, and the rest in ours."""
    per_model = {
        name: {"max_timeout_seconds": row["wall_seconds"]} for name, row in budgets.models.items() if "wall_seconds" in row
    }  # fmt: skip
    return drop_empty({
        "max_concurrent": budgets.shared.get("workspace", {}).get("concurrent"),
        "max_timeout_seconds": budgets.run.get("wall_seconds"), "per_model": per_model,
        "max_output_bytes": budgets.run.get("output_bytes"),
        "budgets": {kind: {f"max_{metric}": limit for metric, limit in row.items()} for kind, row in budgets.shared.items()},
    })  # fmt: skip


def _today(workspace: Workspace, now: float) -> tuple[dict[str, Any], int]:
    """Runs and their cost since midnight UTC, by model, and how many of the ended ones have no known cost."""
    models: dict[str, dict[str, Any]] = {}
    for row in index.sums(workspace.index, now // _DAY * _DAY):
        entry = models.setdefault(
            str(row["model"] or "unknown"), {"runs": 0, "cost_usd": 0.0, "tokens": 0, "unknown_cost": 0}
        )
        entry["runs"] += int(row["runs"])
        entry["cost_usd"] += float(row["cost_usd"] or 0)
        entry["tokens"] += int(row["input_tokens"] or 0) + int(row["output_tokens"] or 0)
        entry["unknown_cost"] += int(row["cost_unknown"] or 0)
    rows = sorted(models.items(), key=lambda item: (-item[1]["cost_usd"], -item[1]["runs"]))
    for _name, entry in rows:
        entry["cost_usd"] = _round(entry["cost_usd"])
    unknown = sum(entry["unknown_cost"] for _name, entry in rows)
    return {
        "runs": sum(entry["runs"] for _name, entry in rows), "cost_usd": _round(sum(entry["cost_usd"] for _name, entry in rows)),
        "by_model": dict(rows[:_MODELS]),
    }, unknown  # fmt: skip


register(Operation(
    name="cc_budget", words=("budget",), toolset="core", effect="write", act="set",
    summary="Budgets of day, workspace, workflow, task, run: used, reserved, left, who holds what; or set them.",
    params=BudgetParams, handler=_budget, idempotent=True, search_hint="budget money cost tokens limit spend reserve quota",
))  # fmt: skip
register(Operation(
    name="cc_cost_guard", words=("cost-guard",), toolset="core", effect="write",
    summary="Would a start be within budget; spend of today by model; warnings. With apply: set the guard.",
    params=GuardParams, handler=_cost_guard, idempotent=True, search_hint="cost guard budget spend today concurrent timeout",
))  # fmt: skip
