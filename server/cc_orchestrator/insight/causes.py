"""Why a run is as it is: the few events of its journal that decided it, in order. Pure: events and the fold in, rows out.

Nothing is guessed: every row is an event with its number, and a worker's own words are marked as such.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.runs.failures import rule_of
from cc_orchestrator.runs.fold import State, part
from cc_orchestrator.runs.liveness import judge

Event = dict[str, Any]
Row = dict[str, Any]
#: How many of each kind are kept, the latest; kinds that are not here decide nothing.
_KEPT = {
    ev.RUN_STARTED: 1, ev.RUN_RETRYING: 2, ev.RUN_WAITING: 1, ev.RUN_LIMIT: 2, ev.RUN_LIVENESS: 2, ev.POLICY_DECIDED: 2,
    ev.QUESTION_ASKED: 1, ev.QUESTION_ANSWERED: 1, ev.RUN_RESULT: 1, ev.SYSTEM_NOTICE: 2, ev.RUN_STOPPING: 3, ev.RUN_EXITED: 1,
    ev.RUN_FINISHED: 1, ev.RUN_LOST: 1,
}  # fmt: skip
#: Fields of each row, beside number, time and type.
_SHOWN = (
    "cause", "attempt", "status", "delay_s", "limit", "measured", "allowed", "action", "liveness", "code", "why", "decision", "rule",
    "risk", "tool", "target", "question_id", "kind", "until", "step", "by", "reason", "exit", "signal", "leftovers", "detail", "text",
    "is_error",
)  # fmt: skip
#: Types whose `text` a worker wrote.
_WORKERS = frozenset({ev.RUN_RESULT, ev.QUESTION_ASKED})
_MOST_TOOLS = 200


class Placed(NamedTuple):
    """An event, and the cursor from which a reader meets it first."""

    event: Event
    before: str


class Chain(NamedTuple):
    """The deciding events in order; `tools`: calls that were in flight when it began to end, or are now."""

    rows: tuple[Placed, ...]
    tools: tuple[Placed, ...]


def find_chain(events: Iterable[Placed]) -> Chain:
    """One pass over a whole journal, in bounded memory."""
    kept: dict[str, list[Placed]] = {}
    flying: dict[str, Placed] = {}
    ending: tuple[Placed, ...] | None = None
    for placed in events:
        kind, data = placed.event["type"], placed.event["data"]
        if kind == ev.TOOL_STARTED and len(flying) < _MOST_TOOLS:
            flying[str(data.get("id"))] = placed
        elif kind == ev.TOOL_FINISHED:
            flying.pop(str(data.get("id")), None)
        elif ending is None and (kind in (ev.RUN_EXITED, ev.RUN_LOST) or _is_forced(placed.event)):
            ending = tuple(flying.values())
        if _decides(placed.event):
            rows = kept.setdefault(kind, [])
            rows.append(placed)
            del rows[: -_KEPT[kind]]
    rows = sorted((row for found in kept.values() for row in found), key=lambda row: row.event["seq"])
    return Chain(tuple(rows), (tuple(flying.values()) if ending is None else ending)[-2:])


def _is_forced(event: Event) -> bool:
    return event["type"] == ev.RUN_STOPPING and event["data"].get("step") != "conclude"


def _decides(event: Event) -> bool:
    kind, data = event["type"], event["data"]
    if kind == ev.POLICY_DECIDED:
        return data.get("decision") != "allow"
    if kind == ev.RUN_LIVENESS:
        return bool(data.get("code"))
    if kind == ev.SYSTEM_NOTICE:
        return data.get("code") not in ("plan", "compact_boundary")
    return kind in _KEPT


def show_event(event: Event, begun: float | None, size: int = 120) -> Row:
    """`{seq, t, type, …}`: `t` in seconds since the run was made."""
    data = event["data"]
    row: Row = {"seq": event["seq"], "type": event["type"]}
    if begun is not None and isinstance(event.get("ts"), int | float):
        row["t"] = round(event["ts"] - begun, 1)
    for key in _SHOWN:
        value = data.get(key)
        if value is None or value == "" or value is False:
            continue
        name = "untrusted_text" if key == "text" and event["type"] in _WORKERS else key
        row[name] = line(value, size) if isinstance(value, str) else value
    return row


def say_why(state: State, now: float) -> str:
    """The answer in one sentence, from the fold alone."""
    status, reason = state["status"], state["reason"]
    if status in LIVE:
        return _say_live(state, now)
    if status == "succeeded":
        return "it gave a result and its process ended in order"
    stopping = part(state, "stopping")
    who = (
        f" by {stopping['by']}" if stopping.get("by") and status in ("stopped", "timed_out", "budget_exceeded") else ""
    )
    detail = line(str(state["detail"] or ""), 200)
    return f"{status}{who}: {reason}" + (f" ({detail})" if detail else "")


def _say_live(state: State, now: float) -> str:
    found = judge(state, now)
    waiting = part(state, "waiting")
    if waiting.get("kind") == "question":
        until = f" until {iso(waiting['until'])}; then it is denied" if waiting.get("until") else ""
        return f"it waits for an answer to {waiting.get('question_id')}{until}"
    until = f", until {iso(found.until)}" if found.until else ""
    return f"it is {found.liveness}" + (f": {found.why}" if found.why else "") + until


def tell_failure(state: State) -> Row | None:
    """`{class, mends, remedy, …}` of a bad end; None while it lives, and for success."""
    if state["status"] in LIVE:
        return None
    recorded: Row = part(state, "failure")
    if recorded:
        at = recorded.get("not_before")
        return {**recorded, "not_before": iso(at)} if at else recorded
    rule = rule_of(str(state["reason"]))
    return None if rule is None else {"class": rule.name, "mends": rule.mends, "remedy": rule.remedy}


def about_question(question_id: str, events: Iterable[Event]) -> list[Event]:
    """What led to a question and what became of it: the policy's word on the same call, the question, its answer."""
    found: list[Event] = []
    asked_of: dict[str, Event] = {}
    for event in events:
        kind, data = event["type"], event["data"]
        if kind == ev.POLICY_DECIDED and data.get("decision") == "ask":
            asked_of[str(data.get("target"))] = event
        elif kind == ev.QUESTION_ASKED and data.get("question_id") == question_id:
            policy = asked_of.get(str(data.get("target"))) if data.get("target") else None
            found += [policy, event] if policy is not None else [event]
        elif kind == ev.QUESTION_ANSWERED and data.get("question_id") == question_id:
            found.append(event)
    return found


def about_event(seq: int, events: Iterable[Event]) -> list[Event]:
    """One event, with what shares its call: the policy's word, the tool's begin and end, the question and its answer."""
    seen: list[Event] = []
    wanted: Event | None = None
    for event in events:
        if event["seq"] == seq:
            wanted = event
        seen.append(event)
    if wanted is None:
        return []
    marks = _marks(wanted["data"])
    return [event for event in seen if event["seq"] == seq or marks & _marks(event["data"])][:8]


def _marks(data: dict[str, Any]) -> set[str]:
    return {str(data[key]) for key in ("id", "tool_use_id", "question_id") if data.get(key)}
