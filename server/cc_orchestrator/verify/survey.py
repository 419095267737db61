"""The evidence of a verification as plain values: what was looked at, kept with the result. Pure."""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.diff import GITLINK, LINK
from cc_orchestrator.verify.evidence import Evidence

MAX_FILES = 300


def summarize_evidence(evidence: Evidence) -> dict[str, Any]:
    """`{commits, files: [{path, status, blob, mode, added, deleted, …}], counts, provenance, problems}`; paths are worker text."""
    changes = evidence.changes
    rows: list[dict[str, Any]] = []
    for change in changes[:MAX_FILES]:
        row: dict[str, Any] = {
            "path": line(change.path, 300), "status": change.status, "blob": change.blob or change.old_blob, "mode": change.mode,
            "added": change.added, "deleted": change.deleted,
        }  # fmt: skip
        if change.old_path is not None:
            row["from"] = line(change.old_path, 300)
        if change.binary:
            row["binary"] = True
        if change.old_mode and change.mode != change.old_mode and change.status != "D":
            row["old_mode"] = change.old_mode
        if change.path in evidence.links:
            row["link_to"] = line(evidence.links[change.path], 300)
        rows.append(row)
    counts = {
        "files": len(changes), "added": sum(change.added for change in changes), "deleted": sum(change.deleted for change in changes),
        "renames": sum(change.status == "R" for change in changes), "modes": sum(_moved_mode(change.old_mode, change.mode) for change in changes),
        "links": sum(change.mode == LINK for change in changes), "submodules": sum(change.mode == GITLINK for change in changes),
        "binary": sum(change.binary for change in changes),
    }  # fmt: skip
    dirty = len(evidence.uncommitted)
    label = (
        "NO_REPO"
        if evidence.spec.repository is None
        else "CLEAN"
        if not dirty
        else "DIRTY_LOW"
        if dirty <= 20
        else "DIRTY_HIGH"
    )
    return {
        "commits": [name for name, _text in evidence.history], "files": rows, "truncated": len(changes) > MAX_FILES, "counts": counts,
        "provenance": {
            "label": label, "uncommitted": [line(path, 300) for path in evidence.uncommitted[:50]], "count": dirty,
            "in_worktree": evidence.spec.worktree is not None,
        },
        "ignored": len(evidence.ignored), "problems": {name: line(why, 300) for name, why in evidence.problems.items()},
    }  # fmt: skip


def _moved_mode(old: str, new: str) -> bool:
    return bool(old) and bool(new) and old != new
