"""The Codex adapter on its own: what it starts, what its gate says, and what it makes of lines that the transcripts do not hold."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from cc_orchestrator.adapters import codex_gate as gate
from cc_orchestrator.adapters.base import CloseInput, Effect, Send, WorkerRequest
from cc_orchestrator.adapters.codex import CodexAdapter
from cc_orchestrator.adapters.codex_items import error_reason, retrying, unwrap
from cc_orchestrator.adapters.codex_session import CodexSession
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact
from kit.transcripts import request_in

CODEX = CodexAdapter()
THREAD = "01a21400-0000-7000-8000-00000000abcd"
OURS = {
    "key": "ours",
    "source": "sessionFlags",
    "server": gate.SERVER,
    "eventName": "preToolUse",
    "currentHash": "sha256:1",
}
STANDS = {"data": [{"hooks": [{**OURS, "enabled": True, "trustStatus": "trusted"}]}]}
Json = dict[str, Any]


def request(**changes: Any) -> WorkerRequest:
    return request_in("/nowhere", **changes)


def settings(**changes: Any) -> dict[str, str]:
    given = CODEX.invocation(request(**changes)).argv
    pairs = [tuple(given[at + 1].split("=", 1)) for at, word in enumerate(given) if word == "-c"]
    return dict(pairs)


def feed(session: CodexSession, *messages: Json) -> list[Effect]:
    found: list[Effect] = []
    for message in messages:
        line = json.dumps(message).encode()
        found += session.on_line(line, line)
    return found


def sent(effects: list[Effect]) -> list[Json]:
    return [json.loads(effect.data) for effect in effects if isinstance(effect, Send)]


def facts(effects: list[Effect], type_: str) -> list[Json]:
    return [effect.data for effect in effects if isinstance(effect, Fact) and effect.type == type_]


def begun(**changes: Any) -> CodexSession:
    """A session whose turn runs."""
    session = CODEX.session(request(**changes))
    session.begin()
    kind = "workspaceWrite" if changes.get("allow_write") else "readOnly"
    feed(
        session, {"id": "initialize", "result": {}}, {"id": "hooks", "result": STANDS},
        {"id": "thread", "result": {"thread": {"id": THREAD}, "model": "m", "sandbox": {"type": kind, "networkAccess": False}}},
        {"id": "gate", "result": STANDS}, started("turn-1"),
    )  # fmt: skip
    return session


def started(turn: str) -> Json:
    return {"method": "turn/started", "params": {"threadId": THREAD, "turn": {"id": turn}}}


def completed(status: str = "completed", error: Json | None = None) -> Json:
    return {
        "method": "turn/completed",
        "params": {"threadId": THREAD, "turn": {"id": "turn-1", "status": status, "error": error}},
    }


def said(text: str) -> Json:
    return {
        "method": "item/completed",
        "params": {"threadId": THREAD, "item": {"type": "agentMessage", "id": "m", "text": text}},
    }


def asked(tool: str, given: Json, number: int = 7, **more: Any) -> Json:
    message = json.dumps({"tool": tool, "id": "call_1", "cwd": "/nowhere/work", "input": given, **more})
    params = {"threadId": THREAD, "serverName": gate.SERVER, "message": message}
    return {"method": "mcpServer/elicitation/request", "id": number, "params": params}


def one_ask(effects: list[Effect]) -> Ask:
    (found,) = [effect for effect in effects if isinstance(effect, Ask)]
    return found


# ---------------------------------------------------------------- what it starts


def test_network_scratch_terminals_and_goals_are_closed_whatever_the_user_has() -> None:
    given = settings(allow_write=True)
    assert given["sandbox_workspace_write.network_access"] == "false"
    assert given["sandbox_workspace_write.exclude_slash_tmp"] == "true"
    assert given["sandbox_workspace_write.writable_roots"] == '["/nowhere/run/outbox","/nowhere/run/scratch"]'
    assert (given["features.unified_exec_tty"], given["features.goals"], given["features.hooks"]) == (
        "false",
        "false",
        "true",
    )
    assert f'server="{gate.SERVER}"' in given["hooks.PreToolUse"]
    assert f"{gate.SERVER}={{command=" in given["mcp_servers"]


def test_only_our_hook_is_trusted_and_all_others_are_off() -> None:
    session = CODEX.session(request(allow_write=True))
    session.begin()
    feed(session, {"id": "initialize", "result": {}})
    user = {
        "key": "users",
        "source": "user",
        "server": gate.SERVER,
        "eventName": "preToolUse",
        "currentHash": "sha256:2",
    }
    (begin,) = sent(feed(session, {"id": "hooks", "result": {"data": [{"hooks": [user, OURS]}]}}))
    assert begin["method"] == "thread/start"
    state = begin["params"]["config"]["hooks.state"]
    assert state == {"users": {"enabled": False}, "ours": {"enabled": True, "trusted_hash": "sha256:1"}}
    assert (begin["params"]["approvalPolicy"], begin["params"]["sandbox"]) == ("on-request", "workspace-write")


@pytest.mark.parametrize(
    ("at", "result"),
    [
        ("hooks", {"data": [{"hooks": []}]}),
        ("thread", {"thread": {"id": THREAD}, "sandbox": {"type": "dangerFullAccess"}}),
        ("thread", {"thread": {"id": THREAD}, "sandbox": {"type": "readOnly", "networkAccess": True}}),
        ("gate", {"data": [{"hooks": [{**OURS, "enabled": True, "trustStatus": "untrusted"}]}]}),
        ("gate", {"data": [{"hooks": [{**OURS, "enabled": False, "trustStatus": "trusted"}]}]}),
    ],
)  # fmt: skip
def test_without_gate_or_sandbox_the_prompt_is_never_sent(at: str, result: Json) -> None:
    session = CODEX.session(request())
    session.begin()
    answers: Json = {
        "initialize": {}, "hooks": STANDS,
        "thread": {"thread": {"id": THREAD}, "sandbox": {"type": "readOnly", "networkAccess": False}}, "gate": STANDS,
    }  # fmt: skip
    effects: list[Effect] = []
    for name, good in answers.items():
        effects += feed(session, {"id": name, "result": result if name == at else good})
        if name == at:
            break
    assert isinstance(effects[-1], CloseInput)
    assert "turn/start" not in str(sent(effects))
    assert session.ending(0, None).reason == "no_stream"


# ---------------------------------------------------------------- the gate


def judged(tool: str, given: Json, result: Json) -> Json:
    """What the gate's program gives Codex for an answer of the client."""
    program = gate.Gate()
    asked_for = program.take({"id": 3, "method": "tools/call", "params": {"arguments": {"tool": tool, "input": given}}})
    assert asked_for is not None
    told = program.take({"id": asked_for["id"], "result": result})
    assert told is not None
    return json.loads(told["result"]["content"][0]["text"]).get("hookSpecificOutput", {})


