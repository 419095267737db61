"""Where a run works, and what it leaves: a worktree of its own for a write run, the caller's folder for a read-only one.

The result of a write run is a commit under `refs/cc/`. The user's branch, index and files are never touched; a fence (a
digest of the user's checkout) taken before and after shows whether they changed meanwhile.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import line
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.lending import Lent, find_included, find_missing, lend
from cc_orchestrator.host.sandbox import at_least
from cc_orchestrator.host.sandbox_git import bring_branch, mend_worktree
from cc_orchestrator.host.snapshot import Fence, Snapshot, fence, snapshot
from cc_orchestrator.host.worktree import (
    Repo,
    create_worktree,
    drop_worktree,
    exclude_workspace,
    find_repository,
    remove_stale_locks,
    restore_worktree,
    reuse_worktree,
)
from cc_orchestrator.runs.spec import RunSpec, Setup
from cc_orchestrator.store import atomic
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

MAX_FILES = 200


class Place(NamedTuple):
    """The worker's folder, and the fence of the user's checkout (None without git).

    `fresh`: its worktree was made just now; `lent` is what was lent to it.
    """

    cwd: str
    fence: Fence | None
    fresh: bool = False
    lent: Lent = Lent([], [], [])


class TreeError(Exception):
    """The worktree could not be made; the text says why."""


def result_ref(run_id: str) -> str:
    """The ref that keeps a run's result."""
    return f"refs/cc/runs/{run_id}"


def prepare_place(spec: RunSpec) -> Place:
    """Make or find the folder. Raises TreeError."""
    try:
        if spec.repository is None:
            return Place(spec.cwd, None)
        before = fence(spec.checkout or spec.repository)
        if not spec.allow_write:
            return Place(spec.cwd, before)
        assert spec.worktree is not None
        assert spec.branch is not None
        assert spec.base is not None
        repo = find_repository(spec.repository)
        if repo is None:
            raise TreeError(f"{spec.repository} is no git repository any more")
        exclude_workspace(repo)
        fresh = not os.path.isdir(spec.worktree)
        lent = _make_tree(spec, repo) if fresh else Lent([], [], [])
        if not fresh:
            reuse_worktree(repo, spec.worktree, spec.branch)
        cwd = os.path.join(spec.worktree, spec.subfolder)
        # A subfolder that exists only untracked in the user's checkout is not in the tree.
        os.makedirs(cwd, exist_ok=True)
        return Place(cwd, before, fresh, lent)
    except (GitError, CcError, OSError) as error:
        raise TreeError(str(error)) from error


def _make_tree(spec: RunSpec, repo: Repo) -> Lent:
    """A new worktree (a follow-up's on the branch that it goes on with) and what is lent to it."""
    worktree, branch = str(spec.worktree), str(spec.branch)
    os.makedirs(os.path.dirname(worktree), exist_ok=True)
    if spec.parent_run_id is None or not restore_worktree(repo, worktree, branch):
        create_worktree(repo, worktree, branch, str(spec.base))
    lent = lend(repo, spec.checkout or repo.root, worktree, links=spec.setup.links, grants=spec.setup.grants)
    if lent.paths:
        workspace = Workspace(spec.workspace_root, spec.repository)
        atomic.write_json(workspace.lent(spec.task_id), {"paths": lent.paths})
    return lent


def lent_paths(spec: RunSpec) -> list[str]:
    """What lies in the task's worktree and is not the worker's."""
    record = atomic.read_json(Workspace(spec.workspace_root, spec.repository).lent(spec.task_id)) or {}
    paths: list[Any] = record.get("paths") or []
    return [path for path in paths if isinstance(path, str)]


