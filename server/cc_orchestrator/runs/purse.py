"""What a shared budget allows one run next: pure rules over one account.

An account is `{"v", "settled": {metric: amount}, "largest": {metric: amount}, "unknown_cost": runs, "holds": {run_id: hold}}`; a hold is
`{"used": {metric: amount}, "held": {metric: amount}}`, where `held` counts from the run's start and includes what was used. What is
settled and held by all never passes a ceiling by a grant: a run may go on only while it holds its next request, and one more with
which to conclude. So what can be spent beyond a ceiling is what a request costs more than was thought.
"""

from __future__ import annotations

from typing import Any, NamedTuple

VERSION = 1
Account = dict[str, Any]
Amounts = dict[str, float]

#: Share of a budget at which its runs are warned.
SOFT = 0.8
#: Slices that are kept ahead: the next request, and the conclusion.
AHEAD = 2
#: What one request is taken for before any is known: so much, but at most this share of the budget.
_FIRST: Amounts = {"cost_usd": 0.05, "tokens": 20_000, "turns": 1, "wall_seconds": 10.0, "output_bytes": 65_536}
_FIRST_SHARE = {"cost_usd": 0.01, "tokens": 0.01, "wall_seconds": 0.02, "output_bytes": 0.02}
#: However much one request cost once, no slice is a greater share of the budget than this.
_MOST_SHARE = 0.25
#: What is asked for again at every change; other amounts flow, and are asked for when half of what is ahead is used.
_STEPWISE = ("cost_usd", "tokens", "turns")
_LEARNT = ("cost_usd", "tokens")
_DUST = 1e-9


class Shortage(NamedTuple):
    """A metric of which a run cannot have what it needs. `level`: conclude, or hard when not even the conclusion is covered."""

    metric: str
    level: str
    used: float  # by all runs
    allowed: float


class Grant(NamedTuple):
    """What a run was told: shortages, metrics that are near their end, and from which amounts on it must ask again."""

    shortages: list[Shortage]
    near: list[Shortage]
    again: Amounts


def new_account(settled: Amounts | None = None, holds: dict[str, Any] | None = None, unknown_cost: int = 0) -> Account:
    """An account of which nothing is known yet but what is given."""
    return {
        "v": VERSION,
        "settled": settled or {},
        "largest": {},
        "unknown_cost": unknown_cost,
        "holds": holds or {},
    }


def spent(account: Account, metric: str) -> float:
    """What all runs have used."""
    return account["settled"].get(metric, 0) + sum(hold["used"].get(metric, 0) for hold in account["holds"].values())


def committed(account: Account, metric: str, without: str = "") -> float:
    """What all runs (but one) have used or hold."""
    return account["settled"].get(metric, 0) + sum(
        max(hold["held"].get(metric, 0), hold["used"].get(metric, 0))
        for run_id, hold in account["holds"].items()
        if run_id != without
    )


def slice_of(account: Account, metric: str, limit: float, request: Amounts) -> float:
    """What one request is taken for. What somebody said counts; else what was seen, within bounds."""
    if metric not in _FIRST:
        return 0.0
    if metric in request:
        return request[metric]
    first = min(_FIRST[metric], limit * _FIRST_SHARE.get(metric, 1.0))
    return max(first, min(account["largest"].get(metric, 0), limit * _MOST_SHARE))


def ask(account: Account, ceiling: Amounts, run_id: str, used: Amounts, request: Amounts) -> Grant:
    """Note what a run has used, and hold what it needs next as far as there is any. Changes the account."""
    before = account["holds"].get(run_id, {"used": {}, "held": {}})
    for metric in _LEARNT:
        step = used.get(metric, 0) - before["used"].get(metric, 0)
        account["largest"][metric] = max(account["largest"].get(metric, 0), step)
    hold: dict[str, Amounts] = {"used": dict(used), "held": {}}
    account["holds"][run_id] = hold
    shortages: list[Shortage] = []
    again: Amounts = {}
    for metric, limit in ceiling.items():
        mine = used.get(metric, 0)
        piece = slice_of(account, metric, limit, request)
        wanted = mine + AHEAD * piece
        free = limit - committed(account, metric, run_id)
        hold["held"][metric] = max(mine, min(wanted, free))
        if wanted > free + _DUST:
            level = "conclude" if _may_conclude(metric, mine, piece, free) else "hard"
            shortages.append(Shortage(metric, level, spent(account, metric), limit))
        again[metric] = mine if metric in _STEPWISE else wanted - piece
    near = [
        Shortage(metric, "soft", spent(account, metric), limit)
        for metric, limit in ceiling.items()
        if metric in _FIRST and spent(account, metric) >= SOFT * limit - _DUST
    ]
    return Grant(shortages, near, again)


def _may_conclude(metric: str, mine: float, piece: float, free: float) -> bool:
    """Whether what is left covers one more request. A turn counts from its beginning, so the last one may be finished."""
    if metric in _LEARNT:
        return mine + piece <= free + _DUST
    return mine <= free + _DUST if metric == "turns" else mine < free - _DUST


def settle(account: Account, run_id: str, used: Amounts, *, cost_known: bool = True) -> bool:
    """A run has ended: what it used stays, what it held is free. Whether it was here; twice is as once. Changes the account."""
    hold = account["holds"].pop(run_id, None)
    if hold is None:
        return False
    final = {**hold["used"], **used}
    for metric, amount in final.items():
        if metric != "concurrent":
            account["settled"][metric] = round(account["settled"].get(metric, 0) + amount, 9)
    account["unknown_cost"] += not cost_known
    return True


def leave(account: Account, run_id: str) -> bool:
    """A run was never started: as if it had not asked. Changes the account."""
    return account["holds"].pop(run_id, None) is not None


def bury(account: Account, run_id: str) -> None:
    """A run's owner died: what it held beyond its use is free; what it used is settled by the sweep. Changes the account."""
    hold = account["holds"][run_id]
    hold["held"] = {}
    hold["used"].pop("concurrent", None)