def test_an_allowed_command_is_given_back_as_one_word_that_no_rule_matches() -> None:
    yes = {"action": "accept", "content": {"decision": "allow"}}
    allowed = judged("Bash", {"command": "echo 'a b'\nls", "more": 1}, yes)
    assert allowed["permissionDecision"] == "allow"
    assert allowed["updatedInput"]["more"] == 1
    wrapped = allowed["updatedInput"]["command"]
    assert shlex.split(wrapped) == ["eval", "echo 'a b'\nls"]
    assert unwrap(shlex.join(["/bin/bash", "-lc", wrapped]), gated=True) == "echo 'a b'\nls"
    assert unwrap("/bin/bash -lc 'ls -la'", gated=True) == "ls -la"
    assert judged("apply_patch", {"command": "*** Begin"}, yes) == {}


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"action": "decline"},
        {"action": "cancel", "content": {"decision": "allow"}},
        {"action": "accept"},
        {"action": "accept", "content": {"decision": "maybe"}},
    ],
)
def test_whatever_is_no_clear_yes_is_a_denial(result: Json) -> None:
    assert judged("Bash", {"command": "ls"}, result)["permissionDecision"] == "deny"


def test_calls_wait_for_their_answers_at_the_same_time() -> None:
    program = gate.Gate()
    first, second = (
        program.take({"id": number, "method": "tools/call", "params": {"arguments": {"tool": "Bash", "input": {"command": str(number)}}}})
        for number in (1, 2)
    )  # fmt: skip
    assert first is not None
    assert second is not None
    answers = [program.take({"id": found["id"], "result": {}}) for found in (second, first)]
    assert [answer["id"] for answer in answers if answer is not None] == [2, 1]


