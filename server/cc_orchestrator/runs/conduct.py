"""How a worker behaves, as flags with evidence: pure rules over the fold. Structured events decide, the worker's prose never does.

`evidence` are numbers of events in the run's journal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.policy.globs import matches_any
from cc_orchestrator.runs.commands import CLEAN, RESET
from cc_orchestrator.runs.fold import part

State = dict[str, Any]
_SEARCH = frozenset({"Grep", "Glob", "LS", "grep", "rg", "find", "ls", "WebSearch", "search", "web_search"})
#: Of the last ten calls: so many searches, and so many times the very same call.
_SEARCHES, _REPEATS = 8, 5
#: Calls of a write run after which something should have been changed or run.
_UNDECIDED_CALLS = 40
#: Characters said, and lines over a megabyte, that are too many for a bounded task.
_MUCH_SAID, _MANY_OVERSIZED = 300_000, 3


class Flag(NamedTuple):
    """One thing to look at. `blocking` flags mean: do not accept as it is."""

    code: str
    severity: str
    blocking: bool
    message: str
    evidence: tuple[int, ...] = ()


def judge_conduct(state: State) -> list[Flag]:
    """All flags of a run's conduct, in no order."""
    found = (
        _secrets(state), _searches(state), _repeats(state), _output(state), _decision(state), _danger(state), _tests(state),
        _scope(state), _denials(state), _errors(state),
    )  # fmt: skip
    return [flag for flag in found if flag is not None]


def _secrets(state: State) -> Flag | None:
    if not state["masked"]:
        return None
    kinds = ", ".join(f"{kind} x{count}" for kind, count in sorted(state["masked"].items()))
    message = f"masked in the stream: {kinds}"
    return Flag("possible_secret_output", "high", True, message, tuple(state["masked_at"]))


def _searches(state: State) -> Flag | None:
    rows = [row for row in state["recent_tools"] if row["tool"] in _SEARCH]
    if len(rows) < _SEARCHES:
        return None
    message = f"{len(rows)} of the last {len(state['recent_tools'])} tool calls are searches"
    return Flag("repeated_search", "medium", False, message, _seqs(rows))


def _repeats(state: State) -> Flag | None:
    """The very same call again and again: a loop."""
    calls: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in state["recent_tools"]:
        if row["target"]:
            calls.setdefault((row["tool"], row["target"]), []).append(row)
    rows = max(calls.values(), key=len) if calls else []
    if len(rows) < _REPEATS:
        return None
    message = f"{line(rows[0]['tool'], 40)} {line(rows[0]['target'], 80)}: {len(rows)} times in the last {len(state['recent_tools'])} calls"
    return Flag("repeated_call", "medium", False, message, _seqs(rows))


def _output(state: State) -> Flag | None:
    over = next((entry for entry in state["limits"] if entry.get("limit") == "soft_output_bytes"), None)
    if over is not None:
        return Flag(
            "excessive_output",
            "medium",
            False,
            f"{over['measured']:.0f} bytes of output, {over['allowed']} were thought enough",
        )
    if state["said_chars"] > _MUCH_SAID or state["oversized"] >= _MANY_OVERSIZED:
        message = f"{state['said_chars']} characters said, {state['oversized']} lines over 1 MB"
        return Flag("excessive_output", "medium", False, message)
    if state["oversized"]:
        return Flag("oversized_line", "low", False, f"{state['oversized']} lines over 1 MB were kept raw only")
    return None


def _decision(state: State) -> Flag | None:
    """Much looking and no doing, or an end without a word and without a change."""
    result = part(state, "result")
    if state["status"] == "succeeded" and not str(result.get("text", "")).strip():
        if not part(state, "snapshot").get("file_count") and not part(state, "completion").get("claimed", {}).get(
            "outbox"
        ):
            return Flag(
                "no_decision", "medium", False, "it ended with no answer and no change", _numbers(result.get("seq"))
            )
        return None
    idle = state["allow_write"] and not state["files"] and state["status"] in LIVE
    if idle and state["tool_count"] >= _UNDECIDED_CALLS and state["test"] is None:
        recent = _seqs(state["recent_tools"][-3:])
        return Flag("no_decision", "medium", False, f"{state['tool_count']} tool calls and nothing changed yet", recent)
    return None


def _danger(state: State) -> Flag | None:
    """A command that destroys beyond the work in hand. One that policy denied did no harm, but was wanted."""
    denied = {row["id"] for row in state["denials"] if row.get("id")}
    refused = [str(entry.get("target")) for entry in state["questions"].values() if entry.get("decision") != "allow"]
    rows = state["dangers"]
    if not rows:
        return None
    done = [
        row for row in rows if row["id"] not in denied and not any(text.startswith(row["target"]) for text in refused)
    ]
    shown = (done or rows)[-1]
    text = f"{line(shown['target'], 100)}: {shown['what']}"
    if done and state["allow_write"] and all(row["what"] in (RESET, CLEAN) for row in done):
        return Flag("destructive_command", "low", False, text, _seqs(done))
    if done:
        return Flag("destructive_command", "high", True, text, _seqs(done))
    return Flag("destructive_plan", "medium", False, f"{text} (not allowed)", _seqs(rows))


def _tests(state: State) -> Flag | None:
    """The last tests that ran failed, and it says that it is done."""
    test, result = state["test"], part(state, "result")
    if test is None or test["ok"] is not False or not state["results"] or result.get("is_error"):
        return None
    if state["status"] in LIVE and not state["claims_done"]:
        return None
    message = f"its last tests failed ({line(test['target'], 80)}), and it reports success"
    return Flag(
        "success_claim_after_test_failure",
        "high",
        True,
        message,
        _numbers(test["seq"], test.get("end"), result.get("seq")),
    )


def _scope(state: State) -> Flag | None:
    """Files of the result outside of what the run was allowed to write."""
    scope, snapshot = part(state, "scope"), part(state, "snapshot")
    allow: list[str] = scope.get("allow") or []
    deny: list[str] = scope.get("deny") or []
    rows: list[dict[str, Any]] = snapshot.get("files") or []
    outside = [
        str(row["path"]) for row in rows
        if (allow and not matches_any(str(row["path"]), allow)) or matches_any(str(row["path"]), deny)
    ]  # fmt: skip
    if not outside:
        return None
    more = f" and {len(outside) - 3} more" if len(outside) > 3 else ""
    return Flag(
        "scope_violation",
        "high",
        True,
        f"changed outside its scope: {', '.join(line(path, 80) for path in outside[:3])}{more}",
    )


def _denials(state: State) -> Flag | None:
    if not state["denied"]:
        return None
    return Flag("denied", "low", False, f"{state['denied']} tool calls were denied", _seqs(state["denials"][-5:]))


def _errors(state: State) -> Flag | None:
    if state["tool_errors"] < 5:
        return None
    return Flag("tool_errors", "medium", False, f"{state['tool_errors']} tool calls failed")


def _seqs(rows: list[dict[str, Any]]) -> tuple[int, ...]:
    return _numbers(*(row.get("seq") for row in rows))


def _numbers(*found: int | None) -> tuple[int, ...]:
    return tuple(number for number in found if number is not None)
