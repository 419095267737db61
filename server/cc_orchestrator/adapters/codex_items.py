"""What Codex's app-server tells of items and errors, in the words that every adapter shares. Pure; measured with 0.169.0."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import Any, cast

from cc_orchestrator.adapters.lines import Object, number_at, object_at, text_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import ToolCall, ToolKind
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line, tail

COMMAND, EDIT = "command_execution", "file_change"
_SHELLS = frozenset({"sh", "bash", "zsh", "dash", "powershell.exe", "pwsh"})
_LONGEST_COMMAND = 4_000
_RETRY = re.compile(r"Reconnecting\.{3}\s{0,3}(\d{1,4})/(\d{1,4})")
#: Codex's name of a figure -> ours. Its input count includes what was read from and written to the cache.
_FIGURES = {
    "outputTokens": "output_tokens", "cachedInputTokens": "cache_read_tokens", "cacheWriteInputTokens": "cache_write_tokens",
    "reasoningOutputTokens": "reasoning_tokens",
}  # fmt: skip
_REASONS = {
    "contextWindowExceeded": "context_overflow", "usageLimitExceeded": "rate_limited", "rateLimitExceeded": "rate_limited",
    "unauthorized": "auth_failed", "sessionBudgetExceeded": "max_tokens", "sandboxError": "worker_error",
    "tooManyDenials": "worker_error", "threadRollbackFailed": "worker_error",
}  # fmt: skip
#: Codes of the provider's own error object, which Codex passes on as text.
_PROVIDER = {
    "context_length_exceeded": "context_overflow", "rate_limit_exceeded": "rate_limited", "insufficient_quota": "rate_limited",
    "usage_limit_reached": "rate_limited", "invalid_api_key": "auth_failed",
}  # fmt: skip
_STATUS = {401: "auth_failed", 403: "auth_failed", 429: "rate_limited"}
#: What Codex says itself, without a code, when it has no login or key to try.
_NO_LOGIN = re.compile(r"^(?:Missing environment variable|[Nn]ot logged in)")
_KINDS: dict[str, ToolKind] = {
    "view_image": "read", "list_mcp_resources": "read", "list_mcp_resource_templates": "read", "tool_search": "read",
    "update_plan": "read", "get_goal": "read", "sleep": "read", "clock__curr_time": "read", "wait": "read",
    "web_search": "network", "request_user_input": "ask",
    "spawn_agent": "delegate", "send_input": "delegate", "send_message": "delegate", "wait_agent": "delegate", "close_agent": "delegate",
    "resume_agent": "delegate", "list_agents": "delegate",
}  # fmt: skip
#: The namespace of the tools that start helpers; hooks see it without a mark between it and the name.
_AGENTS = "multi_agent_v1"
_PATCHED = re.compile(r"^\*\*\* (?:Add File|Update File|Delete File|Move to): (.+?)\s*$", re.MULTILINE)


# ---------------------------------------------------------------- tool calls


def gated_call(tool: str, given: Object, folder: str, home: str) -> ToolCall:
    """The call that the gate saw. `folder` is where it runs, `home` the root of the run's tree."""
    text = text_at(given, "command")
    if tool == "Bash":
        if not folder or os.path.normpath(folder) == os.path.normpath(home):
            return ToolCall(COMMAND, "command", text, command=text)
        return ToolCall(COMMAND, "command", f"cd {shlex.quote(folder)} && {text}", command=text, folder=folder)
    if tool == "apply_patch":
        paths = tuple(os.path.join(folder or home, path) for path in _PATCHED.findall(text))
        return ToolCall(EDIT, "edit", ", ".join(paths[:5]), paths=paths)
    path = text_at(given, "path")
    paths = (os.path.join(folder or home, path),) if path else ()
    target = path or _shown(given) or tool
    name = tool if tool.startswith("mcp__") else tool.removeprefix(_AGENTS).lstrip("_")
    return ToolCall(line(tool, 100), _KINDS.get(name, "other"), target, paths=paths)


def _shown(given: Object) -> str:
    return line(json.dumps(given, ensure_ascii=False), 300) if given else ""


def item_call(item: Object) -> ToolCall | None:
    """The tool call of an item; None when the item is none."""
    kind = text_at(item, "type")
    if kind == "commandExecution":
        command = unwrap(text_at(item, "command"), gated=True)
        return ToolCall(COMMAND, "command", command, command=command)
    if kind == "fileChange":
        paths = tuple(path for change in rows(item, "changes") if (path := text_at(change, "path")))
        return ToolCall(EDIT, "edit", ", ".join(paths[:5]), paths=paths)
    if kind == "mcpToolCall":
        tool = f"mcp__{text_at(item, 'server')}__{text_at(item, 'tool')}"
        return ToolCall(tool, "other", tool)
    if kind == "webSearch":
        return ToolCall("web_search", "network", text_at(item, "query"))
    if kind == "imageView":
        return ToolCall("view_image", "read", text_at(item, "path"), paths=(text_at(item, "path"),))
    if kind == "collabAgentToolCall":
        return ToolCall(text_at(item, "tool") or kind, "delegate", text_at(item, "prompt"))
    return ToolCall(kind, "other", text_at(item, "tool")) if kind in ("dynamicToolCall", "imageGeneration") else None