def test_a_patch_of_any_size_is_judged_by_its_files_and_a_command_that_is_too_long_by_a_person() -> None:
    patch = "*** Begin Patch\n*** Add File: a.txt\n" + "+x\n" * 100_000 + "*** Delete File: b.txt\n*** End Patch\n"
    assert gate.passed_on({"tool": "apply_patch", "input": {"command": patch}})["input"] == {
        "command": "*** Add File: a.txt\n*** Delete File: b.txt"
    }
    long = gate.passed_on({"tool": "Bash", "id": "c", "input": {"command": "x" * 200_000}})
    assert long == {"tool": "Bash", "id": "c", "input": {}, "cut": True}
    ask = one_ask(feed(begun(), asked("Bash", {}, cut=True)))
    assert ask.call is not None
    assert ask.call.kind == "other"


@pytest.mark.parametrize(
    ("tool", "given", "more", "expected"),
    [
        ("Bash", {"command": "cat x"}, {}, ("command", "cat x", (), "cat x", "")),
        ("Bash", {"command": "cat x"}, {"cwd": "/etc"}, ("command", "cd /etc && cat x", (), "cat x", "/etc")),
        (
            "apply_patch",
            {"command": "*** Begin Patch\n*** Update File: a\n*** Move to: /b\n"},
            {},
            ("edit", "/nowhere/work/a, /b", ("/nowhere/work/a", "/b"), None, ""),
        ),
        ("view_image", {"path": "a.png"}, {}, ("read", "a.png", ("/nowhere/work/a.png",), None, "")),
        ("mcp__x__y", {"a": 1}, {}, ("other", '{"a": 1}', (), None, "")),
        ("multi_agent_v1wait_agent", {}, {}, ("delegate", "multi_agent_v1wait_agent", (), None, "")),
        ("spawn_agent", {"message": "go"}, {}, ("delegate", '{"message": "go"}', (), None, "")),
    ],
)
def test_a_call_is_told_in_the_words_of_every_adapter(
    tool: str, given: Json, more: Json, expected: tuple[Any, ...]
) -> None:
    ask = one_ask(feed(begun(), asked(tool, given, **more)))
    assert ask.call is not None
    assert ask.gate
    assert ask.tool_use_id == "call_1"
    assert (ask.call.kind, ask.call.target, ask.call.paths, ask.call.command, ask.call.folder) == expected


def test_the_gate_stays_shut_until_a_person_has_answered() -> None:
    session = begun()
    ask = one_ask(feed(session, asked("Bash", {"command": "curl x"})))
    (held,) = session.answer(ask.key, Answer("ask", "outward"))
    assert isinstance(held, Ask)
    assert not held.gate
    (reply,) = sent(session.answer(held.key, Answer("deny", "not today")))
    assert reply["id"] == 7
    assert reply["result"]["content"] == {"decision": "deny", "reason": "not today"}
    assert session.answer(held.key, Answer("allow")) == []


def test_a_servers_tool_that_passed_the_gate_is_not_asked_for_again() -> None:
    session = begun()
    approval = {
        "method": "mcpServer/elicitation/request", "id": 8,
        "params": {"serverName": "my-x", "message": "Allow?", "_meta": {"codex_approval_kind": "mcp_tool_call", "tool_name": "y"}},
    }  # fmt: skip
    ask = one_ask(feed(session, asked("mcp__my_x__y", {})))
    session.answer(ask.key, Answer("allow"))
    (reply,) = sent(feed(session, approval))
    assert reply == {"id": 8, "result": {"action": "accept", "content": {}, "_meta": None}}
    assert one_ask(feed(session, approval)).kind == "permission"


