"""cc_questions: what workers ask, how risky a yes is, and who may give it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.policy.answering import Reach, may_answer, read_reach
from cc_orchestrator.runs.fold import State
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.store import atomic, index
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

_MOST_RUNS = 200
_SHOWN = 20


class QuestionsParams(Params):
    """Of one run, or of all in the workspace."""

    run_id: str | None = None
    include_answered: Annotated[bool, Field(description="Also those of the run that are resolved.")] = False
    cwd: str | None = None


def reach_of(workspace: Workspace) -> Reach:
    """Who may answer what here: `approvals.json` of the workspace. Corrupt when it cannot be read as that."""
    try:
        return read_reach(atomic.read_json(workspace.reach))
    except ValueError as error:
        raise Corrupt(f"{workspace.reach}: {error}", hint='{"controller":"medium","elicitation":"high"}') from None


def _questions(ctx: Context, params: QuestionsParams) -> dict[str, Any]:
    if params.run_id is not None:
        workspace, run = locate_run(ctx, params.run_id, params.cwd)
        runs = [run]
    else:
        workspace = workspace_of(ctx, params.cwd)
        rows = index.select(workspace.index, "finished_at is null", limit=_MOST_RUNS)
        runs = [RunDir(workspace.run(str(row["run_id"]))) for row in rows]
    reach = reach_of(workspace)
    found: list[dict[str, Any]] = []
    for run in runs:
        found += rows_of(run.run_id, read_run(run).state, reach, ctx.clock.now(), answered=params.include_answered)
    found.sort(key=lambda row: row.get("deadline") or "")
    return drop_empty({
        "questions": found[:_SHOWN], "count": len(found), "truncated": len(found) > _SHOWN or None,
        "next": found[0]["next"] if found and "next" in found[0] else 'cc_wait {"ids":["run_…"]}',
    })  # fmt: skip


def rows_of(run_id: str, state: State, reach: Reach, now: float, *, answered: bool = False) -> list[dict[str, Any]]:
    """The questions of a run, open ones first."""
    live = state["status"] in LIVE
    rows: list[dict[str, Any]] = []
    for question_id, entry in state["questions"].items():
        is_open = live and entry.get("decision") is None
        if not is_open and not answered:
            continue
        deadline = entry.get("deadline")
        row: dict[str, Any] = {
            "question_id": question_id, "run_id": run_id, "kind": entry.get("kind"), "risk": entry.get("risk") or "medium",
            "untrusted_text": line(str(entry.get("text") or ""), 240), "tool": entry.get("tool"),
            "untrusted_target": line(str(entry.get("target") or ""), 240), "options": entry.get("options") or None,
            "why": line(_reason(entry), 200), "default": entry.get("default"),
            "deadline": iso(deadline) if deadline else None, "decision": entry.get("decision"), "by": entry.get("by"),
        }  # fmt: skip
        if is_open:
            row["seconds_left"] = round(deadline - now, 1) if deadline else None
            row["may_answer"] = may_answer(str(row["risk"]), reach)
            row["next"] = f'cc_answer {{"run_id":"{run_id}","question_id":"{question_id}","decision":"allow|deny"}}'
        rows.append(drop_empty(row))
    return rows


def _reason(entry: dict[str, Any]) -> str:
    evidence: dict[str, Any] = entry.get("evidence") or {}
    return str(evidence.get("reason") or "")


register(Operation(
    name="cc_questions", words=("questions",), toolset="core", effect="read",
    summary="What workers ask now: how risky a yes is, who may give it, until when.",
    params=QuestionsParams, handler=_questions, positional="run_id", idempotent=True, search_hint="open questions permission pending approval",
))  # fmt: skip
