"""A merge tried without a checkout, and a branch moved only if nobody else moved it. Never resets, stashes or pushes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cc_orchestrator.core.errors import Conflict, NotFound
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.worktree import branch_place, has_changes


class Conflicts(NamedTuple):
    """The merge is not clean; the files."""

    paths: list[str]


def merge_trees(git: Git, ours: str, theirs: str) -> str | Conflicts:
    """The tree of a merge of two commits, made in the object database alone. Raises GitError."""
    args = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    status, out, err = git.try_run(*args, timeout=60.0)
    fields = out.decode("utf-8", "replace").split("\0")
    if status == 1:
        return Conflicts(list(dict.fromkeys(name for name in fields[1:] if name)))
    if status:
        raise GitError(("merge-tree",), status, err)
    return fields[0].strip()


def revert_trees(git: Git, tip: str, after: str, before: str) -> str | Conflicts:
    """The tree of `tip` without what lies between the commits `before` and `after`. Raises GitError."""
    # Commits of our own, because git merges from a given base only since 2.40: base = after, one side tip, the other before.
    base = git.text("commit-tree", f"{after}^{{tree}}", "-m", "base")
    ours = git.text("commit-tree", f"{tip}^{{tree}}", "-p", base, "-m", "ours")
    theirs = git.text("commit-tree", f"{before}^{{tree}}", "-p", base, "-m", "theirs")
    return merge_trees(git, ours, theirs)


def commit_tree(git: Git, tree: str, parents: Sequence[str], message: str) -> str:
    """A commit that no ref names yet. Raises GitError."""
    options = [word for parent in parents for word in ("-p", parent)]
    return git.text("commit-tree", tree, *options, "-m", message)


def tree_of(git: Git, commit: str) -> str:
    """The tree of a commit. Raises GitError."""
    return git.text("rev-parse", "--verify", f"{commit}^{{tree}}")


def contains(git: Git, commit: str, part: str) -> bool:
    """Whether `part` is `commit` or an ancestor of it. Raises Unavailable."""
    return git.try_run("merge-base", "--is-ancestor", part, commit)[0] == 0


def adds_one_commit(git: Git, before: str, after: str) -> bool:
    """Whether `after` is a child of `before` with no other parent. Raises GitError."""
    return git.text("rev-list", "--parents", "-n", "1", after).split()[1:] == [before]


def changed_paths(git: Git, before: str, after: str) -> list[str]:
    """Paths that differ between two commits. Raises GitError."""
    raw = git.run("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after, timeout=60.0)
    return [name for name in raw.decode("utf-8", "replace").split("\0") if name]


def branch_commit(git: Git, branch: str) -> str:
    """The commit of a local branch; NotFound when there is none of that name."""
    if git.try_run("check-ref-format", "--branch", branch)[0] != 0:
        raise NotFound(f"{branch[:80]!a} is not a branch name", hint="name a local branch")
    status, out, _err = git.try_run("rev-parse", "--verify", "-q", f"refs/heads/{branch}^{{commit}}")
    if status:
        raise NotFound(f"there is no local branch {branch[:80]!a}", hint="git branch lists them")
    return out.decode("ascii", "replace").strip()


def advance_branch(git: Git, branch: str, old: str, new: str, *, env: Mapping[str, str] | None = None) -> None:
    """Move a branch from `old` to its descendant `new`. Conflict when it moved meanwhile or its checkout has changes.

    `env` is added to the environment of the git that moves it, so that it can be found when its caller dies.
    """
    place = branch_place(git, branch)
    if place is None or not os.path.isdir(place):
        status, _out, err = git.try_run(
            "update-ref", "-m", "cc-orchestrator: deliver", f"refs/heads/{branch}", new, old, env=env
        )
        if status:
            raise Conflict(f"{branch} moved away from {old[:12]} meanwhile: {err.strip()[:200]}", hint="deliver again")
        return
    if has_changes(place):
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
