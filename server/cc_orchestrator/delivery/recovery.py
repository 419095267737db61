"""Closes jobs whose process died: verifications and deliveries. Costs one look into a folder when there are none."""

from __future__ import annotations

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.delivery.deliver import settle_delivery
from cc_orchestrator.store.jobdir import live_jobs
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.record import settle_verification


def settle_jobs(workspace: Workspace, clock: Clock) -> list[str]:
    """Close every job without a living owner; their ids. Raises OSError, CcError."""
    closed: list[str] = []
    for job in live_jobs(workspace, "ver", "dlv"):
        if job.is_owned():
            continue
        settle = settle_verification if is_id(job.job_id, "ver") else settle_delivery
        if settle(workspace, job, clock):
            closed.append(job.job_id)
    return closed