def test_a_refusal_outside_the_gate_is_told_before_it_takes_effect() -> None:
    session = begun()
    approval = {
        "method": "item/commandExecution/requestApproval", "id": 9,
        "params": {"threadId": THREAD, "itemId": "c", "command": "/bin/bash -lc 'rm -rf /'", "reason": "I must"},
    }  # fmt: skip
    ask = one_ask(feed(session, approval))
    assert ask.call is not None
    assert (ask.call.kind, ask.call.command) == ("other", "rm -rf /")
    steer, reply = sent(session.answer(ask.key, Answer("deny", "never that")))
    assert steer["method"] == "turn/steer"
    assert "never that" in str(steer["params"]["input"])
    assert reply["result"] == {"decision": "decline"}


def test_a_hook_that_fails_ends_the_run() -> None:
    session = begun()
    run = {"eventName": "preToolUse", "source": "sessionFlags", "status": "failed"}
    effects = feed(session, {"method": "hook/completed", "params": {"threadId": THREAD, "run": run}})
    assert [message["method"] for message in sent(effects)] == ["turn/interrupt"]
    feed(session, said("all done"), completed("interrupted"))
    assert session.ending(0, None).reason == "worker_error"


def test_a_request_that_nobody_knows_is_refused_and_not_left_open() -> None:
    (reply,) = sent(feed(begun(), {"method": "attestation/generate", "id": "a", "params": {}}))
    assert reply["id"] == "a"
    assert "unsupported" in reply["error"]["message"]


# ---------------------------------------------------------------- turns


def test_success_is_a_completed_turn_with_an_answer_and_a_clean_exit() -> None:
    session = begun()
    effects = feed(session, said("done"), completed())
    assert isinstance(effects[-1], CloseInput)
    assert session.ending(0, None).reason == "completed"
    assert session.ending(1, None).reason == "crashed"
    for silent in (begun(), CODEX.session(request())):
        assert session.ending(None, 9).reason == "crashed"
        assert silent.ending(0, None).reason in ("exited_empty", "no_stream")


def test_an_interrupted_turn_is_no_success() -> None:
    session = begun()
    feed(session, said("half"), completed("interrupted"))
    ending = session.ending(0, None)
    assert (ending.reason, ending.detail) == ("worker_error", "the turn was interrupted")


def test_an_instruction_that_comes_too_late_begins_a_turn_of_its_own() -> None:
    session = begun()
    (steer,) = sent(session.instruct("and then", "c1"))
    assert (steer["id"], steer["params"]["expectedTurnId"]) == ("steer:c1", "turn-1")
    assert not [effect for effect in feed(session, said("one"), completed()) if isinstance(effect, CloseInput)]
    (again,) = sent(feed(session, {"id": "steer:c1", "error": {"code": -32600, "message": "no active turn to steer"}}))
    assert (again["method"], again["params"]["input"][0]["text"]) == ("turn/start", "and then")
    read = {
        "method": "item/completed",
        "params": {"threadId": THREAD, "item": {"type": "userMessage", "clientId": "c1"}},
    }
    effects = feed(session, started("turn-2"), {"id": "again:c1", "result": {}}, read, said("two"), completed())
    assert [data["delivered"] for data in facts(effects, "run.instructed")] == [False, True]
    assert isinstance(effects[-1], CloseInput)
    assert session.ending(0, None).text == "two"


def test_an_instruction_before_the_turn_waits_for_it() -> None:
    session = CODEX.session(request())
    session.begin()
    assert session.instruct("early", "c1") == []
    feed(
        session,
        {"id": "initialize", "result": {}},
        {"id": "hooks", "result": STANDS},
        {"id": "thread", "result": {"thread": {"id": THREAD}, "sandbox": {"type": "readOnly", "networkAccess": False}}},
        {"id": "gate", "result": STANDS},
    )
    (steer,) = sent(feed(session, started("turn-1")))
    assert steer["method"] == "turn/steer"


def test_a_helpers_turns_and_figures_are_not_the_runs() -> None:
    session = begun()
    other = completed()
    other["params"]["threadId"] = "another"
    assert feed(session, other) == []


