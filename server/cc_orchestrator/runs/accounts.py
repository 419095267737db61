"""The accounts of shared budgets as files, `.agent-workspace/budgets/`: one lock for all, one small file for each account.

A run enters at the door, before it is visible; its supervisor asks for more while it works; its end, or the sweep after its death,
settles it. An account is made when the first budget for it is set, from what the index knows by then. Files are replaced, never
half written, and a run is settled once however often that is tried: its hold is gone. What a dead run held beyond its use is given
to whoever needs it, as soon as its lock is free.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import Corrupt, InvalidRequest, LimitReached
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.runs import purse
from cc_orchestrator.runs.budgets import NONE, SHARED, Budgets, parse_budgets, scope_names
from cc_orchestrator.runs.fold import State
from cc_orchestrator.runs.limits import used_tokens
from cc_orchestrator.runs.purse import Account, Amounts, Grant
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic, index
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, is_being_made

#: What a run is before it has done anything.
_STARTED: Amounts = {"runs": 1, "concurrent": 1}
_FEW_SECONDS = 1.0


class Answer(NamedTuple):
    """What one account says: the kind of its budget (day, task, …), and what was granted."""

    kind: str
    grant: Grant


def read_budgets(workspace: Workspace) -> Budgets:
    """What `budgets.json` says; no file: nothing is limited. Corrupt says what is wrong in it."""
    raw = atomic.read_json(workspace.budget_settings)
    if raw is None:
        return NONE
    try:
        return parse_budgets(raw)
    except ValueError as error:
        raise Corrupt(
            f"{workspace.budget_settings}: {error}", hint='cc_budget sets budgets, e.g. {"day":{"max_cost_usd":5}}'
        ) from error


def enter(workspace: Workspace, budgets: Budgets, spec: RunSpec) -> tuple[str, ...]:
    """A new run takes its first slices; the kinds of the budgets it falls under. LimitReached: there are none, and nothing is noted."""
    if not budgets.shared and not os.path.isdir(workspace.accounts):
        return ()
    os.makedirs(workspace.accounts, exist_ok=True)
    with _locked(workspace):
        accounts = _accounts_of(workspace, budgets, spec)
        taken = {kind: _copy(account) for kind, account in accounts.items()}
        answers = _ask_all(taken, budgets, spec, _STARTED)
        if _is_short(answers) and _bury_dead(workspace, accounts):
            # Those who died held what is missing, perhaps.
            taken = {kind: _copy(account) for kind, account in accounts.items()}
            answers = _ask_all(taken, budgets, spec, _STARTED)
        if _is_short(answers):
            raise _refusal(spec, answers)
        for kind, account in taken.items():
            _write(workspace, scope_names(spec)[kind], account)
    return tuple(kind for kind in taken if kind in budgets.shared)


def _is_short(answers: list[Answer]) -> bool:
    return any(answer.grant.shortages for answer in answers)


def _refusal(spec: RunSpec, answers: list[Answer]) -> LimitReached:
    kind, shortage = next((answer.kind, row) for answer in answers for row in answer.grant.shortages)
    left = max(0.0, shortage.allowed - shortage.used)
    whose = {"task": f"of task {spec.task_id}", "workflow": f"of workflow {spec.workflow}"}.get(kind, f"of the {kind}")
    return LimitReached(
        f"the budget {whose} has no room for another run: max_{shortage.metric} {shortage.allowed:g}, used {shortage.used:g}, and the"
        f" {left:g} left are held by live runs or too little for one request; nothing was started",
        hint='cc_call {"name":"cc_budget"} shows who holds what',
        budget=f"{kind}.max_{shortage.metric}",
    )


def extend(workspace: Workspace, spec: RunSpec, used: Amounts) -> list[Answer]:
    """Note what a live run has used and hold what it needs next. Raises Busy, Corrupt, OSError: then nothing is noted."""
    os.makedirs(workspace.accounts, exist_ok=True)
    with _locked(workspace, _FEW_SECONDS):
        budgets = read_budgets(workspace)
        accounts = _accounts_of(workspace, budgets, spec)
        answers = _ask_all(accounts, budgets, spec, used)
        if _is_short(answers) and _bury_dead(workspace, accounts):
            answers = _ask_all(accounts, budgets, spec, used)
        for kind, account in accounts.items():
            _write(workspace, scope_names(spec)[kind], account)
    return answers


def _ask_all(accounts: dict[str, Account], budgets: Budgets, spec: RunSpec, used: Amounts) -> list[Answer]:
    return [
        Answer(kind, purse.ask(account, budgets.shared.get(kind, {}), spec.run_id, used, budgets.request))
        for kind, account in accounts.items()
    ]


def settle_run(workspace: Workspace, spec: RunSpec, state: State) -> None:
    """Settle an ended run wherever it holds something. Raises Busy, OSError."""
    if not os.path.isdir(workspace.accounts):
        return
    with _locked(workspace):
        for name in scope_names(spec).values():
            account = _read(workspace, name)
            known = state["usage"].get("cost_usd") is not None
            if account is not None and purse.settle(account, spec.run_id, used_of(state), cost_known=known):
                _write(workspace, name, account)


def leave(workspace: Workspace, spec: RunSpec) -> None:
    """A run that entered was not made after all. Raises Busy, OSError."""
    if not os.path.isdir(workspace.accounts):
        return
    with _locked(workspace):
        for name in scope_names(spec).values():
            account = _read(workspace, name)
            if account is not None and purse.leave(account, spec.run_id):
                _write(workspace, name, account)


def used_of(state: State) -> Amounts:
    """What a run has used, as its journal says. Bytes are not in it."""
    used: Amounts = {"runs": 1, "turns": state["turns"]}
    tokens, cost = used_tokens(state["usage"]), state["usage"].get("cost_usd")
    if tokens is not None:
        used["tokens"] = tokens
    if cost is not None:
        used["cost_usd"] = cost
    if state["started_at"] is not None:
        used["wall_seconds"] = round(max(0.0, (state["finished_at"] or state["last_ts"]) - state["started_at"]), 3)
    return used


class View(NamedTuple):
    """One account for people: its name, and what it says; None when nothing was ever limited there."""

    kind: str
    name: str
    account: Account


def look(workspace: Workspace, names: dict[str, str], budgets: Budgets) -> list[View]:
    """The accounts as they are; one that is limited and not there yet is told from the index. Writes nothing."""
    found: list[View] = []
    for kind in SHARED:
        name = names.get(kind)
        if name is None:
            continue
        account = _read(workspace, name)
        if account is None and kind in budgets.shared:
            account = _seed(workspace, kind, name)
        if account is not None:
            _bury_dead(workspace, {kind: account})
            found.append(View(kind, name, account))
    return found


def probe(workspace: Workspace, names: dict[str, str], budgets: Budgets) -> list[Answer]:
    """What one more run would be told now. Writes nothing."""
    return [
        Answer(view.kind, purse.ask(view.account, budgets.shared.get(view.kind, {}), "", _STARTED, budgets.request))
        for view in look(workspace, names, budgets)
    ]


def change_budgets(workspace: Workspace, change: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[Budgets, Budgets]:
    """Replace `budgets.json` by what `change` makes of it; before and after. Raises what `change` raises, ValueError, Busy, OSError."""
    os.makedirs(workspace.accounts, exist_ok=True)
    with _locked(workspace):
        before = read_budgets(workspace)
        raw = change(atomic.read_json(workspace.budget_settings) or {})
        after = parse_budgets(raw)
        atomic.write_json(workspace.budget_settings, raw)
    return before, after


# ---------------------------------------------------------------- files


def _locked(workspace: Workspace, timeout: float = 10.0) -> Exclusive:
    return Exclusive(os.path.join(workspace.accounts, ".lock"), timeout=timeout)


def _path(workspace: Workspace, name: str) -> str:
    return os.path.join(workspace.accounts, f"{name}.json")


def _read(workspace: Workspace, name: str) -> Account | None:
    """None when there is none, or one that cannot be read: it is made anew then."""
    try:
        account = atomic.read_json(_path(workspace, name))
    except Corrupt:
        return None
    whole = account is not None and all(isinstance(account.get(key), dict) for key in ("settled", "largest", "holds"))
    return account if whole else None


def _write(workspace: Workspace, name: str, account: Account) -> None:
    atomic.write_json(_path(workspace, name), account, durable=False, indent=None)


def _copy(account: Account) -> Account:
    """Deep as far as accounts are."""
    return {
        **account, "settled": dict(account["settled"]), "largest": dict(account["largest"]),
        "holds": {run_id: {key: dict(row) for key, row in hold.items()} for run_id, hold in account["holds"].items()},
    }  # fmt: skip


def _accounts_of(workspace: Workspace, budgets: Budgets, spec: RunSpec) -> dict[str, Account]:
    """Those that are limited now, or were once and are kept up since."""
    found: dict[str, Account] = {}
    for kind, name in scope_names(spec).items():
        account = _read(workspace, name)
        if account is None and kind in budgets.shared:
            account = _seed(workspace, kind, name)
        if account is not None:
            found[kind] = account
    return found


def _seed(workspace: Workspace, kind: str, name: str) -> Account:
    """An account from what is known of the runs before it: ended ones by the index, live ones by their journals."""
    if kind == "workflow":
        # Its runs are known by their specs alone, and none was before the budget of its first one.
        return purse.new_account()
    day = name.removeprefix("day-") if kind == "day" else None
    task_id = name if kind == "task" else None
    try:
        sums = index.totals(workspace.index, task_id=task_id, day=day)
        live = [
            row
            for row in index.select(workspace.index, "finished_at is null", limit=500)
            if task_id in (None, row["task_id"]) and day in (None, iso(row["created_at"])[:10])
        ]
    except Corrupt:
        return purse.new_account()
    settled = {metric: sums[metric] for metric in ("cost_usd", "tokens", "wall_seconds", "runs") if sums.get(metric)}
    holds: dict[str, Any] = {}
    for row in live:
        run = RunDir(workspace.run(str(row["run_id"])))
        if os.path.isdir(run.path):
            state = read_run(run).state
            used = {**used_of(state), **({"concurrent": 1} if state["status"] in LIVE else {})}
            holds[run.run_id] = {"used": used, "held": {}}
    return purse.new_account(settled, holds, int(sums.get("cost_unknown") or 0))


# ---------------------------------------------------------------- the dead


def _bury_dead(workspace: Workspace, accounts: dict[str, Account]) -> bool:
    """Free what dead runs hold; whether there were any."""
    freed = False
    for account in accounts.values():
        for run_id in [run_id for run_id, hold in account["holds"].items() if _holds_more(hold)]:
            if _is_alive(workspace, run_id):
                continue
            freed = True
            if os.path.isdir(workspace.run(run_id)):
                purse.bury(account, run_id)
            else:
                purse.leave(account, run_id)
    return freed


def _holds_more(hold: dict[str, Amounts]) -> bool:
    return bool(hold["held"]) or bool(hold["used"].get("concurrent"))


def _is_alive(workspace: Workspace, run_id: str) -> bool:
    try:
        run = RunDir(workspace.run(run_id))
    except InvalidRequest:
        return False
    # A launch shows its folder by a rename: it is in one of the two places.
    return run.is_owned() or is_being_made(workspace.runs, run_id) or run.is_owned()


def names_now(now: float, task_id: str | None = None, workflow: str | None = None) -> dict[str, str]:
    """The accounts of a run that would start now."""
    names = {"workspace": "workspace", "day": f"day-{iso(now)[:10]}"}
    if task_id:
        names["task"] = task_id
    if workflow:
        names["workflow"] = f"workflow-{workflow}"
    return names
