"""Anchors the ledger in git: `refs/cc/ledger` is a chain of notes that name its newest record, and what checks it against them.

Made after a run of its own worktree, a verification, a decision and a delivery; the receipt is durable before, so a crash in
between leaves the anchor behind, never ahead. An anchor that cannot be made fails nothing: the next one covers it.
"""

from __future__ import annotations

import os

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.refchain import add_note, tip
from cc_orchestrator.store.anchor import Anchor, make_note, recall, remember
from cc_orchestrator.store.head import read_head
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import Workspace

REF = "refs/cc/ledger"
#: The ledger of open items has a chain of its own: deleted, its blockers would be gone with it.
OPEN_ITEMS_REF = "refs/cc/open-items"
LOCK_SECONDS = 10.0


def anchor_ledger(workspace: Workspace, clock: Clock) -> Anchor | None:
    """Note the newest receipt in git, unless it is noted already; None when that could not be done. Raises nothing of its own."""
    return anchor_folder(workspace, workspace.ledger, REF, clock.now())


def anchor_folder(workspace: Workspace, folder: str, ref: str, now: float) -> Anchor | None:
    """The same for the ledger in `folder`, under a ref of its own; `now` in epoch seconds."""
    if workspace.repository is None or not os.path.isdir(folder):
        return None
    try:
        # Whoever waited here finds that the one before anchored its record too.
        with Exclusive(os.path.join(folder, "anchor.lock"), timeout=LOCK_SECONDS):
            return _anchor(folder, ref, Git(workspace.repository, as_orchestrator=True), now)
    except (OSError, CcError, GitError):
        return None


def _anchor(folder: str, ref: str, git: Git, now: float) -> Anchor | None:
    head = read_head(folder)
    try:
        known = recall(folder)
    except Corrupt:
        known = None
    if head is None or not head.n:
        return None
    if known is not None and (known.n, known.line) == (head.n, head.line):
        return known
    text = make_note(head.n, head.line, now)
    try:
        if known is None:
            raise GitError(("update-ref", ref), 1, "not known")
        commit = add_note(git, ref, text, parent=known.commit, now=now)
    except GitError:
        # Moved, gone or never seen from here: go on from what is there. What was there before stays its ancestor.
        commit = add_note(git, ref, text, parent=tip(git, ref), now=now)
    anchor = Anchor(head.n, head.line, commit)
    remember(folder, anchor)
    return anchor
