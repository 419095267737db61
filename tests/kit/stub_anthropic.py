"""The Anthropic Messages API, as far as coding CLIs use it: reading requests, writing answers. No sockets here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kit.stub_script import Json, Request, ToolResult, Turn, Usage, rows, table

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def read(number: int, path: str, headers: dict[str, str], body: Json) -> Request:
    """The request in the words of scripts."""
    names: dict[str, str] = {}
    messages: list[tuple[str, str]] = []
    results: list[ToolResult] = []
    for message in rows(body.get("messages")):
        role = str(message.get("role"))
        for block in _blocks(message.get("content")):
            kind = block.get("type")
            if kind == "text":
                messages.append((role, str(block.get("text", ""))))
            elif kind == "tool_use":
                names[str(block.get("id"))] = str(block.get("name"))
            elif kind == "tool_result":
                call_id = str(block.get("tool_use_id"))
                text = "\n".join(_plain(part) for part in _blocks(block.get("content")))
                results.append(ToolResult(call_id, names.get(call_id, ""), text, bool(block.get("is_error"))))
    return Request(
        number=number,
        api="anthropic",
        path=path,
        headers=headers,
        body=body,
        model=str(body.get("model", "")),
        conversation=_conversation(headers, body),
        system="\n".join(_plain(block) for block in _blocks(body.get("system"))),
        messages=tuple(messages),
        results=tuple(results),
        tools=tuple(str(tool.get("name")) for tool in rows(body.get("tools"))),
        stream=bool(body.get("stream")),
    )


def _blocks(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return rows(content)


def _plain(block: Json) -> str:
    return str(block["text"]) if "text" in block else json.dumps(block)


def _conversation(headers: dict[str, str], body: Json) -> str:
    session = headers.get("x-claude-code-session-id", "")
    agent = headers.get("x-claude-code-agent-id", "")
    if session:
        return f"{session}/{agent}" if agent else session
    user = table(body.get("metadata")).get("user_id", "")
    return str(user)


def count_tokens(body: Json) -> Json:
    """The answer of `/v1/messages/count_tokens`: four characters a token."""
    return {"input_tokens": max(1, len(json.dumps(body)) // 4)}


def error(status: int, message: str) -> Json:
    """The body of an HTTP error."""
    kind = ERROR_TYPES.get(status, "api_error")
    text = message or f"stub says {status}"
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_stub"}


def _usage(usage: Usage, output: int) -> Json:
    return {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": output,
    }


def _calls(request: Request, turn: Turn) -> list[Json]:
    return [
        {"type": "tool_use", "id": f"toolu_{request.number:04d}_{at}", "name": one.name, "input": one.resolved(request)}
        for at, one in enumerate(turn.calls)
    ]


def _stop(turn: Turn) -> str:
    return turn.stop or ("tool_use" if turn.calls else "end_turn")


def whole(request: Request, turn: Turn) -> Json:
    """The answer of a request that does not stream."""
    text = [{"type": "text", "text": turn.text}] if turn.text else []
    return {
        "id": f"msg_{request.number:04d}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [*text, *_calls(request, turn)],
        "stop_reason": _stop(turn),
        "stop_sequence": None,
        "usage": _usage(turn.usage, turn.usage.output),
    }


def stream(request: Request, turn: Turn) -> Iterator[tuple[str, Json]]:
    """Server-sent events `(event, data)`; a pause is allowed before every one that holds text."""
    start: Json = {**whole(request, Turn(usage=turn.usage)), "stop_reason": None, "content": []}
    start["usage"] = _usage(turn.usage, 1)
    yield "message_start", {"type": "message_start", "message": start}
    yield "ping", {"type": "ping"}
    index = 0
    if turn.text:
        yield from _block(
            index, {"type": "text", "text": ""}, [("text_delta", "text", piece) for piece in turn.pieces()]
        )
        index += 1
    for one in _calls(request, turn):
        written = json.dumps(one["input"])
        half = len(written) // 2
        parts = [("input_json_delta", "partial_json", part) for part in ("", written[:half], written[half:])]
        yield from _block(index, {**one, "input": {}}, parts)
        index += 1
    delta = {"stop_reason": _stop(turn), "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": _usage(turn.usage, turn.usage.output)}
    yield "message_stop", {"type": "message_stop"}


def _block(index: int, opening: Json, parts: list[tuple[str, str, str]]) -> Iterator[tuple[str, Json]]:
    yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": opening}
    for kind, key, value in parts:
        delta = {"type": kind, key: value}
        yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": index}


def broken(message: str) -> tuple[str, Json]:
    """The event of a provider that fails in the middle."""
    return "error", {"type": "error", "error": {"type": "overloaded_error", "message": message or "Overloaded"}}


def is_side(request: Request) -> bool:
    """Whether Claude Code asks on its own account (a title, a quota ping): such requests bring no tools."""
    return not request.tools and request.headers.get("x-app") == "cli"
