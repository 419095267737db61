"""cc_open_items: what still stands between a task and its acceptance, listed, added, closed."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import ApprovalRequired, Corrupt, InvalidRequest, NotFound
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.blockers import close_with_evidence, lineage, take_in
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, spec_of, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.item import SEVERITIES, Draft, Item, Severity
from cc_orchestrator.tasks.open_items import By, Closing, close_item, open_item, read_items
from cc_orchestrator.tasks.record import read_task, runs_of
from cc_orchestrator.verify.findings import list_open
from cc_orchestrator.verify.reviews import read_findings

#: Runs whose verifications are taken in when all tasks are listed: the latest.
_RUNS = 50
Answer = dict[str, Any]


class OpenItemsParams(Params):
    """What to do with open items. Adding needs run_id or task_id and a title; closing an item_id and evidence or a reason."""

    action: Literal["list", "add", "close"] = "list"
    task_id: str | None = None
    run_id: Annotated[str | None, Field(description="One run and those that it is a follow-up of.")] = None
    item_id: str | None = None
    severity: Annotated[Severity | None, Field(description="Of a new item (default warn), or a filter.")] = None
    title: Annotated[str, Field(max_length=500)] = ""
    key: Annotated[str, Field(max_length=200, description="The same key twice is one item. Default: the title.")] = ""
    source: Literal["reviewer", "controller"] = "controller"
    evidence: Annotated[str | None, Field(max_length=80, description="verify_id, or the number of a receipt.")] = None
    reason: Annotated[str | None, Field(max_length=1_000, description="For a blocker: by a person, at the CLI.")] = None
    include_closed: bool = False
    limit: Annotated[int, Field(ge=1, le=200)] = 30
    cwd: str | None = None


def _open_items(ctx: Context, params: OpenItemsParams) -> Answer:
    if params.action == "add":
        return _add(ctx, params)
    if params.action == "close":
        return _close(ctx, params)
    return _list(ctx, params)


# ---------------------------------------------------------------- list


def _list(ctx: Context, params: OpenItemsParams) -> Answer:
    if params.run_id is not None:
        workspace, run = locate_run(ctx, params.run_id, params.cwd)
        spec = spec_of(run)
        task_id, runs = spec.task_id, lineage(workspace, spec)
    else:
        workspace = workspace_of(ctx, params.cwd)
        task_id, runs = params.task_id, None
    _take_all_in(workspace, runs if runs is not None else _runs_to_take(workspace, task_id))
    found = [item for item in read_items(workspace).values() if _is_wanted(item, params, task_id, runs)]
    found.sort(key=lambda item: (not item.is_open, SEVERITIES.index(item.severity), -item.opened_at))
    open_ = [item for item in found if item.is_open]
    out: Answer = {
        "open": {severity: sum(item.severity == severity for item in open_) for severity in SEVERITIES},
        "items": [_row(item) for item in found[: params.limit]], "truncated": len(found) > params.limit,
        "as_of": iso(ctx.clock.now()),
    }  # fmt: skip
    if params.run_id is not None and task_id is not None:
        # Findings live with their reviews; whoever looks for what is open should not miss them.
        findings = list_open(read_findings(workspace, task_id), ctx.clock.now())
        if findings:
            out["review_findings"] = {"open": len(findings), "see": f'cc_findings {{"run_id":"{params.run_id}"}}'}
    blocking = next((item for item in open_ if item.severity == "blocker"), None)
    if blocking is not None:
        out["next"] = f'cc_open_items {{"action":"close","item_id":"{blocking.item_id}","evidence":"ver_…"}}'
    return out


def _runs_to_take(workspace: Workspace, task_id: str | None) -> list[str]:
    if task_id is not None:
        read_task(workspace, task_id)
        return runs_of(workspace, task_id)
    try:
        names = os.listdir(workspace.at("verify"))
    except OSError:
        return []
    return sorted((name for name in names if is_id(name, "run")), reverse=True)[:_RUNS]


def _take_all_in(workspace: Workspace, runs: list[str]) -> None:
    for run_id in reversed(runs):
        try:
            take_in(workspace, run_id)
        except Corrupt:
            # The store itself: said by whoever reads it next. A run's own spec: its items stay as they are.
            continue


def _is_wanted(item: Item, params: OpenItemsParams, task_id: str | None, runs: list[str] | None) -> bool:
    return (
        (params.include_closed or item.is_open)
        and (task_id is None or item.task_id == task_id)
        and (runs is None or item.run_id is None or item.run_id in runs)
        and (params.severity is None or item.severity == params.severity)
        and (params.item_id is None or item.item_id == params.item_id)
    )


def _row(item: Item) -> Answer:
    row: Answer = {
        "item_id": item.item_id, "severity": item.severity, "untrusted_title": line(item.title, 240), "task_id": item.task_id,
        "run_id": item.run_id, "source": item.source, "check": item.check, "verify_id": item.verify_id,
        "opened_at": iso(item.opened_at),
    }  # fmt: skip
    if item.closed is not None:
        row["closed"] = {**item.closed, "at": iso(float(item.closed["at"]))}
    return drop_empty(row)


# ---------------------------------------------------------------- add, close


def _add(ctx: Context, params: OpenItemsParams) -> Answer:
    title = line(params.title, 500)
    if len(title) < 3 or (params.run_id is None and params.task_id is None):
        raise InvalidRequest(
            "an item needs a title of three characters or more, and a run_id or a task_id",
            hint='cc_open_items {"action":"add","run_id":"run_…","severity":"blocker","title":"…"}',
        )
    if params.run_id is not None:
        workspace, run = locate_run(ctx, params.run_id, params.cwd)
        task_id = spec_of(run).task_id
        if params.task_id not in (None, task_id):
            raise InvalidRequest(
                f"{params.run_id} belongs to {task_id}, not {params.task_id}", hint="leave task_id out"
            )
    else:
        workspace, task_id = workspace_of(ctx, params.cwd), str(params.task_id)
        read_task(workspace, task_id)
    key = params.key.strip() or sha256(" ".join(title.lower().split()).encode("utf-8", "replace")).hexdigest()[:24]
    draft = Draft(task_id, params.run_id, params.severity or "warn", title, f"{params.source}/{key}", params.source)
    item, made = open_item(workspace, draft, By(params.source, ctx.channel, ctx.clock.now()))
    return {**_row(item), "repeated": not made}


def _close(ctx: Context, params: OpenItemsParams) -> Answer:
    if params.item_id is None:
        raise InvalidRequest("closing needs an item_id", hint="cc_open_items {} lists them")
    workspace = workspace_of(ctx, params.cwd)
    if params.evidence is not None:
        by = By("controller", ctx.channel, ctx.clock.now())
        item, made = close_with_evidence(workspace, params.item_id, params.evidence, by)
        return {**_row(item), "repeated": not made}
    known = read_items(workspace).get(params.item_id)
    if known is None:
        raise NotFound(f"there is no open item {params.item_id[:60]!a} here", hint="cc_open_items {} lists them")
    if known.severity == "blocker" and ctx.channel != "cli":
        raise ApprovalRequired(
            f"{params.item_id} is a blocker: it closes with evidence, or by a person with a reason at the command line",
            hint=f'a person: cc-orchestrator open-items close --item-id {params.item_id} --reason "…"',
        )
    actor = "user" if ctx.channel == "cli" else "controller"
    item, made = close_item(
        workspace, params.item_id, Closing(reason=params.reason or ""), By(actor, ctx.channel, ctx.clock.now())
    )
    return {**_row(item), "repeated": not made}


register(Operation(
    name="cc_open_items", words=("open-items",), toolset="review", effect="write",
    summary="Open items of a run, a task or all: list them, add one, or close one with evidence. An open blocker holds cc_accept.",
    description="Required checks that did not pass are blockers; the same check passing under a later APPROVE closes them.",
    params=OpenItemsParams, handler=_open_items, positional="action", search_hint="open items blocker todo finding close evidence",
))  # fmt: skip
