"""What a door does when it opens: closes lost runs, so that their orphans are gone within seconds of its start."""

from __future__ import annotations

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import settle_lost
from cc_orchestrator.runs.sweep import forget_unborn
from cc_orchestrator.store.paths import find_workspace
from cc_orchestrator.store.rundir import remove_unborn


def on_door_start(ctx: Context) -> None:
    """Sweep the caller's workspace. Never raises: a door opens in any case."""
    if ctx.worker_run_id:
        return
    try:
        workspace = find_workspace(ctx.cwd, ctx.env)
        settle_lost(ctx, workspace)
        remove_unborn(workspace.runs, forget_unborn)
    except (CcError, OSError):
        return
