"""A merge tried without a checkout, and a branch moved only if nobody else moved it. Never resets, stashes or pushes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from cc_orchestrator.core.errors import Conflict, NotFound
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.worktree import is_clean


class Merged(NamedTuple):
    """A clean merge: `commit` is `result` itself for a fast-forward, or a merge commit of both; `tree` is its tree."""

    commit: str
    tree: str
    fast_forward: bool


class Conflicts(NamedTuple):
    """The merge is not clean; the files."""

    paths: list[str]


def merge_candidate(git: Git, target: str, result: str, message: str) -> Merged | Conflicts:
    """Merge two commits in the object database alone. Raises GitError."""
    if git.try_run("merge-base", "--is-ancestor", target, result)[0] == 0:
        return Merged(result, git.text("rev-parse", f"{result}^{{tree}}"), True)
    status, out, err = git.try_run(
        "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", target, result, timeout=60.0
    )
    fields = out.decode("utf-8", "replace").split("\0")
    if status == 1:
        return Conflicts([name for name in fields[1:] if name])
    if status:
        raise GitError(("merge-tree",), status, err)
    tree = fields[0].strip()
    commit = git.text("commit-tree", tree, "-p", target, "-p", result, "-m", message)
    return Merged(commit, tree, False)


def branch_commit(git: Git, branch: str) -> str:
    """The commit of a local branch; NotFound when there is none of that name."""
    if git.try_run("check-ref-format", "--branch", branch)[0] != 0:
        raise NotFound(f"{branch[:80]!a} is not a branch name", hint="name a local branch")
    status, out, _err = git.try_run("rev-parse", "--verify", "-q", f"refs/heads/{branch}^{{commit}}")
    if status:
        raise NotFound(f"there is no local branch {branch[:80]!a}", hint="git branch lists them")
    return out.decode("ascii", "replace").strip()


def checked_out_at(git: Git, branch: str) -> str | None:
    """The worktree in which a branch is checked out, or None."""
    path = None
    for row in git.run("worktree", "list", "--porcelain", "-z").decode("utf-8", "replace").split("\0"):
        if row.startswith("worktree "):
            path = row[9:]
        elif row == f"branch refs/heads/{branch}":
            return path
    return None


def advance_branch(git: Git, branch: str, old: str, new: str, *, env: Mapping[str, str] | None = None) -> None:
    """Move a branch from `old` to its descendant `new`. Conflict when it moved meanwhile or its checkout is not clean.

    `env` is added to the environment of the git that moves it, so that it can be found when its caller dies.
    """
    place = checked_out_at(git, branch)
    if place is None or not os.path.isdir(place):
        status, _out, err = git.try_run(
            "update-ref", "-m", "cc-orchestrator: deliver", f"refs/heads/{branch}", new, old, env=env
        )
        if status:
            raise Conflict(f"{branch} moved away from {old[:12]} meanwhile: {err.strip()[:200]}", hint="deliver again")
        return
    if not is_clean(place):
        raise Conflict(
            f"{branch} is checked out in {place}, which has uncommitted changes",
            hint="commit or move them, then deliver again",
        )
    here = Git(place, as_orchestrator=True, env=env)
    if here.text("rev-parse", "HEAD") != old:
        raise Conflict(f"{branch} moved away from {old[:12]} meanwhile", hint="deliver again")
    # Refuses whatever it would have to overwrite; files that git ignores are only safe with the second flag.
    status, _out, err = here.try_run("merge", "--ff-only", "--no-overwrite-ignore", "--quiet", new, timeout=300.0)
    if status:
        raise Conflict(
            f"{place} cannot take the result: {err.strip()[:300]}", hint="look at that checkout, then deliver again"
        )
