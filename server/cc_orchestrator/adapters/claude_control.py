"""Claude Code's control protocol over stream-json: what we say on its stdin, and how its requests become questions. Pure.

Measured with 2.1.329: with `initialize` naming a PreToolUse hook callback every tool call is asked for before it runs; a hook's
`ask` comes back as `can_use_tool`, which then waits for a person. A user message with a `uuid` is followed up by
`command_lifecycle` lines that say when it was queued and when it was really taken up.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

from cc_orchestrator.adapters.base import Send
from cc_orchestrator.adapters.claude_tools import tool_call
from cc_orchestrator.adapters.lines import Object, object_at, text_at
from cc_orchestrator.core.asking import Answer, Ask

INITIALIZE, INTERRUPT, USAGE = "cc-initialize", "cc-interrupt", "cc-usage"
GATE_CALLBACK = "cc-gate"
#: A message that begins like this would be taken as a command of the CLI itself, even with slash commands disabled.
_COMMAND_MARKS = ("/", "!", "#")
_NO_PREFERENCE = "No preference: decide yourself and say what you chose."


class Pending(NamedTuple):
    """A request of the CLI that waits for its answer. `input` is the original one, which goes back unmasked."""

    kind: str  # gate, permission, choice, elicitation
    tool: str
    input: Object


# ---------------------------------------------------------------- what we say


def encode(message: Object) -> Send:
    """One line for stdin."""
    return Send(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def control(request_id: str, subtype: str, **more: Any) -> Send:
    """One of our own requests."""
    return encode({"type": "control_request", "request_id": request_id, "request": {"subtype": subtype, **more}})


def initialize() -> Send:
    """The first words: every tool call shall be asked for."""
    gate = {"matcher": None, "hookCallbackIds": [GATE_CALLBACK]}
    return control(INITIALIZE, "initialize", hooks={"PreToolUse": [gate]})


def user_message(text: str, *, uuid: str = "") -> Send:
    """The prompt, or an instruction: with a `uuid` the CLI reports what becomes of it."""
    if text.lstrip().startswith(_COMMAND_MARKS):
        text = f"The task:\n\n{text}"
    message: Object = {"type": "user", "message": {"role": "user", "content": text}}
    if uuid:
        message.update(uuid=uuid, priority="next")
    return encode(message)


def respond(request_id: str, response: Object) -> Send:
    """The answer to a request of the CLI."""
    return encode({
        "type": "control_response", "response": {"subtype": "success", "request_id": request_id, "response": response},
    })  # fmt: skip


def refuse(request_id: str, subtype: str) -> Send:
    """The answer to a request that we do not know."""
    return encode({
        "type": "control_response",
        "response": {"subtype": "error", "request_id": request_id, "error": f"unsupported request: {subtype[:60]}"},
    })  # fmt: skip


# ---------------------------------------------------------------- what it asks


def read_request(request_id: str, shown: Object, original: Object, cwd: str) -> tuple[Ask, Pending] | None:
    """The question in a control request: `shown` is masked and becomes the ask, `original` is kept for the answer."""
    subtype = text_at(shown, "subtype")
    if subtype == "hook_callback":
        hook = object_at(shown, "input")
        tool, call_id = text_at(hook, "tool_name"), text_at(hook, "tool_use_id")
        call = tool_call(tool, object_at(hook, "tool_input"), cwd)
        ask = Ask(request_id, "permission", f"may I use {tool}?", call, gate=True, tool_use_id=call_id)
        return ask, Pending("gate", tool, object_at(object_at(original, "input"), "tool_input"))
    if subtype == "can_use_tool":
        return _permission(request_id, shown, object_at(original, "input"), cwd)
    if subtype == "elicitation":
        text = text_at(shown, "message") or "an MCP server asks for input"
        fields = tuple(object_at(object_at(shown, "requested_schema"), "properties"))
        ask = Ask(request_id, "elicitation", f"{text_at(shown, 'mcp_server_name')}: {text}", options=fields)
        return ask, Pending("elicitation", "", object_at(original, "requested_schema"))
    return None


def _permission(request_id: str, shown: Object, original: Object, cwd: str) -> tuple[Ask, Pending]:
    tool, given, call_id = text_at(shown, "tool_name"), object_at(shown, "input"), text_at(shown, "tool_use_id")
    if tool == "AskUserQuestion":
        asked = questions_of(given)
        text = "\n".join(_question_text(question) for question in asked) or "the worker asks, but says not what"
        options = tuple(label for question in asked for label in _labels(question))
        return Ask(request_id, "choice", text, options=options, tool_use_id=call_id), Pending("choice", tool, original)
    call = tool_call(tool, given, cwd)
    reason = text_at(shown, "decision_reason")
    text = f"{tool}: {call.target}" + (f" ({reason})" if reason else "")
    return Ask(request_id, "permission", text, call, tool_use_id=call_id), Pending("permission", tool, original)


def questions_of(given: Object) -> list[Object]:
    """The questions of an AskUserQuestion call."""
    found = given.get("questions")
    if not isinstance(found, list):
        return []
    return [cast("Object", item) for item in cast("list[Any]", found)[:10] if isinstance(item, dict)]


def _question_text(question: Object) -> str:
    return text_at(question, "question") or text_at(question, "header") or "?"


def _labels(question: Object) -> list[str]:
    found = question.get("options")
    items = cast("list[Any]", found)[:20] if isinstance(found, list) else []
    return [text_at(cast("Object", item), "label") for item in items if isinstance(item, dict)]


# ---------------------------------------------------------------- what we answer


def reply(request_id: str, pending: Pending, answer: Answer) -> Send:
    """The answer in the CLI's words."""
    if pending.kind == "gate":
        return respond(request_id, _gate(pending, answer))
    if pending.kind == "elicitation":
        return respond(request_id, _elicited(pending.input, answer))
    if answer.decision != "allow":
        return respond(request_id, {"behavior": "deny", "message": answer.reason or "denied"})
    given = pending.input
    if pending.kind == "choice":
        given = {**given, "answers": _answers(given, answer)}
    return respond(request_id, {"behavior": "allow", "updatedInput": given})


def _gate(pending: Pending, answer: Answer) -> Object:
    if answer.decision == "allow" and pending.tool == "AskUserQuestion":
        # An explicit allow would let the question through unanswered; no objection makes the CLI raise it.
        return {}
    reason = answer.reason or answer.decision
    output = {
        "hookEventName": "PreToolUse", "permissionDecision": answer.decision, "permissionDecisionReason": reason,
    }  # fmt: skip
    return {"hookSpecificOutput": output}


def _answers(given: Object, answer: Answer) -> dict[str, str]:
    """Question text -> label. Choices may be keyed by the text, the header or the number; one value fits a single question."""
    asked, choices = questions_of(given), answer.choices
    found: dict[str, str] = {}
    for number, question in enumerate(asked, 1):
        keys = (_question_text(question), text_at(question, "header"), str(number))
        value = next((choices[key] for key in keys if key in choices), None)
        if value is None and len(asked) == 1 and len(choices) == 1:
            value = next(iter(choices.values()))
        if value is None:
            value = answer.text or _NO_PREFERENCE
        parts = cast("list[Any]", value) if isinstance(value, list) else [value]
        found[_question_text(question)] = ", ".join(str(part) for part in parts)
    return found


def _elicited(schema: Object, answer: Answer) -> Object:
    if answer.decision != "allow":
        return {"action": "decline"}
    content = dict(answer.choices)
    fields = list(object_at(schema, "properties"))
    if not content and answer.text and len(fields) == 1:
        content = {fields[0]: answer.text}
    return {"action": "accept", "content": content}
