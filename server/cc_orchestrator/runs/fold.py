"""fold(journal) = what is true of a run now. Pure: events in, state out; bounded in memory whatever the run does.

The state is one plain dict, so that it can be saved at a journal offset and taken up again: a poll then reads the tail only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.text import cut
from cc_orchestrator.runs.commands import name_danger, runs_tests

VERSION = 1
State = dict[str, Any]
Data = dict[str, Any]

_TEXT = 2_000
_KEEP_TOOLS = 60
_KEEP_FILES = 200
_KEEP_RECENT = 10
_KEEP_TIMELINE = 100


def new_state() -> State:
    """The state before any event."""
    return {
        "v": VERSION, "seq": 0, "status": "created", "reason": None, "detail": None, "run_id": None, "task_id": None,
        "adapter": None, "role": None, "model": None, "actual_model": None, "models": {}, "allow_write": False,
        "parent_run_id": None, "created_at": None, "started_at": None, "finished_at": None, "last_ts": None, "acted_at": None,
        "judged": None, "claims_done": False, "test": None, "dangers": [], "denials": [], "masked_at": [], "model_at": None, "scope": None,
        "said_chars": 0,
        "session_id": None, "session_totals": {}, "usage": {}, "cost_source": None, "turns": 0, "messages": 0, "last_text": "",
        "results": 0, "result": None, "tools": {}, "tool_count": 0, "tool_errors": 0, "open_tools": {}, "recent_tools": [], "timeline": [],
        "files": {}, "questions": {}, "waiting": None, "retrying": None, "denied": 0, "violations": 0, "limits": [], "masked": {},
        "notices": [], "stderr": "", "unparsed": 0, "oversized": 0, "instructions": 0, "stopping": None, "exit": None,
        "snapshot": None, "checkout": None, "pid": None, "pid_start": None, "containment": None, "completion": None,
        "findings": [], "limit_reset": None, "limit_delay": None, "failure": None, "sandbox": None, "sandbox_backend": None,
    }  # fmt: skip


def part(state: State, name: str) -> dict[str, Any]:
    """A field that is an object once it is known; empty before."""
    return state[name] or {}


def claimed(state: State) -> dict[str, Any]:
    """What the worker said of its own work at the end: `{text, outbox?}`; empty before."""
    return part(state, "completion").get("claimed") or {}


def fold(events: Iterable[dict[str, Any]], state: State | None = None) -> State:
    """`state` (or a new one) after `events`. Events already seen (by seq) are skipped, so overlaps are harmless."""
    state = new_state() if state is None else state
    for event in events:
        apply(state, event)
    return state


def apply(state: State, event: dict[str, Any]) -> None:
    """One event. Unknown types only move the clock."""
    seq = event["seq"]
    if seq <= state["seq"]:
        return
    state["seq"] = seq
    state["last_ts"] = ts = event.get("ts")
    handler = _HANDLERS.get(event["type"])
    if handler is not None:
        handler(state, event["data"], ts)


def _acted(state: State, ts: float | None) -> None:
    """The worker did something: it is no longer waiting for a service."""
    state["acted_at"] = ts
    if state["judged"] is not None:
        # What was told of its silence is over.
        state["judged"] = None
    _served(state)


def _served(state: State) -> None:
    """The model's service answers again."""
    if state["retrying"] is not None:
        state["retrying"] = None
        if state["status"] == "waiting" and not _open_questions(state):
            state["status"], state["waiting"] = "running", None


def _open_questions(state: State) -> list[str]:
    return [key for key, question in state["questions"].items() if question.get("decision") is None]


def _created(state: State, data: Data, ts: float | None) -> None:
    for key in ("run_id", "task_id", "adapter", "role", "model", "allow_write", "parent_run_id", "scope"):
        if key in data:
            state[key] = data[key]
    state["created_at"] = ts
    state["status"] = "starting"


def _started(state: State, data: Data, ts: float | None) -> None:
    state["status"] = "running"
    state["started_at"] = state["acted_at"] = ts
    for key in ("pid", "pid_start", "containment", "sandbox", "sandbox_backend"):
        state[key] = data.get(key)


