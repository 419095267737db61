"""What stands open apart from runs: blockers, approvals that a person is asked for; and what was decided lately. Reads only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from cc_orchestrator.core.clock import iso
from cc_orchestrator.insight.escalation import Item
from cc_orchestrator.policy.approvals import read_approvals, status_of
from cc_orchestrator.store import index, ledger
from cc_orchestrator.store.approvalfile import read_rows
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record
from cc_orchestrator.tasks.item import fold_items

_ALL = 1 << 40
_MOST = 40


class Decided(NamedTuple):
    """Of runs: the latest decision and its time (epoch seconds); those that were delivered. And the receipts of deliveries, newest first."""

    words: dict[str, tuple[str, float]]
    delivered: frozenset[str]
    deliveries: list[Record]


def read_decided(workspace: Workspace, since: float) -> Decided:
    """What the ledger says since then, in one pass for each kind, whatever the number of runs."""
    words: dict[str, tuple[str, float]] = {}
    for receipt in ledger.receipts(workspace.ledger, kind="acceptance", since=since, limit=_ALL):
        decision = str(receipt["observed"].get("decision"))
        words.setdefault(str(receipt["subject"].get("run_id")), (decision, float(receipt["ts"])))
    found = ledger.receipts(workspace.ledger, kind="delivery", since=since, limit=_ALL)
    done = (receipt for receipt in found if receipt["observed"].get("status") == "succeeded")
    return Decided(words, frozenset(str(receipt["subject"].get("run_id")) for receipt in done), found)


def open_blockers(workspace: Workspace) -> Iterator[Item]:
    """Open blockers of tasks that were not delivered or abandoned after the blocker was opened. Raises Corrupt, OSError.

    Whether the ledger of open items is sound is for who accepts; here its sound lines are told.
    """
    if not os.path.isdir(workspace.open_items):
        return
    items = fold_items(reversed(ledger.receipts(workspace.open_items, limit=_ALL))).values()
    blockers = [item for item in items if item.is_open and item.severity == "blocker"][-_MOST:]
    if not blockers:
        return
    decided = read_decided(workspace, min(item.opened_at for item in blockers))
    done = {run_id for run_id, (word, _at) in decided.words.items() if word == "abandon"} | decided.delivered
    over = {row["task_id"] for row in _rows_of(workspace, {item.task_id for item in blockers}) if row["run_id"] in done}
    for item in blockers:
        if item.task_id not in over:
            what = f"an open blocker of {item.task_id}" + (f": {item.check}" if item.check else "")
            call = f'cc_open_items {{"action":"close","item_id":"{item.item_id}","evidence":"ver_…"}}'
            yield Item("blocker", item.item_id, item.opened_at, what, call, item.title)


def _rows_of(workspace: Workspace, tasks: set[str]) -> list[dict[str, str]]:
    """Of each task the rows of its runs."""
    marks = ",".join("?" * len(tasks))
    return index.select(workspace.index, f"task_id in ({marks})", tuple(sorted(tasks)), limit=400)


def open_approvals(workspace: Workspace, now: float) -> Iterator[Item]:
    """Approvals that wait for a person. Raises Corrupt, OSError."""
    for entry in read_approvals(read_rows(workspace)).values():
        if status_of(entry, now) == "open":
            about = entry.run_id or entry.task_id
            what = f"a person is asked to approve (risk {entry.risk}" + (f", {about}" if about else "")
            call = f"a person: cc-orchestrator approvals approve --approval-id {entry.approval_id}"
            what = f"{what}; until {iso(entry.expires)})"
            yield Item("approval", entry.approval_id, entry.requested_at, what, call, entry.what)
