"""The stub itself: what a client sees of its answers and faults."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from kit.model_stub import ModelStub
from kit.stub_script import Call, Request, Script, Turn, Usage, call, model_is, prompt_has, say


def ask(stub: ModelStub, path: str, body: dict[str, Any], **headers: str) -> tuple[int, dict[str, str], str]:
    parts = urlsplit(stub.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def claude(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "claude-x", "max_tokens": 10, "messages": [{"role": "user", "content": text}], **more}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_a_messages_request_gets_text_tool_call_and_usage(model_stub: ModelStub) -> None:
    model_stub.add(Script([say("hello", Call("Bash", {"command": "ls"}), usage=Usage(7, 3, 2, 1))]))
    status, _headers, text = ask(model_stub, "/v1/messages?beta=true", claude("hi"))
    answer = json.loads(text)
    assert status == 200
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]
    assert answer["content"][1]["input"] == {"command": "ls"}
    assert answer["stop_reason"] == "tool_use"
    assert answer["usage"]["cache_read_input_tokens"] == 2


def test_a_streamed_answer_carries_the_same(model_stub: ModelStub) -> None:
    model_stub.add(Script([say("hello", Call("Bash", {"command": "ls"}))]))
    _status, headers, text = ask(model_stub, "/v1/messages", claude("hi", stream=True))
    seen = events(text)
    assert headers["content-type"].startswith("text/event-stream")
    assert [event["type"] for event in seen][:2] == ["message_start", "ping"]
    assert seen[-1]["type"] == "message_stop"
    deltas = [event["delta"] for event in seen if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == "hello"
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas)) == {"command": "ls"}


def test_a_responses_request_streams_items_and_a_completed_response(model_stub: ModelStub) -> None:
    model_stub.add(Script([say("hello", Call("mcp__cc__cc_wait", {"ids": ["x"]}), Call("exec", "text(1)"))]))
    _status, _headers, text = ask(model_stub, "/v1/responses", {"model": "gpt-x", "input": "hi", "stream": True})
    done = events(text)[-1]["response"]
    assert [item["type"] for item in done["output"]] == ["message", "function_call", "custom_tool_call"]
    assert (done["output"][1]["namespace"], done["output"][1]["name"]) == ("mcp__cc", "cc_wait")
    assert done["usage"]["total_tokens"] == 110


def test_scripts_are_chosen_by_their_matcher_and_conversations_walk_them_apart(model_stub: ModelStub) -> None:
    model_stub.add(
        Script([say("b1"), say("b2")], match=model_is("claude-b")),
        Script([say("p1"), say("p2")], match=prompt_has("needle")),
    )

    def text_of(body: dict[str, Any], session: str) -> str:
        answer = json.loads(ask(model_stub, "/v1/messages", body, **{"x-claude-code-session-id": session})[2])
        return answer["content"][0]["text"]

    assert text_of(claude("a needle here"), "s1") == "p1"
    assert text_of(claude("a needle here"), "s2") == "p1"
    assert text_of(claude("a needle here"), "s1") == "p2"
    assert text_of({**claude("hi"), "model": "claude-b-1"}, "s1") == "b1"
    assert "no script" in text_of(claude("hay"), "s1")


def test_a_turn_can_be_computed_from_earlier_tool_results(model_stub: ModelStub) -> None:
    def wait(request: Request) -> dict[str, Any]:
        return {"ids": [request.result("run").json()["run_id"]]}

    model_stub.add(Script([call("wait", wait)]))
    messages: list[Any] = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "mcp__cc__run", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": 'Wall time: 1 s\n{"run_id": "run_1"}'}],
        },
    ]
    answer = json.loads(ask(model_stub, "/v1/messages", claude("", messages=messages))[2])
    assert answer["content"][0]["input"] == {"ids": ["run_1"]}
    assert [result.name for result in model_stub.tool_results()] == ["mcp__cc__run"]


@pytest.mark.parametrize("status", [400, 429, 500, 529])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_errors_have_their_status_and_retry_after(model_stub: ModelStub, status: int, path: str) -> None:
    model_stub.add(Script([Turn(status=status, retry_after=2)], shared=True))
    got, headers, text = ask(model_stub, path, {"model": "m", "input": "hi", "messages": []})
    assert got == status
    assert headers["retry-after"] == "2"
    assert json.loads(text)["error"]["message"] == f"stub says {status}"


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/responses"])
def test_a_reset_cuts_the_connection_after_the_first_piece(model_stub: ModelStub, path: str) -> None:
    model_stub.add(Script([Turn(text="hello there", reset=True)]))
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        ask(model_stub, path, {**claude("hi", stream=True), "input": "hi"})
    assert model_stub.wait_for(lambda: model_stub.faults)[0][1] == "reset"


def test_a_broken_stream_ends_with_the_providers_error(model_stub: ModelStub) -> None:
    model_stub.add(Script([Turn(text="hello there", broken=True), Turn(text="hello", broken=True)], shared=True))
    assert events(ask(model_stub, "/v1/messages", claude("hi", stream=True))[2])[-1]["type"] == "error"
    assert events(ask(model_stub, "/v1/responses", {"input": "hi", "stream": True})[2])[-1]["type"] == "response.failed"


@pytest.mark.parametrize("hang", ["silent", "midway"])
def test_a_hang_ends_when_the_client_goes_away(model_stub: ModelStub, hang: Any) -> None:
    model_stub.add(Script([Turn(text="hello there", hang=hang)]))
    parts = urlsplit(model_stub.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as client:
        body = json.dumps(claude("hi", stream=True)).encode()
        client.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        model_stub.wait_for_requests(1)
    assert model_stub.wait_for(lambda: model_stub.faults)[0][1].startswith("client gone")


def test_closing_the_stub_ends_what_still_hangs() -> None:
    held = threading.Event()
    with ModelStub([Script([Turn(text="x", hang="silent"), Turn(text="x", hold=held)], shared=True)]) as stub:
        failures: list[Exception] = []

        def client() -> None:
            try:
                ask(stub, "/v1/messages", claude("hi"))
            except (OSError, http.client.HTTPException) as error:
                failures.append(error)

        threads = [threading.Thread(target=client) for _ in range(2)]
        for thread in threads:
            thread.start()
        stub.wait_for_requests(2)
    for thread in threads:
        thread.join(10)
    assert held.is_set()
    assert failures


def test_secrets_are_not_recorded_and_side_requests_stay_apart(model_stub: ModelStub) -> None:
    ask(
        model_stub,
        "/v1/messages",
        claude("title?"),
        **{"x-app": "cli", "x-api-key": "k-1", "authorization": "Bearer k-2"},
    )
    ask(model_stub, "/v1/messages/count_tokens", claude("hi"))
    ask(model_stub, "/v1/messages", claude("hi"), **{"x-api-key": "k-1"})
    assert len(model_stub.requests) == len(model_stub.side_requests) == 1
    assert model_stub.others == ["POST /v1/messages/count_tokens"]
    recorded = json.dumps([request.headers for request in (*model_stub.requests, *model_stub.side_requests)])
    assert "k-1" not in recorded
    assert "k-2" not in recorded
