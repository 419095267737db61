"""The fold in words for a controller: small, the same facts everywhere, worker text cut and marked. Pure."""

from __future__ import annotations

from typing import Any

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.runs.conduct import Flag
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.liveness import judge
from cc_orchestrator.runs.renewal import planned_renewal
from cc_orchestrator.runs.risk import find_flags, same_model

State = dict[str, Any]
#: What a worker is told that goes on in its conversation, by the class of its end (or the reason `silence`).
_GO_ON = {
    "provider_limit": "The limit is over; go on.", "provider_down": "The service answers again; go on.",
    "completion_missing": "You ended without a result: give it now.", "silence": "You fell silent and were stopped; go on from there.",
}  # fmt: skip


def liveness(state: State, now: float) -> str:
    """One word beside the status: what a live run is at."""
    return judge(state, now).liveness


def tell_liveness(state: State, now: float) -> dict[str, Any]:
    """`{liveness, why?}`: what it is at, and where that is no plain work, why."""
    found = judge(state, now)
    out: dict[str, Any] = {"liveness": found.liveness}
    if found.why and found.liveness != "ended":
        out["why"] = line(found.why, 160)
    return out


def summarize(state: State, now: float, *, said: int = 300) -> dict[str, Any]:
    """What a status-like answer holds, at most about 1.2 KB. `said` bounds the worker's own text, in bytes."""
    out: dict[str, Any] = {**tell_liveness(state, now), "adapter": state["adapter"]}
    if state["detail"]:
        out["detail"] = line(str(state["detail"]), 240)
    out.update(_failure(state))
    out["model"] = state["actual_model"] or state["model"] or "unknown"
    if not same_model(state["model"], state["actual_model"]):
        out["declared_model"] = state["model"]
    if state.get("sandbox") not in (None, "none"):
        out["sandbox"] = state["sandbox"]
    begun = state["started_at"] or state["created_at"]
    if begun:
        out["elapsed_s"] = round(max(0.0, (state["finished_at"] or now) - begun), 1)
    if state["status"] in LIVE and state["acted_at"]:
        out["idle_s"] = round(max(0.0, now - state["acted_at"]), 1)
    out["turns"] = state["turns"]
    if state["tools"]:
        out["tools"] = name_tools(state)
    if state["open_tools"]:
        current = next(iter(state["open_tools"].values()))
        out["tool_now"] = line(f"{current['tool']} {current['target']}", 160)
    if said and state["last_text"]:
        out["said"] = line(state["last_text"], said)
    out.update(_changes(state))
    out["usage"] = usage(state)
    out.update(_waiting(state))
    flags = find_flags(state, now)
    if flags:
        out["attention"] = [f"{flag.code}: {cut(flag.message, 140)}" for flag in flags[:5]]
    return out


def _failure(state: State) -> dict[str, Any]:
    """The class of a bad end and what mends it; when it is gone on with, and whether by itself."""
    failure = part(state, "failure")
    if not failure:
        return {}
    out = {key: failure[key] for key in ("class", "remedy") if key in failure}
    if "not_before" in failure:
        out["not_before"] = iso(failure["not_before"])
        out["resumes_itself"] = planned_renewal(state) == "later"
    return {"failure": out}


def name_tools(state: State, most: int = 8) -> str:
    """`Grep x7, Edit x2`: by count."""
    rows = sorted(state["tools"].items(), key=lambda item: -item[1]["count"])
    names = [
        f"{cut(name, 40)} x{entry['count']}" if entry["count"] > 1 else cut(name, 40) for name, entry in rows[:most]
    ]
    return ", ".join(names) + (f", +{len(rows) - most}" if len(rows) > most else "")


def usage(state: State) -> dict[str, Any]:
    """Tokens and cost, and whose figure the cost is: provider, override, cc-switch or table. What nobody said is `unknown`, never 0."""
    known = state["usage"]
    out: dict[str, Any] = {
        "input_tokens": known.get("input_tokens", "unknown"),
        "output_tokens": known.get("output_tokens", "unknown"),
        "cost_usd": round(known["cost_usd"], 6) if known.get("cost_usd") is not None else "unknown",
    }
    if state["cost_source"]:
        out["cost_source"] = state["cost_source"]
    for key in ("cache_read_tokens", "cache_write_tokens"):
        if known.get(key):
            out[key] = known[key]
    return out


