"""What holds a result back beside its verdict: the open blockers of its task, kept up to date with what verifications found.

A required check that did not pass opens a blocker; the same check passing under a later APPROVE closes it, with that
verification as evidence. Taken in before each decision, so nothing depends on who was there when a verification ended.
"""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core.errors import CcError, Corrupt, NotFound, VerifyFailed
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.text import line
from cc_orchestrator.runs.reading import read_spec
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import ledger
from cc_orchestrator.store.jobdir import JobDir, find_job
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.tasks.item import Item, blockers_of, plan_items
from cc_orchestrator.tasks.open_items import By, Closing, close_item, open_item, read_items
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import Result, read_result, verifications

#: A run has no more ancestors than this that are looked at.
DEPTH = 50
_SHOWN = 5
#: Receipts that speak for a result, and what they have to say.
_SPEAKING = {
    "verification": ("verdict", "APPROVE"),
    "acceptance": ("decision", "accept"),
    "delivery": ("status", "succeeded"),
}


def refuse_blockers(workspace: Workspace, spec: RunSpec) -> None:
    """Nothing when no open blocker concerns the run. Raises VerifyFailed that names them; Corrupt when they cannot be read."""
    runs = lineage(workspace, spec)
    for run_id in reversed(runs):
        take_in(workspace, run_id)
    found = blockers_of(read_items(workspace).values(), spec.task_id, runs)
    if not found:
        return
    named = "; ".join(f"{item.item_id}: {line(item.title, 160)}" for item in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise VerifyFailed(
        f"{spec.run_id} is held by {len(found)} open blocker{'s' if len(found) > 1 else ''} of {spec.task_id}: {named}{more}",
        hint=f'cc_verify {{"run_id":"{spec.run_id}","test_commands":["…"]}} with the check that failed; or cc_open_items '
        f'{{"action":"close","item_id":"{found[0].item_id}","evidence":"ver_…"}}',
        items=[item.item_id for item in found],
    )


def lineage(workspace: Workspace, spec: RunSpec) -> list[str]:
    """The run and those that it is a follow-up of, the youngest first."""
    runs = [spec.run_id]
    while spec.parent_run_id is not None and len(runs) < DEPTH:
        try:
            spec = read_spec(RunDir(workspace.run(spec.parent_run_id)).spec)
        except (CcError, OSError):
            break
        runs.append(spec.run_id)
    return runs


def take_in(workspace: Workspace, run_id: str) -> int:
    """Open and close what the run's verifications call for; how many. Repeating it changes nothing. Raises Corrupt, Busy."""
    task_id = read_spec(RunDir(workspace.run(run_id)).spec).task_id
    changed = 0
    items = list(read_items(workspace).values())
    for job in reversed(verifications(workspace, run_id)):
        result = _result(job, run_id, task_id)
        if result is None:
            continue
        plan = plan_items(result, items)
        by = By("check", "verify", float(result["finished_at"]))
        for draft in plan.opens:
            open_item(workspace, draft, by)
        for item_id in plan.closes:
            _close(workspace, item_id, job.job_id, by)
        if plan.opens or plan.closes:
            changed += len(plan.opens) + len(plan.closes)
            items = list(read_items(workspace).values())
    return changed


def _close(workspace: Workspace, item_id: str, evidence: str, by: By) -> None:
    try:
        close_item(workspace, item_id, Closing(evidence), by)
    except CcError as error:
        # Somebody else closed it in between.
        if error.code != "conflict":
            raise


def _result(job: JobDir, run_id: str, task_id: str) -> Result | None:
    """A finished verification's result; for one that cannot be read a stand-in that fails, because what it said is not known."""
    state = read_job(job)
    try:
        return read_result(job, state)
    except Corrupt as error:
        check: dict[str, Any] = {"check": f"record of {job.job_id}", "outcome": "unverified", "evidence": error.message}
        at = float((state.started or {}).get("ts") or 0.0)
        return {
            "verify_id": job.job_id, "run_id": run_id, "task_id": task_id, "verdict": "HOLD", "checks": [check], "finished_at": at,
        }  # fmt: skip


# ---------------------------------------------------------------- closing by hand


def close_with_evidence(workspace: Workspace, item_id: str, evidence: str, by: By) -> tuple[Item, bool]:
    """Close an item by a verification or a receipt that speaks for it. Raises NotFound, VerifyFailed, Conflict, Corrupt."""
    item = read_items(workspace).get(item_id)
    if item is None:
        raise NotFound(f"there is no open item {item_id} in {workspace.root}", hint="cc_open_items {} lists them")
    evidence = evidence.removeprefix("receipt:").strip()
    why = (
        _verification_fails(workspace, item, evidence)
        if is_id(evidence, "ver")
        else _receipt_fails(workspace, item, evidence)
    )
    if why:
        raise VerifyFailed(
            f"{evidence[:60]!a} is no evidence for {item_id}: {why}",
            hint='cc_receipts {"task_id":"' + item.task_id + '"} lists what there is',
        )
    return close_item(workspace, item_id, Closing(evidence), by)


def _verification_fails(workspace: Workspace, item: Item, verify_id: str) -> str:
    """Why a verification does not speak for the item; empty when it does."""
    job = find_job(workspace, verify_id)
    result = read_result(job, read_job(job)) if job is not None else None
    if result is None:
        return "there is no such verification with a result in this workspace"
    if result.get("task_id") != item.task_id:
        return f"it is about {result.get('task_id')}, not {item.task_id}"
    if result["verdict"] != "APPROVE":
        return f"it says {result['verdict']}"
    if float(result["finished_at"]) < item.opened_at:
        return "it is older than the item"
    if item.check is not None and not any(
        check["check"] == item.check and check["outcome"] == "pass" for check in result["checks"]
    ):
        return f"the check {item.check} did not pass in it"
    return ""


def _receipt_fails(workspace: Workspace, item: Item, number: str) -> str:
    if not (number.isascii() and number.isdigit()):
        return "a verification id (ver_…) or the number of a receipt is expected"
    found = ledger.receipts(workspace.ledger, before=int(number) + 1, limit=1)
    if not found or found[0]["n"] != int(number):
        return "there is no sound receipt of that number"
    receipt = found[0]
    if receipt["subject"].get("task_id") != item.task_id:
        return f"it is about {receipt['subject'].get('task_id')}, not {item.task_id}"
    field, wanted = _SPEAKING.get(receipt["kind"], ("", None))
    said = receipt["observed"].get(field)
    if wanted is None or said != wanted:
        return f"it is a receipt of kind {receipt['kind']} that says {said or receipt['observed'].get('status')}"
    if float(receipt["ts"]) < item.opened_at:
        return "it is older than the item"
    if item.check is not None and receipt["observed"].get("checks", {}).get(item.check) != "pass":
        return f"the check {item.check} did not pass in it"
    return ""
