"""The OpenAI Responses API, as far as Codex uses it: reading requests, writing answers. No sockets here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kit.stub_script import Json, Request, ToolResult, Turn, Usage, rows, table

_CALLS = ("function_call", "custom_tool_call", "local_shell_call", "tool_search_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output", "local_shell_call_output", "tool_search_output")


def read(number: int, path: str, headers: dict[str, str], body: Json) -> Request:
    """The request in the words of scripts. Developer messages count as system text."""
    names: dict[str, str] = {}
    messages: list[tuple[str, str]] = []
    system = [str(body.get("instructions") or "")]
    results: list[ToolResult] = []
    for item in _items(body.get("input")):
        kind = str(item.get("type", "message"))
        if kind == "message":
            text = "\n".join(_plain(part) for part in _items(item.get("content")))
            role = str(item.get("role"))
            (system.append(text) if role in ("developer", "system") else messages.append((role, text)))
        elif kind in _CALLS:
            names[str(item.get("call_id"))] = tool_name(item)
        elif kind in _OUTPUTS:
            results.append(_result(item, names))
    return Request(
        number=number,
        api="openai",
        path=path,
        headers=headers,
        body=body,
        model=str(body.get("model", "")),
        conversation=headers.get("session_id") or headers.get("session-id") or str(body.get("prompt_cache_key") or ""),
        system="\n".join(system),
        messages=tuple(messages),
        results=tuple(results),
        tools=tuple(_tool_names(body.get("tools"))),
        stream=bool(body.get("stream")),
    )


def _items(content: Any) -> list[Json]:
    if isinstance(content, str):
        return [
            {"type": "message", "role": "user", "text": content, "content": [{"type": "input_text", "text": content}]}
        ]
    return rows(content)


def _plain(part: Json) -> str:
    return str(part["text"]) if "text" in part else json.dumps(part)


def _result(item: Json, names: dict[str, str]) -> ToolResult:
    call_id = str(item.get("call_id"))
    output: Any = item.get("output", item.get("tools", ""))
    failed = False
    if isinstance(output, dict):
        failed = table(output).get("success") is False
        output = table(output).get("content", "")
    text = "\n".join(_plain(part) for part in rows(output)) if isinstance(output, list) else str(output)
    return ToolResult(call_id, names.get(call_id, ""), text, failed)


def tool_name(item: Json) -> str:
    """`namespace__name` for tools of an MCP server, the plain name for the rest."""
    name = str(item.get("name") or item.get("type"))
    namespace = str(item.get("namespace") or "")
    return f"{namespace.rstrip('_')}__{name}" if namespace else name


def _tool_names(tools: Any) -> Iterator[str]:
    for tool in _items(tools):
        if tool.get("type") == "namespace":
            for inner in _items(tool.get("tools")):
                yield tool_name({**inner, "namespace": tool.get("name")})
        else:
            yield str(tool.get("name") or tool.get("type"))


def error(status: int, message: str) -> Json:
    """The body of an HTTP error."""
    kind = "rate_limit_exceeded" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message or f"stub says {status}", "type": kind, "code": kind, "param": None}}


def _usage(usage: Usage) -> Json:
    given = usage.input + usage.cache_read + usage.cache_write
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": given + usage.output,
    }


def _call_items(request: Request, turn: Turn) -> list[Json]:
    items: list[Json] = []
    for at, one in enumerate(turn.calls):
        given = one.resolved(request)
        ids: Json = {
            "id": f"fc_{request.number:04d}_{at}",
            "call_id": f"call_{request.number:04d}_{at}",
            "status": "completed",
        }
        if isinstance(given, str):
            items.append({**ids, "type": "custom_tool_call", "name": one.name, "input": given})
            continue
        items.append({**ids, "type": "function_call", **_address(one.name), "arguments": json.dumps(given)})
    return items


def _address(name: str) -> Json:
    """Codex keeps an MCP server's tools in a namespace: `mcp__cc__cc_wait` is `cc_wait` in `mcp__cc`."""
    parts = name.split("__", 2)
    if parts[0] == "mcp" and len(parts) == 3:
        return {"namespace": f"mcp__{parts[1]}", "name": parts[2]}
    return {"name": name}


