"""Codex's app-server protocol (JSON-RPC over stdio): what we say, and how its requests become questions. Pure.

Its requests for approval come when a call has passed the gate and would still leave the sandbox (an escalated command, an edit
outside the writable folders), so they are no commands or edits in the tree: nothing but an answer can allow them.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple, cast

from cc_orchestrator.adapters.base import Send
from cc_orchestrator.adapters.codex_gate import SERVER
from cc_orchestrator.adapters.codex_items import gated_call, rows, unwrap
from cc_orchestrator.adapters.lines import Object, object_at, text_at
from cc_orchestrator.core.asking import Answer, Ask, ToolCall
from cc_orchestrator.core.text import line

_NO_PREFERENCE = "No preference: decide yourself and say what you chose."
#: Notifications that would only fill the stream.
_UNWANTED = (
    "turn/diff/updated", "item/commandExecution/outputDelta", "item/fileChange/outputDelta", "item/fileChange/patchUpdated",
    "thread/readState/changed", "thread/status/changed", "remoteControl/status/changed", "hook/started", "skills/changed",
)  # fmt: skip


class Pending(NamedTuple):
    """A request of Codex that waits for its answer. `given` is the original one, unmasked."""

    number: Any
    kind: str  # gate, command, edit, permissions, tool, elicitation, choice
    given: Object
    name: str = ""  # of the tool, as the gate names it
    ask: Ask | None = None  # the gate's: what waits for a person when policy wants one


# ---------------------------------------------------------------- what we say


def encode(message: Object) -> Send:
    """One line for stdin."""
    return Send(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def request(number: str, method: str, params: Object) -> Send:
    """One of our own requests."""
    return encode({"id": number, "method": method, "params": params})


def initialize() -> Send:
    """The first words."""
    client = {"name": "cc_orchestrator", "title": "cc-orchestrator", "version": "1"}
    capabilities = {"experimentalApi": True, "requestAttestation": False, "optOutNotificationMethods": list(_UNWANTED)}
    return request("initialize", "initialize", {"clientInfo": client, "capabilities": capabilities})


def user_input(text: str) -> list[Object]:
    """The prompt or an instruction."""
    return [{"type": "text", "text": text, "text_elements": []}]


def refuse(number: Any, method: str) -> Send:
    """The answer to a request that we do not know."""
    return encode({"id": number, "error": {"code": -32601, "message": f"unsupported request: {method[:60]}"}})


def respond(number: Any, result: Object) -> Send:
    """The answer to a request of Codex."""
    return encode({"id": number, "result": result})


# ---------------------------------------------------------------- what it asks


def read_request(method: str, shown: Object, original: Object, number: Any, cwd: str) -> tuple[Ask, Pending] | None:
    """The question in a request: `shown` is masked and becomes the ask, `original` is kept for the answer."""
    key = f"{method}:{number}"
    if method == "mcpServer/elicitation/request":
        return _elicitation(key, shown, original, number, cwd)
    if method == "item/commandExecution/requestApproval":
        command = unwrap(text_at(shown, "command"), gated=True) or text_at(shown, "kind")
        tool = "stdin" if text_at(shown, "kind") == "writeStdin" else "unsandboxed_command"
        network = object_at(shown, "networkApprovalContext")
        call = ToolCall(tool, "other", command or text_at(network, "host"), command=command or None)
        return _leaving(key, "outside its sandbox", shown, call), Pending(number, "command", original)
    if method == "item/fileChange/requestApproval":
        root = text_at(shown, "grantRoot")
        call = ToolCall("unsandboxed_edit", "other", root or "files outside of what the run may write")
        return _leaving(key, "an edit outside its sandbox", shown, call), Pending(number, "edit", original)
    if method == "item/permissions/requestApproval":
        wanted = line(json.dumps(object_at(shown, "permissions"), ensure_ascii=False), 300)
        return _leaving(key, "more permissions", shown, ToolCall("permissions", "other", wanted)), Pending(
            number, "permissions", original
        )
    if method == "item/tool/requestUserInput":
        asked = rows(shown, "questions")
        text = "\n".join(text_at(question, "question") for question in asked) or "the worker asks, but says not what"
        options = tuple(text_at(option, "label") for question in asked for option in rows(question, "options"))
        return Ask(key, "choice", text, options=options, tool_use_id=text_at(shown, "itemId")), Pending(
            number, "choice", original
        )
    return None


def _leaving(key: str, what: str, shown: Object, call: ToolCall) -> Ask:
    reason = text_at(shown, "reason")
    text = f"{what}: {call.target}" + (f" ({reason})" if reason else "")
    return Ask(key, "permission", text, call, tool_use_id=line(text_at(shown, "itemId"), 100))


def _elicitation(key: str, shown: Object, original: Object, number: Any, cwd: str) -> tuple[Ask, Pending]:
    meta, server, text = object_at(shown, "_meta"), text_at(shown, "serverName"), text_at(shown, "message")
    if text_at(meta, "codex_approval_kind"):
        name = tool_key(server, text_at(meta, "tool_name"))
        call = ToolCall(name, "other", line(json.dumps(meta.get("tool_params"), ensure_ascii=False), 300))
        return Ask(key, "permission", text or f"may I use {name}?", call), Pending(number, "tool", original, name)
    if server == SERVER:
        return _gated(key, text, number, cwd)
    fields = tuple(object_at(object_at(shown, "requestedSchema"), "properties"))
    ask = Ask(key, "elicitation", f"{server}: {text or 'it asks for input'}", options=fields)
    return ask, Pending(number, "elicitation", object_at(original, "requestedSchema"))


def _gated(key: str, text: str, number: Any, cwd: str) -> tuple[Ask, Pending]:
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    told = cast("Object", value) if isinstance(value, dict) else {}
    tool = text_at(told, "tool")
    call = gated_call(tool, object_at(told, "input"), text_at(told, "cwd"), cwd)
    if not tool or told.get("cut") is True:
        call = ToolCall(line(tool, 100) or "unknown", "other", "a call that is too long to be shown")
    call_id = line(text_at(told, "id"), 100)
    held = Ask(f"held:{key}", "permission", f"{call.tool}: {call.target}", call, tool_use_id=call_id)
    ask = Ask(key, "permission", f"may I use {call.tool}?", call, gate=True, tool_use_id=call_id)
    return ask, Pending(number, "gate", {}, tool, held)


def tool_key(server: str, tool: str) -> str:
    """The name by which hooks know a tool of an MCP server."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"mcp__{server}__{tool}")


