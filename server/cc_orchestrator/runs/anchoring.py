"""Anchors the ledger in git: `refs/cc/ledger` is a chain of notes that name its newest record, and what checks it against them.

Made after a run of its own worktree, a verification, a decision and a delivery; the receipt is durable before, so a crash in
between leaves the anchor behind, never ahead. An anchor that cannot be made fails nothing: the next one covers it.
"""

from __future__ import annotations

import os

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.core.text import line
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.refchain import Note, add_note, read_notes, tip
from cc_orchestrator.store import anchor as anchored
from cc_orchestrator.store.anchor import Anchor, Anchors, make_note, read_note, recall, remember
from cc_orchestrator.store.audit import LedgerReport, check_ledger
from cc_orchestrator.store.head import read_head
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import Workspace

REF = "refs/cc/ledger"
#: Anchors that a check reads. More are there; the newest one binds all records before it.
LIMIT = 1_000
LOCK_SECONDS = 10.0


def anchor_ledger(workspace: Workspace, clock: Clock) -> Anchor | None:
    """Note the newest record in git, unless it is noted already; None when that could not be done. Raises nothing of its own."""
    if workspace.repository is None or not os.path.isdir(workspace.ledger):
        return None
    try:
        # Whoever waited here finds that the one before anchored its record too.
        with Exclusive(os.path.join(workspace.ledger, "anchor.lock"), timeout=LOCK_SECONDS):
            return _anchor(workspace.ledger, Git(workspace.repository, as_orchestrator=True), clock)
    except (OSError, CcError, GitError):
        return None


def _anchor(folder: str, git: Git, clock: Clock) -> Anchor | None:
    head = read_head(folder)
    try:
        known = recall(folder)
    except Corrupt:
        known = None
    if head is None or not head.n:
        return None
    if known is not None and (known.n, known.line) == (head.n, head.line):
        return known
    text = make_note(head.n, head.line, clock.now())
    try:
        if known is None:
            raise GitError(("update-ref", REF), 1, "not known")
        commit = add_note(git, REF, text, parent=known.commit, now=clock.now())
    except GitError:
        # Moved, gone or never seen from here: go on from what is there. What was there before stays its ancestor.
        commit = add_note(git, REF, text, parent=tip(git, REF), now=clock.now())
    anchor = Anchor(head.n, head.line, commit)
    remember(folder, anchor)
    return anchor


def read_anchors(workspace: Workspace) -> Anchors | None:
    """What git holds of the ledger; None without git."""
    if workspace.repository is None:
        return None
    recalled: Anchor | None = None
    problems: list[tuple[str, str]] = []
    notes: list[Note] = []
    # What is remembered first: an anchor that is made meanwhile is in the ref, and is no riddle.
    try:
        recalled = recall(workspace.ledger)
    except Corrupt as error:
        problems.append((anchored.NAME, error.message))
    try:
        notes = read_notes(Git(workspace.repository), REF, LIMIT)
    except (CcError, GitError) as error:
        problems.append((REF, f"cannot be read, so the ledger is not held against it: {line(str(error), 200)}"))
    found = tuple(anchor for note in notes if (anchor := read_note(note.commit, note.text)) is not None)
    return Anchors(REF, found, len(notes) < LIMIT, recalled, tuple(problems))


def check_workspace_ledger(workspace: Workspace) -> LedgerReport:
    """The whole ledger of a workspace, held against its head and against git. Raises Busy, OSError."""
    # The anchors before the records: one that is made meanwhile names a record that the check then finds.
    return check_ledger(workspace.ledger, read_anchors(workspace))
