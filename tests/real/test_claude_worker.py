"""A real Claude Code as worker under a real supervisor, against a scripted model on loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.runs.replay import replay_run
from cc_orchestrator.store import index
from kit import clis, homes
from kit.door import Door
from kit.interpreter import PYTHON
from kit.model_stub import ModelStub
from kit.repos import fingerprint, git
from kit.stub_script import Call, Script, Turn, Usage, call, say
from kit.waiting import alive, until, until_gone

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(120)]
MODEL = homes.CLAUDE_MODEL


def door_for(tmp_path: Path, stub: ModelStub, **env: str) -> Door:
    """A door whose environment has the CLI on PATH and the stub as its service."""
    runtime = os.environ["XDG_RUNTIME_DIR"]
    return Door(tmp_path, env={**homes.claude_home(tmp_path, stub), "XDG_RUNTIME_DIR": runtime, **env})


def start(door: Door, task: str = "say hello", **more: Any) -> str:
    arguments = {"task": task, "adapter": "claude", "model": MODEL, **more}
    return str(door.call("cc_run_streaming", **arguments)["run_id"])


def play(door: Door, task: str = "say hello", seconds: float = 40.0, **more: Any) -> str:
    run_id = start(door, task, **more)
    door.finish(run_id, seconds)
    return run_id


def end(door: Door, run_id: str) -> tuple[str, str]:
    state = door.state(run_id)
    return state["status"], state["reason"]


def claimed(door: Door, run_id: str) -> str:
    return str(door.state(run_id)["completion"]["claimed"]["text"])


def bash(command: str, **more: Any) -> Turn:
    return call("Bash", {"command": command, "description": "d", **more})


def sleep_for(seconds: float) -> str:
    return f"{PYTHON} -c 'import time; time.sleep({seconds})'"


def follow_ups(door: Door, run_id: str) -> list[str]:
    rows = index.select(str(door.cwd / ".agent-workspace" / "index.sqlite"), "parent_run_id = ?", (run_id,))
    return [str(row["run_id"]) for row in rows]


# ---------------------------------------------------------------- the main road


def test_a_reader_says_hello_and_its_figures_are_the_providers(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("Hello from the model.", usage=Usage(1200, 34, 500, 60))]))
    door = door_for(tmp_path, model_stub)
    before = fingerprint(door.cwd)
    run_id = play(door)
    state = door.state(run_id)
    assert end(door, run_id) == ("succeeded", "completed")
    assert claimed(door, run_id) == "Hello from the model."
    assert state["actual_model"] == MODEL
    assert {key: state["usage"][key] for key in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")} == {
        "input_tokens": 1200, "output_tokens": 34, "cache_read_tokens": 500, "cache_write_tokens": 60,
    }  # fmt: skip
    assert state["usage"]["cost_usd"] > 0
    assert state["turns"] == 1
    assert door.data(run_id, "run.session")[0]["permission_mode"] == "default"
    assert fingerprint(door.cwd) == before


def test_a_writer_edits_and_commits_in_its_own_worktree(tmp_path: Path, model_stub: ModelStub) -> None:
    fix = {"file_path": "src/app.py", "old_string": "a - b", "new_string": "a + b"}
    model_stub.add(
        Script([
            call("Read", {"file_path": "src/app.py"}), call("Edit", fix),
            bash("git add -A && git commit -q -m 'add adds'"), say("Fixed."),
        ])
    )  # fmt: skip
    door = door_for(tmp_path, model_stub)
    before = fingerprint(door.cwd)
    run_id = play(door, "fix add", allow_write=True)
    assert end(door, run_id) == ("succeeded", "completed")
    snapshot = door.state(run_id)["snapshot"]
    assert snapshot["committed"] == 1
    assert snapshot["uncommitted"] is False
    assert "a + b" in git(door.cwd, "show", f"{snapshot['commit']}:src/app.py")
    assert fingerprint(door.cwd) == before
    assert [data["decision"] for data in door.data(run_id, "policy.decided")] == ["allow"] * 3
    tools = door.data(run_id, "tool.started")
    assert [(data["tool"], data["kind"]) for data in tools] == [("Read", "read"), ("Edit", "edit"), ("Bash", "command")]
    assert [data["ok"] for data in door.data(run_id, "tool.finished")] == [True, True, True]


def test_the_prompt_is_in_no_argv_and_secrets_in_no_file(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([bash("env | sort"), say(f"the key is {homes.DUMMY_KEY}")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, "PROMPT_NEEDLE please", allow_write=True)
    pid = door.until_event(run_id, "run.started")["pid"]
    argv = Path(f"/proc/{pid}/cmdline").read_bytes()
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"--strict-mcp-config" in argv
    assert b"PROMPT_NEEDLE" not in argv + environ
    assert homes.DUMMY_KEY.encode() not in argv
    door.finish(run_id, 40.0)
    assert end(door, run_id) == ("succeeded", "completed")
    assert any(homes.DUMMY_KEY in result.text for result in model_stub.tool_results("Bash"))
    for folder, _folders, files in os.walk(door.cwd / ".agent-workspace"):
        for name in files:
            data = (Path(folder) / name).read_bytes() if not (Path(folder) / name).is_socket() else b""
            assert homes.DUMMY_KEY.encode() not in data, f"{folder}/{name}"
    assert door.state(run_id)["masked"]


def test_nothing_of_the_users_or_projects_configuration_runs(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([bash("cat README.md"), say("done")]))
    door = door_for(tmp_path, model_stub)
    trap = tmp_path / "traps"
    trap.mkdir()

    def hooks(name: str) -> str:
        hook = {"hooks": [{"type": "command", "command": f"touch {trap / name}"}]}
        return json.dumps({"hooks": {"SessionStart": [hook], "PreToolUse": [hook]}})

    for folder, name in ((Path(door.env["HOME"]), "user"), (door.cwd, "project")):
        (folder / ".claude").mkdir(parents=True, exist_ok=True)
        (folder / ".claude" / "settings.json").write_text(hooks(name))
    server = {"command": "touch", "args": [str(trap / "mcp")]}
    (door.cwd / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": server}}))
    (door.cwd / "CLAUDE.md").write_text("The project says MEMORY_NEEDLE.\n")
    run_id = play(door)
    assert end(door, run_id) == ("succeeded", "completed")
    assert list(trap.iterdir()) == []
    assert "MEMORY_NEEDLE" in model_stub.requests[0].prompt


def test_a_task_that_looks_like_a_command_of_the_cli_reaches_the_model(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("read it")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, "/compact NEEDLE")
    assert claimed(door, run_id) == "read it"
    assert "/compact NEEDLE" in model_stub.requests[0].prompt


def test_a_path_in_a_task_opens_no_file_past_the_gate(tmp_path: Path, model_stub: ModelStub) -> None:
    (tmp_path / "secret.txt").write_text("FILE_NEEDLE\n")
    model_stub.add(Script([say("nothing to see")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, f"look at @{tmp_path}/secret.txt and @../secret.txt")
    assert end(door, run_id) == ("succeeded", "completed")
    assert "FILE_NEEDLE" not in str(model_stub.requests[0].body)


# ---------------------------------------------------------------- policy and questions


def test_a_call_that_policy_denies_does_not_run_and_the_model_reads_why(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([bash("cc-orchestrator status > out.txt"), say("could not")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=True)
    (result,) = model_stub.tool_results("Bash")
    assert result.is_error
    assert "a worker starts, answers and accepts nothing" in result.text
    assert door.data(run_id, "policy.decided")[0]["rule"] == "orchestrate.never"
    assert door.state(run_id)["denied"] == 1


def test_a_permission_question_is_answered_by_the_controller(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([call("Write", {"file_path": "package.json", "content": "{}"}), say("written")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, allow_write=True)
    row = door.wait(run_id, "question", seconds=30)
    assert row["status"] == "waiting"
    (question,) = door.data(run_id, "question.asked")
    spec = door.spec(run_id)
    assert (question["tool"], question["target"], question["risk"]) == (
        "Write",
        f"{spec.worktree}/package.json",
        "high",
    )
    door.call("cc_answer", run_id=run_id, decision="allow")
    door.finish(run_id, 30)
    assert end(door, run_id) == ("succeeded", "completed")
    assert [entry["path"] for entry in door.state(run_id)["snapshot"]["files"]] == ["package.json"]


def test_a_question_that_nobody_answers_is_denied_at_its_deadline(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([call("Write", {"file_path": "package.json", "content": "{}"}), say("went on")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=True, question_seconds=0.5)
    assert claimed(door, run_id) == "went on"
    assert door.state(run_id)["snapshot"]["files"] == []
    assert door.data(run_id, "question.answered")[0]["by"] == "deadline"
    assert "nobody allowed it in time" in model_stub.tool_results("Write")[0].text


def test_a_choice_reaches_the_model_as_it_was_made(tmp_path: Path, model_stub: ModelStub) -> None:
    options = [{"label": "sqlite", "description": "s"}, {"label": "postgres", "description": "p"}]
    asked = {"questions": [{"question": "Which db?", "header": "DB", "multiSelect": False, "options": options}]}
    model_stub.add(Script([call("AskUserQuestion", asked), say("chosen")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door)
    door.wait(run_id, "question", seconds=30)
    (question,) = door.data(run_id, "question.asked")
    assert (question["kind"], question["options"]) == ("choice", ["sqlite", "postgres"])
    door.call("cc_answer", run_id=run_id, decision="allow", choices={"Which db?": "postgres"})
    door.finish(run_id, 30)
    assert '"Which db?"="postgres"' in model_stub.tool_results("AskUserQuestion")[0].text


# ---------------------------------------------------------------- steering and stopping


def test_an_instruction_reaches_the_model_with_the_next_tool_result(tmp_path: Path, model_stub: ModelStub) -> None:
    gate = tmp_path / "go"
    waiting = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)"
    (tmp_path / "wait.py").write_text(waiting)
    model_stub.add(Script([bash(f"{PYTHON} {tmp_path}/wait.py"), say("changed course")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, allow_write=True)
    door.until_event(run_id, "tool.started", 30)
    answer = door.call("cc_send_instruction", run_id=run_id, instruction="STEER_NEEDLE")
    assert answer["delivered"] is False
    assert answer["how"].startswith("queued")
    gate.touch()
    door.finish(run_id, 30)
    assert [data["delivered"] for data in door.data(run_id, "run.instructed")] == [False, True]
    assert any(
        "STEER_NEEDLE" in request.prompt or "STEER_NEEDLE" in str(request.body) for request in model_stub.requests[1:]
    )
    assert claimed(door, run_id) == "changed course"


def test_a_stop_ends_the_whole_tree_with_what_it_left_in_the_background(tmp_path: Path, model_stub: ModelStub) -> None:
    pids = tmp_path / "pids"
    (tmp_path / "bg.py").write_text(
        "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\n"
        f"open({str(pids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)\n"
    )
    model_stub.add(Script([bash(f"{PYTHON} {tmp_path}/bg.py"), bash(sleep_for(300))]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, allow_write=True)
    until(lambda: pids.exists() and pids.read_text() and len(model_stub.requests) == 2, 30.0)
    door.until_event(run_id, "tool.started", target=sleep_for(300))
    answer = door.call("cc_stop", run_id=run_id, reason="enough")
    assert (answer["status"], answer["reason"]) == ("stopped", "user_requested")
    until_gone(int(pids.read_text()), 5.0)
    assert not alive(door.data(run_id, "run.started")[0]["pid"])
    assert door.state(run_id)["usage"]["input_tokens"] >= 100


def test_several_results_of_one_process_end_in_one_run(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([bash(sleep_for(1), run_in_background=True), say("started it"), say("it is done")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=True)
    assert end(door, run_id) == ("succeeded", "completed")
    assert [data["text"] for data in door.data(run_id, "run.result")] == ["started it", "it is done"]
    assert claimed(door, run_id) == "it is done"
    assert door.state(run_id)["usage"]["input_tokens"] == 300


def test_an_asynchronous_subagent_passes_the_same_gate_and_belongs_to_the_same_run(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    delegate = {"description": "look", "prompt": "SUBAGENT_NEEDLE", "subagent_type": "general-purpose"}
    model_stub.add(
        Script([bash("cc-orchestrator status"), say("looked")], match=lambda request: request.conversation.count("/") > 0),
        Script([call("Agent", delegate), say("it is on its way"), say("it came back")]),
    )  # fmt: skip
    door = door_for(tmp_path, model_stub)
    run_id = play(door)
    assert end(door, run_id) == ("succeeded", "completed")
    assert claimed(door, run_id) == "it came back"
    rulings = [(data["tool"], data["decision"]) for data in door.data(run_id, "policy.decided")]
    assert rulings == [("Agent", "allow"), ("Bash", "deny")]
    parents = {data["tool"]: data.get("parent") for data in door.data(run_id, "tool.started")}
    assert parents["Agent"] is None
    assert parents["Bash"]


# ---------------------------------------------------------------- resume


def test_a_resumed_run_counts_only_its_own_tokens_and_cost(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("first", usage=Usage(1000, 10)), say("second", usage=Usage(50, 5))]))
    door = door_for(tmp_path, model_stub)
    first = play(door)
    second = str(door.call("cc_send_instruction", run_id=first, instruction="go on")["run_id"])
    door.finish(second, 40.0)
    assert end(door, second) == ("succeeded", "completed")
    one, two = door.state(first), door.state(second)
    assert one["session_id"] == two["session_id"]
    assert (one["usage"]["input_tokens"], two["usage"]["input_tokens"]) == (1000, 50)
    assert two["session_totals"]["input_tokens"] == 1050
    assert 0 < two["usage"]["cost_usd"] < one["usage"]["cost_usd"]
    assert "first" in str(model_stub.requests[-1].messages)
    replayed = replay_run(door.run(second))
    assert (replayed.differences, replayed.ending) == ({}, "completed")


# ---------------------------------------------------------------- size


def test_partial_messages_are_kept_and_count_as_nothing(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("word " * 400, chunks=200)]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, include_partial_messages=True, max_output_bytes=30_000)
    assert end(door, run_id) == ("succeeded", "completed")
    raw = Path(door.run(run_id).at("stdout.raw")).read_bytes()
    assert raw.count(b'"stream_event"') > 200
    assert len(raw) > 30_000
    assert len(door.events(run_id)) < 30


def test_a_task_of_megabytes_arrives_whole(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("read it")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, "line of text\n" * 250_000 + "LAST_NEEDLE")
    assert end(door, run_id) == ("succeeded", "completed")
    assert "LAST_NEEDLE" in model_stub.requests[0].prompt


# ---------------------------------------------------------------- bad days


def test_a_rate_limit_is_told_while_it_lasts_and_survived(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([Turn(status=429, retry_after=2), say("through")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door)
    door.until_event(run_id, "run.retrying", 30)
    state = door.state(run_id)
    assert (state["status"], state["waiting"]["kind"]) == ("waiting", "rate_limit")
    door.finish(run_id, 40)
    assert end(door, run_id) == ("succeeded", "completed")
    retry = door.data(run_id, "run.retrying")[0]
    assert (retry["cause"], retry["status"]) == ("rate_limited", 429)
    assert retry["delay_s"] >= 2


def test_an_overloaded_service_is_no_rate_limit(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([Turn(status=529), say("through")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door)
    assert door.data(run_id, "run.retrying")[0]["cause"] == "overloaded"
    assert end(door, run_id) == ("succeeded", "completed")


def test_a_rate_limit_for_good_is_the_reason_of_the_end(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(status=429, retry_after=3600)))
    door = door_for(tmp_path, model_stub)
    assert end(door, play(door)) == ("failed", "rate_limited")


def test_a_run_that_a_limit_ended_goes_on_in_its_conversation_at_its_time(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    refused = Turn(status=429, retry_after=2, message="rate limited")
    model_stub.add(Script([refused, refused, say("went on to the end")], shared=True))
    door = door_for(tmp_path, model_stub, CLAUDE_CODE_MAX_RETRIES="1")
    run_id = play(door, "FIRST_NEEDLE", resume_on_limit=True)
    state = door.state(run_id)
    assert (end(door, run_id), state["failure"]["class"]) == (("failed", "rate_limited"), "provider_limit")
    assert state["finished_at"] + 5 <= state["failure"]["not_before"] + 0.5 <= state["finished_at"] + 7
    rows = until(lambda: follow_ups(door, run_id), 40.0, what="the run that goes on")
    door.finish(rows[0], 40)
    after = door.state(rows[0])
    assert (end(door, rows[0]), claimed(door, rows[0])) == (("succeeded", "completed"), "went on to the end")
    assert after["session_id"] == state["session_id"]
    assert after["created_at"] >= state["failure"]["not_before"]
    assert "FIRST_NEEDLE" in model_stub.requests[-1].prompt


def test_an_answer_that_speaks_of_a_limit_is_an_answer(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(
        Script([bash("echo 429 Too Many Requests >&2; exit 1"), say("I hit a rate limit (429): no capacity.")])
    )
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=True, resume_on_limit=True)
    assert end(door, run_id) == ("succeeded", "completed")
    assert door.data(run_id, "run.retrying") == []


def test_a_refused_key_ends_the_run_in_seconds(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(status=401)))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, seconds=30)
    assert end(door, run_id) == ("failed", "auth_failed")
    assert "refused the key" in door.state(run_id)["detail"]
    assert door.state(run_id)["usage"] == {}
    assert door.state(run_id)["actual_model"] is None


def test_an_unknown_model_is_an_api_error_in_the_services_words(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(status=404, message="model: claude-nope")))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, model="claude-nope")
    assert end(door, run_id) == ("failed", "api_error")
    assert "claude-nope" in door.state(run_id)["detail"]


def test_a_service_that_says_nothing_ends_in_silence(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(text="half an answer", hang="midway")))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, silence_seconds=3.0)
    assert end(door, run_id) == ("timed_out", "silence")


def test_turns_are_limited_by_the_cli_itself(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=bash("cat README.md")))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, max_turns=2)
    assert end(door, run_id) == ("budget_exceeded", "max_turns")
    assert len(model_stub.requests) == 2


def test_a_token_budget_is_watched_between_the_turns(tmp_path: Path, model_stub: ModelStub) -> None:
    step = Turn(calls=(Call("Bash", {"command": "cat README.md"}),), usage=Usage(1000, 10))
    model_stub.add(Script([step] * 3, after=say("stopped in time", usage=Usage(1000, 10))))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, max_tokens=2500)
    assert end(door, run_id) == ("budget_exceeded", "max_tokens")
    assert len(model_stub.requests) <= 5


def test_a_session_that_is_gone_is_named_so(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("first")]))
    door = door_for(tmp_path, model_stub)
    first = play(door)
    for transcript in Path(door.env["HOME"]).glob(".claude/projects/*/*.jsonl"):
        transcript.unlink()
    second = str(door.call("cc_send_instruction", run_id=first, instruction="go on")["run_id"])
    door.finish(second, 30)
    assert end(door, second) == ("failed", "session_not_found")


def test_the_override_of_the_executable_counts(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("hi")]))
    door = door_for(tmp_path, model_stub, CLAUDE_CODE_BIN=clis.claude_path(), PATH="/usr/bin:/bin")
    run_id = play(door)
    assert end(door, run_id) == ("succeeded", "completed")
    assert door.spec(run_id).executable == clis.claude_path()


def test_a_cost_budget_is_watched_between_the_turns(tmp_path: Path, model_stub: ModelStub) -> None:
    step = Turn(calls=(Call("Bash", {"command": "cat README.md"}),), usage=Usage(100_000, 10))
    model_stub.add(Script([step] * 3, after=say("stopped in time")))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, max_cost_usd=0.5)
    assert end(door, run_id) == ("budget_exceeded", "max_cost")
    assert 0.5 <= door.state(run_id)["usage"]["cost_usd"] < 1.3


def test_runs_share_a_days_budget_and_are_told_when_it_runs_low(tmp_path: Path, model_stub: ModelStub) -> None:
    step = Turn(calls=(Call("Bash", {"command": "cat README.md"}),), usage=Usage(100_000, 10))
    model_stub.add(Script([step] * 16, after=say("stopped in time")))
    door = door_for(tmp_path, model_stub)
    door.call("cc_budget", action="set", budget={"day": {"max_cost_usd": 4.5}, "request_cost_usd": 0.31})
    run_id = play(door)
    state = door.state(run_id)
    assert end(door, run_id) == ("budget_exceeded", "day_budget")
    assert state["cost_source"] == "provider"
    assert 3.5 <= state["usage"]["cost_usd"] <= 4.5
    assert any(data["delivered"] for data in door.data(run_id, "run.instructed"))
    (row,) = door.call("cc_budget")["budgets"]
    assert row["limits"]["cost_usd"]["used"] == pytest.approx(state["usage"]["cost_usd"], abs=1e-6)
    assert "holders" not in row
