"""When a budget is used up: pure. Measures and time come in, breaches go out; nothing is remembered here but what was said."""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.runs.spec import Limits

#: Share of a limit at which it is announced.
SOFT = 0.8
#: What is kept back from the wall clock for a conclusion: a share of it, within these seconds, and never more than half of it.
RESERVE_SHARE, RESERVE_LEAST, RESERVE_MOST = 0.1, 5.0, 20.0


#: A wall clock below this is not announced: nobody could heed it.
SOFT_LEAST_SECONDS = 60.0


class Measures(NamedTuple):
    """What was used so far. `idle` and `elapsed` are monotonic seconds; waiting for an answer does not count as idle."""

    elapsed: float
    idle: float
    output_bytes: int
    events_bytes: int
    turns: int
    tokens: int | None
    cost_usd: float | None


class Breach(NamedTuple):
    """One limit that is near or used up; `reason` is a key of REASONS.

    `level`: soft announces, conclude asks the worker to end, truncate stops keeping, hard ends the run.
    """

    limit: str
    reason: str
    level: str
    measured: float
    allowed: float


def check_limits(limits: Limits, now: Measures) -> list[Breach]:
    """All limits that are near or used up, hardest first."""
    found: list[Breach] = []
    if now.elapsed >= limits.timeout_seconds:
        found.append(Breach("timeout_seconds", "timeout", "hard", now.elapsed, limits.timeout_seconds))
    elif now.elapsed >= limits.timeout_seconds - _reserve(limits.timeout_seconds):
        found.append(Breach("timeout_seconds", "timeout", "conclude", now.elapsed, limits.timeout_seconds))
    elif limits.timeout_seconds >= SOFT_LEAST_SECONDS and now.elapsed >= limits.timeout_seconds * SOFT:
        found.append(Breach("timeout_seconds", "timeout", "soft", now.elapsed, limits.timeout_seconds))
    if limits.silence_seconds is not None and now.idle >= limits.silence_seconds:
        found.append(Breach("silence_seconds", "silence", "hard", now.idle, limits.silence_seconds))
    found += _bytes(limits, now)
    for name, reason, allowed, used in (
        ("max_turns", "max_turns", limits.max_turns, now.turns),
        ("max_tokens", "max_tokens", limits.max_tokens, now.tokens),
        ("max_cost_usd", "max_cost", limits.max_cost_usd, now.cost_usd),
    ):
        if allowed is None or used is None:
            continue
        # A turn is counted when it begins: the last allowed one may be finished.
        over = used > allowed if name == "max_turns" else used >= allowed
        if over:
            found.append(Breach(name, reason, "conclude", used, allowed))
        elif used >= allowed * SOFT:
            found.append(Breach(name, reason, "soft", used, allowed))
    found.sort(key=lambda breach: ("hard", "truncate", "conclude", "soft").index(breach.level))
    return found


def _reserve(seconds: float) -> float:
    return min(max(seconds * RESERVE_SHARE, RESERVE_LEAST), RESERVE_MOST, seconds / 2)


def _bytes(limits: Limits, now: Measures) -> list[Breach]:
    found: list[Breach] = []
    hard = "hard" if limits.output_budget_policy == "stop" else "truncate"
    for name, reason, allowed, used in (
        ("max_output_bytes", "output_bytes", limits.max_output_bytes, now.output_bytes),
        ("max_events_bytes", "events_bytes", limits.max_events_bytes, now.events_bytes),
    ):
        if allowed is not None and used > allowed:
            found.append(Breach(name, reason, hard, used, allowed))
        elif allowed is not None and used >= allowed * SOFT:
            found.append(Breach(name, reason, "soft", used, allowed))
    if limits.soft_output_bytes is not None and now.output_bytes > limits.soft_output_bytes:
        level = "hard" if limits.kill_on_excessive_output else "soft"
        found.append(Breach("soft_output_bytes", "output_bytes", level, now.output_bytes, limits.soft_output_bytes))
    return found


def used_tokens(usage: dict[str, Any]) -> int | None:
    """Tokens that were paid for: input, output and cache writes and reads; None when nothing is known."""
    known = [
        usage[key]
        for key in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
        if usage.get(key) is not None
    ]
    return int(sum(known)) if known else None
