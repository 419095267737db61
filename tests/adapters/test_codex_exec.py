"""The adapter for `codex exec` on its own: what it starts, and what it makes of lines that the transcripts do not hold."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cc_orchestrator.adapters.base import CloseInput, Effect, Send, WorkerRequest
from cc_orchestrator.adapters.codex_exec import CodexExecAdapter
from cc_orchestrator.core.events import Fact
from cc_orchestrator.routing.codex_config import codex_route
from kit.transcripts import request_in

CODEX = CodexExecAdapter()
THREAD = "01a21400-0000-7000-8000-00000000abcd"


def request(**changes: Any) -> WorkerRequest:
    return request_in("/nowhere", **changes)


def argv(**changes: Any) -> tuple[str, ...]:
    return CODEX.invocation(request(**changes)).argv


def settings(**changes: Any) -> dict[str, str]:
    given = argv(**changes)
    pairs = [tuple(given[at + 1].split("=", 1)) for at, word in enumerate(given) if word == "-c"]
    return dict(pairs)


def facts(*events: dict[str, Any], **changes: Any) -> list[tuple[str, dict[str, Any]]]:
    session = CODEX.session(request(**changes))
    found: list[Effect] = []
    for event in events:
        line = json.dumps(event).encode()
        found += session.on_line(line, line)
    return [(fact.type, fact.data) for fact in found if isinstance(fact, Fact)]


def item(kind: str, event: str = "item.completed", **more: Any) -> dict[str, Any]:
    return {"type": event, "item": {"id": "item_1", "type": kind, **more}}


def reason_of(message: str) -> str:
    session = CODEX.session(request())
    line = json.dumps({"type": "turn.failed", "error": {"message": message}}).encode()
    session.on_line(line, line)
    return session.ending(1, None).reason


# ---------------------------------------------------------------- what it starts


def test_a_reader_gets_the_read_only_sandbox_and_needs_no_git() -> None:
    given = argv()
    assert given[:3] == ("/nowhere/bin/cli", "exec", "--json")
    assert given[given.index("--sandbox") + 1] == "read-only"
    assert "--skip-git-repo-check" in given
    assert "--add-dir" not in given
    assert given[-1] == "-"


def test_a_writer_gets_its_tree_its_outbox_and_a_scratch_folder_and_no_network() -> None:
    invocation = CODEX.invocation(request(allow_write=True))
    given = invocation.argv
    assert given[given.index("--sandbox") + 1] == "workspace-write"
    assert [given[at + 1] for at, word in enumerate(given) if word == "--add-dir"] == [
        "/nowhere/run/outbox", "/nowhere/run/scratch",
    ]  # fmt: skip
    assert invocation.scratch == invocation.env["TMPDIR"] == "/nowhere/run/scratch"
    kept = settings(allow_write=True)
    assert {key: kept[f"sandbox_workspace_write.{key}"] for key in ("network_access", "exclude_slash_tmp", "writable_roots")} == {
        "network_access": "false", "exclude_slash_tmp": "true", "writable_roots": "[]",
    }  # fmt: skip
    assert "--skip-git-repo-check" not in given


def test_nothing_of_the_users_runs_along_unless_asked() -> None:
    kept = settings()
    assert (kept["features.hooks"], kept["features.plugins"], kept["notify"]) == ("false", "false", "[]")
    assert kept["web_search"] == '"disabled"'
    assert "--ignore-rules" in argv()
    asked = settings(options={"hooks": True, "plugins": True, "web_search": True})
    assert not asked.keys() & {"features.hooks", "features.plugins", "web_search"}


def test_commands_do_not_see_the_key_and_carry_our_marker() -> None:
    kept = settings()
    assert kept["shell_environment_policy.ignore_default_excludes"] == "false"
    assert kept["shell_environment_policy.set.CC_RUN_ID"] == '"run_01k3000000abcdefghjk"'


def test_our_server_is_off_even_where_nobody_configured_it() -> None:
    assert settings()["mcp_servers"] == '{"cc-orchestrator"={command="cc-orchestrator",enabled=false}}'


def test_our_server_is_off_under_any_name_and_the_others_learn_whose_child_they_are() -> None:
    route = {"own_servers": {"boss": "command", "cc-orchestrator": "url"}, "servers": ["notes", "boss"]}
    assert settings(route=route)["mcp_servers"] == (
        '{"cc-orchestrator"={url="http://127.0.0.1:9/",enabled=false},"boss"={command="cc-orchestrator",enabled=false},'
        '"notes"={env={CC_RUN_ID="run_01k3000000abcdefghjk"}}}'
    )


def test_a_name_with_quotes_cannot_break_out_of_its_setting() -> None:
    route = {"servers": ['x"={enabled=true},"cc-orchestrator', 7], "own_servers": "odd"}
    assert '"x\\"={enabled=true},\\"cc-orchestrator"={env=' in settings(route=route)["mcp_servers"]


def test_a_conversation_is_resumed_or_forked_behind_the_options() -> None:
    assert argv(resume=THREAD)[-3:] == ("resume", THREAD, "-")
    assert argv(resume=THREAD, fork=True, model="gpt-5.5")[-3:] == ("fork", THREAD, "-")
    assert "gpt-5.5" in argv(model="gpt-5.5")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resume": "--last"}, "'--last' is no id of a Codex conversation (a UUID is expected)"),
        ({"resume": "my-thread"}, "'my-thread' is no id of a Codex conversation (a UUID is expected)"),
        ({"prompt": "x" * 1_048_577}, "the prompt has 1048577 characters, and codex takes at most 1048576"),
        ({"fork": True}, "a fork needs the id of the conversation to fork"),
        ({"model": "--yolo"}, "'--yolo' is no model name"),
        ({"options": {"script": {}}}, "it has no options script; known: hooks, plugins, web_search"),
    ],
)
def test_what_codex_would_misunderstand_is_refused(changes: dict[str, Any], sentence: str) -> None:
    assert CODEX.check(request(**changes)) == [sentence]


def test_the_prompt_goes_in_whole_and_the_input_ends() -> None:
    prompt = "ä\n" * 2_000_000 + "\ud800"
    assert CODEX.session(request(prompt=prompt)).begin() == [Send(prompt.encode("utf-8", "replace")), CloseInput()]


# ---------------------------------------------------------------- what it makes of lines


def test_the_shells_wrapper_is_taken_off_a_command() -> None:
    (started, finished) = facts(
        item("command_execution", command="/bin/bash -lc 'echo \"a b\"'", exit_code=0, status="completed")
    )
    assert started[1]["target"] == 'echo "a b"'
    assert finished == ("tool.finished", {"id": "item_1", "ok": True})


@pytest.mark.parametrize("command", ["/bin/bash -lc 'unclosed", "make test", "x" * 100_000, ""])
def test_other_commands_are_shown_as_they_are(command: str) -> None:
    (started, _) = facts(item("command_execution", command=command, exit_code=0, status="completed"))
    assert command.startswith(started[1]["target"].rstrip("…"))


def test_tools_have_their_kinds() -> None:
    kinds = [
        facts(entry)[0][1]
        for entry in (
            item("mcp_tool_call", server="probe", tool="echo", arguments={"text": "a"}, status="completed"),
            item("web_search", query="weather"), item("collab_tool_call", tool="spawn", status="completed"),
            item("of_tomorrow", status="completed"), item("file_change", changes=[{"path": "a.py", "kind": "update"}, 7, {}], status="completed"),
        )
    ]  # fmt: skip
    assert [(data["tool"], data["kind"]) for data in kinds] == [
        ("mcp__probe__echo", "other"), ("web_search", "network"), ("collab_tool_call", "delegate"), ("of_tomorrow", "other"),
        ("file_change", "edit"),
    ]  # fmt: skip
    assert kinds[-1]["paths"] == ["a.py"]


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"exit_code": 3, "aggregated_output": "no such file\n", "status": "failed"}, "exit 3 no such file"),
        ({"exit_code": None, "status": "declined"}, "declined"),
        ({"status": "failed", "error": {"message": "Transport closed"}}, "failed Transport closed"),
    ],
)
def test_what_went_wrong_with_a_call_is_noted(more: dict[str, Any], note: str) -> None:
    assert facts(item("command_execution", command="x", **more))[1][1] == {"id": "item_1", "ok": False, "note": note}


def test_a_call_begins_once() -> None:
    found = facts(
        item("command_execution", "item.started"), item("command_execution", "item.updated"), item("command_execution")
    )
    assert [kind for kind, _ in found] == ["tool.started", "tool.finished"]


def test_a_plan_is_told_in_one_line() -> None:
    steps = [{"text": "look", "completed": True}, {"text": "fix", "completed": False}]
    assert facts(item("todo_list", "item.updated", items=steps)) == [
        ("system.notice", {"code": "plan", "text": "1 of 2 done; next: fix"})
    ]


def test_reasoning_is_kept_to_itself() -> None:
    assert facts(item("reasoning", text="hm"), {"type": "turn.started"}) == []


def test_reconnecting_is_a_retry_with_its_cause() -> None:
    found = facts(
        {"type": "error", "message": "Reconnecting... 2/5 (exceeded retry limit, last status: 429 Too Many Requests)"},
        {"type": "error", "message": "Reconnecting... 1/5 (We’re currently experiencing high demand, which may cause temporary errors.)"},
        {"type": "error", "message": "Reconnecting... 1/5 (stream disconnected before completion: Transport error)"},
        {"type": "error", "message": "Reconnecting... 1/5 (unexpected status 401 Unauthorized: bad key)"},
    )  # fmt: skip
    assert [data for _, data in found] == [
        {"attempt": 2, "max": 5, "cause": "rate_limited", "status": 429}, {"attempt": 1, "max": 5, "cause": "overloaded"},
        {"attempt": 1, "max": 5, "cause": "disconnected"}, {"attempt": 1, "max": 5, "cause": "auth_failed", "status": 401},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Codex ran out of room in the model's context window. Start a new thread or clear earlier history before retrying.", "context_overflow"),
        ("unexpected status 403 Forbidden: no, url: http://127.0.0.1/v1/responses", "auth_failed"),
        ("Missing environment variable: `STUB_API_KEY`.", "auth_failed"),
        ("exceeded retry limit, last status: 429 Too Many Requests", "rate_limited"),
        ("You've hit your usage limit. Try again later.", "rate_limited"),
        ("We’re currently experiencing high demand, which may cause temporary errors.", "api_error"),
        ("unexpected status 404 Not Found: no model 401", "api_error"),
        ("", "api_error"),
    ],
)  # fmt: skip
def test_a_failed_turn_has_its_reason(message: str, reason: str) -> None:
    assert reason_of(message) == reason


def test_cached_input_is_counted_once_and_what_was_before_is_taken_off() -> None:
    usage = {
        "input_tokens": 6200, "cached_input_tokens": 5000, "cache_write_input_tokens": 200, "output_tokens": 34, "reasoning_output_tokens": 7,
    }  # fmt: skip
    before = {"input_tokens": 400.0, "cache_read_tokens": 1000.0, "output_tokens": 4.0}
    found = facts({"type": "turn.completed", "usage": usage}, resume=THREAD, baseline=before)
    figures = dict(found[0][1])
    assert figures.pop("session_totals") == {
        "input_tokens": 1000, "cache_read_tokens": 5000, "cache_write_tokens": 200, "output_tokens": 34, "reasoning_tokens": 7,
    }  # fmt: skip
    assert figures == {
        "input_tokens": 600, "cache_read_tokens": 4000, "cache_write_tokens": 200, "output_tokens": 30, "reasoning_tokens": 7, "total": True,
    }  # fmt: skip


def test_figures_that_are_missing_stay_unknown() -> None:
    assert [kind for kind, _ in facts({"type": "turn.completed", "usage": {}})] == ["run.result"]


def test_a_good_turn_with_a_bad_exit_is_no_success() -> None:
    session = CODEX.session(request())
    for event in (item("agent_message", text="done"), {"type": "turn.completed"}):
        line = json.dumps(event).encode()
        session.on_line(line, line)
    ending = session.ending(1, None)
    assert (ending.reason, ending.text) == ("crashed", "done")


def test_the_detail_is_codexs_own_word_and_not_its_log() -> None:
    session = CODEX.session(request(resume=THREAD))
    for line in (
        b"Error: thread/resume failed: no rollout found for thread id x",
        b"2026-11-25T22:21:56Z ERROR codex_core: noise",
        b"  | ^",
    ):
        session.on_stderr(line)
    ending = session.ending(1, None)
    assert ending.reason == "session_not_found"
    assert ending.detail == "exit 1: Error: thread/resume failed: no rollout found for thread id x"


# ---------------------------------------------------------------- the user's configuration

CONFIG = """
model_provider = "acme"
[model_providers.acme]
base_url = "https://llm.acme.test/v1"
env_key = "ACME_KEY"
env_http_headers = { "X-Team" = "ACME_TEAM", "X-Bad" = "not a name" }
[model_providers.other]
env_key = "OTHER_KEY"
[mcp_servers.boss]
command = "uvx"
args = ["--from", "cc-orchestrator", "cc-orchestrator", "mcp"]
[mcp_servers.module]
command = "/usr/bin/python3"
args = ["-m", "cc_orchestrator"]
[mcp_servers.notes]
command = "notes-server"
[mcp_servers.web]
url = "https://notes.test/mcp"
"""


def test_only_the_chosen_providers_variables_are_passed_on() -> None:
    route = codex_route(CONFIG)
    assert route["secret_names"] == ["ACME_KEY", "ACME_TEAM"]
    assert route["env_names"] == []


def test_our_servers_are_known_by_what_they_start() -> None:
    route = codex_route(CONFIG)
    assert route["own_servers"] == {"boss": "command", "module": "command"}
    assert route["servers"] == ["notes"]


def test_a_projects_file_may_name_servers_but_no_keys() -> None:
    project = 'model_provider = "x"\n[model_providers.x]\nenv_key = "GITHUB_TOKEN"\n[mcp_servers.sly]\ncommand = "cc-orchestrator"\n'
    route = codex_route("", [project])
    assert (route["secret_names"], route["own_servers"], route["servers"]) == ([], {"sly": "command"}, [])


def test_bedrock_gets_the_variables_of_the_aws_tools() -> None:
    route = codex_route('model_provider = "amazon-bedrock"')
    assert "AWS_REGION" in route["env_names"]
    assert "AWS_SECRET_ACCESS_KEY" in route["secret_names"]
    assert not set(route["env_names"]) & set(route["secret_names"])


@pytest.mark.parametrize("text", ["", "= no toml", "mcp_servers = 7", "model_provider = []", '[mcp_servers]\nx = "y"'])
def test_odd_configurations_say_nothing(text: str) -> None:
    route = codex_route(text, [text])
    assert (route["env_names"], route["secret_names"], route["own_servers"]) == ([], [], {})
