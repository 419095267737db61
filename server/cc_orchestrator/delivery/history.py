"""What the receipts say about earlier deliveries of a run."""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core.errors import Conflict
from cc_orchestrator.store import ledger
from cc_orchestrator.store.paths import Workspace

Receipt = dict[str, Any]


def deliveries_of(workspace: Workspace, run_id: str) -> list[Receipt]:
    """Receipts of the run's deliveries and rollbacks that were done, the latest first. Raises Corrupt."""
    found = ledger.receipts(workspace.ledger, {"run_id": run_id}, kind="delivery", limit=100)
    return [receipt for receipt in found if receipt["observed"].get("status") == "succeeded"]


def latest_delivery(workspace: Workspace, run_id: str, target: str | None, commit: str | None = None) -> Receipt | None:
    """The latest of them to `target` (of that result)."""
    for receipt in deliveries_of(workspace, run_id):
        observed = receipt["observed"]
        if target not in (None, observed.get("target")):
            continue
        if commit is None or observed.get("result") == commit:
            return receipt
    return None


def is_undone(receipt: Receipt | None) -> bool:
    """Whether the latest word about a result is that it was taken back."""
    return receipt is not None and receipt["observed"].get("how") == "reverted"


def refuse_undone(workspace: Workspace, run_id: str, target: str, commit: str) -> None:
    """Conflict when this result was rolled back from `target`: git calls it merged, but its changes are not there."""
    receipt = latest_delivery(workspace, run_id, target, commit)
    if receipt is not None and is_undone(receipt):
        undone = receipt["subject"].get("delivery_id")
        raise Conflict(
            f"{run_id} was rolled back from {target} by {undone}: git counts it as merged and would not bring it again",
            hint=f'cc_send_instruction {{"run_id":"{run_id}","instruction":"…"}}; or revert the commit of {undone} yourself',
        )


def as_landed(receipt: Receipt) -> dict[str, Any]:
    """A row as a delivery's journal has it."""
    keys = ("how", "target", "before", "after", "result", "verify_id", "tested_tree", "gates", "reason")
    observed = receipt["observed"]
    out = {key: observed[key] for key in keys if key in observed}
    return {"run_id": receipt["subject"].get("run_id"), "receipt": receipt["n"], **out}
