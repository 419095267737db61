"""Requests for a person's approval of an operation: the same request is one row, and what was approved is used once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.core.errors import NotFound
from cc_orchestrator.core.ids import check_id, new_id
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import candidates
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.policy.approvals import (
    DEFAULT_SECONDS,
    Approval,
    Status,
    find_open,
    hash_request,
    read_approvals,
    status_of,
)
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.wait import Look
from cc_orchestrator.store.approvalfile import change, read_rows
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.store.sealed import Record


def target_of(workspace: Workspace, run_id: str) -> str:
    """The tree of a run's result now; "" without a run, or while it has none."""
    path = workspace.run(run_id) if run_id else ""
    return str(part(read_run(RunDir(path)).state, "snapshot").get("tree") or "") if path and os.path.isdir(path) else ""


def status_now(workspace: Workspace, entry: Approval, now: float) -> Status:
    """What an approval is worth now, its target looked at."""
    return status_of(entry, now, target_of(workspace, entry.run_id) if entry.target else None)


def open_request(
    workspace: Workspace, request: Mapping[str, Any], *, what: str, risk: str, by: str, now: float,
    seconds: float = DEFAULT_SECONDS, **more: Any,
) -> tuple[str, bool]:  # fmt: skip
    """The id of the approval, and whether the same request was open already. `more`: target, run_id, task_id, chain.

    What carries a chain is a decision of its own and never the same as another. Raises OSError, Busy, Corrupt.
    """
    approval_id = new_id("apr", now=now)
    row: dict[str, Any] = drop_empty({
        "approval_id": approval_id, "request_hash": hash_request(request), "what": line(what, 1_000), "risk": risk, "by": by, "ts": now,
        "expires": now + seconds, **more,
    })  # fmt: skip
    known: list[str] = []

    def add(rows: list[Record]) -> dict[str, Any] | None:
        same = find_open(read_approvals(rows), row["request_hash"], now) if "chain" not in row else None
        if same is not None:
            known.append(same.approval_id)
        return None if known else row

    change(workspace, add)
    return (known[0], True) if known else (approval_id, False)


def use_approved(workspace: Workspace, request: Mapping[str, Any], now: float, target: str) -> Approval | None:
    """What a person said to this very request: an approval, used up by this; or a denial that still stands; else None."""
    wanted, found = hash_request(request), list[Approval]()

    def use(rows: list[Record]) -> dict[str, Any] | None:
        same = [
            entry for entry in read_approvals(rows).values() if entry.request_hash == wanted and now < entry.expires
        ]
        told = {status_of(entry, now, target): entry for entry in same}
        denied, allowed = told.get("denied"), told.get("allowed")
        if denied is not None or allowed is None:
            found.extend(entry for entry in (denied,) if entry is not None)
            return None
        found.append(allowed)
        return {"approval_id": allowed.approval_id, "used": True, "ts": now}

    if os.path.exists(workspace.approvals):
        change(workspace, use)
    return found[0] if found else None


def locate_approval(ctx: Context, approval_id: str) -> WatchedApproval:
    """The approval, in whichever known workspace it is. InvalidRequest for no id, NotFound when nobody knows it."""
    check_id(approval_id, "apr", hint='cc_approvals {"action":"list"}')
    for workspace in candidates(ctx, None):
        if approval_id in read_approvals(read_rows(workspace)):
            return WatchedApproval(workspace, approval_id)
    raise NotFound(
        f"there is no approval {approval_id} in any known workspace", hint='cc_approvals {"action":"list"} shows those of this one'
    )  # fmt: skip


class WatchedApproval:
    """One approval for `runs.wait`: wakes when it is decided, used, stale or over. It rings no bell: it is looked at."""

    def __init__(self, workspace: Workspace, approval_id: str) -> None:
        self.id = approval_id
        self.bell_path = ""
        self._workspace = workspace

    def look(self, now: float) -> Look:
        """The approval now."""
        entry = read_approvals(read_rows(self._workspace))[self.id]
        status = status_now(self._workspace, entry, now)
        return Look(status, line(entry.what, 200), None if status == "open" else "finished")
