"""Notes under a git ref: each is a commit without files whose parent is the note before. Index, files and branches are not touched.

A ref under `refs/cc/` is not pushed unless somebody names it.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from cc_orchestrator.host.git import Git, GitError

#: A lock of git's on a ref that is older is of a git that was killed.
STALE_SECONDS = 30.0


class Note(NamedTuple):
    """A commit of the chain and its text."""

    commit: str
    text: str


def add_note(git: Git, ref: str, text: str, *, parent: str | None, now: float) -> str:
    """Put a note on top of `parent`, which the ref must name now (None: there is no such ref); its commit. Raises GitError."""
    tree = f"{parent}^{{tree}}" if parent else git.run("mktree", input=b"").decode("ascii", "replace").strip()
    when = f"{int(now)} +0000"
    above = ("-p", parent) if parent is not None else ()
    commit = git.text(
        "commit-tree", tree, *above, "-m", text, env={"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    )
    old = parent if parent is not None else "0" * len(commit)
    argv = ("update-ref", "--no-deref", ref, commit, old)
    status, _out, err = git.try_run(*argv)
    if status and ".lock" in err and _remove_stale_lock(git, ref, now):
        status, _out, err = git.try_run(*argv)
    if status:
        raise GitError(argv, status, err)
    return commit


def tip(git: Git, ref: str) -> str | None:
    """The commit that the ref names, None without one. Raises GitError, Unavailable."""
    status, out, err = git.try_run("rev-parse", "--verify", "-q", f"{ref}^{{commit}}")
    if status > 1:
        raise GitError(("rev-parse", ref), status, err)
    return out.decode("ascii", "replace").strip() or None


def read_notes(git: Git, ref: str, limit: int) -> list[Note]:
    """The newest notes first; none without the ref. Raises GitError, Unavailable."""
    if tip(git, ref) is None:
        return []
    out = git.run("log", "-z", f"--max-count={limit}", "--first-parent", "--no-show-signature", "--format=%H%n%B", ref)
    notes: list[Note] = []
    for entry in out.decode("utf-8", "replace").split("\0"):
        commit, _, text = entry.partition("\n")
        if commit:
            notes.append(Note(commit, text))
    return notes


def _remove_stale_lock(git: Git, ref: str, now: float) -> bool:
    path = os.path.join(git.cwd, git.text("rev-parse", "--git-path", f"{ref}.lock"))
    try:
        if now - os.path.getmtime(path) < STALE_SECONDS:
            return False
        os.unlink(path)
    except OSError:
        return False
    return True
