"""Claude Code behind its adapter, from recorded bytes: what its streams mean, what we answer, what is never passed on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.adapters.base import CloseInput, Effect, Ending, Send, WorkerRequest
from cc_orchestrator.adapters.claude import ClaudeAdapter
from cc_orchestrator.adapters.claude_session import ClaudeSession
from cc_orchestrator.adapters.claude_tools import tool_call
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact
from cc_orchestrator.host.env import worker_env
from cc_orchestrator.runs.fold import State, apply, new_state
from kit.door import Door
from kit.pipes import request_for

CLAUDE = ClaudeAdapter()
TRANSCRIPTS = Path(__file__).parent / "transcripts" / "claude"
MODEL = "claude-sonnet-4-5"


class Played(NamedTuple):
    state: State
    facts: list[Fact]
    asks: list[Ask]
    ending: Ending
    closed: int

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [fact.data for fact in self.facts if fact.type == type_]


def request(tmp_path: Path, **changes: Any) -> WorkerRequest:
    return request_for(str(tmp_path), **{"cwd": "/src/repos/x", "executable": "/opt/claude", **changes})


def play(tmp_path: Path, name: str, exit_code: int = 0, signal: int | None = None, **changes: Any) -> Played:
    """A transcript through the session and the fold."""
    session = CLAUDE.session(request(tmp_path, **changes))
    state, facts, asks, closed = new_state(), list[Fact](), list[Ask](), 0
    session.begin()
    for line in (TRANSCRIPTS / f"{name}.jsonl").read_bytes().splitlines():
        for effect in session.on_line(line, line):
            if isinstance(effect, Fact):
                facts.append(effect)
                apply(state, {"seq": len(facts), "ts": 0.0, "type": effect.type, "data": effect.data})
            elif isinstance(effect, Ask):
                asks.append(effect)
            closed += isinstance(effect, CloseInput)
    ending = session.ending(None if signal else exit_code, signal)
    return Played(state, facts, asks, ending, closed)


# ---------------------------------------------------------------- recorded streams


@pytest.mark.parametrize(
    ("name", "exit_code", "reason", "text", "turns", "tools", "tokens"),
    [
        ("plain", 0, "completed", "Hello from the stub.", 1, {}, (1200, 34)),
        ("tools", 0, "completed", "Fixed.", 5, {"Read": 1, "Edit": 1, "Write": 1, "Bash": 1}, (111320, 93)),
        ("hookcb", 0, "completed", "done", 6, {"Read": 1, "Bash": 2, "Write": 1, "Glob": 1}, (139984, 45)),
        ("denied", 0, "completed", "Could not.", 2, {"Bash": 1}, (44143, 17)),
        ("mcp-toolsearch", 0, "completed", "done", 5, {"ToolSearch": 2, "mcp__probe__echo": 2}, (114508, 31)),
        ("429", 0, "completed", "recovered", 1, {}, (22004, 2)),
        ("500", 0, "completed", "recovered", 1, {}, (22004, 2)),
        ("reset", 0, "completed", "recovered", 1, {}, (22005, 2)),
        ("midoverload", 0, "completed", "recovered", 1, {}, (22008, 2)),
        ("refusal", 0, "completed", "Done (stub default turn).", 2, {}, (44282, 7)),
        ("fallback", 0, "completed", "from fallback", 1, {}, (22008, 3)),
        ("inject-next", 0, "completed", "answer", 3, {"Bash": 2}, (66498, 25)),
        ("inject-later", 0, "completed", "answer to more", 4, {"Bash": 2}, (88587, 29)),
        ("inject-now", 0, "completed", "answer", 3, {"Bash": 2}, (66344, 25)),
        ("inject-stream", 0, "completed", "answer to more", 2, {}, (44213, 129)),
        ("control", 0, "completed", "one", 1, {}, (22222, 1)),
        ("interrupt", 0, "completed", "Done (stub default turn).", 3, {"Bash": 1}, (66428, 23)),
        ("400", 1, "context_overflow", "", 0, {}, None),
        ("429long", 1, "rate_limited", "", 0, {}, None),
        ("maxturns", 1, "max_turns", "", 2, {"Bash": 2}, (44106, 20)),
        ("sig-int-fg", 0, "worker_error", "", 1, {"Bash": 1}, (22218, 23)),
        ("sig-term-fg", 143, "crashed", "", 1, {"Bash": 1}, None),
        ("sig-term-bg", 143, "crashed", "", 1, {"Bash": 1}, None),
    ],
)  # fmt: skip
def test_a_recorded_stream_means_what_happened(
    tmp_path: Path, name: str, exit_code: int, reason: str, text: str, turns: int, tools: dict[str, int], tokens: tuple[int, int] | None
) -> None:  # fmt: skip
    played = play(tmp_path, name, exit_code)
    state = played.state
    assert (played.ending.reason, played.ending.text) == (reason, text)
    assert (state["turns"], state["unparsed"]) == (turns, 0)
    assert {tool: entry["count"] for tool, entry in state["tools"].items()} == tools
    assert (state["usage"].get("input_tokens"), state["usage"].get("output_tokens")) == (tokens or (None, None))
    assert state["session_id"]


def test_every_transcript_is_covered_by_some_test() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [path.stem for path in TRANSCRIPTS.glob("*.jsonl") if f'"{path.stem}' not in text] == []


def test_several_results_are_kept_apart_and_the_last_is_the_claim(tmp_path: Path) -> None:
    played = play(tmp_path, "inject-later")
    assert [(data["index"], data["text"]) for data in played.of("run.result")] == [(1, "answer"), (2, "answer to more")]


def test_an_interrupted_process_that_exits_with_0_has_not_succeeded(tmp_path: Path) -> None:
    ending = play(tmp_path, "sig-int-fg", 0).ending
    assert (ending.reason, ending.detail) == ("worker_error", "interrupted (aborted_tools)")


def test_a_killed_process_has_no_usage_and_its_tool_stays_open(tmp_path: Path) -> None:
    played = play(tmp_path, "sig-kill-fg", signal=9)
    assert (played.ending.reason, played.ending.detail) == ("crashed", "ended by signal 9")
    assert played.state["usage"] == {}
    assert len(played.state["open_tools"]) == 1


def test_a_resumed_session_counts_from_what_was_recorded_before(tmp_path: Path) -> None:
    before = {"input_tokens": 22000.0, "output_tokens": 1.0, "cost_usd": 0.066}
    played = play(tmp_path, "session-resume", resume="old", baseline=before)
    assert played.state["usage"]["input_tokens"] == 22077
    assert played.state["usage"]["cost_usd"] == pytest.approx(0.066261)
    assert played.state["session_totals"]["input_tokens"] == 44077
    forked = play(tmp_path, "session-fork", resume="old", fork=True, baseline={"input_tokens": 44077.0})
    assert forked.state["usage"]["input_tokens"] == 22130


def test_a_session_that_does_not_exist_is_named_so(tmp_path: Path) -> None:
    assert play(tmp_path, "session-missing", 1, resume="gone").ending.reason == "session_not_found"


def test_the_price_of_an_unknown_model_is_a_guess_and_stays_unknown(tmp_path: Path) -> None:
    usage = play(tmp_path, "unknownmodel").state["usage"]
    assert usage["input_tokens"] == 1000
    assert "cost_usd" not in usage


def test_the_model_is_the_one_that_answered(tmp_path: Path) -> None:
    played = play(tmp_path, "fallback")
    assert played.state["actual_model"] == "claude-haiku-4-5"
    assert played.of("system.notice")[0]["code"] == "model_fallback"
    assert [data["cause"] for data in played.of("run.retrying")] == ["overloaded"] * 3
    assert play(tmp_path, "429long", 1).state["actual_model"] is None


def test_only_a_429_is_a_rate_limit_with_the_delay_that_the_cli_told(tmp_path: Path) -> None:
    retry = play(tmp_path, "429").of("run.retrying")[0]
    assert retry == {"cause": "rate_limited", "attempt": 1, "max": 10, "status": 429, "delay_s": 2.402}
    assert play(tmp_path, "500").of("run.retrying")[0]["cause"] == "server_error"


def test_a_key_that_is_refused_again_and_again_is_not_waited_for(tmp_path: Path) -> None:
    session = opened(tmp_path)
    retries = (TRANSCRIPTS / "401.jsonl").read_bytes().splitlines()[:4]
    replies = [[effect for effect in session.on_line(line, line) if isinstance(effect, Send)] for line in retries]
    sent = [[said(effect)["request"]["subtype"] for effect in effects] for effects in replies]
    assert sent == [[], [], [], ["interrupt"]]
    assert session.ending(1, None).reason == "auth_failed"


def test_text_deltas_say_nothing(tmp_path: Path) -> None:
    session = opened(tmp_path)
    deltas = [
        line for line in (TRANSCRIPTS / "inject-stream.jsonl").read_bytes().splitlines() if b'"stream_event"' in line
    ]
    assert len(deltas) > 3
    assert [session.on_line(line, line) for line in deltas] == [[]] * len(deltas)


def test_permission_requests_become_questions(tmp_path: Path) -> None:
    asks = play(tmp_path, "canuse").asks
    assert [(ask.kind, ask.gate, ask.call.kind if ask.call else None) for ask in asks] == [
        ("permission", False, "command"), ("permission", False, "edit"), ("choice", False, None), ("permission", False, "other"),
        ("elicitation", False, None),
    ]  # fmt: skip
    assert (asks[2].text, asks[2].options) == ("Which db?", ("sqlite", "postgres"))
    assert (asks[4].text, asks[4].options) == ("probe: Which colour?", ("colour",))


# ---------------------------------------------------------------- what we say


def opened(tmp_path: Path, **changes: Any) -> ClaudeSession:
    """A session past its initialization, with the prompt said."""
    session = CLAUDE.session(request(tmp_path, **changes))
    session.begin()
    hear(
        session,
        {"type": "control_response", "response": {"subtype": "success", "request_id": "cc-initialize", "response": {}}},
    )
    return session


def hear(session: ClaudeSession, message: dict[str, Any], original: dict[str, Any] | None = None) -> list[Effect]:
    return session.on_line(json.dumps(message).encode(), json.dumps(original or message).encode())


def said(effect: Effect) -> dict[str, Any]:
    assert isinstance(effect, Send)
    return json.loads(effect.data)


def ask_for(session: ClaudeSession, subtype: str, **body: Any) -> Ask:
    (ask,) = hear(session, {"type": "control_request", "request_id": "r1", "request": {"subtype": subtype, **body}})
    assert isinstance(ask, Ask)
    return ask


def answered(session: ClaudeSession, answer: Answer) -> dict[str, Any]:
    (effect,) = session.answer("r1", answer)
    return said(effect)["response"]["response"]


HOOK = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "t1"}
RESULT: dict[str, Any] = {"type": "result", "subtype": "success", "is_error": False, "result": "ok"}


def test_the_gate_stands_before_the_prompt_is_said(tmp_path: Path) -> None:
    session = CLAUDE.session(request(tmp_path))
    (first,) = session.begin()
    assert said(first)["request"]["hooks"]["PreToolUse"][0]["hookCallbackIds"]
    assert session.instruct("and this", "c1") == []
    response = {"subtype": "success", "request_id": "cc-initialize", "response": {"hooks_applied": True}}
    effects = hear(session, {"type": "control_response", "response": response})
    assert [said(effect)["message"]["content"] for effect in effects] == ["look at it\nclosely", "and this"]


@pytest.mark.parametrize(
    "response",
    [{"subtype": "error", "error": "no such request"}, {"subtype": "success", "response": {"hooks_applied": False}}],
)
def test_without_a_gate_nothing_is_begun(tmp_path: Path, response: dict[str, Any]) -> None:
    session = CLAUDE.session(request(tmp_path))
    session.begin()
    effects = hear(session, {"type": "control_response", "response": {"request_id": "cc-initialize", **response}})
    assert [type(effect) for effect in effects] == [Fact, CloseInput]
    assert session.ending(0, None).reason == "no_stream"


@pytest.mark.parametrize("decision", ["allow", "ask", "deny"])
def test_the_gate_passes_policys_word_on(tmp_path: Path, decision: Any) -> None:
    session = opened(tmp_path)
    ask = ask_for(session, "hook_callback", callback_id="cc-gate", input=HOOK)
    assert ask.gate
    assert ask.call is not None
    assert (ask.call.kind, ask.call.command, ask.tool_use_id) == ("command", "ls", "t1")
    output = answered(session, Answer(decision, "because"))["hookSpecificOutput"]
    assert (output["permissionDecision"], output["permissionDecisionReason"]) == (decision, "because")


def test_a_question_passes_the_gate_without_an_answer_so_that_it_is_raised(tmp_path: Path) -> None:
    session = opened(tmp_path)
    ask_for(session, "hook_callback", input={"tool_name": "AskUserQuestion", "tool_input": {}})
    assert answered(session, Answer("allow")) == {}


def test_what_goes_back_is_the_original_and_not_what_was_masked(tmp_path: Path) -> None:
    session = opened(tmp_path)
    body = {"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "echo ***"}}
    real = {**body, "input": {"command": "echo secret"}}
    shown = {"type": "control_request", "request_id": "r1", "request": body}
    (ask,) = hear(session, shown, {**shown, "request": real})
    assert isinstance(ask, Ask)
    assert ask.call is not None
    assert ask.call.command == "echo ***"
    assert answered(session, Answer("allow")) == {"behavior": "allow", "updatedInput": {"command": "echo secret"}}


def test_a_denial_carries_its_reason(tmp_path: Path) -> None:
    session = opened(tmp_path)
    ask_for(session, "can_use_tool", tool_name="Write", input={"file_path": "/etc/x"})
    assert answered(session, Answer("deny", "not there")) == {"behavior": "deny", "message": "not there"}


ASKED = {"questions": [{"question": "Which db?", "header": "DB", "options": [{"label": "a"}, {"label": "b"}]}]}


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        (Answer("allow", choices={"Which db?": "b"}), "b"),
        (Answer("allow", choices={"DB": "b"}), "b"),
        (Answer("allow", choices={"1": ["a", "b"]}), "a, b"),
        (Answer("allow", choices={"something": "b"}), "b"),
        (Answer("allow", text="neither: use files"), "neither: use files"),
        (Answer("allow"), "No preference: decide yourself and say what you chose."),
    ],
)
def test_a_choice_finds_its_question(tmp_path: Path, answer: Answer, chosen: str) -> None:
    session = opened(tmp_path)
    ask_for(session, "can_use_tool", tool_name="AskUserQuestion", input=ASKED)
    assert answered(session, answer)["updatedInput"] == {**ASKED, "answers": {"Which db?": chosen}}


def test_an_elicitation_is_accepted_with_content_or_declined(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}}
    for answer, expected in (
        (Answer("allow", choices={"colour": "red"}), {"action": "accept", "content": {"colour": "red"}}),
        (Answer("allow", text="red"), {"action": "accept", "content": {"colour": "red"}}),
        (Answer("deny"), {"action": "decline"}),
    ):
        session = opened(tmp_path)
        ask_for(session, "elicitation", mcp_server_name="s", message="colour?", requested_schema=schema)
        assert answered(session, answer) == expected


def test_a_request_that_the_cli_withdrew_is_answered_no_more(tmp_path: Path) -> None:
    session = opened(tmp_path)
    ask_for(session, "hook_callback", input=HOOK)
    assert hear(session, {"type": "control_cancel_request", "request_id": "r1"}) == []
    assert session.answer("r1", Answer("allow")) == []


def test_an_unknown_request_is_refused_at_once(tmp_path: Path) -> None:
    session = opened(tmp_path)
    (effect,) = hear(session, {"type": "control_request", "request_id": "r1", "request": {"subtype": "mcp_message"}})
    assert said(effect)["response"]["subtype"] == "error"


@pytest.mark.parametrize("text", ["/compact", "  /init now", "!ls", "# note"])
def test_a_text_that_the_cli_would_take_for_a_command_is_led_in(tmp_path: Path, text: str) -> None:
    (effect,) = opened(tmp_path).instruct(text, "c1")
    assert said(effect)["message"]["content"] == f"The task:\n\n{text}"


def test_an_instruction_is_delivered_when_the_cli_takes_it_up_and_the_input_stays_open_until_then(
    tmp_path: Path,
) -> None:
    session = opened(tmp_path)
    (effect,) = session.instruct("turn left", "c1")
    message_id = said(effect)["uuid"]
    facts: list[Effect] = []
    for state in ("queued", "started", "completed"):
        if state == "started":
            assert not any(isinstance(found, CloseInput) for found in hear(session, RESULT))
        facts += hear(session, {"type": "command_lifecycle", "command_uuid": message_id, "state": state})
    assert [(fact.data["control_id"], fact.data["delivered"]) for fact in facts if isinstance(fact, Fact)] == [
        ("c1", False), ("c1", True),
    ]  # fmt: skip
    assert isinstance(hear(session, RESULT)[-1], CloseInput)


def test_after_the_last_result_nothing_is_said_and_an_instruction_is_not_delivered(tmp_path: Path) -> None:
    session = opened(tmp_path)
    assert isinstance(hear(session, RESULT)[-1], CloseInput)
    (fact,) = session.instruct("too late", "c1")
    assert isinstance(fact, Fact)
    assert fact.data["delivered"] is False
    assert (session.interrupt(), session.conclude("x")) == ([], [])


def test_input_stays_open_while_background_work_is_outstanding(tmp_path: Path) -> None:
    session = opened(tmp_path)
    changed = {"type": "system", "subtype": "background_tasks_changed"}
    hear(session, {**changed, "tasks": [{"task_id": "b1"}]})
    assert not any(isinstance(effect, CloseInput) for effect in hear(session, RESULT))
    hear(session, {**changed, "tasks": []})
    assert isinstance(hear(session, {**RESULT, "result": "now done"})[-1], CloseInput)
    assert session.ending(0, None) == Ending("completed", "now done")


def test_queued_turns_are_outstanding_too(tmp_path: Path) -> None:
    session = opened(tmp_path)
    assert not any(isinstance(effect, CloseInput) for effect in hear(session, {**RESULT, "queued_turn_count": 1}))


def test_figures_between_results_are_asked_for_only_under_a_budget(tmp_path: Path) -> None:
    message = {"type": "assistant", "message": {"id": "m1", "model": MODEL, "content": []}}
    assert not any(isinstance(effect, Send) for effect in hear(opened(tmp_path), message))
    session = opened(tmp_path, max_cost_usd=1.0)
    assert [said(effect)["request"]["subtype"] for effect in hear(session, message) if isinstance(effect, Send)] == [
        "get_usage"
    ]
    row = {"inputTokens": 7, "outputTokens": 2, "costUSD": 0.5, "costBasis": "list"}
    figures = {"session": {"total_cost_usd": 0.5, "model_usage": {MODEL: row}}}
    (fact,) = hear(
        session,
        {"type": "control_response", "response": {"subtype": "success", "request_id": "cc-usage", "response": figures}},
    )
    assert isinstance(fact, Fact)
    assert (fact.data["input_tokens"], fact.data["cost_usd"]) == (7, 0.5)


def test_the_clis_own_figures_of_a_resumed_session_come_before_what_was_recorded(tmp_path: Path) -> None:
    session = opened(tmp_path, resume="old", baseline={"input_tokens": 1.0})

    def usage(tokens: int, cost: float) -> dict[str, Any]:
        return {MODEL: {"inputTokens": tokens, "costUSD": cost, "costBasis": "list"}}

    figures = {"session": {"total_cost_usd": 1.0, "model_usage": usage(100, 1.0)}}
    response = {"subtype": "success", "request_id": "cc-usage", "response": figures}
    assert hear(session, {"type": "control_response", "response": response}) == []
    fact = hear(session, {**RESULT, "total_cost_usd": 1.5, "modelUsage": usage(130, 1.5)})[0]
    assert isinstance(fact, Fact)
    assert (fact.data["input_tokens"], fact.data["cost_usd"]) == (30, 0.5)
    assert fact.data["session_totals"]["input_tokens"] == 130


# ---------------------------------------------------------------- endings without a stream


def test_ends_without_a_result_are_told_apart(tmp_path: Path) -> None:
    def fresh(stderr: str = "") -> ClaudeSession:
        session = CLAUDE.session(request(tmp_path))
        session.on_stderr(stderr.encode())
        return session

    assert fresh().ending(0, None).reason == "no_stream"
    assert fresh("error: unknown option").ending(1, None) == Ending("crashed", "", "exit 1: error: unknown option")
    assert fresh("No conversation found with session ID: x").ending(1, None).reason == "session_not_found"
    assert opened(tmp_path).ending(0, None).reason == "exited_empty"
    assert opened(tmp_path).ending(None, 9) == Ending("crashed", "", "ended by signal 9")


def test_a_good_result_does_not_hide_a_crash(tmp_path: Path) -> None:
    session = opened(tmp_path)
    hear(session, RESULT)
    assert session.ending(None, 11).reason == "crashed"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"api_error_status": 401}, "auth_failed"), ({"api_error_status": 403}, "auth_failed"), ({"api_error_status": 429}, "rate_limited"),
        ({"api_error_status": 529}, "api_error"), ({"terminal_reason": "api_error"}, "api_error"), ({}, "worker_error"),
        ({"subtype": "error_max_budget_usd"}, "max_cost"), ({"subtype": "error_during_execution"}, "worker_error"),
    ],
)  # fmt: skip
def test_an_error_has_its_reason_even_when_it_calls_itself_success(
    tmp_path: Path, result: dict[str, Any], reason: str
) -> None:
    session = opened(tmp_path)
    hear(session, {**RESULT, "is_error": True, "result": "went wrong", **result})
    ending = session.ending(1, None)
    assert (ending.reason, ending.text) == (reason, "")
    assert ("refused the key" in ending.detail) is (reason == "auth_failed")
    assert ("went wrong" in ending.detail) is (reason != "auth_failed")


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "reason", "detail"),
    [
        ("echo 'no such flag' >&2; exit 3", "crashed", "exit 3: no such flag"),
        ("exit 0", "no_stream", "it said nothing in its protocol"),
        ("printf '\\377\\000half a li'; kill -SEGV $$", "crashed", "ended by signal 11"),
        ("""echo '{"type":"control_response","response":{"subtype":"error","request_id":"cc-initialize","error":"too old"}}'; cat""",
         "no_stream", "it did not take up the gate: too old"),
    ],
)  # fmt: skip
def test_a_cli_that_is_none_is_told_apart(tmp_path: Path, script: str, reason: str, detail: str) -> None:
    program = tmp_path / "claude"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    door = Door(tmp_path, env={**os.environ, "CLAUDE_CODE_BIN": str(program)})
    run_id = str(door.call("cc_run_streaming", task="look", adapter="claude")["run_id"])
    assert door.finish(run_id)["reason"] == reason
    assert door.state(run_id)["detail"] == detail


# ---------------------------------------------------------------- tools, command, environment


@pytest.mark.parametrize(
    ("tool", "given", "kind", "target", "paths"),
    [
        ("Read", {"file_path": "/a/b"}, "read", "/a/b", ("/a/b",)),
        ("Grep", {"pattern": "x", "path": "src"}, "read", "x in src", ("/w/src",)),
        ("Glob", {"pattern": "*.py"}, "read", "*.py in /w", ("/w",)),
        ("Edit", {"file_path": "a.py"}, "edit", "a.py", ("/w/a.py",)),
        ("NotebookEdit", {"notebook_path": "/w/n.ipynb"}, "edit", "/w/n.ipynb", ("/w/n.ipynb",)),
        ("Write", {}, "edit", "", ()),
        ("WebFetch", {"url": "https://example.org"}, "network", "https://example.org", ()),
        ("Agent", {"description": "look", "prompt": "p"}, "delegate", "look", ()),
        ("TodoWrite", {"todos": [1]}, "read", '{"todos": [1]}', ()),
        ("mcp__s__t", {"a": 1}, "other", '{"a": 1}', ()),
        ("SomethingNew", {"file_path": 3}, "other", '{"file_path": 3}', ()),
    ],
)  # fmt: skip
def test_a_tool_call_is_told_in_shared_words(
    tool: str, given: dict[str, Any], kind: str, target: str, paths: tuple[str, ...]
) -> None:
    call = tool_call(tool, given, "/w")
    assert (call.kind, call.target, call.paths, call.command) == (kind, target, paths, None)


def test_a_command_is_kept_whole() -> None:
    assert tool_call("Bash", {"command": "a\nb"}, "/w").command == "a\nb"


def test_the_command_line_holds_neither_prompt_nor_settings(tmp_path: Path) -> None:
    wanted = request(
        tmp_path,
        prompt="NEEDLE",
        model="m",
        resume="s",
        fork=True,
        max_turns=3,
        env={"PATH": "/bin", "ANTHROPIC_API_KEY": "k"},
    )
    argv, env, stdin, files, _scratch = CLAUDE.invocation(wanted)
    assert (stdin, files) == ("pipe", ())
    assert "NEEDLE" not in " ".join(argv) + str(env)
    assert "k" not in argv
    assert argv[0] == "/opt/claude"
    for flag, value in (
        ("--input-format", "stream-json"), ("--output-format", "stream-json"), ("--permission-prompt-tool", "stdio"),
        ("--permission-mode", "default"), ("--setting-sources", ""), ("--model", "m"), ("--resume", "s"), ("--max-turns", "3"),
    ):  # fmt: skip
        assert argv[argv.index(flag) + 1] == value
    assert {"--strict-mcp-config", "--disable-slash-commands", "--fork-session", "--verbose"} <= set(argv)
    assert "--resume" not in CLAUDE.invocation(request(tmp_path)).argv


def test_what_would_be_read_as_a_flag_is_refused(tmp_path: Path) -> None:
    assert CLAUDE.check(request(tmp_path)) == []
    assert CLAUDE.check(request(tmp_path, model="--mcp-config"))
    assert CLAUDE.check(request(tmp_path, resume="-x"))


def test_workers_get_the_documented_variables_and_no_session_marker() -> None:
    parent = {
        "PATH": "/bin", "ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "u", "AWS_REGION": "r", "CLAUDE_CODE_USE_BEDROCK": "1",
        "CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": "s", "CLAUDE_CODE_ENTRYPOINT": "cli", "OPENAI_API_KEY": "o", "CODEX_HOME": "c",
        "CLAUDE_CODE_SSE_PORT": "1", "ANTHROPIC_SESSION_ID": "s", "GITHUB_TOKEN": "g",
    }  # fmt: skip
    kept = worker_env(parent, CLAUDE.env_allow, {})
    assert sorted(kept) == ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "AWS_REGION", "CLAUDE_CODE_USE_BEDROCK", "PATH"]
    assert {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "AWS_SECRET_ACCESS_KEY"} <= set(
        CLAUDE.secret_env
    )


# ---------------------------------------------------------------- any bytes

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "type", "subtype", "message", "content", "request", "response", "input", "request_id", "tool_name", "tool_input", "questions",
        "modelUsage", "usage", "id", "tasks", "errors", "session", "model_usage", "options", "error_status", "attempt",
    ]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
_TYPES = (
    "system",
    "assistant",
    "user",
    "result",
    "control_request",
    "control_response",
    "command_lifecycle",
    "rate_limit_event",
    "?",
)
_SUBTYPES = (
    "init",
    "api_retry",
    "background_tasks_changed",
    "success",
    "hook_callback",
    "can_use_tool",
    "elicitation",
    "error",
)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_bytes_raise(data: list[bytes]) -> None:
    session = ClaudeSession(WorkerRequest("run_x", "p", "/w", False, "c", {}, "/r", "/o"))
    for line in data:
        session.on_line(line, line)
        session.on_stderr(line)
    session.ending(0, None)


@given(
    st.lists(st.tuples(st.sampled_from(_TYPES), st.sampled_from(_SUBTYPES), _JSON, _JSON), max_size=5), st.booleans()
)
def test_no_message_of_a_wrong_shape_raises(messages: list[tuple[str, str, Any, Any]], budget: bool) -> None:
    session = ClaudeSession(
        WorkerRequest("run_x", "p", "/w", False, "c", {}, "/r", "/o", resume="s", max_tokens=5 if budget else None)
    )
    for type_, subtype, body, inner in messages:
        value = {
            "type": type_,
            "subtype": subtype,
            "message": body,
            "modelUsage": inner,
            "errors": body,
            "tasks": inner,
        }
        value["request"] = {**(inner if isinstance(inner, dict) else {"input": inner}), "subtype": subtype}
        value["response"] = {"subtype": "success", "request_id": "cc-usage", "response": {"session": body}}
        line = json.dumps(value).encode()
        for effect in session.on_line(line, line):
            if isinstance(effect, Ask):
                session.answer(effect.key, Answer("allow", choices={"x": 1}))
    session.ending(1, None)
