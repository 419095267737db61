"""Moves a branch and tells it: journal first, compare-and-swap, receipts, journal. And the end of a delivery.

From the step `advance` on a crash is found and told: whether the target holds the candidate is looked up, never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Unavailable
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery import progress as words
from cc_orchestrator.delivery.progress import Row, read_progress, sum_up
from cc_orchestrator.delivery.request import Request
from cc_orchestrator.host.candidate import advance_branch
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.tree import HELPER
from cc_orchestrator.runs.anchoring import anchor_ledger
from cc_orchestrator.store import jobdir, ledger
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace


class Desk(NamedTuple):
    """Everything that serving one delivery needs. Only the holder of the job's lock has one."""

    workspace: Workspace
    git: Git
    job: JobDir
    journal: Journal
    request: Request
    clock: Clock

    def step(self, name: str, **data: Any) -> None:
        """One durable step. Raises OSError."""
        self.journal.append([Fact(ev.JOB_STEP, {"step": name, **data})])
        self.journal.sync()


def promote(desk: Desk, plan: Row) -> None:
    """Do what `plan` says: `{target, before, after, how, gates, runs: [{run_id, task_id, result, verify_id, tested_tree}]}`.

    Conflict when the branch moved meanwhile or its checkout is not clean; Unavailable when git fails. Then nothing moved.
    """
    desk.step(words.ADVANCE, **plan)
    if plan["how"] != "already_contained":
        try:
            advance_branch(desk.git, plan["target"], plan["before"], plan["after"], env={HELPER: desk.job.job_id})
        except (CcError, GitError) as error:
            desk.step(words.HELD, reason=line(str(error), 300))
            if isinstance(error, CcError):
                raise
            raise Unavailable(
                f"{plan['target']} could not be moved: {line(str(error), 300)}", hint="cc_doctor"
            ) from error
    tell_landed(desk, plan)


def tell_landed(desk: Desk, plan: Row, reason: str | None = None) -> None:
    """Receipts of a move that was made, one for each run; then the step."""
    rows: list[Row] = []
    for run in plan["runs"]:
        # One that the target held before was not brought by this move.
        how = "already_contained" if run.get("contained") else plan["how"]
        observed = {
            "status": "succeeded", "how": how, "target": plan["target"], "before": plan["before"], "after": plan["after"],
            "result": run.get("result"), "verify_id": run.get("verify_id"), "tested_tree": bool(run.get("tested_tree")),
            "gates": plan.get("gates"), "together": [row["run_id"] for row in plan["runs"]] if len(plan["runs"]) > 1 else None,
            "undoes": plan.get("undoes"), "reason": reason,
        }  # fmt: skip
        receipt = _give_receipt(desk, run, observed)
        rows.append({
            **run, **{key: plan.get(key) for key in ("target", "before", "after", "gates")}, "how": how, "receipt": receipt["n"],
            **({"reason": reason} if reason else {}),
        })  # fmt: skip
    anchor_ledger(desk.workspace, desk.clock)
    desk.step(words.LANDED, runs=rows)


def _give_receipt(desk: Desk, run: Row, observed: Row) -> Row:
    subject = {"delivery_id": desk.job.job_id, "run_id": run["run_id"], "task_id": run.get("task_id") or ""}
    return ledger.append(desk.workspace.ledger, {
        "kind": "delivery", "ts": desk.clock.now(), "actor": desk.request.actor, "channel": desk.request.channel, "subject": subject,
        "observed": {key: value for key, value in observed.items() if value is not None}, "claimed": {},
    }, once=True)  # fmt: skip


def hand_back(desk: Desk, rows: Sequence[Row]) -> None:
    """Runs that were not delivered, each with the reason and the call that helps."""
    for row in rows:
        desk.step(words.REFUSED, **row)


def conclude(desk: Desk, *, died: str = "") -> str:
    """Everything that is still open is handed back; receipts, the end, no longer under way. Returns the status."""
    request = desk.request
    left = read_progress(desk.job).left(request.runs)
    why = died or "it was not reached"
    hand_back(desk, [
        {"run_id": run_id, "code": "unavailable", "message": f"{run_id} was not delivered to {request.target}: {why}",
         "hint": f'cc_deliver {{"run_id":"{run_id}","target":"{request.target}"}}'}
        for run_id in left
    ])  # fmt: skip
    found = read_progress(desk.job)
    status = sum_up(found, request.runs, died=bool(died))
    for row in found.refused:
        observed = {"status": "lost" if row["run_id"] in left and died else "failed", "target": request.target,
                    "code": row["code"], "reason": line(row["message"], 400)}  # fmt: skip
        _give_receipt(desk, row, observed)
    reason = _reason(found.landed, found.refused)
    desk.step("result", status=status, reason=reason)
    desk.journal.append([Fact(ev.JOB_FINISHED, {"status": status, "reason": reason})])
    desk.journal.sync()
    jobdir.retire(desk.workspace, desk.job.job_id)
    return status


def _reason(landed: Sequence[Row], refused: Sequence[Row]) -> str:
    if not refused:
        return str(landed[0].get("reason") or "") if landed else ""
    first = line(str(refused[0]["message"]), 300)
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return f"{first}{more}" + (f"; {len(landed)} landed" if landed else "")
