"""A real Codex, by its app-server, as worker under a real supervisor, against a scripted model on loopback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest, Unavailable
from kit import homes
from kit.door import Door
from kit.interpreter import PYTHON
from kit.model_stub import ModelStub
from kit.repos import fingerprint, git
from kit.stub_script import Script, Turn, Usage, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(120)]
PATCH = "*** Begin Patch\n*** Update File: src/app.py\n@@\n-    return a - b\n+    return a + b\n*** End Patch\n"


def door_for(tmp_path: Path, stub: ModelStub, extra: str = "", **env: str) -> Door:
    """A door whose environment has the CLI on PATH and the stub as its service. `extra` is TOML for the user's config."""
    runtime = os.environ["XDG_RUNTIME_DIR"]
    return Door(tmp_path, env={**homes.codex_home(tmp_path, stub, extra=extra), "XDG_RUNTIME_DIR": runtime, **env})


def start(door: Door, task: str = "say hello", **more: Any) -> str:
    return str(door.call("cc_run_streaming", task=task, adapter="codex", **more)["run_id"])


def play(door: Door, task: str = "say hello", seconds: float = 40.0, **more: Any) -> str:
    run_id = start(door, task, **more)
    door.finish(run_id, seconds)
    return run_id


def end(door: Door, run_id: str) -> tuple[str, str]:
    state = door.state(run_id)
    return state["status"], state["reason"]


def claimed(door: Door, run_id: str) -> str:
    return str(door.state(run_id)["completion"]["claimed"]["text"])


def shell(command: str) -> Turn:
    return call("exec_command", {"cmd": command})


def python(code: str) -> Turn:
    return shell(f'{PYTHON} -c "{code}"')


# ---------------------------------------------------------------- the main road


def test_a_reader_says_hello_and_its_figures_are_the_providers(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("Hello from the model.", usage=Usage(1200, 34, 500, 0, 7))]))
    door = door_for(tmp_path, model_stub)
    before = fingerprint(door.cwd)
    run_id = play(door)
    state = door.state(run_id)
    assert end(door, run_id) == ("succeeded", "completed")
    assert claimed(door, run_id) == "Hello from the model."
    assert {key: state["usage"][key] for key in ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")} == {
        "input_tokens": 1200, "output_tokens": 34, "cache_read_tokens": 500, "reasoning_tokens": 7,
    }  # fmt: skip
    assert "cost_usd" not in state["usage"]
    assert state["actual_model"] == homes.CODEX_MODEL
    assert state["turns"] == 1
    assert fingerprint(door.cwd) == before


def test_a_writers_edit_becomes_the_branchs_commit_by_our_hand(tmp_path: Path, model_stub: ModelStub) -> None:
    outside = tmp_path / "outside.txt"
    model_stub.add(
        Script([
            call("apply_patch", PATCH),
            shell(f"git commit -qam mine; python3 -c 'open(\"{outside}\", \"w\")'; echo x > /tmp/cc-escape.txt"),
            shell("echo '{}' > $CC_RUN_OUTBOX/handoff.json; mktemp"), say("Fixed."),
        ])
    )  # fmt: skip
    door = door_for(tmp_path, model_stub)
    before = fingerprint(door.cwd)
    run_id = play(door, "fix add", allow_write=True)
    assert end(door, run_id) == ("succeeded", "completed")
    state = door.state(run_id)
    snapshot = state["snapshot"]
    assert [entry["path"] for entry in snapshot["files"]] == ["src/app.py"]
    assert "a + b" in git(door.cwd, "show", f"{snapshot['commit']}:src/app.py")
    assert git(door.cwd, "rev-parse", snapshot["branch"]) == snapshot["commit"]
    assert f"CC-Run: {run_id}" in git(door.cwd, "log", "-1", "--format=%B", snapshot["branch"])
    assert fingerprint(door.cwd) == before
    refused, made = (result.text for result in model_stub.tool_results("exec_command"))
    assert refused.count("Read-only file system") == 3
    assert not outside.exists()
    assert not Path("/tmp/cc-escape.txt").exists()
    assert state["completion"]["claimed"]["outbox"] == [{"name": "handoff.json", "bytes": 3}]
    assert "/scratch/" in made
    assert not (Path(door.run(run_id).path) / "scratch").exists()
    tools = [(data["tool"], data["kind"]) for data in door.data(run_id, "tool.started")]
    # Codex 0.169 now and then leaves a command that failed at once out of its stream, though the model got its output.
    assert tools[0] == ("file_change", "edit")
    assert set(tools[1:]) == {("command_execution", "command")}


