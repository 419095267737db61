"""Who has which trust in a workspace: sealed lines in `trust/standings.ndjson`; the newest line of a subject counts.

One line: `{ts, subject, level, by, channel, reason, hash}`; `subject` is `workspace` or an agent profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record
from cc_orchestrator.store.sealedlog import append_sealed, read_sealed


def append_standing(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Record one change of trust, durably. Raises OSError, Busy."""
    append_sealed(workspace.standings, row)


def read_standings(workspace: Workspace) -> list[Record]:
    """All changes, oldest first. Corrupt when a whole line is not what was written: then nobody's trust is known."""
    return read_sealed(workspace.standings)
