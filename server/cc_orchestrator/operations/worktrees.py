"""cc_worktree: whose worktrees there are, what would be lost with them, and taking them away without loss."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.cleanup import Owned, brief, clean_up, find_worktree, list_worktrees, tell_risk
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.store.paths import Workspace


class WorktreeParams(Params):
    """Which worktree, what to do."""

    action: Literal["list", "show", "remove", "salvage"] = "list"
    task_id: str | None = None
    run_id: str | None = None
    salvage: Annotated[
        bool, Field(description="With remove: keep what would be lost on a branch cc/salvage/… first.")
    ] = False
    limit: Annotated[int, Field(ge=1, le=100)] = 30
    cwd: str | None = None


def _worktree(ctx: Context, params: WorktreeParams) -> dict[str, Any]:
    now = ctx.clock.now()
    if params.action == "list":
        found = list_worktrees(workspace_of(ctx, params.cwd))
        rows = [drop_empty(brief(owned, now)) for owned in found[: params.limit]]
        return {
            "worktrees": rows, "truncated": len(found) > len(rows), "bytes": sum(owned.bytes for owned in found),
            "as_of": iso(now), "next": 'cc_worktree {"action":"show","task_id":"task_…"}',
        }  # fmt: skip
    workspace, task_id = _locate(ctx, params)
    owned = find_worktree(workspace, task_id)
    if params.action == "show":
        return _show(owned, now)
    done = clean_up(
        workspace, owned, remove=params.action == "remove", keep=params.salvage or params.action == "salvage"
    )
    return drop_empty({
        "task_id": task_id, "class": owned.standing.kind, "removed": done.removed, "salvaged_to": done.salvaged_to, "commit": done.commit,
        "own_branch_removed": done.own_branch_removed or None, "ignored_not_kept": done.ignored_lost or None, "path": owned.path,
        "next": f"git log -p {done.salvaged_to}" if done.salvaged_to else 'cc_worktree {"action":"list"}',
    })  # fmt: skip


def _locate(ctx: Context, params: WorktreeParams) -> tuple[Workspace, str]:
    if params.run_id is not None:
        workspace, run = locate_run(ctx, params.run_id, params.cwd)
        return workspace, spec_of(run).task_id
    if params.task_id is None:
        raise InvalidRequest(f"{params.action} needs a task_id or a run_id", hint='cc_worktree {"action":"list"}')
    return workspace_of(ctx, params.cwd), params.task_id


def _show(owned: Owned, now: float) -> dict[str, Any]:
    standing = owned.standing
    spec = owned.run
    removable = standing.kind in ("clean", "pushed", "missing") and not owned.live
    more = "" if removable else ',"salvage":true'
    return drop_empty({
        **brief(owned, now), "path": owned.path, "head": standing.head, "base": spec.base if spec else None,
        "changed_files": [line(path, 120) for path in standing.changed[:20]],
        "untracked_files": [line(path, 120) for path in standing.untracked[:20]], "ignored_count": standing.ignored or None,
        "missing_in_it": [line(row, 100) for row in spec.missing[:20]] if spec else None, "removable": removable,
        "at_risk": None if removable else tell_risk(standing) if standing.kind in ("dirty", "committed") else "its worker is at work",
        "next": f'cc_worktree {{"action":"remove","task_id":"{owned.task_id}"{more}}}',
    })  # fmt: skip


register(Operation(
    name="cc_worktree", words=("worktree",), toolset="workspace", effect="destructive", act="cleanup",
    summary="List, show, salvage or remove workers' worktrees; removal refuses what only they hold, unless it is salvaged to a branch.",
    params=WorktreeParams, handler=_worktree, positional="action", search_hint="worktree cleanup remove salvage disk branch",
))  # fmt: skip
