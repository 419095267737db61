"""Approvals on disk: sealed lines in `approvals/approvals.ndjson`, append only, one writer at a time.

Lines: a request `{approval_id, request_hash, what, risk, target, by, ts, expires, run_id?, task_id?, chain?}`, a decision
`{approval_id, decision, by, channel, ts}`, `{approval_id, used, ts, run_id}`, `{approval_id, revoked, by, ts}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record
from cc_orchestrator.store.sealedlog import append_sealed, read_sealed


def read_rows(workspace: Workspace) -> list[Record]:
    """All lines, oldest first. Corrupt when one is not what was written: then nothing is approved."""
    return read_sealed(workspace.approvals)


def change(workspace: Workspace, decide: Callable[[list[Record]], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Read, decide and append under one lock, so that two deciders see each other. Raises what `decide` raises, OSError, Busy."""
    with Exclusive(workspace.approvals_lock):
        row = decide(read_rows(workspace))
        if row is not None:
            append_sealed(workspace.approvals, row)
        return row