def _session(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    state["claims_done"] = False
    state["session_id"] = data.get("session_id") or state["session_id"]
    if data.get("model"):
        state["actual_model"], state["model_at"] = data["model"], state["seq"]


def _message(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    state["claims_done"] = False
    state["messages"] += 1
    state["said_chars"] += int(data.get("chars") or 0)
    state["last_text"] = cut(str(data.get("text", "")), _TEXT)


def _turn(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    state["claims_done"] = False
    state["turns"] = int(data["turn"]) if data.get("turn") is not None else state["turns"] + 1


def _retrying(state: State, data: Data, ts: float | None) -> None:
    delay = data.get("delay_s")
    until = ts + delay if isinstance(ts, float | int) and isinstance(delay, float | int) else None
    since = part(state, "retrying").get("since", ts)
    state["retrying"] = {**data, "until": until, "ts": ts, "since": since}
    if data.get("cause") == "rate_limited":
        state["limit_reset"] = until or state["limit_reset"]
        state["limit_delay"] = delay if isinstance(delay, float | int) else state["limit_delay"]
        state["status"] = "waiting"
        state["waiting"] = {"kind": "rate_limit", "until": until, "since": since}


def _waiting(state: State, data: Data, ts: float | None) -> None:
    """A limit that the provider tells with its end: what the CLI does about it comes in events of its own."""
    if data.get("kind") == "rate_limit" and data.get("until") is not None:
        state["limit_reset"] = data["until"]


def _usage(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    usage = state["usage"]
    for key in (
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "cost_usd",
    ):
        if data.get(key) is not None:
            usage[key] = data[key] if data.get("total", True) else usage.get(key, 0) + data[key]
    if data.get("cost_usd") is not None:
        state["cost_source"] = data.get("cost_source") or "provider"
    if data.get("session_totals"):
        state["session_totals"] = data["session_totals"]
    models: dict[str, Any] = data.get("models") or {}
    for name, figures in models.items():
        if len(state["models"]) < 20:
            state["models"][name] = figures
    if data.get("model"):
        state["actual_model"], state["model_at"] = data["model"], state["seq"]


def _result(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    state["results"] += 1
    state["result"] = {**data, "text": data.get("text", ""), "seq": state["seq"]}
    state["claims_done"] = data.get("is_error") is not True
    if data.get("text"):
        state["last_text"] = cut(str(data["text"]), _TEXT)
    if data.get("turns") is not None:
        state["turns"] = data["turns"]


def _tool_started(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    name = str(data.get("tool", "?"))
    state["claims_done"] = False
    state["tool_count"] += 1
    tools = state["tools"]
    entry = tools.get(name)
    if entry is not None:
        entry["count"] += 1
        entry["last"] = state["seq"]
    elif len(tools) < _KEEP_TOOLS:
        tools[name] = {"count": 1, "first": state["seq"], "last": state["seq"]}
    open_tools = state["open_tools"]
    if len(open_tools) < _KEEP_TOOLS:
        open_tools[str(data.get("id"))] = {
            "tool": name, "target": data.get("target", ""), "ts": ts, "kind": data.get("kind"),
            "deadline_s": data.get("deadline_s"), "seq": state["seq"],
        }  # fmt: skip
    if data.get("kind") == "command":
        _note_command(state, data)
    _extend_timeline(state["timeline"], ts, name, str(data.get("target", "")))
    recent = state["recent_tools"]
    recent.append({"ts": ts, "tool": name, "target": data.get("target", ""), "seq": state["seq"]})
    del recent[:-_KEEP_RECENT]
    if data.get("kind") == "edit":
        for path in data.get("paths") or [data.get("target")]:
            if path and (path in state["files"] or len(state["files"]) < _KEEP_FILES):
                state["files"][path] = state["files"].get(path, 0) + 1


def _extend_timeline(timeline: list[list[Any]], ts: float | None, tool: str, target: str) -> None:
    """Rows `[first ts, last ts, tool, count, last target]`; the same tool again extends the last row."""
    if timeline and timeline[-1][2] == tool:
        row = timeline[-1]
        row[1], row[3], row[4] = ts, row[3] + 1, target
        return
    timeline.append([ts, ts, tool, 1, target])
    del timeline[:-_KEEP_TIMELINE]


def _note_command(state: State, data: Data) -> None:
    """Commands whose outcome matters later: tests, and what destroys."""
    target, call = str(data.get("target", "")), str(data.get("id"))
    if runs_tests(target):
        state["test"] = {"id": call, "seq": state["seq"], "target": cut(target, 200), "ok": None}
    what = name_danger(target)
    if what:
        row = {"id": call, "seq": state["seq"], "target": cut(target, 200), "what": what, "ok": None}
        state["dangers"] = [*state["dangers"], row][-_KEEP_RECENT:]


def _tool_finished(state: State, data: Data, ts: float | None) -> None:
    _acted(state, ts)
    call, ok = str(data.get("id")), data.get("ok") is not False
    state["open_tools"].pop(call, None)
    if not ok:
        state["tool_errors"] += 1
    for row in (state["test"], *state["dangers"]):
        if row is not None and row["id"] == call and row["ok"] is None:
            row.update(ok=ok, end=state["seq"])


def _decided(state: State, data: Data, ts: float | None) -> None:
    if data.get("decision") == "deny":
        state["denied"] += 1
        # Denied at every level of trust: that it was tried says something of the worker.
        state["violations"] += data.get("risk") == "critical"
        row = {"seq": state["seq"], "rule": data.get("rule"), "tool": data.get("tool"), "target": data.get("target")}
        state["denials"] = [*state["denials"], {**row, "id": data.get("tool_use_id")}][-_KEEP_RECENT:]


def _asked(state: State, data: Data, ts: float | None) -> None:
    questions = state["questions"]
    for key in [key for key, entry in questions.items() if entry.get("decision") is not None][:-20]:
        del questions[key]
    questions[data["question_id"]] = {**data, "decision": None}
    state["status"] = "waiting"
    state["waiting"] = {
        "kind": "question",
        "question_id": data["question_id"],
        "until": data.get("deadline"),
        "since": ts,
    }


def _answered(state: State, data: Data, ts: float | None) -> None:
    question = state["questions"].get(data.get("question_id"))
    if question is not None:
        question.update(decision=data.get("decision"), by=data.get("by"))
    if state["status"] == "waiting":
        still = _open_questions(state)
        if not still:
            state["status"], state["waiting"] = "running", None
        else:
            entry = state["questions"][still[0]]
            state["waiting"] = {"kind": "question", "question_id": still[0], "until": entry.get("deadline")}


def _limit(state: State, data: Data, ts: float | None) -> None:
    state["limits"] = [*state["limits"], data][-10:]


def _masked(state: State, data: Data, ts: float | None) -> None:
    masked = state["masked"]
    kind = str(data.get("kind", "?"))
    masked[kind] = masked.get(kind, 0) + int(data.get("count", 1))
    state["masked_at"] = [*state["masked_at"], state["seq"]][-5:]


def _stderr(state: State, data: Data, ts: float | None) -> None:
    state["stderr"] = (state["stderr"] + str(data.get("text", "")) + "\n")[-1_500:]


def _unparsed(state: State, data: Data, ts: float | None) -> None:
    state["unparsed"] += 1


def _oversized(state: State, data: Data, ts: float | None) -> None:
    state["oversized"] += 1


def _notice(state: State, data: Data, ts: float | None) -> None:
    state["notices"] = [*state["notices"], data][-10:]


def _judged(state: State, data: Data, ts: float | None) -> None:
    """What the supervisor says of a worker that does not act; an ordinary word takes it back."""
    if data.get("code"):
        since = data.get("since")
        state["judged"] = {
            "liveness": data["liveness"], "since": ts if since is None else since, "code": data["code"],
            "why": str(data.get("why", "")), "evidence": data.get("evidence"), "seq": state["seq"],
        }  # fmt: skip
    else:
        state["judged"] = None
        if data.get("was") == "retrying":
            _served(state)


def _instructed(state: State, data: Data, ts: float | None) -> None:
    if data.get("delivered"):
        state["instructions"] += 1


def _stopping(state: State, data: Data, ts: float | None) -> None:
    if state["status"] not in ("finishing",) and data.get("step") != "conclude":
        state["status"] = "finishing"
    state["stopping"] = data


def _exited(state: State, data: Data, ts: float | None) -> None:
    state["exit"] = data
    state["status"] = "finishing"
    state["open_tools"] = {}


def _snapshot(state: State, data: Data, ts: float | None) -> None:
    state["snapshot"] = data


def _finished(state: State, data: Data, ts: float | None) -> None:
    state["status"] = data.get("status", "failed")
    state["reason"] = data.get("reason")
    state["detail"] = data.get("detail")
    state["finished_at"] = ts
    state["open_tools"], state["waiting"], state["retrying"] = {}, None, None
    for key in ("completion", "checkout", "findings", "failure"):
        if data.get(key) is not None:
            state[key] = data[key]
    for entry in state["questions"].values():
        if entry.get("decision") is None:
            entry.update(decision="deny", by="end of run")


_HANDLERS: dict[str, Callable[[State, Data, float | None], None]] = {
    ev.RUN_CREATED: _created, ev.RUN_STARTED: _started, ev.RUN_SESSION: _session, ev.RUN_MESSAGE: _message,
    ev.RUN_TURN: _turn, ev.RUN_WAITING: _waiting, ev.RUN_RETRYING: _retrying, ev.RUN_USAGE: _usage, ev.RUN_RESULT: _result,
    ev.TOOL_STARTED: _tool_started, ev.TOOL_FINISHED: _tool_finished, ev.POLICY_DECIDED: _decided,
    ev.QUESTION_ASKED: _asked, ev.QUESTION_ANSWERED: _answered, ev.RUN_LIMIT: _limit, ev.ARTIFACT_MASKED: _masked,
    ev.SYSTEM_STDERR: _stderr, ev.SYSTEM_UNPARSED: _unparsed, ev.SYSTEM_OVERSIZED: _oversized, ev.SYSTEM_NOTICE: _notice,
    ev.RUN_LIVENESS: _judged, ev.RUN_INSTRUCTED: _instructed, ev.RUN_STOPPING: _stopping, ev.RUN_EXITED: _exited, ev.RUN_SNAPSHOT: _snapshot,
    ev.RUN_FINISHED: _finished, ev.RUN_LOST: _finished,
}  # fmt: skip
