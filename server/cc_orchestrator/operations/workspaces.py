"""cc_init_workspace, cc_workspace_status, cc_open_run_folder, cc_recover, cc_replay: the tree of artifacts."""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, prepare_workspace, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.auditing import check_workspace_ledger
from cc_orchestrator.runs.replay import replay_run
from cc_orchestrator.runs.sweep import forget_unborn, rebuild_index, sweep
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import find_workspace
from cc_orchestrator.store.rundir import remove_unborn

FOLDERS = (
    "runs",
    "verify",
    "tasks",
    "ledger",
    "worktrees",
    "reports",
    "archives",
    "logs",
    "tmp",
    "templates",
    "policies",
)
_MOST_FILES = 20_000


class CwdParams(Params):
    """Which workspace."""

    cwd: Annotated[str | None, Field(description="Project folder; default: the server's.")] = None


def _init(ctx: Context, params: CwdParams) -> dict[str, Any]:
    workspace = find_workspace(params.cwd or ctx.cwd, ctx.env)
    prepare_workspace(ctx, workspace)
    created = [name for name in FOLDERS if not os.path.isdir(workspace.at(name))]
    for name in created:
        os.makedirs(workspace.at(name), exist_ok=True)
    return {
        "workspace": workspace.root, "folder": workspace.folder, "git": workspace.repository is not None, "created": created,
        "next": 'cc_run_streaming {"task":"…"}',
    }  # fmt: skip


def _workspace_status(ctx: Context, params: CwdParams) -> dict[str, Any]:
    workspace = workspace_of(ctx, params.cwd)
    counts: dict[str, int] = {}
    for row in index.sums(workspace.index):
        counts[str(row["status"])] = counts.get(str(row["status"]), 0) + int(row["runs"])
    size, files, whole = _measure(workspace.folder)
    report = check_workspace_ledger(workspace)
    worktrees = _names(workspace.at("worktrees"))
    return {
        "workspace": workspace.root, "folder": workspace.folder, "exists": os.path.isdir(workspace.folder),
        "git": workspace.repository is not None, "runs": counts, "worktrees": worktrees[:10], "worktree_count": len(worktrees),
        "bytes": size, "files": files, "bytes_complete": whole,
        "ledger": {"ok": report.ok, "receipts": report.count, "problems": [list(row) for row in report.problems[:3]]},
        "as_of": iso(ctx.clock.now()),
    }  # fmt: skip


def _names(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _measure(folder: str) -> tuple[int, int, bool]:
    """Bytes and files outside worktrees; the last is False when the count was cut off."""
    size = files = 0
    for path, names, entries in os.walk(folder):
        if path == folder and "worktrees" in names:
            names.remove("worktrees")
        for entry in entries:
            files += 1
            try:
                size += os.lstat(os.path.join(path, entry)).st_size
            except OSError:
                continue
        if files > _MOST_FILES:
            return size, files, False
    return size, files, True


class RunIdParams(Params):
    """Which run."""

    run_id: str


def _open_run_folder(ctx: Context, params: RunIdParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    with os.scandir(run.path) as entries:
        shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda item: item.name)
        files = [
            {"name": entry.name, "bytes": entry.stat(follow_symlinks=False).st_size if entry.is_file() else None}
            for entry in shown
        ]
    verifications = _names(workspace.verification(params.run_id))
    return {
        "run_id": run.run_id, "path": run.path, "files": [{k: v for k, v in row.items() if v is not None} for row in files[:60]],
        "verifications": verifications[-5:], "resources": f"cc://runs/{run.run_id}/<name>",
    }  # fmt: skip


def _recover(ctx: Context, params: CwdParams) -> dict[str, Any]:
    workspace = find_workspace(params.cwd or ctx.cwd, ctx.env)
    broken = False
    try:
        index.select(workspace.index, limit=1)
    except Corrupt:
        broken = True
        index.set_aside(workspace.index)
    live = rebuild_index(workspace)
    lost = sweep(workspace, ctx.clock)
    return {
        "workspace": workspace.root, "lost": lost, "live": [run_id for run_id in live if run_id not in lost], "index_was_broken": broken,
        "removed_unborn": remove_unborn(workspace.runs, forget_unborn), "next": "cc_status {}",
    }  # fmt: skip


def _replay(ctx: Context, params: RunIdParams) -> dict[str, Any]:
    _workspace, run = locate_run(ctx, params.run_id)
    result = replay_run(run)
    return {
        "run_id": run.run_id, "same": not result.differences, "lines": result.lines, "facts": result.facts, "ending": result.ending,
        "differences": {name: {"recorded": pair[0], "replayed": pair[1]} for name, pair in result.differences.items()},
    }  # fmt: skip


register(Operation(
    name="cc_init_workspace", words=("init-workspace",), toolset="workspace", effect="write",
    summary="Make the project's .agent-workspace folders.", params=CwdParams, handler=_init, idempotent=True,
    search_hint="init workspace setup project",
))  # fmt: skip
register(Operation(
    name="cc_workspace_status", words=("workspace-status",), toolset="workspace", effect="read",
    summary="Size, runs, worktrees and ledger health of the workspace.", params=CwdParams, handler=_workspace_status, idempotent=True,
    search_hint="workspace disk size ledger worktrees",
))  # fmt: skip
register(Operation(
    name="cc_open_run_folder", words=("open-run-folder",), toolset="workspace", effect="read",
    summary="A run's folder and its files.", params=RunIdParams, handler=_open_run_folder, positional="run_id", idempotent=True,
    search_hint="run folder files artifacts path",
))  # fmt: skip
register(Operation(
    name="cc_recover", words=("recover",), toolset="workspace", effect="write",
    summary="Close lost runs, kill what is left of them, rebuild the index.", params=CwdParams, handler=_recover, idempotent=True,
    search_hint="recover lost orphan crash repair index",
))  # fmt: skip
register(Operation(
    name="cc_replay", words=("replay",), toolset="workspace", effect="read",
    summary="A run's recorded bytes through today's adapter, compared with what was recorded.", params=RunIdParams, handler=_replay,
    positional="run_id", idempotent=True, search_hint="replay recorded stream compare adapter",
))  # fmt: skip
