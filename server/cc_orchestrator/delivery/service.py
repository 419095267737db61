"""Sees to it that a process serves every branch with deliveries waiting."""

from __future__ import annotations

import os
import sys

from cc_orchestrator.core.errors import CcError, Unavailable
from cc_orchestrator.delivery.request import LOCK_SECONDS, queue
from cc_orchestrator.host.detach import detach
from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.job import read_job


def serve_branch(workspace: Workspace, target: str) -> bool:
    """Start the branch's process unless it lives; whether it was started. Only under the lock of the deliveries.

    Raises Unavailable: the deliveries stay where they are, and the next call tries again.
    """
    path = workspace.branch_lock(target)
    held = lock.take(path)
    if held is None:
        return False
    try:
        handed = -1 if sys.platform == "win32" else held
        if handed == -1:
            os.close(held)
        # cwd is ours: a project's own modules must not be found in place of the library's.
        detach(
            "cc_orchestrator.delivery.process", [workspace.root, str(workspace.repository), target, str(handed)],
            cwd=workspace.deliveries, pass_fds=[handed] if handed >= 0 else [], stderr_path=path.removesuffix(".lock") + ".log",
        )  # fmt: skip
    except (OSError, CcError) as error:
        raise Unavailable(
            f"no process could be started for the deliveries to {target}: {error}", hint="cc_doctor"
        ) from error
    finally:
        if sys.platform != "win32":
            os.close(held)
    return True


def serve_waiting(workspace: Workspace) -> None:
    """Take up again what a dead process left waiting. Costs one look into a folder when nothing waits. Raises CcError, OSError."""
    waiting = {request.target for job, request in queue(workspace) if read_job(job).queued}
    idle = [target for target in waiting if not lock.is_held(workspace.branch_lock(target))]
    if idle:
        with lock.Exclusive(os.path.join(workspace.deliveries, "lock"), timeout=LOCK_SECONDS):
            for target in idle:
                serve_branch(workspace, target)