def test_the_users_settings_cannot_widen_the_sandbox(tmp_path: Path, model_stub: ModelStub) -> None:
    outside = tmp_path / "open"
    outside.mkdir()
    model_stub.add(
        Script([
            shell(f"echo x > {outside}/file"),
            python("import socket; socket.create_connection(('127.0.0.1', 9), 2)"), say("tried"),
        ])
    )  # fmt: skip
    wide = f'[sandbox_workspace_write]\nwritable_roots = ["{outside}"]\nnetwork_access = true\n'
    door = door_for(tmp_path, model_stub, wide)
    play(door, allow_write=True)
    write, connect = (result.text for result in model_stub.tool_results("exec_command"))
    assert "Read-only file system" in write
    assert "Connection refused" not in connect
    assert "Error" in connect
    assert list(outside.iterdir()) == []


def test_a_run_from_a_subfolder_may_write_in_all_of_its_tree_but_not_in_gits_files(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    model_stub.add(
        Script([shell("pwd; echo x > ../top.txt; echo x > here.txt"), shell("echo x > ../.git"), say("wrote")])
    )
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=True, cwd=str(door.cwd / "src"))
    wrote, refused = model_stub.tool_results("exec_command")
    assert "/src\n" in wrote.text
    assert "it belongs to git itself" in refused.text
    assert sorted(entry["path"] for entry in door.state(run_id)["snapshot"]["files"]) == ["src/here.txt", "top.txt"]


def test_outside_git_a_reader_works(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("no git here")]))
    door = door_for(tmp_path, model_stub)
    plain = tmp_path / "plain"
    plain.mkdir()
    other = Door(tmp_path, cwd=plain, env=door.env)
    assert claimed(other, play(other)) == "no git here"


# ---------------------------------------------------------------- what does not leak


def test_the_prompt_is_in_no_argv_and_the_key_in_no_file_and_no_command(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([shell("env | sort"), say(f"the key is {homes.DUMMY_KEY}")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, "PROMPT_NEEDLE please", allow_write=True)
    pid = door.until_event(run_id, "run.started")["pid"]
    argv, environ = Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes()
    assert b"app-server" in argv
    assert b"PROMPT_NEEDLE" not in argv + environ
    assert homes.DUMMY_KEY.encode() not in argv
    assert homes.DUMMY_KEY.encode() in environ
    door.finish(run_id, 40.0)
    assert claimed(door, run_id) == "the key is [MASKED:known]"
    (seen,) = model_stub.tool_results("exec_command")
    assert homes.DUMMY_KEY not in seen.text
    assert f"CC_RUN_ID={run_id}" in seen.text
    assert "PROMPT_NEEDLE" in model_stub.requests[0].prompt
    for folder, _folders, files in os.walk(door.cwd / ".agent-workspace"):
        for name in files:
            path = Path(folder) / name
            data = path.read_bytes() if path.is_file() else b""
            assert homes.DUMMY_KEY.encode() not in data, f"{folder}/{name}"
    assert door.state(run_id)["masked"]


def test_other_keys_of_the_users_do_not_reach_the_worker(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([shell("env"), say("looked")]))
    door = door_for(
        tmp_path, model_stub, ANTHROPIC_BASE_URL="http://foreign", GITHUB_PAT_FILE="foreign", CODEX_THREAD_ID="foreign"
    )
    play(door, allow_write=True)
    (seen,) = model_stub.tool_results("exec_command")
    assert "PATH=" in seen.text
    assert "foreign" not in seen.text


@pytest.mark.parametrize("name", ["cc-orchestrator", "boss"])
def test_our_own_server_is_not_started_under_any_name(name: str, tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("hello")]))
    started = tmp_path / "started"
    server = tmp_path / "cc-orchestrator"
    server.write_text(f"#!/bin/sh\ntouch {started}\nexec cat\n")
    server.chmod(0o755)
    entry = f'[mcp_servers.{name}]\ncommand = "{server}"\nargs = ["mcp"]\nrequired = true\nstartup_timeout_sec = 3\n'
    door = door_for(tmp_path, model_stub, entry)
    assert end(door, play(door)) == ("succeeded", "completed")
    assert not started.exists()


