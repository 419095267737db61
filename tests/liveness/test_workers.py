"""Real workers under real supervisors: what they are called, within which time, and what is done about a stall."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from kit.door import Door
from kit.waiting import alive, until

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
PYTHON = [sys.executable, "-S", "-E", "-c"]
BURN = "import time\nend = time.monotonic() + {0}\nwhile time.monotonic() < end: sum(range(10000))"
#: Says nothing, uses next to nothing, and gets a few bytes over TCP ten times a second.
LISTEN = """
import os, socket, time
server = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    here = socket.create_connection(server.getsockname())
    for _ in range(int({0} * 10)):
        time.sleep(0.1); here.send(b": ping")
    os._exit(0)
there, _ = server.accept()
while there.recv(100): pass
"""


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def end(state: dict[str, Any]) -> tuple[str, str | None]:
    return state["status"], state["reason"]


def told(door: Door, run_id: str) -> list[tuple[str, str | None]]:
    return [(data["liveness"], data.get("code")) for data in door.data(run_id, "run.liveness")]


def seconds_between(door: Door, run_id: str, first: str, then: str) -> float:
    """Seconds from the last event of one type to the first of another after it."""
    begun = door.events(run_id, first)[-1]
    later = next(event for event in door.events(run_id, then) if event["seq"] > begun["seq"])
    return later["ts"] - begun["ts"]


def background(code: str, seconds: float) -> dict[str, Any]:
    """A process in the worker's tree that no event tells of."""
    return {"call_cli": {"argv": [*PYTHON, code.replace("{0}", str(seconds))], "seconds": 60}}


# ---------------------------------------------------------------- named in time


def test_a_process_that_dies_is_told_within_two_seconds(door: Door) -> None:
    state = door.play({"say": "off I go"}, {"crash": {}})
    assert state["status"] == "failed"
    assert seconds_between(door, state["run_id"], "run.message", "run.exited") < 2.0


def test_an_exit_without_a_result_is_told_within_two_seconds(door: Door) -> None:
    run_id = door.start_fake({"say": "that is all"}, {"exit": 0})
    row = door.finish(run_id)
    assert (row["reason"], row["summary"]["liveness"]) == ("exited_empty", "exited_empty")
    assert seconds_between(door, run_id, "run.message", "run.exited") < 2.0


def test_a_prompt_that_nobody_sees_is_named_within_two_seconds_and_is_wanted_attention(door: Door) -> None:
    run_id = door.start_fake({"say": "hm"}, {"stderr": "Do you trust the files in this folder? (y/n)"}, {"hang": {}})
    row = door.wait(run_id, "stalled", seconds=20.0)
    assert (row["woke_by"], row["summary"]["liveness"]) == ("stalled", "waiting")
    assert "trust the files" in row["summary"]["why"]
    assert seconds_between(door, run_id, "system.stderr", "run.liveness") < 2.0
    listed = door.call("cc_status")["attention"]
    assert [(entry["run_id"], entry["liveness"]) for entry in listed] == [(run_id, "waiting")]
    door.call("cc_stop", run_id=run_id, force=True)


def test_a_prompt_without_an_end_of_line_is_seen_and_wakes_who_waits_for_attention(door: Door) -> None:
    run_id = door.start_fake({"say": "hm"}, {"raw": {"text": "Password: ", "stderr": True}}, {"hang": {}})
    row = door.wait(run_id, "attention", seconds=20.0)
    assert (row["woke_by"], row["summary"]["liveness"]) == ("attention", "waiting")
    assert seconds_between(door, run_id, "run.message", "run.liveness") < 2.5
    door.call("cc_stop", run_id=run_id, force=True)


def test_a_hang_with_children_is_named_and_its_whole_tree_is_ended(door: Door) -> None:
    run_id = door.start_fake(
        {"fork": {"setsid": True, "seconds": 600}}, {"say": "and now"}, {"hang": {"deaf": True}}, silence_seconds=5
    )
    pid = int(door.until_event(run_id, "system.notice", code="forked")["text"])
    door.finish(run_id)
    assert end(door.state(run_id)) == ("timed_out", "silence")
    assert told(door, run_id) == [("suspected_stall", "silent")]
    assert 5.0 <= seconds_between(door, run_id, "run.message", "run.liveness") < 15.0
    until(lambda: not alive(pid), what="the end of the child")


def test_a_worker_that_only_ticks_is_silent(door: Door) -> None:
    ticks = {"repeat": {"times": 200, "steps": [{"raw": '{"type":"keep_alive"}\n'}, {"sleep": 0.2}]}}
    state = door.play({"say": "hm"}, ticks, silence_seconds=2)
    assert end(state) == ("timed_out", "silence")
    assert told(door, state["run_id"]) == [("suspected_stall", "silent")]


