"""Flags over the fold: what a controller should look at, with evidence. Pure; from structured events, never from words in prose."""

from __future__ import annotations

import re
from typing import Any

from cc_orchestrator.core.text import line
from cc_orchestrator.runs.conduct import Flag, judge_conduct
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.liveness import judge

State = dict[str, Any]
SEVERITY = {"critical": 4, "high": 3, "medium": 2, "low": 1}
_ALIASES = ("opus", "sonnet", "haiku", "fable", "opusplan", "default")
_DATED = re.compile(r"[-@]?(20\d{6}|latest|v\d+)$")


def same_model(declared: str | None, actual: str | None) -> bool:
    """Whether two model names mean the same model: dates, context marks and family aliases do not matter. Unknown matches."""
    if not declared or not actual:
        return True
    left, right = _plain(declared), _plain(actual)
    return left == right or (left in _ALIASES and (left in right or left == "default"))


def _plain(name: str) -> str:
    name = re.sub(r"\[[^\]]{0,20}\]$", "", name.strip().lower()).rsplit("/", 1)[-1]
    return _DATED.sub("", name).replace(".", "-").replace("_", "-")


def find_flags(state: State, now: float) -> list[Flag]:
    """All flags of a run, most severe first."""
    found = [*_ended(state), *_budget(state), *_stalls(state, now), *judge_conduct(state)]
    found.sort(key=lambda flag: -SEVERITY[flag.severity])
    return found


def _ended(state: State) -> list[Flag]:
    found: list[Flag] = []
    status, reason = state["status"], state["reason"]
    if status == "timed_out":
        found.append(Flag("timed_out", "high", True, f"ended by {reason}"))
    if status == "lost":
        found.append(Flag("lost", "high", True, state["detail"] or "the supervisor died"))
    if status == "failed":
        found.append(Flag("failed", "high", True, f"{reason}: {state['detail'] or ''}".rstrip(": ")))
    leftovers = part(state, "exit").get("leftovers") or 0
    if leftovers:
        found.append(
            Flag("leftover_processes", "medium", False, f"{leftovers} processes outlived the worker and were killed")
        )
    checkout = part(state, "checkout")
    if checkout.get("changed"):
        what = f" ({', '.join(checkout['parts'])})" if checkout.get("parts") else ""
        found.append(Flag("checkout_changed", "high", True, f"the user's checkout changed during the run{what}"))
    incomplete = part(state, "snapshot").get("incomplete")
    if incomplete:
        found.append(
            Flag("result_incomplete", "high", True, f"not all files could be taken: {line(str(incomplete), 200)}")
        )
    hidden: list[str] = part(state, "snapshot").get("hidden") or []
    if hidden:
        text = f"marks in the index hid changes from git; they are in the result: {', '.join(line(path, 80) for path in hidden[:5])}"
        found.append(
            Flag(
                "hidden_changes", "medium", False, f"{text}{f' and {len(hidden) - 5} more' if len(hidden) > 5 else ''}"
            )
        )
    absent = part(state, "snapshot").get("absent")
    if absent:
        text = f"{absent} files are left out by a sparse checkout and stay in the result as they were"
        found.append(Flag("sparse_checkout", "low", False, text))
    return found


def _budget(state: State) -> list[Flag]:
    found: list[Flag] = []
    for entry in state["limits"]:
        if entry.get("level") == "hard" or state["status"] == "budget_exceeded":
            found.append(
                Flag("budget_exceeded", "high", True, f"{entry['limit']}: {entry['measured']} of {entry['allowed']}")
            )
            break
    soft = next((entry for entry in state["limits"] if entry.get("level") == "soft"), None)
    if soft is not None and not found:
        found.append(Flag("near_limit", "medium", False, f"{soft['limit']}: {soft['measured']} of {soft['allowed']}"))
    if not same_model(state["model"], state["actual_model"]):
        message = f"asked for {state['model']}, served by {state['actual_model']}"
        evidence = (state["model_at"],) if state["model_at"] is not None else ()
        found.append(Flag("route_mismatch", "high", True, message, evidence))
    return found


def _stalls(state: State, now: float) -> list[Flag]:
    """A live worker that does not get on, by the supervisor's judgement and by what only time brings."""
    found = judge(state, now)
    evidence = (state["judged"]["seq"],) if state["judged"] is not None else ()
    if found.liveness == "suspected_stall" or (found.liveness == "slow" and found.code in ("no_news", "slow_tool")):
        return [Flag("stalled", "medium", False, found.why, evidence)]
    if found.liveness == "waiting" and found.code == "prompt":
        return [Flag("unseen_prompt", "high", False, found.why, evidence)]
    if found.liveness == "provider_down":
        return [Flag("provider_down", "medium", False, found.why)]
    return []


def summarize_flags(flags: list[Flag]) -> dict[str, Any]:
    """`{blocking_ok, has_warnings, max_severity, blocking, warnings, flags[]}`."""
    blocking = sum(flag.blocking for flag in flags)
    return {
        "blocking_ok": blocking == 0,
        "has_warnings": len(flags) > blocking,
        "max_severity": flags[0].severity if flags else "none",
        "blocking": blocking,
        "warnings": len(flags) - blocking,
        "flags": [flag._asdict() for flag in flags],
    }
