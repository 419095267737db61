"""What a bad end means and what may follow it: one table from reasons to classes, who mends it, and how often it is tried again. Pure.

Reasons come from structured events of the CLI or from what we did ourselves; no word of a model reaches this table. Only
structured limits of a provider are limits.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.states import status_of

FailureClass = Literal[
    "provider_limit", "provider_auth", "provider_down", "environment", "spec", "agent_error", "completion_missing", "timeout",
    "budget_exceeded", "canceled", "lost",
]  # fmt: skip
Mends = Literal["time", "controller", "person"]

#: No pause is longer, whatever a provider says; nor shorter, when it says only how long its last refusal counted.
LONGEST_PAUSE, SHORTEST_PAUSE = 6 * 3600.0, 5.0
#: Jitter: a share of the pause, and the most of it in seconds, so that workers of one account do not all come back at once.
JITTER_SHARE, JITTER_MOST = 0.1, 60.0


class Rule(NamedTuple):
    """One class: who mends it, how, how often it may be tried again without anybody deciding, and the first pause in seconds.

    The pause doubles with each try. `same`: it goes on in the same conversation; otherwise it begins anew.
    """

    name: FailureClass
    mends: Mends
    remedy: str
    tries: int = 0
    pause: float = 0.0
    same: bool = True


_LIMIT = Rule(
    "provider_limit", "time", "wait for the provider's limit to end, then go on in the same conversation", 5, 60.0
)
_AUTH = Rule("provider_auth", "person", "log the CLI in or set its key, then start again; cc_canary proves it")
_DOWN = Rule("provider_down", "time", "the provider's service failed: try again", 3, 30.0)
_ENVIRONMENT = Rule("environment", "controller", "mend this machine (cc_doctor), then start again", 3, 30.0, same=False)
_SPEC = Rule("spec", "controller", "change the request: the worker could not do it as it was asked", same=False)
_AGENT = Rule("agent_error", "controller", "read what it says, then tell it what to do otherwise", same=True)
_MISSING = Rule("completion_missing", "controller", "it ended without a result: ask it for one, or start again", 1)
_TIMEOUT = Rule("timeout", "controller", "give it more time or a smaller task; it can go on in the same conversation")
_BUDGET = Rule("budget_exceeded", "person", "raise the budget or make the task smaller: cc_budget")
_CANCELED = Rule("canceled", "controller", "somebody stopped it: nothing follows by itself")
_LOST = Rule("lost", "controller", "its supervisor died: look at what is left, then go on or start again", 1)

#: Every reason of core.states.REASONS but success; a reason of a newer version is an error of the agent.
TABLE: dict[str, Rule] = {
    "rate_limited": _LIMIT, "auth_failed": _AUTH, "api_error": _DOWN,
    "cli_not_found": _ENVIRONMENT, "spawn_failed": _ENVIRONMENT, "disk_full": _ENVIRONMENT, "worktree_failed": _ENVIRONMENT,
    "no_stream": _ENVIRONMENT, "internal": _ENVIRONMENT, "no_result": _ENVIRONMENT,
    "context_overflow": _SPEC, "session_not_found": _SPEC,
    "worker_error": _AGENT, "crashed": _AGENT,
    "exited_empty": _MISSING, "timeout": _TIMEOUT, "silence": _TIMEOUT, "user_requested": _CANCELED,
    "supervisor_died": _LOST, "never_started": _LOST,
}  # fmt: skip


def rule_of(reason: str) -> Rule | None:
    """The rule of an end; None for success."""
    status = status_of(reason)
    if status == "succeeded":
        return None
    return TABLE.get(reason) or (_BUDGET if status == "budget_exceeded" else _AGENT)


def resume_at(
    rule: Rule, *, now: float, reset: float | None, tries: int, seed: str, delay: float | None = None
) -> float | None:
    """Epoch seconds before which trying again is pointless; None where time mends nothing or all tries are used up.

    `reset` is the provider's own time; `delay` the seconds that its last refusal was to count; `tries` how often it was tried already.
    Never more than six hours off.
    """
    if rule.mends != "time" or tries >= rule.tries:
        return None
    limited = rule.name == "provider_limit"
    known = reset if limited and reset is not None and reset > now else None
    pause = max(delay, SHORTEST_PAUSE) if limited and delay is not None else rule.pause
    wait = min(known - now if known is not None else pause * 2.0**tries, LONGEST_PAUSE)
    share = int(sha256(f"{seed}/{tries}".encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    return min(now + wait + share * min(wait * JITTER_SHARE, JITTER_MOST), now + LONGEST_PAUSE)


def describe_failure(
    reason: str, *, now: float, seed: str, reset: float | None = None, delay: float | None = None, tries: int = 0
) -> dict[str, Any] | None:
    """`{class, mends, remedy, not_before?, tries_left?}` of an end; None for success."""
    rule = rule_of(reason)
    if rule is None:
        return None
    out: dict[str, Any] = {"class": rule.name, "mends": rule.mends, "remedy": rule.remedy}
    at = resume_at(rule, now=now, reset=reset, tries=tries, seed=seed, delay=delay)
    if at is not None:
        out["not_before"] = round(at, 3)
    if rule.tries:
        out["tries_left"] = max(0, rule.tries - tries)
    return out
