"""Flags in an index by which git is told not to look at files: `assume-unchanged`, `skip-worktree`. What they hide, and how it is seen."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from cc_orchestrator.core.late import load
from cc_orchestrator.host.git import Git
from cc_orchestrator.host.scratch import ScratchFolder

_SECONDS = 120.0


class Veil(NamedTuple):
    """`hidden` are paths that differ from the index and that flags kept from being seen; `absent` those left out by a sparse checkout."""

    hidden: list[str]
    absent: list[bytes]


def lift_veil(git: Git, env: Mapping[str, str]) -> Veil:
    """Clear the flags in the index that `env` names, a private copy. Raises GitError, Unavailable.

    A file that is not there and is marked `skip-worktree` stays marked where the checkout is sparse: it was left out, not deleted.
    """
    rows = git.run("ls-files", "-v", "-z", env=env, timeout=_SECONDS).split(b"\0")
    flagged = [row for row in rows if row and (row[:1].islower() or row[:1] == b"S")]
    if not flagged:
        return Veil([], [])
    sparse = git.try_run("config", "--type=bool", "core.sparseCheckout")[1].strip() == b"true"
    root = os.fsencode(git.cwd)
    skipped = [row[2:] for row in flagged if row[:1] in b"sS"]
    absent = [path for path in skipped if sparse and not os.path.lexists(os.path.join(root, path))]
    left_out = set(absent)
    _mark(git, env, "--no-assume-unchanged", [row[2:] for row in flagged if row[:1].islower()])
    _mark(git, env, "--no-skip-worktree", [path for path in skipped if path not in left_out])
    seen = {row[2:] for row in flagged} - left_out
    if not seen:
        return Veil([], absent)
    git.try_run("update-index", "-q", "--refresh", "--ignore-submodules", env=env, timeout=_SECONDS)
    differ = git.run(
        "diff-files", "--name-only", "-z", "--ignore-submodules=all", "--no-ext-diff", env=env, timeout=_SECONDS
    )
    hidden = sorted(path for path in differ.split(b"\0") if path in seen)
    return Veil([path.decode("utf-8", "replace") for path in hidden], absent)


def leave_out(git: Git, absent: list[bytes]) -> None:
    """Mark them in the worktree's own index as left out. Raises GitError, Unavailable."""
    _mark(git, {}, "--skip-worktree", absent)


def _mark(git: Git, env: Mapping[str, str], flag: str, paths: list[bytes]) -> None:
    if paths:
        git.run("update-index", flag, "-z", "--stdin", input=b"\0".join(paths) + b"\0", env=env, timeout=_SECONDS)


def find_hidden(git: Git) -> list[str]:
    """Paths of a worktree that differ from its index unseen; the index stays as it is. Raises GitError, Unavailable, OSError."""
    index = git.text("rev-parse", "--path-format=absolute", "--git-path", "index")
    if not os.path.exists(index):
        return []
    with ScratchFolder(os.path.dirname(index), "cc-index-") as folder:
        private = os.path.join(folder, "index")
        load("shutil").copy2(index, private)
        return lift_veil(git, {"GIT_INDEX_FILE": private}).hidden
