"""Grants of secrets: sealed lines in `trust/grants.ndjson`, append only, one writer at a time. Names only, never a value.

One line: `{ts, grant_id, name, to, expires, uses?, task_id?, by, channel, reason, hash}`, or `{ts, grant_id, revoked: true, by, …}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record
from cc_orchestrator.store.sealedlog import append_sealed, read_sealed


def append_grant(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Record a grant, a use of one, or its end, durably. Raises OSError, Busy."""
    append_sealed(workspace.grants, row)


def read_grants(workspace: Workspace) -> list[Record]:
    """All rows, oldest first. Corrupt when a whole line is not what was written: then nothing is granted."""
    return read_sealed(workspace.grants)
