"""What real Claude Code and Codex are called while they work, wait and hang, against a scripted model on loopback."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kit import homes
from kit.door import Door
from kit.interpreter import PYTHON
from kit.model_stub import ModelStub
from kit.stub_script import Script, Turn, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(180)]


def claude_door(tmp_path: Path, stub: ModelStub) -> Door:
    runtime = os.environ["XDG_RUNTIME_DIR"]
    return Door(tmp_path, env={**homes.claude_home(tmp_path, stub), "XDG_RUNTIME_DIR": runtime})


def play(door: Door, seconds: float = 120.0, **more: Any) -> str:
    given = {"task": "say hello", "adapter": "claude", "model": homes.CLAUDE_MODEL, **more}
    run_id = str(door.call("cc_run_streaming", **given)["run_id"])
    door.finish(run_id, seconds)
    return run_id


def told(door: Door, run_id: str) -> list[tuple[str, str | None]]:
    return [(data["liveness"], data.get("code")) for data in door.data(run_id, "run.liveness")]


def test_a_message_that_stops_half_way_is_named_within_a_minute(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([], after=Turn(text="half an answer, and then nothing", hang="midway")))
    door = claude_door(tmp_path, model_stub)
    run_id = play(door, silence_seconds=70.0, include_partial_messages=True)
    assert (door.state(run_id)["status"], door.state(run_id)["reason"]) == ("timed_out", "silence")
    first = door.events(run_id, "run.liveness")[0]
    assert first["data"]["code"] == "dead_stream"
    print(f"evidence: {first['data']['evidence']}")
    assert first["ts"] - door.events(run_id, "run.session")[-1]["ts"] < 60.0


def test_a_model_that_streams_slowly_is_left_alone(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([Turn(text="slowly but surely it comes to an end", chunks=6, chunk_delay=2.0)]))
    door = claude_door(tmp_path, model_stub)
    run_id = play(door, silence_seconds=4.0)
    assert (door.state(run_id)["status"], told(door, run_id)) == ("succeeded", [])


def test_a_command_that_sleeps_longer_than_the_silence_is_a_tool_at_work(tmp_path: Path, model_stub: ModelStub) -> None:
    sleep = f"{PYTHON} -c 'import time; time.sleep(9)'"
    model_stub.add(Script([call("Bash", {"command": sleep, "description": "d"}), say("slept")]))
    door = claude_door(tmp_path, model_stub)
    run_id = play(door, silence_seconds=4.0, allow_write=True)
    assert (door.state(run_id)["status"], told(door, run_id)) == ("succeeded", [])
    assert door.data(run_id, "tool.started")[0]["deadline_s"] == 120.0