def rows(value: Object, key: str) -> list[Object]:
    """The objects of a list, the first fifty."""
    found = value.get(key)
    if not isinstance(found, list):
        return []
    return [cast("Object", row) for row in cast("list[Any]", found)[:50] if isinstance(row, dict)]


def unwrap(command: str, *, gated: bool = False) -> str:
    """The command inside `/bin/bash -lc '…'`, where it is one; `gated`: and inside the `eval` that the gate put around it."""
    if len(command) > _LONGEST_COMMAND:
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    if len(words) == 3 and words[0].rpartition("/")[2] in _SHELLS and words[1] in ("-lc", "-c"):
        return _evaluated(words[2]) if gated else words[2]
    return command


def _evaluated(command: str) -> str:
    if not command.startswith("eval '"):
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[1] if len(words) == 2 else command


def outcome(item: Object) -> tuple[bool, str]:
    """Whether it went well, and a note where it did not."""
    code = item.get("exitCode")
    if isinstance(code, int) and code:
        return False, f"exit {code} " + tail(text_at(item, "aggregatedOutput")[-2_000:], 300)
    status = text_at(item, "status")
    if status in ("", "completed", "inProgress"):
        return True, ""
    return False, f"{status} {text_at(object_at(item, 'error'), 'message')}".strip()


# ---------------------------------------------------------------- errors


def error_reason(error: Object) -> str:
    """Why a turn failed, as a key of REASONS: by Codex's code, the HTTP status, or the provider's own code."""
    info = error.get("codexErrorInfo")
    if isinstance(info, str) and info in _REASONS:
        return _REASONS[info]
    status = _status(info)
    if status is not None:
        return _STATUS.get(int(status), "api_error")
    message = text_at(error, "message")
    try:
        told: Any = json.loads(message)
    except (ValueError, RecursionError):
        return "auth_failed" if info in ("other", None) and _NO_LOGIN.match(message) else "api_error"
    inner = object_at(cast("Object", told), "error") if isinstance(told, dict) else {}
    return next(
        (_PROVIDER[code] for key in ("code", "type") if (code := text_at(inner, key)) in _PROVIDER), "api_error"
    )


def _status(info: Any) -> float | None:
    if not isinstance(info, dict):
        return None
    for value in cast("dict[Any, Any]", info).values():
        if isinstance(value, dict):
            return number_at(cast("Object", value), "httpStatusCode")
    return None


def retrying(error: Object) -> Fact:
    """The fact of an error after which Codex tries again."""
    info = error.get("codexErrorInfo")
    status = _status(info)
    cause = _STATUS.get(int(status or 0)) or _cause(info)
    data: Object = {"cause": cause}
    counted = _RETRY.match(text_at(error, "message"))
    if counted is not None:
        data.update(attempt=int(counted[1]), max=int(counted[2]))
    if status is not None:
        data["status"] = status
    return Fact(ev.RUN_RETRYING, data)


def _cause(info: Any) -> str:
    name = (
        info
        if isinstance(info, str)
        else next((str(key) for key in cast("dict[Any, Any]", info)), "")
        if isinstance(info, dict)
        else ""
    )
    reason = _REASONS.get(name)
    if reason is not None:
        return reason
    return {"serverOverloaded": "overloaded", "responseStreamDisconnected": "disconnected"}.get(name, "service_error")


# ---------------------------------------------------------------- figures and notices


def figures_of(usage: Object) -> dict[str, float]:
    """Cumulative figures of the conversation; input without what came from or went to the cache."""
    totals: dict[str, float] = {
        ours: found for theirs, ours in _FIGURES.items() if (found := number_at(usage, theirs)) is not None
    }
    given = number_at(usage, "inputTokens")
    if given is not None:
        cached = totals.get("cache_read_tokens", 0) + totals.get("cache_write_tokens", 0)
        totals["input_tokens"] = max(0, given - cached)
    return totals


def notice(code: str, text: str) -> Fact:
    """Something that a reader of the run should know."""
    return Fact(ev.SYSTEM_NOTICE, {"code": code, "text": line(text, 300)})


def limit_facts(limits: Object) -> list[Fact]:
    """A limit of the account that is reached, with the time at which it is renewed."""
    reached = text_at(limits, "rateLimitReachedType")
    if not reached:
        return []
    windows = [object_at(limits, name) for name in ("primary", "secondary")]
    full = [window for window in windows if (number_at(window, "usedPercent") or 0) >= 100]
    resets = [when for window in full or windows if (when := number_at(window, "resetsAt")) is not None]
    facts = [notice("rate_limit", f"{reached}, resets at {max(resets) if resets else 'an unknown time'}")]
    if resets:
        facts.append(Fact(ev.RUN_WAITING, {"kind": "rate_limit", "until": float(max(resets))}))
    return facts


def plan_notice(params: Object) -> Fact:
    """How far the worker's own plan is."""
    steps = rows(params, "plan")
    done = sum(1 for step in steps if text_at(step, "status") == "completed")
    following = next((text_at(step, "step") for step in steps if text_at(step, "status") != "completed"), "")
    return notice("plan", f"{done} of {len(steps)} done" + (f"; next: {following}" if following else ""))
