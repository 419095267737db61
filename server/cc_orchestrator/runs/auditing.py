"""Checks a ledger against its head and against the anchors that git holds. Not in a supervisor: it only makes them."""

from __future__ import annotations

from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.core.text import line
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.refchain import Note, read_notes
from cc_orchestrator.runs.anchoring import REF
from cc_orchestrator.store import anchor as anchored
from cc_orchestrator.store.anchor import Anchor, Anchors, read_note, recall
from cc_orchestrator.store.audit import LedgerReport, check_ledger
from cc_orchestrator.store.paths import Workspace

#: Anchors that a check reads. More are there; the newest one binds all records before it.
LIMIT = 1_000


def read_anchors(workspace: Workspace, folder: str, ref: str) -> Anchors | None:
    """What git holds of the ledger in `folder`; None without git."""
    if workspace.repository is None:
        return None
    recalled: Anchor | None = None
    problems: list[tuple[str, str]] = []
    notes: list[Note] = []
    # What is remembered first: an anchor that is made meanwhile is in the ref, and is no riddle.
    try:
        recalled = recall(folder)
    except Corrupt as error:
        problems.append((anchored.NAME, error.message))
    try:
        notes = read_notes(Git(workspace.repository), ref, LIMIT)
    except (CcError, GitError) as error:
        problems.append((ref, f"cannot be read, so the ledger is not held against it: {line(str(error), 200)}"))
    found = tuple(anchor for note in notes if (anchor := read_note(note.commit, note.text)) is not None)
    return Anchors(ref, found, len(notes) < LIMIT, recalled, tuple(problems))


def check_workspace_ledger(workspace: Workspace) -> LedgerReport:
    """The whole ledger of a workspace, held against its head and against git. Raises Busy, OSError."""
    return check_folder(workspace, workspace.ledger, REF)


def check_folder(workspace: Workspace, folder: str, ref: str) -> LedgerReport:
    """The same for the ledger in `folder`."""
    # The anchors before the records: one that is made meanwhile names a record that the check then finds.
    return check_ledger(folder, read_anchors(workspace, folder, ref))
