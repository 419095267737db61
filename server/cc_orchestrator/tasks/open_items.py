"""The ledger of open items, `.agent-workspace/open_items/`: append only, hash chained, one for all tasks of a workspace.

A store that is not sound is Corrupt to everybody who reads it: what cannot be read holds.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import Conflict, Corrupt, InvalidRequest, NotFound
from cc_orchestrator.core.ids import check_id, new_id
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import cut
from cc_orchestrator.runs.anchoring import OPEN_ITEMS_REF, anchor_folder
from cc_orchestrator.runs.auditing import check_folder
from cc_orchestrator.store import ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.item import CLOSED, OPENED, Draft, Item, find_open, fold_items

_ALL = 1 << 40
REASON_CHARS = 10


class By(NamedTuple):
    """Who did something, over which surface, and when (epoch seconds)."""

    actor: str
    channel: str
    ts: float


class Closing(NamedTuple):
    """Why an item closes: `evidence` names a verification (`ver_…`) or a receipt (its number); or somebody's reason."""

    evidence: str | None = None
    reason: str | None = None


def read_items(workspace: Workspace) -> dict[str, Item]:
    """All items by id, in the order in which they were opened. Raises Corrupt, Busy, OSError."""
    folder = workspace.open_items
    report = check_folder(workspace, folder, OPEN_ITEMS_REF)
    if not report.ok:
        raise _corrupt(folder, f"{report.problems[0].where}: {report.problems[0].what}")
    return _fold(folder)


def _fold(folder: str) -> dict[str, Item]:
    try:
        return fold_items(reversed(ledger.receipts(folder, limit=_ALL)))
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(folder, repr(error)) from error


def _corrupt(folder: str, why: str) -> Corrupt:
    return Corrupt(
        f"the open items in {folder} cannot be relied on ({why}), so nothing is accepted",
        hint=f"a person looks at it; to start afresh: rm -r {folder}; git update-ref -d {OPEN_ITEMS_REF}",
    )


def open_item(workspace: Workspace, draft: Draft, by: By) -> tuple[Item, bool]:
    """The item, and whether it is new: an open one of the same task and key is that one. Raises Corrupt, Busy, OSError."""
    folder = workspace.open_items
    read_items(workspace)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with ledger.locked(folder):
        known = find_open(_fold(folder).values(), draft.task_id, draft.key)
        if known is not None:
            return known, False
        item_id = new_id("oi", now=by.ts)
        subject = {"item_id": item_id, "task_id": draft.task_id, "run_id": draft.run_id}
        observed = {
            "severity": draft.severity, "key": draft.key, "source": draft.source, "check": draft.check, "verify_id": draft.verify_id,
        }  # fmt: skip
        written = ledger.append_locked(folder, {
            "kind": OPENED, "ts": by.ts, "actor": by.actor, "channel": by.channel, "subject": _told(subject),
            "observed": _told(observed), "claimed": {"title": _masked(draft.title)},
        })  # fmt: skip
    anchor_folder(workspace, folder, OPEN_ITEMS_REF, by.ts)
    return fold_items([written])[item_id], True


def close_item(workspace: Workspace, item_id: str, closing: Closing, by: By) -> tuple[Item, bool]:
    """The closed item, and whether this call closed it. The evidence was looked at by the caller.

    Raises NotFound, InvalidRequest (neither evidence nor a reason), Conflict (closed for something else), Corrupt, Busy.
    """
    check_id(item_id, "oi", hint="cc_open_items lists ids")
    if closing.evidence is None and len((closing.reason or "").strip()) < REASON_CHARS:
        raise InvalidRequest(
            f"{item_id} closes with evidence (a verification or a receipt) or with a reason of {REASON_CHARS} characters or more",
            hint=f'cc_open_items {{"action":"close","item_id":"{item_id}","evidence":"ver_…"}}',
        )
    folder = workspace.open_items
    if item_id not in read_items(workspace):
        raise NotFound(f"there is no open item {item_id} in {workspace.root}", hint="cc_open_items {} lists them")
    with ledger.locked(folder):
        item = _fold(folder)[item_id]
        if item.closed is not None:
            if item.closed.get("evidence") == closing.evidence:
                return item, False
            raise Conflict(f"{item_id} was closed before: {item.closed}", hint="cc_open_items {} lists the open ones")
        subject = {"item_id": item_id, "task_id": item.task_id, "run_id": item.run_id}
        ledger.append_locked(folder, {
            "kind": CLOSED, "ts": by.ts, "actor": by.actor, "channel": by.channel, "subject": _told(subject),
            "observed": _told({"evidence": closing.evidence}),
            "claimed": {"reason": _masked(closing.reason)} if closing.reason else {},
        })  # fmt: skip
        closed = _fold(folder)[item_id]
    anchor_folder(workspace, folder, OPEN_ITEMS_REF, by.ts)
    return closed, True


def _told(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _masked(text: str) -> str:
    return cut(mask_text(text), 1_000)
