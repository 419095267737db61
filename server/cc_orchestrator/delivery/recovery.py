"""Closes jobs whose process died (verifications and deliveries) and goes on with the deliveries that wait.

Costs one look into a folder when there are none.
"""

from __future__ import annotations

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.delivery.request import is_waiting
from cc_orchestrator.delivery.service import serve_waiting
from cc_orchestrator.delivery.settling import settle_delivery
from cc_orchestrator.store.jobdir import live_jobs
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.record import settle_verification


def settle_jobs(workspace: Workspace, clock: Clock) -> list[str]:
    """Close every job without a living owner; their ids. Raises OSError, CcError."""
    closed: list[str] = []
    deliveries = False
    for job in live_jobs(workspace, "ver", "dlv"):
        is_delivery = is_id(job.job_id, "dlv")
        deliveries = deliveries or is_delivery
        # One that waits its turn is left alone: its lock is for the process that takes it up.
        if job.is_owned() or (is_delivery and is_waiting(job)):
            continue
        if (settle_delivery if is_delivery else settle_verification)(workspace, job, clock):
            closed.append(job.job_id)
    if deliveries:
        serve_waiting(workspace)
    return closed