def test_figures_are_the_conversations_less_those_that_codex_tells_when_it_resumes() -> None:
    session = CODEX.session(request(resume=THREAD, baseline={"input_tokens": 1}))
    session.begin()
    feed(
        session,
        {"id": "initialize", "result": {}},
        {"id": "hooks", "result": STANDS},
        {"id": "thread", "result": {"thread": {"id": THREAD}, "sandbox": {"type": "readOnly", "networkAccess": False}}},
        {"id": "gate", "result": STANDS},
    )

    def usage(given: int) -> Json:
        total = {"inputTokens": given, "cachedInputTokens": 20, "outputTokens": 5}
        return {"method": "thread/tokenUsage/updated", "params": {"threadId": THREAD, "tokenUsage": {"total": total}}}

    assert facts(feed(session, usage(100)), "run.usage") == []
    (data,) = facts(feed(session, started("t"), usage(150)), "run.usage")
    assert (data["input_tokens"], data["cache_read_tokens"]) == (50, 0)
    assert data["session_totals"]["input_tokens"] == 130


def test_what_a_helper_uses_is_the_runs_and_not_the_conversations() -> None:
    session = begun()

    def usage(thread: str, given: int) -> Json:
        total = {"inputTokens": given, "outputTokens": 1}
        return {"method": "thread/tokenUsage/updated", "params": {"threadId": thread, "tokenUsage": {"total": total}}}

    effects = feed(session, usage("helper", 30), usage(THREAD, 100), usage("helper", 50))
    found = facts(effects, "run.usage")
    assert [data["input_tokens"] for data in found] == [130, 150]
    assert found[-1]["session_totals"]["input_tokens"] == 100


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("info", "message", "reason"),
    [
        ("contextWindowExceeded", "x", "context_overflow"),
        ("usageLimitExceeded", "x", "rate_limited"),
        ("unauthorized", "x", "auth_failed"),
        ("serverOverloaded", "x", "api_error"),
        ({"httpConnectionFailed": {"httpStatusCode": 401}}, "x", "auth_failed"),
        ({"responseTooManyFailedAttempts": {"httpStatusCode": 429}}, "x", "rate_limited"),
        ({"responseStreamDisconnected": {"httpStatusCode": 502}}, "429 rate limit", "api_error"),
        ("other", "the model said: 429 rate limit reached, capacity", "api_error"),
        ("other", "Missing environment variable: `K`.", "auth_failed"),
        ("other", '{"error": {"message": "m", "code": "context_length_exceeded"}}', "context_overflow"),
        ("other", '{"error": {"message": "rate limit", "code": "server_error"}}', "api_error"),
        (None, "x", "api_error"),
        ({"a": 1}, "x", "api_error"),
    ],
)
def test_a_failure_is_named_by_codes_and_not_by_prose(info: Any, message: str, reason: str) -> None:
    assert error_reason({"codexErrorInfo": info, "message": message}) == reason
    session = begun()
    feed(session, completed("failed", {"codexErrorInfo": info, "message": message}))
    assert session.ending(0, None).reason == reason


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"responseStreamDisconnected": {"httpStatusCode": None}}, {"cause": "disconnected", "attempt": 2, "max": 5}),
        ({"responseStreamDisconnected": {"httpStatusCode": 429}}, {"cause": "rate_limited", "attempt": 2, "max": 5, "status": 429}),
        ("serverOverloaded", {"cause": "overloaded", "attempt": 2, "max": 5}),
        ("somethingNew", {"cause": "service_error", "attempt": 2, "max": 5}),
    ],
)  # fmt: skip
def test_a_retry_is_told_with_its_cause(info: Any, expected: Json) -> None:
    assert retrying({"codexErrorInfo": info, "message": "Reconnecting... 2/5"}).data == expected


def test_a_limit_of_the_account_is_told_only_when_it_is_reached() -> None:
    session = begun()
    limits: Json = {"primary": {"usedPercent": 100, "resetsAt": 1_800_000_000}, "rateLimitReachedType": None}
    told = {"method": "account/rateLimits/updated", "params": {"rateLimits": limits}}
    assert feed(session, told) == []
    limits["rateLimitReachedType"] = "rate_limit_reached"
    (data,) = facts(feed(session, told), "system.notice")
    assert data == {"code": "rate_limit", "text": "rate_limit_reached, resets at 1800000000"}
