"""Receipts of answered permission questions: one for each, written when it is answered, and made good at the end of the run."""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.text import line
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import ledger
from cc_orchestrator.store.paths import Workspace

Question = dict[str, Any]


def record_approval(workspace: Workspace, spec: RunSpec, question: Question, channel: str | None, clock: Clock) -> None:
    """The receipt of a permission that was given or refused, once. `question` is the fold's entry. Raises OSError, Busy."""
    if question.get("kind") != "permission" or question.get("decision") is None:
        return
    observed = {
        "decision": question["decision"], "by": question.get("by"), "tool": question.get("tool"),
        "target": line(str(question.get("target") or ""), 300) or None,
    }  # fmt: skip
    ledger.append(workspace.ledger, {
        "kind": "approval", "ts": clock.now(), "actor": question.get("by"), "channel": channel,
        "subject": {"run_id": spec.run_id, "task_id": spec.task_id, "question_id": question["question_id"]},
        "observed": {key: value for key, value in observed.items() if value is not None}, "claimed": {},
    }, once=True)  # fmt: skip


def record_approvals(workspace: Workspace, spec: RunSpec, state: dict[str, Any], clock: Clock) -> None:
    """Those of a run that the fold still knows and that have no receipt yet. Raises OSError, Busy."""
    for question in state["questions"].values():
        record_approval(workspace, spec, question, None, clock)
