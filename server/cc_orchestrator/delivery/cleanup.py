"""The worktrees of a workspace: whose they are, what would be lost with them, and taking them away without loss."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import Busy, CcError, Conflict, NotFound, Unavailable
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.host.git import GitError
from cc_orchestrator.host.upkeep import Standing, look_at, measure, salvage, take_away
from cc_orchestrator.host.worktree import Repo, find_repository
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import lent_paths
from cc_orchestrator.store import index
from cc_orchestrator.store.jobdir import live_jobs
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir


class Owned(NamedTuple):
    """One worktree and its owner. `run` is the task's newest run that wrote, None when nobody knows of any."""

    task_id: str
    path: str
    run: RunSpec | None
    status: str
    first_at: float | None
    standing: Standing
    bytes: int
    bytes_complete: bool

    @property
    def live(self) -> bool:
        """Whether its worker is at work."""
        return self.status in LIVE


def list_worktrees(workspace: Workspace) -> list[Owned]:
    """All of them, the newest task first. Raises Unavailable, Corrupt."""
    repo = _repository(workspace)
    try:
        names = sorted((name for name in os.listdir(workspace.worktrees) if is_id(name, "task")), reverse=True)
    except OSError:
        return []
    return [_own(workspace, repo, name) for name in names]


def find_worktree(workspace: Workspace, task_id: str) -> Owned:
    """One. NotFound when the task has none."""
    if not os.path.isdir(workspace.worktree(task_id)):
        raise NotFound(f"{task_id} has no worktree in {workspace.root}", hint='cc_worktree {"action":"list"}')
    return _own(workspace, _repository(workspace), task_id)


def _repository(workspace: Workspace) -> Repo:
    repo = find_repository(workspace.repository) if workspace.repository is not None else None
    if repo is None:
        raise NotFound(f"{workspace.root} is no git repository: it has no worktrees", hint="cc_status {}")
    return repo


def _own(workspace: Workspace, repo: Repo, task_id: str) -> Owned:
    rows = index.select(workspace.index, "task_id = ? and allow_write = 1", (task_id,), limit=200)
    spec: RunSpec | None = None
    status = "unknown"
    for row in rows[:1]:
        run = RunDir(workspace.run(str(row["run_id"])))
        try:
            spec, status = read_spec(run.spec), str(read_run(run).state["status"])
        except (OSError, CcError):
            status = "unknown"
    path = workspace.worktree(task_id)
    first = min((float(row["created_at"] or 0.0) for row in rows), default=None)
    return Owned(task_id, path, spec, status, first, look_at(repo, path, spec.base if spec else None), *measure(path))


class Removed(NamedTuple):
    """What became of it: the branch that keeps what was in it, if any; whether its own branch went too; files not kept."""

    removed: bool
    salvaged_to: str | None
    commit: str | None
    own_branch_removed: bool
    ignored_lost: int


def clean_up(workspace: Workspace, owned: Owned, *, remove: bool, keep: bool) -> Removed:
    """Salvage (`keep`) and `remove`. Conflict when its worker is at work, or when something would be lost. Raises Busy, Unavailable."""
    repo = _repository(workspace)
    _refuse_in_use(workspace, owned)
    standing = owned.standing
    at_risk = standing.kind in ("dirty", "committed")
    if remove and at_risk and not keep:
        raise Conflict(
            f"the worktree of {owned.task_id} is {standing.kind}: {tell_risk(standing)}; nothing was removed",
            hint=f'cc_worktree {{"action":"remove","task_id":"{owned.task_id}","salvage":true}} keeps all of it on a branch cc/salvage/… first',
        )
    name = commit = None
    try:
        if keep and (at_risk or not remove):
            base = owned.run.base if owned.run is not None and owned.run.base else str(standing.head)
            name, taken = salvage(repo, owned.path, owned.task_id, base, lent_paths(owned.run) if owned.run else [])
            commit = taken.commit
        gone = (
            take_away(repo, owned.path, standing, own_branch=owned.run.branch if owned.run else None)
            if remove
            else False
        )
    except (GitError, OSError) as error:
        raise Unavailable(
            f"the worktree of {owned.task_id} could not be taken care of: {error}", hint="cc_doctor"
        ) from error
    return Removed(remove, name, commit, gone, standing.ignored if remove else 0)


def tell_risk(standing: Standing) -> str:
    """What would be lost, in words."""
    if standing.why:
        return standing.why
    if standing.kind == "committed":
        return f"{standing.ahead} commits that only its own branch holds"
    parts = [f"{len(standing.changed)} changed"] if standing.changed else []
    parts += [f"{len(standing.untracked)} untracked"] if standing.untracked else []
    return " and ".join(parts) + " files that are committed nowhere"


def _refuse_in_use(workspace: Workspace, owned: Owned) -> None:
    run_id = owned.run.run_id if owned.run is not None else ""
    if owned.live:
        raise Conflict(
            f"{run_id} is {owned.status} in the worktree of {owned.task_id}",
            hint=f'cc_wait {{"ids":["{run_id}"]}}; or cc_stop it',
        )
    for job in live_jobs(workspace, "ver"):
        if os.path.basename(os.path.dirname(job.path)) == run_id and job.is_owned():
            raise Busy(f"{job.job_id} verifies {run_id} in that worktree", hint=f'cc_wait {{"ids":["{job.job_id}"]}}')


def brief(owned: Owned, now: float) -> dict[str, Any]:
    """A row of a list."""
    standing = owned.standing
    return {
        "task_id": owned.task_id, "class": standing.kind, "run_id": owned.run.run_id if owned.run else None, "run_status": owned.status,
        "branch": standing.branch, "ahead": standing.ahead or None, "changed": len(standing.changed) or None,
        "untracked": len(standing.untracked) or None, "bytes": owned.bytes, "bytes_complete": None if owned.bytes_complete else False,
        "age_seconds": int(now - owned.first_at) if owned.first_at else None,
    }  # fmt: skip
