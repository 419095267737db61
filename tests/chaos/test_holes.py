"""Windows in which a kill or a full disk could lose or double something: each one made by hand, then looked at by the next door."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.runs.requests import claim_request
from cc_orchestrator.store import ledger
from cc_orchestrator.store.journal import Journal, read_page
from cc_orchestrator.store.rundir import RunDir, hidden_folder, open_runs, remove_unborn
from chaos import truth
from chaos.rewind import leave_socket, lose_list, rewind, workspace_of
from kit.clock import FakeClock
from kit.door import Door
from kit.repos import git
from kit.waiting import alive, until, until_gone

pytestmark = [pytest.mark.chaos, pytest.mark.process]

SAY = [{"say": "1"}, {"say": "2"}]


def judge(door: Door, run_id: str, steps: int = 2) -> list[str]:
    """All that must be true of the one run of a workspace, after `cc_recover`."""
    door.call("cc_recover")
    workspace = workspace_of(door)
    return [
        *truth.check_journal(workspace, run_id, {}, steps), *truth.check_receipts(workspace, [run_id]),
        *truth.check_index(workspace, [run_id]), *truth.check_leaks(workspace, [run_id], Path("/nonexistent")),
    ]  # fmt: skip


def finished(tmp_path: Path, **more: Any) -> tuple[Door, str]:
    door = Door(tmp_path)
    run_id = door.start_fake(*SAY, {"result": "all said"}, **more)
    door.finish(run_id)
    return door, run_id


def end(door: Door, run_id: str) -> tuple[str, str | None]:
    state = door.state(run_id)
    return state["status"], state["reason"]


def test_a_door_killed_after_the_folder_was_visible_leaves_a_run_that_never_started(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.created")
    door.call("cc_status")
    assert end(door, run_id) == ("lost", "never_started")
    assert door.events(run_id, "run.lost")[0]["actor"] == "sweep"
    assert judge(door, run_id) == []


def test_a_lost_run_is_found_without_an_index_and_without_the_list_of_open_runs(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.started")
    lose_list(door)
    door.call("cc_status")
    assert end(door, run_id) == ("lost", "supervisor_died")
    assert judge(door, run_id) == []


def test_an_end_without_a_receipt_gets_its_receipt_from_the_next_call(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.finished")
    door.call("cc_status")
    assert end(door, run_id) == ("succeeded", "completed")
    assert open_runs(workspace_of(door).runs) == []
    assert judge(door, run_id) == []


def test_half_written_caches_of_a_dead_supervisor_are_cleared_away(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.finished")
    folder = Path(door.run(run_id).path)
    (folder / "checkpoints").mkdir(exist_ok=True)
    for name in (".status.json.1.ab.tmp", "checkpoints/.checkpoint-001.md.1.ab.tmp"):
        (folder / name).touch()
    door.call("cc_status")
    assert judge(door, run_id) == []


def test_an_end_whose_index_row_was_written_but_not_its_receipt_gets_it_all_the_same(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.finished", row=True)
    door.call("cc_status")
    assert judge(door, run_id) == []


def test_a_receipt_that_was_written_before_the_kill_is_not_written_again(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.finished", receipt=True)
    door.call("cc_status")
    assert judge(door, run_id) == []


def test_a_missing_receipt_is_found_even_when_nobody_remembers_that_it_is_missing(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.finished", row=True)
    lose_list(door)
    door.call("cc_status")
    assert judge(door, run_id) == []


def test_a_final_event_that_lacks_only_its_newline_is_the_end(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    run = rewind(door, run_id, "run.finished")
    os.truncate(run.journal, os.path.getsize(run.journal) - 1)
    door.call("cc_status")
    assert end(door, run_id) == ("succeeded", "completed")
    assert judge(door, run_id) == []


def test_half_a_line_at_the_end_of_a_journal_is_closed_off_and_counts_for_nothing(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    run = rewind(door, run_id, "run.finished")
    os.truncate(run.journal, os.path.getsize(run.journal) - 40)
    door.call("cc_status")
    assert end(door, run_id) == ("lost", "supervisor_died")
    assert judge(door, run_id) == []


def test_a_claim_whose_maker_died_before_the_run_was_visible_is_taken_over(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.call("cc_init_workspace")
    asked = {"task": "look", "adapter": "fake", "client_request_id": "once"}
    first = door.call("cc_run_streaming", **asked)["run_id"]
    door.finish(first)
    # The same claim, now of a run that nobody can see.
    run = door.run(first)
    os.rename(run.path, tmp_path / "elsewhere")
    second = door.call("cc_run_streaming", **asked)
    assert second["run_id"] != first
    assert "repeated" not in second
    assert door.call("cc_run_streaming", **asked)["run_id"] == second["run_id"]
    door.finish(second["run_id"])


def test_a_launch_that_died_before_its_folder_was_visible_leaves_no_folder_and_no_socket(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.call("cc_init_workspace")
    workspace = workspace_of(door)
    hidden, held = hidden_folder(workspace.runs, new_id("run"))
    path = leave_socket(hidden)
    assert door.call("cc_recover")["removed_unborn"] == 0, "a launch at work is left alone"
    os.close(held)
    assert door.call("cc_recover")["removed_unborn"] == 1
    assert not os.path.exists(hidden.path)
    assert not path.exists()


def test_cleaning_up_never_takes_the_folder_of_a_launch_at_work(tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    stop = threading.Event()
    removed: list[int] = []

    def clean() -> None:
        while not stop.is_set():
            removed.append(remove_unborn(runs, lambda _run: None))

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for _ in range(200):
            hidden, held = hidden_folder(runs, new_id("run"))
            os.rename(hidden.path, os.path.join(runs, hidden.run_id.removeprefix(".new-")))
            os.close(held)
    finally:
        stop.set()
        cleaner.join()
    assert sum(removed) == 0


def test_the_socket_of_a_dead_supervisor_goes_with_its_run(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    path = leave_socket(rewind(door, run_id, "run.message"))
    door.call("cc_status")
    assert not path.exists()


def test_a_worker_that_started_before_that_could_be_recorded_is_killed_and_told(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    run = rewind(door, run_id, "run.created")
    run.make_raw()
    worker = subprocess.Popen(["sleep", "60"], env={**os.environ, "CC_RUN_ID": run_id})
    try:
        door.call("cc_status")
        assert worker.wait(5) == -9
    finally:
        worker.kill()
        worker.wait()
    assert end(door, run_id) == ("lost", "supervisor_died")
    assert door.data(run_id, "run.lost")[0]["killed"] == 1


def test_git_at_work_for_a_dead_supervisor_is_ended_gently(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path)
    rewind(door, run_id, "run.message")
    helper = subprocess.Popen(["sleep", "60"], env={**os.environ, "CC_RUN_HELPER": run_id})
    try:
        door.call("cc_status")
        assert helper.wait(5) == -15
    finally:
        helper.kill()
        helper.wait()


def test_locks_of_a_killed_git_in_the_runs_own_worktree_do_not_cost_the_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        {"write": {"path": "made.txt", "content": "kept"}}, {"say": "1"}, {"hang": {"deaf": True}}, allow_write=True
    )
    door.until_event(run_id, "run.message")
    spec = door.spec(run_id)
    assert spec.worktree is not None
    own = Path(git(spec.worktree, "rev-parse", "--path-format=absolute", "--git-dir"))
    locks = [own / "index.lock", door.cwd / ".git" / "refs" / "cc" / "runs" / f"{run_id}.lock"]
    for lock in locks:
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    kill_supervisor(door, run_id)
    door.call("cc_status")
    assert end(door, run_id) == ("lost", "supervisor_died")
    assert door.data(run_id, "run.snapshot")[0]["file_count"] == 1
    assert git(door.cwd, "show", f"refs/cc/runs/{run_id}:made.txt") == "kept"
    assert judge(door, run_id) == []


def test_a_half_made_worktree_of_a_run_that_never_started_is_taken_back(tmp_path: Path) -> None:
    door, run_id = finished(tmp_path, allow_write=True)
    spec = door.spec(run_id)
    assert spec.worktree is not None
    admin = Path(git(spec.worktree, "rev-parse", "--path-format=absolute", "--git-dir"))
    (admin / "locked").write_text("initializing")
    Path(spec.worktree, ".git").unlink()
    rewind(door, run_id, "run.created")
    door.call("cc_status")
    assert end(door, run_id) == ("lost", "never_started")
    assert not os.path.exists(spec.worktree)
    assert not admin.exists()
    assert git(door.cwd, "branch", "--list", str(spec.branch)) == ""
    assert judge(door, run_id) == []


def test_setsid_grandchildren_of_a_killed_supervisor_are_gone_when_the_next_call_returns(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"fork": {"ignore_term": True}}, {"say": "1"}, {"hang": {"deaf": True}})
    grandchild = int(door.until_event(run_id, "system.notice", code="forked")["text"])
    kill_supervisor(door, run_id)
    door.call("cc_status")
    until_gone(grandchild, 1.0)
    assert end(door, run_id) == ("lost", "supervisor_died")
    assert judge(door, run_id) == []


def test_a_ledger_that_cannot_be_written_costs_no_run_its_end_and_gets_its_receipt_later(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.call("cc_init_workspace")
    workspace = workspace_of(door)
    os.rmdir(workspace.ledger)
    Path(workspace.ledger).touch()
    run_id = door.start_fake(*SAY, {"result": "x"})
    door.finish(run_id)
    assert end(door, run_id) == ("succeeded", "completed")
    os.unlink(workspace.ledger)
    door.call("cc_status")
    assert len(ledger.receipts(workspace.ledger, {"run_id": run_id})) == 1
    assert judge(door, run_id) == []


def test_one_run_that_cannot_be_closed_keeps_no_other_from_its_end(tmp_path: Path) -> None:
    door, first = finished(tmp_path)
    second = door.start_fake(*SAY, {"result": "x"})
    door.finish(second)
    rewind(door, first, "run.started", receipt=True)
    blocked = rewind(door, second, "run.started", receipt=True)
    os.unlink(blocked.journal)
    os.mkdir(blocked.journal)
    door.call("cc_status")
    assert end(door, first) == ("lost", "supervisor_died")


def test_events_of_a_batch_that_only_half_fits_the_disk_stay_when_they_are_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "events.ndjson")
    journal = Journal(path, "run_x", FakeClock())
    journal.append([Fact("run.created", {})])
    room = journal.size * 3 + 20
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            journal.append([Fact("run.message", {}) for _ in range(5)])
        shown = read_page(path)
        with pytest.raises(OSError, match="File too large"):
            journal.append([Fact("run.message", {"text": "x" * 200})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    journal.append([Fact("run.finished", {})])
    journal.close()
    assert 1 < len(shown.events) < 6
    after = read_page(path, shown.cursor)
    assert [event["seq"] for event in [*shown.events, *after.events]] == list(range(1, len(shown.events) + 2))


def test_a_claim_is_bound_before_its_run_is_visible(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.call("cc_init_workspace")
    workspace = workspace_of(door)
    with claim_request(workspace, "held", "digest") as claim:
        claim.settle("run_00000000000000000000")
    with claim_request(workspace, "held", "digest") as claim:
        assert claim.run_id == "run_00000000000000000000"


def test_a_door_that_died_while_it_made_the_workspace_leaves_nothing_that_git_shows(tmp_path: Path) -> None:
    door = Door(tmp_path)
    os.mkdir(door.cwd / ".agent-workspace")
    (door.cwd / ".agent-workspace" / "..gitignore.1.ab.tmp").touch()
    for name in ("cc_status", "cc_recover", "cc_workspace_status", "cc_run_status"):
        door.call(name)
        assert git(door.cwd, "status", "--porcelain", "--untracked-files=all") == "", name


def kill_supervisor(door: Door, run_id: str) -> None:
    run: RunDir = door.run(run_id)
    pid = door.data(run_id, "run.started")[0]["supervisor_pid"]
    assert alive(pid)
    os.kill(pid, 9)
    until(lambda: not run.is_owned(), what="the freed lock")
