"""Run states, their reasons and liveness: closed vocabularies, one meaning each."""

from __future__ import annotations

from typing import Literal

RunStatus = Literal[
    "created", "starting", "running", "waiting", "finishing",
    "succeeded", "failed", "stopped", "timed_out", "budget_exceeded", "lost",
]  # fmt: skip
LIVE: frozenset[str] = frozenset({"created", "starting", "running", "waiting", "finishing"})
ENDS: frozenset[str] = frozenset({"succeeded", "failed", "stopped", "timed_out", "budget_exceeded", "lost"})

#: Why a run ended as it did. One status may have several reasons; a reason belongs to one status.
REASONS: dict[str, str] = {
    "completed": "succeeded",
    "exited_empty": "failed",        # exit 0 and no result
    "worker_error": "failed",        # the worker's own result says error
    "api_error": "failed",           # the model's service refused or broke down for good
    "auth_failed": "failed",         # 401/403 from the model's service
    "rate_limited": "failed",        # 429 for good
    "context_overflow": "failed",
    "max_turns": "budget_exceeded",
    "max_tokens": "budget_exceeded",
    "max_cost": "budget_exceeded",
    "output_bytes": "budget_exceeded",
    "events_bytes": "budget_exceeded",
    "task_budget": "budget_exceeded",       # what all runs of a task, workflow, day or workspace share
    "workflow_budget": "budget_exceeded",
    "day_budget": "budget_exceeded",
    "workspace_budget": "budget_exceeded",
    "budget_unknown": "budget_exceeded",    # what is left of a budget cannot be told, and that was not allowed
    "timeout": "timed_out",
    "silence": "timed_out",
    "user_requested": "stopped",
    "crashed": "failed",             # non-zero exit or a signal that we did not send
    "cli_not_found": "failed",
    "spawn_failed": "failed",
    "worktree_failed": "failed",
    "no_result": "failed",           # a write run whose tree could not be taken as its result
    "no_stream": "failed",           # the worker never spoke its adapter's protocol
    "session_not_found": "failed",
    "disk_full": "failed",
    "internal": "failed",
    "supervisor_died": "lost",
    "never_started": "lost",
}  # fmt: skip

Liveness = Literal[
    "starting", "working", "tool_running", "slow", "waiting", "rate_limited", "provider_down", "suspected_stall",
    "exited_empty", "done_claimed", "lost", "finishing", "ended",
]  # fmt: skip

ControlKind = Literal["stop", "instruct", "answer"]
AskKind = Literal["permission", "choice", "clarification", "elicitation", "trust_dialog", "login"]
CheckOutcome = Literal["pass", "fail", "unverified"]
VerdictWord = Literal["APPROVE", "HOLD", "ESCALATE"]
JobStatus = Literal["running", "succeeded", "failed", "lost"]


def status_of(reason: str) -> str:
    """The end status that a reason belongs to; an unknown reason is a failure."""
    return REASONS.get(reason, "failed")
