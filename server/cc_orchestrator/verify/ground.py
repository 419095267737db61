"""The tree that commands are run in: the run's own worktree while it holds exactly the result, else a disposable one of it.

What commands leave in the run's own worktree is taken away again, file by file, so that it does not become part of the next
result; never what somebody else may have put there, never by reset or clean.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import NamedTuple

from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.core.text import line
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.drift import Drift, compare_worktree, list_ignored
from cc_orchestrator.verify.evidence import DEPENDENCIES

CHECKOUT_SECONDS = 300.0


class Ground(NamedTuple):
    """`root` is the tree's top folder; `why` says why it is not the run's own worktree, "" when it is."""

    root: str
    tree: str
    why: str

    @property
    def disposable(self) -> bool:
        """Whether it is removed afterwards."""
        return bool(self.why)


class GroundError(Exception):
    """No tree that holds the result can be had; the text says why."""


def prepare_ground(
    workspace: Workspace, spec: RunSpec, commit: str, tree: str, folder: str, *, mode: str = "auto"
) -> Ground:
    """Find or make the tree; `folder` is the job's. Raises GroundError.

    `mode`: worktree takes the run's own tree while it holds the result; auto does so too, unless files lie there that git
    ignores and that are no dependencies: what passes only beside them is no result; clean always makes a disposable tree.
    """
    try:
        why = "the rules want a clean checkout" if mode == "clean" else _find_obstacle(workspace, spec, tree, folder)
        why = why or (_find_litter(str(spec.worktree)) if mode == "auto" else "")
        if not why:
            return Ground(str(spec.worktree), tree, "")
    except (GitError, CcError, OSError) as error:
        raise GroundError(str(error)) from error
    return make_disposable(str(spec.repository), commit, tree, folder, why)


def make_disposable(repository: str, commit: str, tree: str, folder: str, why: str) -> Ground:
    """A fresh checkout of `commit` below `folder`, compared with its tree. Raises GroundError."""
    root = os.path.join(folder, "tree")
    try:
        git = Git(repository, as_orchestrator=True)
        # All of it, also where the user's own checkout is sparse.
        whole = ("-c", "core.sparseCheckout=false")
        git.run(*whole, "worktree", "add", "--quiet", "--detach", root, commit, timeout=CHECKOUT_SECONDS)
        drift = compare_worktree(root, tree, folder)
    except (GitError, CcError, OSError) as error:
        raise GroundError(str(error)) from error
    if drift.changed or drift.untracked:
        raise GroundError(f"a fresh checkout of {commit[:10]} differs from it: {', '.join(drift.changed[:3])}")
    return Ground(root, tree, why)


def _find_obstacle(workspace: Workspace, spec: RunSpec, tree: str, folder: str) -> str:
    if spec.worktree is None or not os.path.isdir(spec.worktree):
        return "the run's worktree is gone"
    if find_users(workspace, spec):
        return "another run works in the run's worktree"
    try:
        drift = compare_worktree(spec.worktree, tree, folder)
    except (GitError, CcError) as error:
        return f"the run's worktree cannot be compared: {str(error)[:120]}"
    if drift.changed or drift.untracked:
        return "the run's worktree has changed since"
    return ""


def _find_litter(worktree: str) -> str:
    ignored, _complete = list_ignored(worktree)
    own = [path for path in ignored if not any(part in DEPENDENCIES for part in path.split("/"))]
    return (
        f"the run's worktree holds files that git ignores ({line(own[0], 80)}), which are no part of the result"
        if own
        else ""
    )


def find_users(workspace: Workspace, spec: RunSpec, since: float | None = None) -> list[str]:
    """Other runs of the task that are live, or were created after `since` (epoch seconds): they may write in its worktree."""
    try:
        rows = index.select(workspace.index, "task_id = ?", (spec.task_id,), limit=200)
    except Corrupt:
        return ["unknown"]
    found: list[str] = []
    for row in rows:
        run_id = str(row["run_id"])
        if run_id == spec.run_id:
            continue
        newer = since is not None and float(row["created_at"] or 0.0) >= since
        if newer or RunDir(workspace.run(run_id)).is_owned():
            found.append(run_id)
    return found


def compare_ground(ground: Ground, folder: str) -> Drift:
    """What the commands left: tracked files that they changed, files that they made. Raises GroundError."""
    try:
        return compare_worktree(ground.root, ground.tree, folder)
    except (GitError, CcError, OSError) as error:
        raise GroundError(str(error)) from error


def clear_ground(workspace: Workspace, spec: RunSpec, ground: Ground, drift: Drift, since: float) -> None:
    """Take away a disposable tree, or the untracked files that came into the run's own worktree after `since`."""
    if ground.disposable:
        remove_disposable(spec.repository, ground.root)
        return
    if find_users(workspace, spec, since):
        return
    for path in drift.untracked:
        _remove_made(ground.root, path, since)


def _remove_made(root: str, path: str, since: float) -> None:
    full = os.path.join(root, path)
    folder = os.path.dirname(full)
    try:
        # A folder that is a link would lead elsewhere.
        if os.path.realpath(folder) != os.path.join(os.path.realpath(root), os.path.dirname(path)).rstrip(os.sep):
            return
        info = os.lstat(full)
        if info.st_ctime < since or not (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode)):
            return
        os.unlink(full)
        while folder != root:
            os.rmdir(folder)
            folder = os.path.dirname(folder)
    except OSError:
        return


def remove_disposable(repository: str | None, root: str) -> None:
    """Remove a tree of ours and git's memory of it. Quiet: what stays is told by nobody but harms nothing."""
    if not os.path.lexists(root):
        return
    try:
        if repository is not None:
            Git(repository).try_run("worktree", "remove", "--force", "--force", root, timeout=60.0)
        shutil.rmtree(root, ignore_errors=True)
        if repository is not None:
            Git(repository).try_run("worktree", "prune", timeout=60.0)
    except CcError:
        pass
