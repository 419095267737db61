"""Worktrees for runs that write: made beside the user's checkout, which is never touched. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from cc_orchestrator.core.errors import Conflict
from cc_orchestrator.core.late import load
from cc_orchestrator.host.git import Git

_EXCLUDE = "/.agent-workspace/"
#: The name of our folder in a checkout.
OURS = _EXCLUDE.strip("/")
#: A checkout of a large repository takes its time.
CHECKOUT_SECONDS = 300.0


class Repo(NamedTuple):
    """One repository: the checkout's root, its common git folder, whether it is bare, whether it has a commit."""

    root: str
    git_dir: str
    bare: bool
    has_commit: bool


def find_repository(cwd: str) -> Repo | None:
    """The repository of a folder; None where there is none. Raises Unavailable without git."""
    git = Git(cwd)
    status, out, _err = git.try_run("rev-parse", "--path-format=absolute", "--git-common-dir", "--is-bare-repository")
    if status:
        return None
    rows = out.decode("utf-8", "replace").splitlines()
    bare = rows[1].strip() == "true"
    root = cwd if bare else git.text("rev-parse", "--show-toplevel")
    has_commit = git.try_run("rev-parse", "--verify", "-q", "HEAD^{commit}")[0] == 0
    return Repo(root, rows[0], bare, has_commit)


def exclude_workspace(repo: Repo) -> None:
    """Have git ignore our folder by `info/exclude`, once; no file of the user's is changed. Raises OSError."""
    exclude(repo, _EXCLUDE)


def exclude(repo: Repo, rule: str) -> None:
    """One rule in the repository's `info/exclude`, which counts in all its worktrees. Raises OSError."""
    path = os.path.join(repo.git_dir, "info", "exclude")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except FileNotFoundError:
        text = ""
    if rule not in text.splitlines():
        with open(path, "a", encoding="utf-8") as file:
            file.write(("" if not text or text.endswith("\n") else "\n") + rule + "\n")


def create_worktree(repo: Repo, path: str, branch: str, base: str) -> None:
    """A new worktree at `path` on a new `branch` from commit `base`. Conflict when one of them exists. Raises GitError."""
    if os.path.exists(path):
        raise Conflict(f"the worktree {path} exists already", hint="cc_workspace_status lists worktrees")
    git = Git(repo.root, as_orchestrator=True)
    if git.try_run("show-ref", "--verify", "--quiet", f"refs/heads/{branch}")[0] == 0:
        raise Conflict(f"the branch {branch} exists already", hint="a new task gets a branch of its own")
    git.run("worktree", "add", "--quiet", "-b", branch, path, base, timeout=CHECKOUT_SECONDS)


def restore_worktree(repo: Repo, path: str, branch: str) -> bool:
    """A worktree at `path` on a branch that is there already; False when there is none of that name.

    Conflict when the branch is checked out elsewhere. Raises GitError.
    """
    git = Git(repo.root, as_orchestrator=True)
    if git.try_run("show-ref", "--verify", "--quiet", f"refs/heads/{branch}")[0]:
        return False
    git.try_run("worktree", "prune")
    place = branch_place(git, branch)
    if place is not None:
        raise Conflict(
            f"the branch {branch} is checked out in {place}: two trees cannot share it",
            hint=f"git -C {place} checkout --detach; then repeat the call",
        )
    git.run("worktree", "add", "--quiet", path, branch, timeout=CHECKOUT_SECONDS)
    return True


def branch_place(git: Git, branch: str) -> str | None:
    """The worktree in which a branch is checked out, or None. Raises GitError."""
    path = None
    for row in git.run("worktree", "list", "--porcelain", "-z").decode("utf-8", "surrogateescape").split("\0"):
        if row.startswith("worktree "):
            path = row[9:]
        elif row == f"branch refs/heads/{branch}":
            return path
    return None


def reuse_worktree(repo: Repo, path: str, branch: str) -> None:
    """Check that `path` is a worktree of this repository, for a run that goes on in it. Conflict when it is not."""
    found = find_repository(path)
    if found is None or os.path.realpath(found.git_dir) != os.path.realpath(repo.git_dir):
        raise Conflict(
            f"{path} is no worktree of {repo.root} any more", hint="start a new run instead of resuming this one"
        )
    here = Git(path).try_run("symbolic-ref", "-q", "--short", "HEAD")[1].decode("utf-8", "replace").strip()
    if here and here != branch:
        raise Conflict(f"{path} is on {here}, expected {branch}", hint="start a new run instead of resuming this one")


def remove_stale_locks(path: str, refs: Sequence[str]) -> None:
    """Remove lock files that a killed git left in a worktree of ours and on refs of ours. Only once its processes are dead."""
    status, out, _err = Git(path).try_run("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir")
    if status:
        return
    own, common = out.decode("utf-8", "surrogateescape").splitlines()[:2]
    if os.path.realpath(own) == os.path.realpath(common):
        # The main checkout: its locks are the user's.
        return
    names = [os.path.join(own, name) for name in ("index.lock", "HEAD.lock")]
    for name in [*names, *(os.path.join(common, f"{ref}.lock") for ref in refs)]:
        try:
            os.unlink(name)
        except OSError:
            continue


def drop_worktree(repo: Repo, path: str, branch: str, base: str) -> None:
    """Take back a worktree in which nothing was done, half made or whole, and its branch if it still is `base`."""
    git = Git(repo.root, as_orchestrator=True)
    if git.try_run("worktree", "remove", "--force", "--force", path, timeout=60.0)[0]:
        git.try_run("worktree", "unlock", path)
        load("shutil").rmtree(path, ignore_errors=True)
        git.try_run("worktree", "prune")
    git.try_run("update-ref", "-d", f"refs/heads/{branch}", base)


def is_clean(path: str) -> bool:
    """Whether a worktree has neither changes nor untracked files."""
    return not Git(path).run("status", "--porcelain", "-z", timeout=60.0)


def has_changes(path: str) -> bool:
    """Whether tracked files of a worktree are staged or changed. Untracked ones do not count: no merge overwrites them."""
    return bool(Git(path).run("status", "--porcelain", "-z", "--untracked-files=no", timeout=60.0))


def remove_worktree(repo: Repo, path: str, *, force: bool) -> None:
    """Remove a worktree. Conflict when it has changes and `force` is not set."""
    if not force and not is_clean(path):
        raise Conflict(f"{path} has changes that are committed nowhere", hint="keep it, or remove it with force")
    Git(repo.root).run("worktree", "remove", "--force", "--force", path, timeout=60.0)