# ---------------------------------------------------------------- what we answer


def reply(pending: Pending, answer: Answer) -> Send:
    """The answer in Codex's words."""
    allowed = answer.decision == "allow"
    if pending.kind == "gate":
        content = {"decision": "allow" if allowed else "deny", "reason": answer.reason or "denied"}
        return respond(pending.number, {"action": "accept", "content": content, "_meta": None})
    if pending.kind in ("command", "edit"):
        return respond(pending.number, {"decision": "accept" if allowed else "decline"})
    if pending.kind == "permissions":
        granted = object_at(pending.given, "permissions") if allowed else {}
        return respond(pending.number, {"permissions": granted, "scope": "turn"})
    if pending.kind == "choice":
        return respond(pending.number, {"answers": _answers(pending.given, answer)})
    content = _content(pending.given, answer) if pending.kind == "elicitation" else {}
    action = "accept" if allowed else "decline"
    return respond(pending.number, {"action": action, "content": content if allowed else None, "_meta": None})


def _answers(given: Object, answer: Answer) -> Object:
    """Question id -> answers. Choices may be keyed by the text, the header, the id or the number; one value fits a single question."""
    asked, choices = rows(given, "questions"), answer.choices
    found: Object = {}
    for number, question in enumerate(asked, 1):
        name = text_at(question, "id")
        keys = (text_at(question, "question"), text_at(question, "header"), name, str(number))
        value = next((choices[key] for key in keys if key in choices), None)
        if value is None and len(asked) == 1 and len(choices) == 1:
            value = next(iter(choices.values()))
        if value is None:
            value = answer.text or (answer.reason if answer.decision != "allow" else "") or _NO_PREFERENCE
        parts = cast("list[Any]", value) if isinstance(value, list) else [value]
        found[name] = {"answers": [str(part) for part in parts]}
    return found


def _content(schema: Object, answer: Answer) -> Object:
    content = dict(answer.choices)
    fields = list(object_at(schema, "properties"))
    if not content and answer.text and len(fields) == 1:
        content = {fields[0]: answer.text}
    return content
