"""Does a worktree hold exactly a tree? Compared with an index of our own, so that no flag in the worker's hides anything."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cc_orchestrator.host.git import Git
from cc_orchestrator.verify.diff import sealed_git

MAX_IGNORED = 20_000
_SECONDS = 120.0


@dataclass(frozen=True)
class Drift:
    """Tracked paths that differ from the tree, and untracked ones that git does not ignore."""

    changed: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()


def compare_worktree(worktree: str, tree: str, scratch: str) -> Drift:
    """How `worktree` differs from `tree`. `scratch` is a folder for the index. Raises GitError, Unavailable."""
    index = os.path.join(scratch, "index")
    git = sealed_git(worktree, GIT_INDEX_FILE=index)
    try:
        git.run("read-tree", tree, timeout=_SECONDS)
        git.try_run("update-index", "-q", "--refresh", "--ignore-submodules", timeout=_SECONDS)
        changed = _paths(git, "diff-files", "--name-only", "-z", "--ignore-submodules=all", "--no-ext-diff")
        untracked = _paths(git, "ls-files", "--others", "--exclude-standard", "-z")
    finally:
        try:
            os.unlink(index)
        except OSError:
            pass
    return Drift(changed, untracked)


def list_ignored(worktree: str) -> tuple[tuple[str, ...], bool]:
    """Files that are there though git ignores them, and whether the list is complete."""
    paths = _paths(sealed_git(worktree), "ls-files", "--others", "--ignored", "--exclude-standard", "-z")
    return paths[:MAX_IGNORED], len(paths) <= MAX_IGNORED


def _paths(git: Git, *args: str) -> tuple[str, ...]:
    out = git.run(*args, timeout=_SECONDS)
    return tuple(path.decode("utf-8", "surrogateescape") for path in out.split(b"\0") if path)
