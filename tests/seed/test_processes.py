"""Faults of the seed in processes and crash safety (its study, §12.3): each one here is one that we do not have."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.store.paths import find_workspace
from chaos import truth
from chaos.doors import McpDoor, call
from kit.door import Door
from kit.repos import make_repo
from kit.waiting import until, until_gone

pytestmark = pytest.mark.process
HANG: dict[str, Any] = {"hang": {"deaf": True}}
GRANDCHILD: dict[str, Any] = {"fork": {"double": True, "setsid": True, "ignore_term": True}}


def forked(door: Door, run_id: str) -> int:
    return int(door.until_event(run_id, "system.notice", code="forked")["text"])


@pytest.mark.parametrize("force", [False, True], ids=["stop", "force stop"])
def test_a_stopped_run_is_never_active_and_leaves_no_zombie_and_no_setsid_grandchild(
    tmp_path: Path, force: bool
) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"ignore_term": {}}, {"ignore_int": {}}, GRANDCHILD, HANG)
    grandchild = forked(door, run_id)
    worker = door.data(run_id, "run.started")[0]["pid"]
    door.call("cc_stop", run_id=run_id, force=force, reason="enough")
    assert door.finish(run_id)["status"] == "stopped"
    until_gone(grandchild, 2.0)
    until_gone(worker, 2.0)
    assert door.events(run_id)[-1]["type"] == "run.finished"
    assert door.call("cc_run_status")["count"] == 0
    zombies = [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]
    assert zombies == []


def test_a_timeout_takes_its_time_and_a_grace_and_nothing_more_and_no_grandchild_survives(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"ignore_term": {}}, GRANDCHILD, HANG, timeout_seconds=1.0)
    grandchild = forked(door, run_id)
    assert door.finish(run_id)["status"] == "timed_out"
    until_gone(grandchild, 2.0)
    steps = [data["step"] for data in door.data(run_id, "run.stopping")]
    assert steps == ["interrupt", "terminate", "kill"]
    started, ended = door.events(run_id, "run.started")[0]["ts"], door.events(run_id, "run.finished")[0]["ts"]
    grace = door.spec(run_id).limits.grace_seconds
    assert ended - started < 1.0 + 2 * grace + 4.0, "no waiting for a zombie of its own"


def test_a_cli_that_is_missing_is_refused_and_holds_no_slot(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door = Door(tmp_path, cwd=door.cwd, env={**door.env, "PATH": "/usr/bin:/bin"})
    with pytest.raises(CcError) as caught:
        door.call("cc_run_streaming", task="x", adapter="claude")
    assert caught.value.code == "unavailable"
    assert "not installed" in caught.value.message
    assert caught.value.hint
    assert door.call("cc_run_status", include_finished=True)["count"] == 0


def test_a_prompt_over_131072_bytes_starts_a_run_and_is_in_nobodys_argv(tmp_path: Path) -> None:
    door = Door(tmp_path)
    task = "prompt-marker-7f3a " + "ä" * 200_000
    run_id = door.start_fake({"write": {"path": "task.txt", "content": "{task}"}}, HANG, task=task, allow_write=True)
    door.until_event(run_id, "tool.finished")
    written = Path(str(door.spec(run_id).worktree), "task.txt").read_text(encoding="utf-8")
    workspace = find_workspace(str(door.cwd), door.env)
    pids = [*truth.supervisors(workspace), *truth.marked(workspace)]
    argv = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)
    assert "prompt-marker-7f3a" in written
    assert len(pids) >= 2
    assert not any(b"prompt-marker-7f3a" in line for line in argv)


def test_a_cwd_that_does_not_exist_is_refused_and_not_created(tmp_path: Path) -> None:
    door = Door(tmp_path)
    missing = tmp_path / "nonexistent" / "dir"
    with pytest.raises(CcError) as caught:
        door.start_fake({"result": "x"}, cwd=str(missing))
    assert caught.value.code == "invalid_request"
    assert not missing.parent.exists()


def test_a_server_killed_in_mid_run_takes_nothing_with_it_and_the_next_one_reports_the_same_run(tmp_path: Path) -> None:
    cwd = make_repo(tmp_path / "project")
    env = dict(os.environ)
    go = tmp_path / "go"
    script = {"steps": [{"say": "1"}, {"barrier": str(go)}, {"say": "2"}, {"result": "all said"}]}
    first = McpDoor(cwd, env)
    try:
        run_id = first.ask("cc_run_streaming", task="count", adapter="fake", script=script)["run_id"]
    finally:
        first.kill()
        first.close()
    second = McpDoor(cwd, env)
    try:
        assert second.ask("cc_poll", run_id=run_id)["status"] == "running"
        go.touch()
        assert second.ask("cc_wait", ids=[run_id], timeout_seconds=20)["woke"][0]["status"] == "succeeded"
    finally:
        second.close()
    assert [data["text"] for data in Door(cwd, cwd=cwd).data(run_id, "run.message")] == ["1", "2"]


def test_a_supervisor_killed_in_mid_run_yields_lost_while_the_server_that_launched_it_lives(tmp_path: Path) -> None:
    cwd = make_repo(tmp_path / "project")
    server = McpDoor(cwd, dict(os.environ))
    try:
        script = {"steps": [GRANDCHILD, {"say": "1"}, HANG]}
        run_id = server.ask("cc_run_streaming", task="x", adapter="fake", script=script)["run_id"]
        door = Door(cwd, cwd=cwd)
        grandchild = forked(door, run_id)
        os.kill(door.data(run_id, "run.started")[0]["supervisor_pid"], signal.SIGKILL)
        until(lambda: not door.run(run_id).is_owned(), what="the freed lock")
        answer = server.ask("cc_poll", run_id=run_id)
        assert (answer["status"], answer["reason"]) == ("lost", "supervisor_died")
        until_gone(grandchild, 5.0)
    finally:
        server.close()


def test_no_status_read_fails_while_a_run_writes(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"flood": {"lines": 3_000, "size": 60}}, {"result": "x"}, max_output_bytes=50_000_000)
    reads = 0
    cursor = ""
    while not (answer := door.call("cc_poll", run_id=run_id, mode="events", cursor=cursor))["done"]:
        cursor = answer["cursor"]
        door.call("cc_run_status", run_id=run_id)
        door.call("cc_status")
        reads += 1
    assert reads > 3
    assert answer["status"] == "succeeded"


@pytest.mark.parametrize("name", ["fold.json", "status.json", "progress_summary.json"])
@pytest.mark.parametrize("content", ["", '{"status": "runn', "[]", "\0\0\0\0"])
def test_a_torn_status_file_hides_no_run(tmp_path: Path, name: str, content: str) -> None:
    door = Door(tmp_path)
    run_id = door.play({"say": "1"}, {"result": "x"})["run_id"]
    Path(door.run(run_id).at(name)).write_text(content, encoding="utf-8")
    assert door.call("cc_poll", run_id=run_id)["status"] == "succeeded"
    assert run_id in json.dumps(door.call("cc_run_status", include_finished=True))


def test_a_torn_last_line_is_waited_for_and_then_is_one_event(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.play({"say": "1"}, {"result": "x"})["run_id"]
    journal = Path(door.run(run_id).journal)
    whole = journal.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    journal.write_bytes(whole[: last + 30])
    Path(door.run(run_id).fold).unlink()
    before = door.call("cc_poll", run_id=run_id, mode="events")
    journal.write_bytes(whole)
    after = door.call("cc_poll", run_id=run_id, mode="events", cursor=before["cursor"])
    seqs = [event["seq"] for event in [*before["events"], *after["events"]]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(after["events"]) == 1
    assert not any(event["type"] == "system.unparsed" for event in [*before["events"], *after["events"]])


@pytest.mark.parametrize("mode", ["events", "raw"])
def test_a_cursor_walk_cuts_at_lines_and_never_inside_a_letter(tmp_path: Path, mode: str) -> None:
    door = Door(tmp_path)
    lines = [f"{number} grüße € 🙂 " + "é" * (number % 37) + "." for number in range(1, 202)]
    run_id = door.play(*[{"say": line} for line in lines], {"result": "x"})["run_id"]
    cursor, pieces, events, walked = "", [], [], 0
    while True:
        answer = door.call("cc_poll", run_id=run_id, mode=mode, cursor=cursor, max_bytes=5_000)
        cursor = answer["cursor"]
        pieces.append(answer.get("untrusted_stdout", ""))
        events += answer.get("events", [])
        walked += 1
        if not answer["truncated"]:
            break
    assert walked > 2
    if mode == "raw":
        rows = [json.loads(line) for line in "".join(pieces).splitlines()]
        assert [row["text"] for row in rows if row["event"] == "say"] == lines
    else:
        assert [event["text"] for event in events if event["type"] == "run.message"] == lines
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_launches_of_eight_doors_at_once_are_all_kept(tmp_path: Path) -> None:
    """The seed lost half of concurrent submissions to its queue file; what we have of that now is the launch."""
    door = Door(tmp_path)
    started: list[str] = []

    def launch() -> None:
        mine = Door(tmp_path, cwd=door.cwd, env=door.env)
        started.extend(mine.start_fake({"result": "x"}) for _ in range(2))

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run_id in started:
        door.finish(run_id, 40.0)
    assert len(set(started)) == 16
    assert door.call("cc_recover")["live"] == []
    assert truth.check_receipts(find_workspace(str(door.cwd), door.env), started) == []


def test_an_answer_of_one_base64_line_of_40_kb_ends_as_fast_as_any_other(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = base64.b64encode(os.urandom(30_000)).decode()
    run_id = door.start_fake({"say": answer}, {"result": "x"})
    assert door.finish(run_id, 20.0)["status"] == "succeeded"
    assert answer in Path(door.run(run_id).raw("stdout")).read_text(encoding="utf-8"), "and nothing in it was masked"


def test_default_budgets_do_not_kill_an_ordinary_stream_of_deltas(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"flood": {"as": "delta", "lines": 20_000, "size": 16}}, {"result": "x"}, include_partial_messages=True
    )
    assert (state["status"], state["reason"], state["limits"]) == ("succeeded", "completed", [])


def test_the_stream_test_passes_here_and_makes_no_folder_named_c(tmp_path: Path) -> None:
    cwd = make_repo(tmp_path / "project")
    assert call(cwd, dict(os.environ), "cc_mock_stream_test")["ok"] is True
    assert sorted(name for name in os.listdir(cwd) if not name.startswith(".")) == ["README.md", "src"]
    status = subprocess.run(["git", "status", "--porcelain"], cwd=cwd, capture_output=True, check=True)
    assert status.stdout == b""
