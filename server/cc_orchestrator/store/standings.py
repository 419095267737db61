"""Who has which trust in a workspace: sealed lines in `trust/standings.ndjson`, append only, one writer at a time. The newest counts.

One line: `{ts, subject, level, by, channel, reason, hash}`; `subject` is `workspace` or an agent profile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.atomic import sync_folder
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record, seal, unseal


def append_standing(workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Record one change of trust, durably. Raises OSError, Busy."""
    path = workspace.standings
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with Exclusive(path + ".lock"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n" if hasattr(os, "pread") else False
            os.write(fd, (b"\n" if torn else b"") + seal(row) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_folder(os.path.dirname(path))


def read_standings(workspace: Workspace) -> list[Record]:
    """All changes, oldest first. Corrupt when a whole line is not what was written: then nobody's trust is known."""
    try:
        with open(workspace.standings, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    rows: list[Record] = []
    whole = data[: data.rfind(b"\n") + 1]
    for number, line in enumerate(whole.splitlines(), 1):
        record = unseal(line) if line else None
        if record is None and line:
            raise Corrupt(
                f"line {number} of {workspace.standings} is not what was written",
                hint='cc_trust {"action":"lower"} cannot mend it: look who wrote it, then move the file away',
            )
        if record is not None:
            rows.append(record)
    return rows
