"""The stdio door, as real clients and rude ones see it."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from kit.door import Door
from kit.waiting import alive
from kit.wire import MODERN, Wire, client

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
HANG = {"steps": [{"say": "here"}, {"hang": {}}]}


@pytest.mark.parametrize(("mode", "version"), [("legacy", "2025-11-25"), ("auto", MODERN), (MODERN, MODERN)])
async def test_a_client_of_either_era_runs_a_worker_over_stdio(tmp_path: Path, mode: str, version: str) -> None:
    door = Door(tmp_path)
    async with client(door, mode) as session:
        assert session.protocol_version == version
        # A version that is adopted without asking (MODERN) tells no instructions.
        if mode != MODERN:
            assert "cc_wait" in (session.instructions or "")
        names = [tool.name for tool in (await session.list_tools()).tools]
        assert "cc_run_streaming" in names
        started = await session.call_tool("cc_run_streaming", {"task": "look", "adapter": "fake"})
        assert started.structured_content is not None
        run_id = started.structured_content["run_id"]
        woken = await session.call_tool("cc_wait", {"ids": [run_id]})
        assert woken.structured_content is not None
        assert woken.structured_content["woke"][0]["status"] == "succeeded"
    door.finish(run_id)


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18", "2025-11-25"])
def test_the_handshake_of_each_older_version_is_accepted(tmp_path: Path, version: str) -> None:
    with Wire(Door(tmp_path)) as wire:
        assert wire.open(version)["protocolVersion"] == version
        assert wire.ask("ping") == {} or wire.call("cc_tools")["toolsets"]


def test_an_unknown_version_is_answered_with_one_that_the_server_speaks(tmp_path: Path) -> None:
    with Wire(Door(tmp_path)) as wire:
        assert wire.open("1999-01-01")["protocolVersion"] == "2025-11-25"


def test_malformed_lines_do_not_end_the_door(tmp_path: Path) -> None:
    with Wire(Door(tmp_path)) as wire:
        wire.open()
        for line in (
            b"no json",
            b"{",
            b"[]",
            b"null",
            b'{"jsonrpc":"2.0"}',
            b"\xff\xfe\x00",
            b'{"jsonrpc":"2.0","id":{},"method":1}',
            b"",
        ):
            wire.write(line)
        wire.send("notifications/cancelled", {"requestId": 4711, "reason": "late"}, notify=True)
        wire.send("notifications/cancelled", {}, notify=True)
        wire.send("notifications/nobody/knows", {"x": 1}, notify=True)
        assert wire.ask("no/such/method")["code"] == -32601
        assert "toolsets" in wire.call("cc_tools")
        assert wire.strays == []


def test_arguments_that_are_no_object_are_refused_and_the_door_goes_on(tmp_path: Path) -> None:
    with Wire(Door(tmp_path)) as wire:
        wire.open()
        for arguments in ("text", 7, ["a"]):
            answer = wire.ask("tools/call", {"name": "cc_tools", "arguments": arguments})
            assert answer.get("isError") or "code" in answer
        assert wire.ask("tools/call", {"name": "cc_tools", "arguments": None})["structuredContent"]["toolsets"]


def test_a_prompt_of_five_megabytes_arrives_whole(tmp_path: Path) -> None:
    door = Door(tmp_path)
    task = "ä" * 2_500_000
    with Wire(door) as wire:
        wire.open()
        run_id = wire.call("cc_run_streaming", task=task, adapter="fake", script={"steps": [{"result": "read"}]})[
            "run_id"
        ]
        door.finish(run_id)
    assert door.spec(run_id).prompt_bytes > 5_000_000
    assert door.state(run_id)["status"] == "succeeded"


def test_a_prompt_beyond_the_limit_is_refused_by_name(tmp_path: Path) -> None:
    with Wire(Door(tmp_path)) as wire:
        wire.open()
        error = wire.call("cc_run_streaming", task="x" * 6_000_001, adapter="fake")["error"]
        assert error["code"] == "invalid_request"
        assert "task" in error["message"]
        assert len(json.dumps(error)) < 1_000


def test_what_code_prints_by_mistake_never_reaches_the_protocol(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from cc_orchestrator.operations import registry\n"
        "from cc_orchestrator.operations.registry import Operation, Params\n"
        "def noisy(ctx, params):\n"
        "    print('stray'); os.write(1, b'stray bytes\\n'); os.system('echo stray child'); return {'ok': True}\n"
        "registry.register(Operation(name='cc_noisy', summary='', params=Params, handler=noisy, effect='read', toolset='core',"
        " words=('noisy',)))\n"
        "from cc_orchestrator.surfaces.mcp.server import main\n"
        "main([])\n"
    )
    with Wire(Door(tmp_path), command=(sys.executable, "-c", program)) as wire:
        wire.open()
        assert wire.call("cc_noisy") == {"ok": True}
        assert "toolsets" in wire.call("cc_tools")
    assert wire.strays == []
    assert b"stray child\n" in wire.noise


@pytest.mark.parametrize("how", ["EOF", "SIGINT", "SIGTERM", "SIGKILL"])
def test_however_the_door_ends_its_worker_goes_on_and_the_next_door_reports_it_live(tmp_path: Path, how: str) -> None:
    door = Door(tmp_path)
    with Wire(door) as wire:
        wire.open()
        run_id = wire.call("cc_run_streaming", task="stay", adapter="fake", script=HANG)["run_id"]
        wire.start_call("cc_wait", ids=[run_id], timeout_seconds=200)
        if how == "EOF":
            assert wire.process.stdin is not None
            wire.process.stdin.close()
        else:
            wire.process.send_signal(signal.Signals[how])
        status = wire.process.wait(60)
        assert status == (-signal.SIGKILL if how == "SIGKILL" else 0)
    worker = door.state(run_id)["pid"]
    assert alive(worker)
    with Wire(door) as wire:
        wire.open()
        assert [row["run_id"] for row in wire.call("cc_status")["live"]] == [run_id]
        assert wire.call("cc_poll", run_id=run_id)["status"] == "running"
        assert wire.call("cc_stop", run_id=run_id, force=True)["status"] == "stopped"
    door.finish(run_id)
    assert not alive(worker)


def test_two_doors_on_one_workspace_see_and_steer_the_same_runs(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with Wire(door) as one, Wire(door) as two:
        one.open()
        two.open()
        run_id = one.call("cc_run_streaming", task="stay", adapter="fake", script=HANG)["run_id"]
        waiting = one.start_call("cc_wait", ids=[run_id], timeout_seconds=60)
        assert two.call("cc_poll", run_id=run_id)["status"] == "running"
        assert two.call("cc_stop", run_id=run_id, force=True)["status"] == "stopped"
        answer = one.reply(waiting)["result"]["structuredContent"]
        assert answer["woke"][0]["status"] == "stopped"
    door.finish(run_id)


def test_the_same_request_from_two_doors_at_once_is_one_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with Wire(door) as one, Wire(door) as two:
        one.open()
        two.open()
        arguments = {"task": "once", "adapter": "fake", "client_request_id": "same"}
        pending = [(wire, wire.start_call("cc_run_streaming", **arguments)) for wire in (one, two) for _ in range(4)]
        ids = {wire.reply(number)["result"]["structuredContent"]["run_id"] for wire, number in pending}
        assert len(ids) == 1
        other = two.call("cc_run_streaming", **{**arguments, "task": "something else"})["error"]
        assert other["code"] == "conflict"
        assert ids.pop() in other["message"]
        runs = two.call("cc_read", name="cc_run_status", arguments={"include_finished": True})["runs"]
    assert len(runs) == 1
    door.finish(runs[0]["run_id"])


def test_forty_sleeping_waits_do_not_keep_a_poll_from_its_answer(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with Wire(door) as wire:
        wire.open()
        run_id = wire.call("cc_run_streaming", task="stay", adapter="fake", script=HANG)["run_id"]
        waits = [wire.start_call("cc_wait", ids=[run_id], timeout_seconds=200) for _ in range(40)]
        assert wire.call("cc_poll", run_id=run_id, seconds=60)["status"] == "running"
        answered = {message.get("id") for message in wire.received}
        assert not answered & set(waits)
        wire.call("cc_stop", run_id=run_id, force=True)
        assert all(wire.reply(number)["result"]["structuredContent"]["woke"] for number in waits)
    door.finish(run_id)


def test_a_cancelled_wait_frees_its_thread_at_once_and_is_never_answered(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with Wire(door) as wire:
        wire.open()
        run_id = wire.call("cc_run_streaming", task="stay", adapter="fake", script=HANG)["run_id"]
        # More than there are threads, one after the other: only freed ones can serve them all.
        for _ in range(130):
            number = wire.start_call("cc_wait", ids=[run_id], timeout_seconds=200)
            wire.send("notifications/cancelled", {"requestId": number}, notify=True)
        assert wire.call("cc_poll", run_id=run_id, seconds=100)["status"] == "running"
        wire.send("notifications/cancelled", {"requestId": number}, notify=True)
        wire.call("cc_stop", run_id=run_id, force=True)
        assert not [
            message
            for message in wire.received
            if message.get("result", {}).get("structuredContent", {}).get("pending")
        ]
    door.finish(run_id)


def test_a_wait_sends_progress_when_it_is_asked_for(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with Wire(door) as wire:
        wire.open()
        run_id = wire.call("cc_run_streaming", task="stay", adapter="fake", script=HANG)["run_id"]
        silent = wire.start_call("cc_wait", ids=[run_id], timeout_seconds=1.2)
        wire.reply(silent)
        assert not [message for message in wire.received if message.get("method") == "notifications/progress"]
        wire.start_call("cc_wait", ids=[run_id], timeout_seconds=60, token="mine")
        told = wire.until(lambda message: message.get("method") == "notifications/progress")
        assert told["params"]["progressToken"] == "mine"
        assert told["params"]["total"] == 60
        assert told["params"]["message"] == "1 still going"
        wire.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)


def test_text_that_is_no_unicode_still_makes_an_answer(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with Wire(door) as wire:
        wire.open()
        line = '{"event":"say","text":"half \\ud800 pair"}\n'
        script = {"steps": [{"raw": {"text": line}}, {"result": "done"}]}
        run_id = wire.call("cc_run_streaming", task="look", adapter="fake", script=script)["run_id"]
        wire.call("cc_wait", ids=[run_id])
        answer = wire.call("cc_poll", run_id=run_id, mode="events")
        assert any("half" in row.get("text", "") for row in answer["events"])
    door.finish(run_id)


def test_unknown_toolsets_and_options_end_the_start_with_usage(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for options in (("--toolsets", "nope"), ("--bogus",), ("--toolsets",)):
        with Wire(door, *options) as wire:
            assert wire.process.wait(60) == 2
        assert b"usage" in b"".join(wire.noise)
