"""Looks at a worktree of ours: what would be lost with it, how big it is. And takes it away, or what is in it to a branch first."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

from cc_orchestrator.core.errors import CcError, Conflict
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.indexflags import find_hidden
from cc_orchestrator.host.snapshot import Snapshot, snapshot
from cc_orchestrator.host.worktree import Repo

Class = Literal["clean", "pushed", "committed", "dirty", "missing"]
SALVAGE = "cc/salvage/"
MAX_COUNTED = 20_000


class Standing(NamedTuple):
    """One worktree. `clean`: a branch of the user's holds all of it; `pushed`: a remote does; `committed`: only its own branch does;

    `dirty`: it holds what is committed nowhere, or it cannot be told. `changed` and `untracked` are files, `ahead` commits.
    """

    kind: Class
    head: str | None = None
    branch: str | None = None
    ahead: int = 0
    changed: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    ignored: int = 0
    why: str = ""


def look_at(repo: Repo, path: str, base: str | None) -> Standing:
    """Its standing now. Raises Unavailable (git is missing)."""
    if not os.path.isdir(path):
        return Standing("missing")
    git = Git(path)
    try:
        head = git.text("rev-parse", "--verify", "HEAD^{commit}")
        out = git.run(
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=all",
            "--ignored=traditional",
            "--no-renames",
            timeout=60.0,
        )
        hidden = find_hidden(git)
        ahead = int(git.text("rev-list", "--count", f"{base}..{head}")) if base else 0
    except (GitError, CcError, OSError, ValueError) as error:
        return Standing("dirty", why=f"it cannot be told: {str(error)[:200]}")
    branch = git.try_run("symbolic-ref", "-q", "--short", "HEAD")[1].decode("utf-8", "replace").strip() or None
    rows = [row for row in out.decode("utf-8", "replace").split("\0") if len(row) > 3]
    untracked = tuple(row[3:] for row in rows if row[:2] == "??")
    ignored = sum(row[:2] == "!!" for row in rows)
    changed = tuple(dict.fromkeys([*(row[3:] for row in rows if row[:2] not in ("??", "!!")), *hidden]))
    kind: Class = "dirty" if changed or untracked else _find_holder(Git(repo.root), head)
    return Standing(kind, head, branch, ahead, changed, untracked, ignored)


def _find_holder(git: Git, head: str) -> Class:
    """Who holds a commit besides the worktree's own branch."""
    rows = git.try_run("for-each-ref", "--format=%(refname)", "--contains", head, "refs/heads", "refs/remotes")[1]
    refs = rows.decode("utf-8", "replace").split()
    if any(ref.startswith("refs/heads/") and not ref.startswith("refs/heads/cc/") for ref in refs):
        return "clean"
    return "pushed" if any(ref.startswith("refs/remotes/") for ref in refs) else "committed"


def measure(path: str) -> tuple[int, bool]:
    """Bytes below a folder, links not followed; False when there are too many files to count them all."""
    size = count = 0
    for folder, _names, files in os.walk(path):
        for name in files:
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
        count += len(files)
        if count > MAX_COUNTED:
            return size, False
    return size, True


def salvage(repo: Repo, path: str, task_id: str, base: str, lent: Sequence[str]) -> tuple[str, Snapshot]:
    """Keep everything that git does not ignore, untracked files too, on a new branch `cc/salvage/…`; its name.

    The worktree, its branch and its index stay as they are. Conflict when files could not be taken. Raises GitError, OSError.
    """
    git = Git(repo.root)
    name = _free_name(git, f"{SALVAGE}{task_id}")
    message = f"Salvaged from the worktree of {task_id}\n\nCC-Task: {task_id}\n"
    taken = snapshot(path, base=base, ref=f"refs/heads/{name}", message=message, commit_on_branch=False, exclude=lent)
    if taken.incomplete:
        raise Conflict(
            f"not all of {path} could be salvaged to {name}: {taken.incomplete}", hint="look at these files yourself"
        )
    return name, taken


def _free_name(git: Git, wanted: str) -> str:
    name, number = wanted, 1
    while git.try_run("show-ref", "--verify", "--quiet", f"refs/heads/{name}")[0] == 0:
        number += 1
        name = f"{wanted}-{number}"
    return name


def take_away(repo: Repo, path: str, standing: Standing, *, own_branch: str | None) -> bool:
    """Remove a worktree; whether its own branch went with it (only a clean one's, and only if it has not moved). Raises GitError."""
    git = Git(repo.root, as_orchestrator=True)
    if os.path.isdir(path):
        git.run("worktree", "remove", "--force", "--force", path, timeout=120.0)
    git.run("worktree", "prune", timeout=60.0)
    if standing.kind != "clean" or own_branch is None or standing.branch != own_branch:
        return False
    return git.try_run("update-ref", "-d", f"refs/heads/{own_branch}", str(standing.head))[0] == 0