# ---------------------------------------------------------------- well, and left alone


def test_a_slow_tool_that_burns_cpu_is_no_stall(door: Door) -> None:
    state = door.play({"run": {"argv": [*PYTHON, BURN.replace("{0}", "4")]}}, {"result": "built"}, silence_seconds=1)
    assert end(state) == ("succeeded", "completed")
    assert told(door, state["run_id"]) == []


def test_work_that_only_the_tree_shows_is_life(door: Door) -> None:
    state = door.play(background(BURN, 4), {"result": "indexed"}, silence_seconds=1.5)
    assert end(state) == ("succeeded", "completed")
    assert ("suspected_stall", "silent") not in told(door, state["run_id"])


@pytest.mark.skipif(sys.platform != "linux", reason="bytes of sockets are the Linux kernel's to tell")
def test_bytes_over_a_connection_are_life(door: Door) -> None:
    state = door.play(background(LISTEN, 5), {"result": "thought"}, silence_seconds=2)
    assert end(state) == ("succeeded", "completed")
    assert ("suspected_stall", "silent") not in told(door, state["run_id"])


# ---------------------------------------------------------------- what is done about it


def test_a_nudge_wakes_a_worker_that_waits_for_a_word(door: Door) -> None:
    state = door.play(
        {"say": "hm"}, {"wait_instruction": {}}, {"result": "awake"}, silence_seconds=1.5, on_stall="nudge"
    )
    assert end(state) == ("succeeded", "completed")
    (instructed,) = door.data(state["run_id"], "run.instructed")
    assert (instructed["control_id"], instructed["delivered"]) == ("nudge-1", True)
    assert told(door, state["run_id"])[0] == ("suspected_stall", "silent")
    assert state["judged"] is None


def test_a_worker_that_does_not_heed_its_nudge_is_ended(door: Door) -> None:
    state = door.play({"say": "hm"}, {"hang": {"deaf": True}}, silence_seconds=1.5, on_stall="nudge")
    assert end(state) == ("timed_out", "silence")
    assert state["limits"][-1]["allowed"] == 3.0


def test_a_result_that_comes_late_is_not_thrown_away(door: Door) -> None:
    state = door.play(
        {"ignore_term": {}},
        {"say": "hm"},
        {"silence": 3.5},
        {"result": "late, but here"},
        silence_seconds=1,
        ignore_interrupt=True,
    )
    assert end(state) == ("succeeded", "completed")
    assert state["completion"]["claimed"]["text"] == "late, but here"
    assert [note["code"] for note in state["notices"]] == ["late_result"]
    assert state["limits"][-1]["limit"] == "silence_seconds"


def follow_up(door: Door, run_id: str) -> str:
    """The run that goes on after another, once it has ended."""

    def found() -> str | None:
        rows = door.call("cc_run_status", include_finished=True)["runs"]
        return next((row["run_id"] for row in rows if door.spec(row["run_id"]).parent_run_id == run_id), None)

    name = until(found, 20.0, what=f"the run after {run_id}")
    assert name is not None
    door.finish(name)
    return name


def test_recovery_goes_on_in_the_same_conversation(door: Door) -> None:
    script = {"steps": [{"say": "hm"}, {"hang": {"deaf": True}}], "resumed": [{"result": "went on"}]}
    run_id = door.start_fake(script=script, silence_seconds=1, on_stall="recover")
    row = door.finish(run_id)
    assert (row["status"], row["reason"]) == ("timed_out", "silence")
    after = follow_up(door, run_id)
    assert door.spec(after).resume_session == door.state(run_id)["session_id"]
    assert door.spec(after).client_request_id == f"resume-{run_id}"
    assert end(door.state(after)) == ("succeeded", "completed")


def test_recovery_ends_with_one_replacement(door: Door) -> None:
    hangs = [{"say": "hm"}, {"hang": {"deaf": True}}]
    first = door.start_fake(script={"steps": hangs, "resumed": hangs}, silence_seconds=1, on_stall="recover")
    door.finish(first)
    second = follow_up(door, first)
    third = follow_up(door, second)
    assert door.spec(third).client_request_id == f"replace-{second}"
    assert door.spec(third).resume_session is None
    assert end(door.state(third)) == ("timed_out", "silence")
    assert [note["code"] for note in door.state(third)["notices"]] == []
    assert len(door.call("cc_run_status", include_finished=True)["runs"]) == 3