def _changes(state: State) -> dict[str, Any]:
    snapshot = part(state, "snapshot")
    if snapshot:
        rows: list[dict[str, Any]] = snapshot.get("files") or []
        files = [str(row["path"]) for row in rows]
        out: dict[str, Any] = {
            "files_changed": snapshot.get("file_count", len(files)),
            "result": snapshot.get("commit"),
        }
        if files:
            out["files"] = [cut(path, 100) for path in files[:6]]
        return out
    if state["files"]:
        return {"files_touched": len(state["files"]), "files": [cut(path, 100) for path in list(state["files"])[:6]]}
    return {}


def _waiting(state: State) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if state["status"] not in LIVE:
        return out
    for key, question in state["questions"].items():
        if question.get("decision") is None:
            out["question"] = {
                "question_id": key, "kind": question["kind"], "text": line(question.get("text", ""), 240),
                "tool": question.get("tool"), "target": line(question.get("target") or "", 200),
                "options": question.get("options") or None, "deadline": question.get("deadline"), "default": "deny",
            }  # fmt: skip
            out["question"] = {name: value for name, value in out["question"].items() if value}
            break
    if state["waiting"] and state["waiting"].get("kind") == "rate_limit":
        out["rate_limited_until"] = state["waiting"].get("until")
    return out


def next_call(state: State) -> str:
    """The call that a controller most likely wants next."""
    run_id = state["run_id"]
    if state["status"] in LIVE:
        question = next((key for key, entry in state["questions"].items() if entry.get("decision") is None), None)
        if question is not None:
            return f'cc_answer {{"run_id":"{run_id}","question_id":"{question}","decision":"allow|deny"}}'
        return f'cc_wait {{"ids":["{run_id}"]}}'
    if state["status"] == "succeeded":
        return f'cc_verify {{"run_id":"{run_id}","test_commands":["…"]}}'
    if planned_renewal(state) is not None:
        return "cc_status {}"
    return _after_failure(state, str(run_id))


def _after_failure(state: State, run_id: str) -> str:
    """What the class of a bad end calls for."""
    name = part(state, "failure").get("class")
    if name == "provider_auth":
        return f'cc_call {{"name":"cc_canary","arguments":{{"adapters":["{state["adapter"]}"]}}}} once it is logged in'
    said = _GO_ON.get("silence" if state["reason"] == "silence" else str(name))
    if said is None or not state["session_id"]:
        return f'cc_summarize_run {{"run_id":"{run_id}"}}'
    when = " once not_before is past" if "not_before" in part(state, "failure") else ""
    return f'cc_send_instruction {{"run_id":"{run_id}","instruction":"{said}"}}{when}'


def recommend(state: State, flags: list[Flag]) -> str:
    """One word for the controller's files: continue_polling, stop_or_review, verify_run, blocked_review, inspect_or_restart."""
    live = state["status"] in LIVE
    if any(flag.blocking for flag in flags):
        return "stop_or_review" if live else "blocked_review"
    if live:
        return "continue_polling"
    return "verify_run" if state["status"] == "succeeded" else "inspect_or_restart"


def brief_event(event: dict[str, Any], size: int = 200) -> dict[str, Any]:
    """One event for a controller: `{seq, type, …}` with the few fields that matter, worker text cut."""
    data = event["data"]
    out: dict[str, Any] = {"seq": event["seq"], "type": event["type"]}
    for key in ("tool", "target", "text", "decision", "reason", "status", "limit", "level", "step", "kind", "question_id", "is_error",
                "cause", "delay_s", "liveness", "why", "code", "count", "ok", "commit", "exit", "signal"):  # fmt: skip
        value = data.get(key)
        if value is None or value == "":
            continue
        out[key] = line(value, size) if isinstance(value, str) else value
    return out
