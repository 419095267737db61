"""Claude Code's messages as facts: results, retries, notices, tool results. Pure."""

from __future__ import annotations

from typing import Any, cast

from cc_orchestrator.adapters import lines
from cc_orchestrator.adapters.lines import Object, number_at, object_at, text_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line

_DETAIL = 400
#: A message that the CLI made up itself (an API error, an interruption) names this model.
SYNTHETIC = "<synthetic>"


# ---------------------------------------------------------------- results


def result_reason(value: Object, error_kind: str) -> str | None:
    """Why a result is an error, as a key of REASONS; None when it is none. `error_kind` is what the last message said."""
    subtype, terminal = text_at(value, "subtype"), text_at(value, "terminal_reason")
    if subtype == "error_max_turns":
        return "max_turns"
    if subtype == "error_max_budget_usd":
        return "max_cost"
    if terminal.startswith("aborted"):
        return "worker_error"
    if value.get("is_error") is not True and subtype == "success":
        return None
    if terminal == "prompt_too_long":
        return "context_overflow"
    if any("no conversation found" in text.lower() for text in lines.texts_at(value, "errors")):
        return "session_not_found"
    status = number_at(value, "api_error_status")
    if status is None and not error_kind:
        return "api_error" if terminal == "api_error" else "worker_error"
    return _api_reason(status, error_kind)


def _api_reason(status: float | None, error_kind: str) -> str:
    if status in (401, 403) or error_kind == "authentication_failed":
        return "auth_failed"
    if status == 429 or (status is None and error_kind == "rate_limit"):
        return "rate_limited"
    return "api_error"


def result_text(value: Object) -> str:
    """The worker's final text, or what the CLI says went wrong."""
    terminal = text_at(value, "terminal_reason")
    if terminal.startswith("aborted"):
        return text_at(value, "result") or f"interrupted ({terminal})"
    return text_at(value, "result") or "; ".join(lines.texts_at(value, "errors"))


# ---------------------------------------------------------------- what the system says


def retrying(value: Object) -> Fact:
    """`api_retry`. Only a 429 is a rate limit; an overloaded service (529) has a cause of its own."""
    status, error = number_at(value, "error_status"), text_at(value, "error")
    cause = {429: "rate_limited", 529: "overloaded", 401: "auth_failed", 403: "auth_failed"}.get(int(status or 0))
    data: Object = {"cause": cause or line(error, 100) or "unknown"}
    delay = number_at(value, "retry_delay_ms")
    for key, figure in (
        ("attempt", number_at(value, "attempt")), ("max", number_at(value, "max_retries")), ("status", status),
        ("delay_s", None if delay is None else delay / 1000),
    ):  # fmt: skip
        if figure is not None:
            data[key] = figure
    return Fact(ev.RUN_RETRYING, data)


def session(value: Object) -> Fact:
    """`init`. Its model is what was asked for, not what answers: that comes with the answers."""
    data: Object = {"session_id": line(text_at(value, "session_id"), 200)}
    version, mode, tools = text_at(value, "claude_code_version"), text_at(value, "permissionMode"), value.get("tools")
    if version:
        data["cli_version"] = line(version, 40)
    if mode:
        data["permission_mode"] = line(mode, 40)
    if isinstance(tools, list):
        data["tools"] = len(cast("list[Any]", tools))
    return Fact(ev.RUN_SESSION, data)


def notice(code: str, text: str) -> Fact:
    """Something that a reader of the run should know."""
    return Fact(ev.SYSTEM_NOTICE, {"code": code, "text": line(text, _DETAIL)})


def fallback(value: Object) -> Fact:
    """`model_fallback`."""
    named = f"{text_at(value, 'original_model')} -> {text_at(value, 'fallback_model')}"
    return notice("model_fallback", f"{named}: {text_at(value, 'trigger') or text_at(value, 'content')}")


def tool_results(message: Object) -> list[Object]:
    """The `tool_result` blocks of a user message."""
    return [block for block in blocks(message) if block.get("type") == "tool_result"]


def blocks(message: Object) -> list[Object]:
    """The content blocks of a message."""
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [cast("Object", block) for block in cast("list[Any]", content) if isinstance(block, dict)]


def tool_finished(block: Object) -> Fact:
    """The end of a tool call; only an error is quoted."""
    ok = block.get("is_error") is not True
    return lines.tool_finished(line(text_at(block, "tool_use_id"), 100), ok=ok, note="" if ok else _content(block))


def _content(block: Object) -> str:
    content = block.get("content")
    if isinstance(content, str):
        return content
    return " ".join(text_at(part, "text") for part in blocks(block))


def rate_limit(value: Object) -> list[Fact]:
    """`rate_limit_event` of a subscription: told when it is not simply allowed, with its end when it is reached."""
    info = object_at(value, "rate_limit_info")
    status, resets = text_at(info, "status"), number_at(info, "resetsAt")
    if status in ("", "allowed"):
        return []
    facts = [
        notice(
            "rate_limit",
            f"{text_at(info, 'rateLimitType') or 'limit'}: {status}, resets at {resets or 'an unknown time'}",
        )
    ]
    if status == "rejected" and resets is not None:
        facts.append(Fact(ev.RUN_WAITING, {"kind": "rate_limit", "until": float(resets)}))
    return facts
