"""Conversations of a real Codex: resumed, forked, steered, stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from kit import clis, homes
from kit.door import Door
from kit.interpreter import PYTHON
from kit.model_stub import ModelStub
from kit.pipes import drive, request_for
from kit.stub_script import Script, Turn, Usage, call, say
from kit.waiting import alive, until, until_gone

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


# ---------------------------------------------------------------- going on


def test_a_resumed_run_counts_only_its_own_tokens(tmp_path: Path, model_stub: ModelStub) -> None:
    turns = [say("first", usage=Usage(1000, 10)), say("second", usage=Usage(50, 5)), say("third", usage=Usage(7, 1))]
    model_stub.add(Script(turns, shared=True))
    door = door_for(tmp_path, model_stub)
    run_id = play(door)
    used = [door.state(run_id)["usage"]["input_tokens"]]
    sessions = {door.state(run_id)["session_id"]}
    for _ in range(2):
        run_id = str(door.call("cc_send_instruction", run_id=run_id, instruction="go on")["run_id"])
        door.finish(run_id, 40.0)
        assert end(door, run_id) == ("succeeded", "completed")
        used.append(door.state(run_id)["usage"]["input_tokens"])
        sessions.add(door.state(run_id)["session_id"])
    assert used == [1000, 50, 7]
    assert len(sessions) == 1
    assert door.state(run_id)["session_totals"]["input_tokens"] == 1057
    assert "second" in str(model_stub.requests[-1].messages)


def test_after_a_run_that_was_stopped_nothing_is_counted_twice(tmp_path: Path, model_stub: ModelStub) -> None:
    turns = [say("first", usage=Usage(1000, 10)), Turn(hang="silent"), say("third", usage=Usage(7, 1))]
    model_stub.add(Script(turns, shared=True))
    door = door_for(tmp_path, model_stub)
    first = play(door)
    second = str(door.call("cc_send_instruction", run_id=first, instruction="go on")["run_id"])
    model_stub.wait_for_requests(2)
    door.call("cc_stop", run_id=second)
    third = str(door.call("cc_send_instruction", run_id=second, instruction="go on")["run_id"])
    door.finish(third, 40.0)
    assert end(door, third) == ("succeeded", "completed")
    assert door.state(third)["usage"]["input_tokens"] == 7


def test_a_fork_leaves_the_conversation_as_it_was(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("first", usage=Usage(1000, 10)), say("forked", usage=Usage(50, 5))], shared=True))
    env = homes.codex_home(tmp_path, model_stub)
    door = door_for(tmp_path, model_stub)
    first = play(door)
    session, totals = door.state(first)["session_id"], door.state(first)["session_totals"]
    wanted = request_for(
        str(tmp_path),
        cwd=str(door.cwd),
        env=env,
        executable=clis.codex_path(),
        resume=session,
        fork=True,
        baseline=totals,
    )
    driven = drive(find_adapter("codex"), wanted)
    assert driven.ending is not None
    assert (driven.ending.reason, driven.ending.text) == ("completed", "forked")
    assert driven.of("run.session")[0]["session_id"] != session
    assert driven.of("run.usage")[-1]["input_tokens"] == 50
    assert "first" in str(model_stub.requests[-1].messages)


def test_a_writer_goes_on_in_its_worktree(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(
        Script([shell("echo one > a.txt"), say("one"), shell("cat a.txt; echo two > b.txt"), say("two")], shared=True)
    )
    door = door_for(tmp_path, model_stub)
    first = play(door, allow_write=True)
    second = str(door.call("cc_send_instruction", run_id=first, instruction="go on")["run_id"])
    door.finish(second, 40.0)
    assert "one" in model_stub.tool_results("exec_command")[-1].text
    assert sorted(entry["path"] for entry in door.state(second)["snapshot"]["files"]) == ["a.txt", "b.txt"]


def test_a_conversation_that_is_gone_is_named_so(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([say("first")]))
    door = door_for(tmp_path, model_stub)
    first = play(door)
    for rollout in Path(door.env["CODEX_HOME"]).glob("sessions/**/*.jsonl"):
        rollout.unlink()
    second = str(door.call("cc_send_instruction", run_id=first, instruction="go on")["run_id"])
    door.finish(second, 40.0)
    assert end(door, second) == ("failed", "session_not_found")


# ---------------------------------------------------------------- steering and stopping


def test_an_instruction_reaches_the_model_with_its_next_request(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(
        Script([python("import os,time\nwhile not os.path.exists('go'): time.sleep(0.02)"), say("changed course")])
    )
    door = door_for(tmp_path, model_stub)
    run_id = start(door, allow_write=True)
    door.until_event(run_id, "tool.started", 30)
    door.call("cc_send_instruction", run_id=run_id, instruction="do it otherwise")
    door.until_event(run_id, "run.instructed", 20, delivered=False)
    (Path(str(door.spec(run_id).worktree)) / "go").touch()
    door.finish(run_id, 40.0)
    assert end(door, run_id) == ("succeeded", "completed")
    assert [data["delivered"] for data in door.data(run_id, "run.instructed")] == [False, True]
    assert "do it otherwise" in model_stub.requests[-1].prompt
    assert "do it otherwise" not in model_stub.requests[0].prompt


def test_a_turn_too_many_is_asked_to_come_to_an_end(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([shell("true"), shell("true"), say("concluded")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, max_turns=1)
    assert end(door, run_id) == ("budget_exceeded", "max_turns")
    assert "Stop here" in model_stub.requests[-1].prompt


def test_a_stop_interrupts_the_turn_and_the_process_ends_by_itself(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([python("import time; time.sleep(300)"), say("never said")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, allow_write=True)
    door.until_event(run_id, "tool.started", 30)
    answer = door.call("cc_stop", run_id=run_id, reason="enough")
    assert (answer["status"], answer["reason"]) == ("stopped", "user_requested")
    assert door.data(run_id, "run.exited")[0]["exit"] == 0
    assert door.state(run_id)["result"]["is_error"] is True


def test_a_stop_ends_the_whole_tree(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([python("import os,time; open('pid','w').write(str(os.getpid())); time.sleep(300)")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, allow_write=True)
    door.until_event(run_id, "tool.started", 30)
    worker = door.data(run_id, "run.started")[0]["pid"]
    marker = Path(str(door.spec(run_id).worktree)) / "pid"
    until(lambda: marker.exists() and marker.read_text(), 20.0)
    sleepers = _children_asleep(run_id)
    assert sleepers
    answer = door.call("cc_stop", run_id=run_id, reason="enough")
    assert (answer["status"], answer["reason"]) == ("stopped", "user_requested")
    for pid in (worker, *sleepers):
        until_gone(pid, 5.0)
    assert not alive(worker)


def _children_asleep(run_id: str) -> list[int]:
    """Processes of the run that sleep in Python. Inside the sandbox pids are others, so they are found from here."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            asleep = folder.name.isdigit() and b"time.sleep(300)" in (folder / "cmdline").read_bytes()
            if asleep and f"CC_RUN_ID={run_id}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
