"""Where a call is: its workspace, swept of lost runs, and the run that an id names, here or in another workspace."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cc_orchestrator.core.errors import CcError, NotFound
from cc_orchestrator.core.ids import check_id
from cc_orchestrator.delivery.recovery import settle_jobs
from cc_orchestrator.operations.context import Context
from cc_orchestrator.runs.reading import read_spec
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.sweep import sweep
from cc_orchestrator.store import atomic, known
from cc_orchestrator.store.jobdir import JobDir, find_job
from cc_orchestrator.store.paths import FOLDER, Workspace, find_workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.queue import settle_queue
from cc_orchestrator.workflow.recovery import settle_later, settle_workflows

#: What an id's first letters say of a job.
JOBS = {"ver": "verification", "rev": "review", "fix": "fix loop", "dlv": "delivery"}


def workspace_of(ctx: Context, cwd: str | None = None) -> Workspace:
    """The workspace of `cwd` or of the caller; lost runs in it are closed first."""
    workspace = find_workspace(cwd or ctx.cwd, ctx.env)
    settle_lost(ctx, workspace)
    return workspace


def settle_lost(ctx: Context, workspace: Workspace) -> None:
    """Close lost runs and jobs. A worker's own calls and an unwritable disk leave that to others."""
    if ctx.worker_run_id:
        return
    try:
        hide_workspace(workspace)
    except OSError:
        pass
    for settle in (sweep, settle_jobs, settle_workflows):
        try:
            settle(workspace, ctx.clock)
        except (OSError, CcError):
            pass
    for rouse in (settle_later, settle_queue):
        try:
            rouse(workspace, ctx.env)
        except (OSError, CcError):
            pass


def prepare_workspace(ctx: Context, workspace: Workspace) -> None:
    """Make the workspace folder, hidden from git. Raises OSError."""
    os.makedirs(workspace.folder, exist_ok=True)
    # Before anything else is in it: a door that dies here must not leave files that the user's git sees.
    hide_workspace(workspace)
    os.makedirs(workspace.runs, exist_ok=True)
    known.remember_root(ctx.env, workspace.root)


def hide_workspace(workspace: Workspace) -> None:
    """Have git ignore the workspace folder, if there is one; also what a door left that died in doing so. Raises OSError."""
    ignore = workspace.at(".gitignore")
    if os.path.isdir(workspace.folder) and not os.path.exists(ignore):
        atomic.write_text(ignore, "*\n")


def locate_run(ctx: Context, run_id: str, cwd: str | None = None) -> tuple[Workspace, RunDir]:
    """The run's workspace and folder. InvalidRequest for no id, NotFound when nobody knows it."""
    check_id(run_id, "run", hint="cc_status lists runs")
    for workspace in candidates(ctx, cwd):
        path = workspace.run(run_id)
        if os.path.isdir(path):
            settle_lost(ctx, workspace)
            return workspace, RunDir(path)
    raise NotFound(
        f"there is no run {run_id} in any known workspace", hint="cc_status {} lists the runs of this workspace"
    )


def locate_job(ctx: Context, job_id: str, cwd: str | None = None) -> tuple[Workspace, JobDir]:
    """The workspace and folder of a job. InvalidRequest for no id, NotFound when nobody knows it."""
    kind = job_id[:3] if job_id[:3] in JOBS else "ver"
    check_id(job_id, kind, hint="cc_receipts {} lists ids")
    for workspace in candidates(ctx, cwd):
        job = find_job(workspace, job_id)
        if job is not None:
            settle_lost(ctx, workspace)
            return workspace, job
    raise NotFound(
        f"there is no {JOBS[kind]} {job_id} in any known workspace", hint="cc_receipts {} lists those of this workspace"
    )


def locate_queued(ctx: Context, task_id: str, cwd: str | None = None) -> Workspace:
    """The workspace in whose queue a task is. InvalidRequest for no id, NotFound when no queue knows it."""
    check_id(task_id, "task", hint="cc_queue_status lists jobs")
    for workspace in candidates(ctx, cwd):
        if os.path.exists(workspace.submission(task_id)):
            settle_lost(ctx, workspace)
            return workspace
    raise NotFound(f"there is no queued task {task_id} in any known workspace", hint="cc_queue_status {} lists jobs")


def candidates(ctx: Context, cwd: str | None) -> Iterator[Workspace]:
    """The caller's own workspace first; the others are looked at only when it does not hold what is wanted."""
    own = None
    try:
        own = find_workspace(cwd or ctx.cwd, ctx.env)
    except CcError:
        if cwd:
            raise
    if own is not None:
        yield own
    for root in dict.fromkeys(known.known_roots(ctx.env)):
        if (own is None or root != own.root) and os.path.isdir(os.path.join(root, FOLDER)):
            yield Workspace(root, root if os.path.exists(os.path.join(root, ".git")) else None)


def spec_of(run: RunDir) -> RunSpec:
    """The run's spec; Corrupt when it cannot be read."""
    return read_spec(run.spec)