def _message(request: Request, text: str, status: str) -> Json:
    content: list[Json] = [{"type": "output_text", "text": text, "annotations": []}] if text else []
    return {
        "id": f"msg_{request.number:04d}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def whole(request: Request, turn: Turn, status: str = "completed") -> Json:
    """The response object, as sent at the end or without streaming."""
    done = status == "completed"
    message = [_message(request, turn.text, "completed")] if turn.text else []
    return {
        "id": f"resp_{request.number:04d}",
        "object": "response",
        "created_at": 0,
        "status": status,
        "model": request.model,
        "output": [*message, *_call_items(request, turn)] if done else [],
        "usage": _usage(turn.usage) if done else None,
        "error": None,
        "incomplete_details": None,
    }


def stream(request: Request, turn: Turn) -> Iterator[tuple[str, Json]]:
    """Server-sent events `(event, data)`."""
    for number, (kind, data) in enumerate(_events(request, turn)):
        yield kind, {"type": kind, "sequence_number": number, **data}


def _events(request: Request, turn: Turn) -> Iterator[tuple[str, Json]]:
    yield "response.created", {"response": whole(request, turn, "in_progress")}
    index = 0
    if turn.text:
        yield from _text_events(request, turn)
        index = 1
    for item in _call_items(request, turn):
        opening = {**item, "status": "in_progress", **({"arguments": ""} if "arguments" in item else {"input": ""})}
        yield "response.output_item.added", {"output_index": index, "item": opening}
        if "arguments" in item:
            place = {"item_id": item["id"], "output_index": index}
            yield "response.function_call_arguments.delta", {**place, "delta": item["arguments"]}
            yield "response.function_call_arguments.done", {**place, "arguments": item["arguments"]}
        yield "response.output_item.done", {"output_index": index, "item": item}
        index += 1
    yield "response.completed", {"response": whole(request, turn)}


def _text_events(request: Request, turn: Turn) -> Iterator[tuple[str, Json]]:
    place = {"item_id": f"msg_{request.number:04d}", "output_index": 0, "content_index": 0}
    part: Json = {"type": "output_text", "text": turn.text, "annotations": []}
    yield "response.output_item.added", {"output_index": 0, "item": _message(request, "", "in_progress")}
    yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
    for piece in turn.pieces():
        yield "response.output_text.delta", {**place, "delta": piece}
    yield "response.output_text.done", {**place, "text": turn.text}
    yield "response.content_part.done", {**place, "part": part}
    yield "response.output_item.done", {"output_index": 0, "item": _message(request, turn.text, "completed")}


def broken(message: str) -> tuple[str, Json]:
    """The event of a provider that fails in the middle."""
    failed = {
        "id": "resp_broken",
        "status": "failed",
        "error": {"code": "server_is_overloaded", "message": message or "Overloaded"},
    }
    return "response.failed", {"type": "response.failed", "response": failed}


def is_side(request: Request) -> bool:
    """Whether Codex asks on its own account (its guardian judges an approval): such requests want JSON and bring no tools."""
    wanted = table(table(request.body.get("text")).get("format"))
    return not request.tools and wanted.get("type") == "json_schema"


def side_answer(request: Request) -> Turn:
    """A harmless answer that satisfies the schema where it is the guardian's."""
    schema = json.dumps(table(request.body.get("text")).get("format"))
    if "risk" in schema or "outcome" in schema:
        return Turn(
            text=json.dumps(
                {"risk_level": "low", "user_authorization": "high", "outcome": "allow", "rationale": "stub"}
            )
        )
    return Turn(text="{}")
