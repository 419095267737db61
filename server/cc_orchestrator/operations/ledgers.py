"""cc_ledger, cc_receipts: what is on record, whether it is still what was written, and a copy of it for other tools."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.text import line
from cc_orchestrator.insight.statement import Form, write_export
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_job, locate_run, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.runs.anchoring import REF
from cc_orchestrator.runs.auditing import check_workspace_ledger
from cc_orchestrator.store import ledger
from cc_orchestrator.store.audit import LedgerReport
from cc_orchestrator.store.paths import Workspace

#: Room for receipts in an answer.
_RECEIPTS_BYTES = 6_500
_PROBLEMS = 20
#: More receipts than any ledger has: an export leaves none out.
_ALL = 1 << 40


class _Filters(Params):
    run_id: str | None = None
    task_id: str | None = None
    verify_id: str | None = None
    delivery_id: str | None = None
    kind: Annotated[str | None, Field(description="run, verification, review, acceptance, delivery or approval.")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=200)] = 20
    cwd: str | None = None

    def subject(self) -> dict[str, str]:
        """The ids that a receipt's subject must hold."""
        ids = {
            "run_id": self.run_id,
            "task_id": self.task_id,
            "verify_id": self.verify_id,
            "delivery_id": self.delivery_id,
        }
        return {key: value for key, value in ids.items() if value is not None}


class ReceiptsParams(_Filters):
    """Which receipts; all given ids must match."""


def _receipts(ctx: Context, params: ReceiptsParams) -> dict[str, Any]:
    workspace = _workspace(ctx, params)
    found = ledger.receipts(workspace.ledger, params.subject(), kind=params.kind, limit=params.limit + 1)
    rows = _fit(found[: params.limit])
    report = check_workspace_ledger(workspace)
    checked: dict[str, Any] = {"ok": report.ok, "count": report.count}
    if report.problems:
        checked["problems"] = [f"{problem.where}: {problem.what}" for problem in report.problems[:5]]
    if report.notes:
        checked["notes"] = report.notes[:3]
    return {"receipts": rows, "truncated": len(found) > len(rows), "ledger": checked, "as_of": iso(ctx.clock.now())}


class LedgerParams(_Filters):
    """What to do with the ledger, and for query and export with which receipts: all that is given must match."""

    action: Annotated[
        Literal["verify", "query", "export"],
        Field(description="verify checks every record, the head and the git anchor; export writes a file."),
    ] = "verify"
    actor: str | None = None
    since: Annotated[datetime | None, Field(description="ISO 8601, UTC unless it says otherwise.")] = None
    until: datetime | None = None
    cursor: Annotated[int | None, Field(ge=1, description="From the last answer: only older receipts.")] = None
    format: Annotated[Form, Field(description="Of an export: lines as they are, or unsigned in-toto statements.")] = (
        "ndjson"
    )


def _ledger(ctx: Context, params: LedgerParams) -> dict[str, Any]:
    workspace = _workspace(ctx, params)
    if params.action == "verify":
        return {**_checked(check_workspace_ledger(workspace), workspace), "as_of": iso(ctx.clock.now())}
    if params.action == "query":
        return _query(ctx, workspace, params)
    return _export(workspace, params)


def _select(workspace: Workspace, params: LedgerParams, limit: int) -> list[ledger.Record]:
    return ledger.receipts(
        workspace.ledger, params.subject(), kind=params.kind, limit=limit, actor=params.actor,
        since=_epoch(params.since), until=_epoch(params.until), before=params.cursor,
    )  # fmt: skip


def _epoch(when: datetime | None) -> float | None:
    if when is None:
        return None
    return (when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)).timestamp()


def _query(ctx: Context, workspace: Workspace, params: LedgerParams) -> dict[str, Any]:
    found = _select(workspace, params, params.limit + 1)
    rows = _fit(found[: params.limit])
    out: dict[str, Any] = {"receipts": rows, "truncated": len(found) > len(rows), "as_of": iso(ctx.clock.now())}
    if out["truncated"] and rows:
        out["cursor"] = rows[-1]["n"]
        out["next"] = f'the same call with "cursor":{rows[-1]["n"]}'
    return out


def _export(workspace: Workspace, params: LedgerParams) -> dict[str, Any]:
    # Read before it is checked: what was added in between is then sound too.
    found = _select(workspace, params, _ALL)
    report = check_workspace_ledger(workspace)
    made = write_export(workspace, found, params.format)
    return {**_checked(report, workspace), "path": made.path, "format": params.format, "exported": made.receipts,
            "bytes": made.bytes, "sha256": made.sha256, "signed": False}  # fmt: skip


def _checked(report: LedgerReport, workspace: Workspace) -> dict[str, Any]:
    """What a check found: `{ok, receipts, anchor, problems?, notes?}`."""
    out: dict[str, Any] = {"ok": report.ok, "receipts": report.count}
    if workspace.repository is None:
        out["anchor"] = "none: there is no git; a ledger rewritten whole with its head would not be found"
    elif not report.anchored:
        out["anchor"] = f"none yet: {REF} agrees with no record"
    else:
        out["anchor"] = {"ref": REF, "record": report.anchored, "younger_records": report.last - report.anchored}
    if report.problems:
        out["problems"] = [{"where": problem.where, "what": problem.what} for problem in report.problems[:_PROBLEMS]]
        out["problem_count"] = len(report.problems)
        out["next"] = f"look at {workspace.ledger}; nothing repairs it, and it stays on record as it is"
    if report.notes:
        out["notes"] = report.notes[:5]
    return out


def _workspace(ctx: Context, params: _Filters) -> Workspace:
    if params.run_id is not None:
        return locate_run(ctx, params.run_id, params.cwd)[0]
    job_id = params.verify_id or params.delivery_id
    if job_id is not None:
        return locate_job(ctx, job_id, params.cwd)[0]
    return workspace_of(ctx, params.cwd)


def _fit(receipts: list[ledger.Record]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    room = _RECEIPTS_BYTES
    for receipt in receipts:
        row = _row(receipt)
        room -= len(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
        if room < 0 and rows:
            break
        rows.append(row)
    return rows


def _row(receipt: ledger.Record) -> dict[str, Any]:
    """A receipt, its long texts cut; what somebody claimed is marked as such."""
    out: dict[str, Any] = {key: receipt[key] for key in ("n", "kind", "subject", "actor", "channel")}
    out["at"] = iso(receipt["ts"])
    out["observed"] = {key: _short(value) for key, value in receipt["observed"].items()}
    if receipt["claimed"]:
        out["untrusted_claimed"] = {key: _short(value) for key, value in receipt["claimed"].items() if value}
    out["hash"] = receipt["hash"]
    return out


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return line(value, 200)
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= 600 else line(text, 600)


register(Operation(
    name="cc_receipts", words=("receipts",), toolset="review", effect="read",
    summary="Receipts of a run, task, verification or delivery, or the latest, and whether the ledger's chain is sound.",
    params=ReceiptsParams, handler=_receipts, positional="run_id", idempotent=True, search_hint="receipts ledger audit proof",
))  # fmt: skip
register(Operation(
    name="cc_ledger", words=("ledger",), toolset="review", effect="write",
    summary="Verify the ledger record by record, with its head and git anchor; query it; or export it to a file.",
    description="verify names each changed, removed, inserted, reordered or cut-off record. query pages by cursor. "
    "export writes NDJSON or unsigned in-toto Statements v1 below reports/.",
    params=LedgerParams, handler=_ledger, positional="action", idempotent=True, search_hint="ledger audit tamper anchor export in-toto",
))  # fmt: skip
