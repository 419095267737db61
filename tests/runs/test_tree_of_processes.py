"""The whole tree of a worker ends with its run, whatever sessions and double forks it made; other runs are not harmed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.host import proctable
from kit.door import Door
from kit.staging import stage
from kit.waiting import alive, until_gone

pytestmark = pytest.mark.process


def forked(door: Door, run_id: str) -> int:
    """The pid of the descendant that the worker says it made."""
    return int(door.until_event(run_id, "system.notice", code="forked")["text"])


FORKS: list[dict[str, Any]] = [
    {"double": False, "setsid": False},
    {"double": True, "setsid": True},
    {"double": True, "setsid": True, "ignore_term": True},
]


@pytest.mark.parametrize("how", FORKS, ids=["child", "daemon", "deaf daemon"])
def test_descendants_are_gone_after_an_ordinary_end_and_are_reported(tmp_path: Path, how: dict[str, Any]) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": how}, {"result": "done"})
    pid = forked(door, run_id)
    door.finish(run_id)
    assert not alive(pid)
    state = door.state(run_id)
    assert (state["status"], state["reason"]) == ("succeeded", "completed")
    assert state["exit"]["leftovers"] == 1
    flags = door.call("cc_summarize_run", run_id=run_id)["risk"]["flags"]
    assert "leftover_processes" in [flag["code"] for flag in flags]


def test_without_descendants_there_are_no_leftovers(tmp_path: Path) -> None:
    assert Door(tmp_path).play({"result": "done"})["exit"]["leftovers"] == 0


def test_descendants_are_gone_after_a_stop(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": {"ignore_term": True}}, {"hang": {}})
    pid = forked(door, run_id)
    answer = door.call("cc_stop", run_id=run_id)
    assert answer["stopped"] is True
    assert not alive(pid), "the answer of a stop is its true end state"


def test_descendants_are_gone_after_a_timeout(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": {}}, {"hang": {}}, timeout_seconds=1.0, ignore_conclude=True)
    pid = forked(door, run_id)
    assert door.finish(run_id)["reason"] == "timeout"
    assert not alive(pid)


def test_descendants_without_our_marker_are_found_all_the_same(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": {"clean_env": True}}, {"hang": {}})
    pid = forked(door, run_id)
    door.call("cc_stop", run_id=run_id, force=True)
    until_gone(pid, 1.0)


def test_a_grandchild_that_holds_the_pipes_open_does_not_hang_the_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": {"hold_output": True}}, {"result": "done"})
    pid = forked(door, run_id)
    assert door.finish(run_id, seconds=8.0)["status"] == "succeeded"
    assert not alive(pid)


def test_a_worker_that_survives_with_closed_pipes_is_still_watched_and_stopped(tmp_path: Path) -> None:
    door = Door(tmp_path)
    closing = "exec 1>&- 2>&-; exec sleep 60"
    mute = tmp_path / "mute"
    mute.write_text(f"#!/bin/sh\n{closing}\n")
    mute.chmod(0o755)
    run_id = stage(door, executable=str(mute))
    pid = door.until_event(run_id, "run.started")["pid"]
    assert alive(pid)
    assert door.call("cc_stop", run_id=run_id, force=True)["stopped"] is True
    assert not alive(pid)


def test_two_runs_do_not_harm_each_other(tmp_path: Path) -> None:
    door = Door(tmp_path)
    first = door.start_fake({"fork": {}}, {"hang": {}})
    second = door.start_fake({"fork": {}}, {"barrier": {"path": str(tmp_path / "go")}}, {"result": "fine"})
    gone, stays = forked(door, first), forked(door, second)
    door.call("cc_stop", run_id=first, force=True)
    assert not alive(gone)
    assert alive(stays)
    (tmp_path / "go").touch()
    assert door.finish(second)["status"] == "succeeded"
    assert not alive(stays)


def test_the_means_of_containment_are_declared(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": "x"})
    assert state["containment"] in ("cgroup", "subreaper", "session")


def test_a_run_outlives_the_process_that_started_it_and_is_no_child_of_it(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    supervisor = door.until_event(run_id, "run.started")["supervisor_pid"]
    with open(f"/proc/{supervisor}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    assert int(fields[1]) != os.getpid()
    assert int(fields[3]) != os.getsid(0), "a session of its own"
    door.call("cc_stop", run_id=run_id, force=True)


def test_an_interrupt_at_the_terminal_does_not_end_a_supervisor(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"barrier": {"path": str(tmp_path / "go")}}, {"result": "fine"})
    supervisor = door.until_event(run_id, "run.started")["supervisor_pid"]
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(supervisor, number)
    (tmp_path / "go").touch()
    assert door.finish(run_id)["status"] == "succeeded"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells of it")
def test_a_process_on_its_way_out_is_told_from_one_at_work() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert not proctable.is_ending(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert proctable.is_ending(child.pid), "dead, and not yet taken"
        child.wait()
    assert proctable.is_ending(child.pid), "gone"