def test_a_server_behind_a_wrapper_learns_whose_child_it_is(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("hello")]))
    told, server = tmp_path / "told", tmp_path / "wrapper"
    server.write_text(f'#!/bin/sh\necho "$CC_RUN_ID" > {told}\nexec cat\n')
    server.chmod(0o755)
    door = door_for(tmp_path, model_stub, f'[mcp_servers.wrapped]\ncommand = "{server}"\nstartup_timeout_sec = 1\n')
    run_id = play(door)
    assert told.read_text().strip() == run_id


def test_hooks_and_notifiers_of_the_users_do_not_run(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([shell("true"), say("hello")]))
    door = door_for(tmp_path, model_stub)
    trap = tmp_path / "trap"
    trap.mkdir()
    config = Path(door.env["CODEX_HOME"]) / "config.toml"
    config.write_text(f'notify = ["touch", "{trap}/notify"]\n' + config.read_text())
    hook = f'{{"hooks": [{{"type": "command", "command": "touch {trap}/hook"}}]}}'
    (config.parent / "hooks.json").write_text(f'{{"hooks": {{"SessionStart": [{hook}], "PreToolUse": [{hook}]}}}}')
    assert end(door, play(door)) == ("succeeded", "completed")
    assert list(trap.iterdir()) == []


# ---------------------------------------------------------------- bad days


def test_reconnecting_is_no_failure(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([*[Turn(status=500)] * 6, say("Recovered.")], shared=True))
    door = door_for(tmp_path, model_stub)
    run_id = play(door)
    assert end(door, run_id) == ("succeeded", "completed")
    assert door.data(run_id, "run.retrying")[0] == {"attempt": 1, "max": 5, "cause": "disconnected"}


def test_a_refused_key_is_named_so(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(status=401, message="bad key")))
    door = door_for(tmp_path, model_stub)
    run_id = play(door)
    assert end(door, run_id) == ("failed", "auth_failed")
    assert "401 Unauthorized" in door.state(run_id)["detail"]


def test_a_service_that_says_nothing_ends_in_silence(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(hang="silent")))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, silence_seconds=2.0)
    assert end(door, run_id) == ("timed_out", "silence")


def test_an_answer_without_a_word_is_no_success(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([Turn(text="")]))
    door = door_for(tmp_path, model_stub)
    assert end(door, play(door)) == ("failed", "exited_empty")


def test_a_prompt_of_a_megabyte_arrives_whole_and_a_longer_one_is_refused_before_the_start(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    model_stub.add(Script([say("read it all")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, "long " * 209_000 + "END_NEEDLE")
    assert end(door, run_id) == ("succeeded", "completed")
    assert "END_NEEDLE" in model_stub.requests[0].prompt
    with pytest.raises(InvalidRequest, match="codex takes at most 1048576"):
        start(door, "long " * 210_000)


def test_without_the_cli_nothing_starts(tmp_path: Path, model_stub: ModelStub) -> None:
    door = door_for(tmp_path, model_stub, CODEX_BIN="/nowhere/codex")
    with pytest.raises(Unavailable, match="CODEX_BIN=/nowhere/codex"):
        start(door)
