"""Killed supervisors, stale indexes, torn and corrupt files: told truthfully, closed once, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.runs.sweep import sweep
from cc_orchestrator.store.ledger import receipts as read_ledger
from cc_orchestrator.store.paths import find_workspace
from cc_orchestrator.store.rundir import mark_open
from kit.door import Door
from kit.staging import prepare, supervise
from kit.waiting import alive, until, until_gone

pytestmark = pytest.mark.process


def kill_supervisor(door: Door, run_id: str) -> None:
    pid = door.until_event(run_id, "run.started")["supervisor_pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not door.run(run_id).is_owned(), 5.0, what="the freed lock")


def receipts_in(folder: str) -> list[dict[str, object]]:
    return list(read_ledger(folder))


# ---------------------------------------------------------------- lost


def test_a_killed_supervisor_is_lost_with_its_reason_and_its_tree_is_gone_after_the_next_call(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": {"ignore_term": True}}, {"hang": {"deaf": True}}, ignore_interrupt=True)
    pid = int(door.until_event(run_id, "system.notice", code="forked")["text"])
    kill_supervisor(door, run_id)
    answer = door.call("cc_run_status", run_id=run_id)
    assert (answer["status"], answer["reason"], answer["done"]) == ("lost", "supervisor_died", True)
    until_gone(pid, 5.0)
    lost = door.data(run_id, "run.lost")
    assert len(lost) == 1
    assert lost[0]["killed"] >= 1


def test_a_reader_says_lost_before_any_sweep_and_writes_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    kill_supervisor(door, run_id)
    before = Path(door.run(run_id).journal).read_bytes()
    state = door.state(run_id)
    assert (state["status"], state["reason"]) == ("lost", "supervisor_died")
    assert Path(door.run(run_id).journal).read_bytes() == before
    door.call("cc_status")


def test_a_waiting_controller_is_woken_by_the_death_of_a_supervisor(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    pid = door.until_event(run_id, "run.started")["supervisor_pid"]
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    row = door.wait(run_id, "finished", seconds=10.0)
    assert (row["status"], row["reason"]) == ("lost", "supervisor_died")


def test_no_event_before_the_death_is_lost(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"repeat": {"times": 50, "steps": [{"say": "word"}]}}, {"say": "last"}, {"hang": {}})
    door.until_event(run_id, "run.message", text="last")
    before = door.events(run_id)
    kill_supervisor(door, run_id)
    door.call("cc_status")
    after = door.events(run_id)
    assert after[: len(before)] == before
    assert [event["type"] for event in after[len(before) :]] == ["run.lost"]


def test_what_a_lost_write_run_left_is_kept_as_its_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        {"write": {"path": "late.txt", "content": "x\n"}}, {"say": "wrote"}, {"hang": {}}, allow_write=True
    )
    door.until_event(run_id, "run.message", text="wrote")
    kill_supervisor(door, run_id)
    answer = door.call("cc_run_status", run_id=run_id)
    assert answer["status"] == "lost"
    assert answer["summary"]["files"] == ["late.txt"]
    assert len(answer["summary"]["result"]) == 40


def test_a_run_whose_supervisor_never_began_is_lost_never_started(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run = prepare(door, {"result": "x"})
    assert (door.state(run.run_id)["status"], door.state(run.run_id)["reason"]) == ("lost", "never_started")


def test_a_sweep_closes_a_lost_run_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    workspace = find_workspace(str(door.cwd), door.env)
    run_id = door.start_fake({"hang": {}})
    kill_supervisor(door, run_id)
    assert sweep(workspace, SystemClock()) == [run_id]
    assert sweep(workspace, SystemClock()) == []
    assert len(door.data(run_id, "run.lost")) == 1
    receipts = [row for row in receipts_in(workspace.ledger) if row["subject"].get("run_id") == run_id]
    assert len(receipts) == 1


def test_two_sweeps_at_once_close_a_run_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    workspace = find_workspace(str(door.cwd), door.env)
    runs = [door.start_fake({"hang": {}}) for _ in range(3)]
    for run_id in runs:
        kill_supervisor(door, run_id)
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(sweep(workspace, SystemClock()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(run_id for part in found for run_id in part) == sorted(runs)
    assert [len(door.data(run_id, "run.lost")) for run_id in runs] == [1, 1, 1]


def test_a_sweep_leaves_a_live_run_alone(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    assert sweep(find_workspace(str(door.cwd), door.env), SystemClock()) == []
    assert alive(door.until_event(run_id, "run.started")["pid"])
    door.call("cc_stop", run_id=run_id, force=True)


# ---------------------------------------------------------------- the index


def test_a_run_that_ended_while_the_index_says_live_is_shown_as_ended(tmp_path: Path) -> None:
    door = Door(tmp_path)
    workspace = find_workspace(str(door.cwd), door.env)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    receipts = len(receipts_in(workspace.ledger))
    with closing(sqlite3.connect(workspace.index)) as db:
        db.execute("update runs set status='running', finished_at=null where run_id=?", (run_id,))
        db.commit()
    mark_open(workspace.runs, run_id)
    answer = door.call("cc_status")
    assert "live" not in answer
    assert answer["recent"][0]["status"] == "succeeded"
    assert len(receipts_in(workspace.ledger)) == receipts, "a run has one receipt"


@pytest.mark.parametrize("damage", ["gone", "garbage", "empty"])
def test_a_lost_index_is_made_anew_from_the_runs(tmp_path: Path, damage: str) -> None:
    door = Door(tmp_path)
    workspace = find_workspace(str(door.cwd), door.env)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    before = door.call("cc_status")["recent"]
    for suffix in ("-wal", "-shm"):
        Path(workspace.index + suffix).unlink(missing_ok=True)
    if damage == "gone":
        os.unlink(workspace.index)
    else:
        Path(workspace.index).write_bytes(b"this is no database, " * 200 if damage == "garbage" else b"")
    assert door.call("cc_status")["recent"] == before


# ---------------------------------------------------------------- torn and corrupt files


def test_a_torn_last_line_is_normal_for_readers_and_closed_off_by_the_next_owner(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    kill_supervisor(door, run_id)
    whole = door.events(run_id)
    with open(door.run(run_id).journal, "ab") as file:
        file.write(b'{"v":1,"seq":99,"type":"run.mess')
    assert door.state(run_id)["status"] == "lost"
    door.call("cc_status")
    assert door.events(run_id)[:-1] == whole
    assert door.state(run_id)["status"] == "lost"
    assert door.data(run_id, "run.lost")[0]["status"] == "lost"


def test_a_foreign_line_in_the_journal_is_skipped(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    state = door.state(run_id)
    path = Path(door.run(run_id).journal)
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([rows[0], b"\xff\xfe not json\n", b"[1, 2]\n", *rows[1:]]))
    os.unlink(door.run(run_id).fold)
    assert door.state(run_id) == state


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"v": 1}', b"\xff\xfe", b'{"offset": 10, "state": {}}'])
def test_a_broken_fold_costs_time_only(tmp_path: Path, content: bytes) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    state = door.state(run_id)
    Path(door.run(run_id).fold).write_bytes(content)
    assert door.state(run_id) == state


def test_a_fold_inside_a_line_costs_time_only(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    state = door.state(run_id)
    path = Path(door.run(run_id).fold)
    saved = json.loads(path.read_bytes())
    path.write_text(json.dumps({**saved, "offset": saved["offset"] - 5}))
    assert door.state(run_id) == state


def test_deleted_caches_are_made_anew_and_equal(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"tool": {"tool": "Grep", "target": "x"}}, {"result": "x"})
    door.finish(run_id)
    run = door.run(run_id)
    names = ["progress_summary.json", "usage.json", "risk_flags.json", "changed_files.json", "tool_timeline.md"]

    def read() -> dict[str, object]:
        found: dict[str, object] = {}
        for name in names:
            text = Path(run.at(name)).read_text()
            found[name] = {**json.loads(text), "as_of": ""} if name.endswith("json") else text
        return found

    before = read()
    for name in [*names, "fold.json", "status.json", "latest_decision.md"]:
        os.unlink(run.at(name))
    door.call("cc_summarize_run", run_id=run_id, write_artifacts=True)
    assert read() == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"run_id": "x"}', b'{"limits": 3}'])
def test_a_corrupt_spec_gives_a_clear_answer_and_the_rest_goes_on(tmp_path: Path, content: bytes) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    Path(door.run(run_id).spec).write_bytes(content)
    assert door.call("cc_poll", run_id=run_id)["status"] == "succeeded"
    with pytest.raises(Corrupt) as caught:
        door.call("cc_send_instruction", run_id=run_id, instruction="go on")
    assert "spec.json" in caught.value.message
    other = door.start_fake({"result": "y"})
    row = door.finish(other)
    assert row["status"] == "succeeded", row


def test_a_supervisor_with_a_corrupt_spec_ends_its_run_or_leaves_it_to_the_sweep(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run = prepare(door, {"result": "x"})
    Path(run.spec).write_text("{")
    supervise(door, run)
    until(lambda: os.path.getsize(run.log) > 0, what="a word in the supervisor's log")
    until(lambda: not run.is_owned())
    os.unlink(find_workspace(str(door.cwd), door.env).index)
    door.call("cc_status")
    answer = door.call("cc_poll", run_id=run.run_id)
    assert (answer["status"], answer["reason"]) == ("lost", "never_started")
    assert door.data(run.run_id, "run.lost")


def test_an_empty_run_folder_is_a_lost_run_and_breaks_no_list(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    workspace = find_workspace(str(door.cwd), door.env)
    ghost = run_id[:-4] + "0000"
    os.mkdir(workspace.run(ghost))
    os.unlink(workspace.index)
    rows = door.call("cc_run_status", include_finished=True)["runs"]
    assert {row["run_id"]: row["status"] for row in rows} == {run_id: "succeeded", ghost: "lost"}
    assert door.call("cc_poll", run_id=ghost)["reason"] == "never_started"
    assert "live" not in door.call("cc_status")