def take_result(spec: RunSpec, *, commits: bool) -> dict[str, Any]:
    """Snapshot a write run's tree as its result commit: the data of `run.snapshot`. Raises TreeError.

    `commits` false: the CLI's sandbox cannot commit, so the snapshot becomes the branch's commit.
    """
    assert spec.worktree is not None
    assert spec.base is not None
    message = f"Result of {spec.run_id}\n\nCC-Run: {spec.run_id}\nCC-Task: {spec.task_id}\n"
    try:
        problem = _bring_commits(spec)
        remove_stale_locks(spec.worktree, (result_ref(spec.run_id), f"refs/heads/{spec.branch}"))
        taken = snapshot(
            spec.worktree,
            base=spec.base,
            ref=result_ref(spec.run_id),
            message=message,
            commit_on_branch=not commits,
            exclude=lent_paths(spec),
        )
    except (GitError, CcError, OSError) as error:
        raise TreeError(str(error)) from error
    return {**_as_data(spec, taken), "incomplete": taken.incomplete or problem}


def _bring_commits(spec: RunSpec) -> str | None:
    """In a sandbox the worker commits on a private copy of its branch. Why its commits could not be taken over, if so.

    Its files are in the tree all the same, and so in the result.
    """
    if not at_least(spec.sandbox, "fs") or spec.branch is None or spec.worktree is None:
        return None
    run = RunDir(Workspace(spec.workspace_root, spec.repository).run(spec.run_id))
    try:
        bring_branch(spec.worktree, spec.branch, run.private)
    except (GitError, CcError, OSError) as error:
        mend_worktree(spec.worktree, spec.branch)
        return f"the worker's commits could not be taken over: {line(str(error), 200)}"
    return None


def drop_place(spec: RunSpec) -> None:
    """Take back the worktree of a run whose worker never started. One that was there before stays. Raises TreeError."""
    if spec.repository is None or spec.worktree is None or spec.parent_run_id is not None:
        return
    assert spec.branch is not None
    assert spec.base is not None
    try:
        repo = find_repository(spec.repository)
        if repo is not None:
            drop_worktree(repo, spec.worktree, spec.branch, spec.base)
    except (GitError, CcError, OSError) as error:
        raise TreeError(str(error)) from error


def _as_data(spec: RunSpec, taken: Snapshot) -> dict[str, Any]:
    files = [entry._asdict() for entry in taken.files[:MAX_FILES]]
    return {
        "ref": result_ref(spec.run_id), "commit": taken.commit, "tree": taken.tree, "base": taken.base, "head": taken.head,
        "committed": taken.committed, "uncommitted": taken.uncommitted, "file_count": len(taken.files), "files": files,
        "added": sum(entry.added or 0 for entry in taken.files), "deleted": sum(entry.deleted or 0 for entry in taken.files),
        "incomplete": taken.incomplete, "ignored": list(taken.ignored[:MAX_FILES]), "branch": spec.branch,
        **({"hidden": list(taken.hidden[:MAX_FILES])} if taken.hidden else {}), **({"absent": taken.absent} if taken.absent else {}),
    }  # fmt: skip


def compare_fence(spec: RunSpec, before: Fence | None) -> dict[str, Any] | None:
    """`{changed: bool, parts?: [head | staged | files]}` for the user's checkout, None when it cannot be told."""
    if spec.repository is None or before is None:
        return None
    try:
        after = fence(spec.checkout or spec.repository)
    except (GitError, CcError, OSError):
        return None
    parts = [name for name in Fence._fields if getattr(after, name) != getattr(before, name)]
    return {"changed": True, "parts": parts} if parts else {"changed": False}


def head_commit(repository: str) -> str | None:
    """The commit that a new worktree starts from; None when there is none yet."""
    status, out, _err = Git(repository).try_run("rev-parse", "--verify", "-q", "HEAD^{commit}")
    return out.decode("ascii", "replace").strip() if status == 0 else None


def tell_missing(checkout: str, setup: Setup) -> tuple[str, ...]:
    """What a new worktree will lack of the user's checkout, for the worker to know; one line says so when it cannot be told."""
    try:
        missing = find_missing(checkout)
        brought = {*find_included(checkout, setup.grants)[0], *(link.strip("/") for link in setup.links)}
    except (GitError, CcError):
        return ("what that is could not be told",)
    return tuple(line(row, 200) for row in missing if row.rpartition(" (")[0].rstrip("/") not in brought)[:MAX_FILES]
