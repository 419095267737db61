"""Whether a branch may be delivered to now."""

from __future__ import annotations

import os

from cc_orchestrator.core.errors import Conflict, InvalidRequest
from cc_orchestrator.host.candidate import branch_commit
from cc_orchestrator.host.git import Git
from cc_orchestrator.host.worktree import branch_place, has_changes
from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace


def check_target_in_use(workspace: Workspace, git: Git, target: str) -> str:
    """The same for a caller that does not serve the branch: while its process moves it, its checkout is half updated."""
    try:
        return check_target(workspace, git, target)
    except Conflict:
        if lock.is_held(workspace.branch_lock(target)):
            # In its turn it is looked at again.
            return branch_commit(git, target)
    # It was moved just now, or somebody else's changes are in the way.
    return check_target(workspace, git, target)


def check_target(workspace: Workspace, git: Git, target: str) -> str:
    """The target's commit now. Raises NotFound, InvalidRequest, Conflict."""
    if target.startswith(("refs/", "cc/")):
        raise InvalidRequest(
            f"{target[:80]!a} is no target: a local branch of yours is expected, by its short name, not a run's own",
            hint='target="main"',
        )
    before = branch_commit(git, target)
    place = branch_place(git, target)
    if place is not None and os.path.isdir(place):
        if os.path.realpath(place).startswith(os.path.realpath(workspace.folder) + os.sep):
            raise Conflict(f"{target} is checked out by a run in {place}", hint="deliver to another branch")
        if has_changes(place):
            raise Conflict(
                f"{target} is checked out in {place}, which has uncommitted changes; nothing was changed",
                hint="commit or move them, then deliver again; or deliver to another branch",
            )
    return before
