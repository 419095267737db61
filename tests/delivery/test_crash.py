"""A delivery whose process dies is found and told: delivered when the branch holds the result, lost when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace
from kit.door import Door
from kit.interpreter import PYTHON
from kit.landing import accepted, journal, kill_process, trees, until_step
from kit.repos import commit, git
from kit.waiting import until, until_gone

pytestmark = [pytest.mark.process, pytest.mark.chaos]
NEW = {"src/new.py": "x = 1\n"}


def begin(door: Door, run_id: str, **more: object) -> str:
    """A delivery that nobody waits for; its id."""
    return str(door.call("cc_deliver", run_id=run_id, target="main", wait_seconds=0, **more)["delivery_id"])


def ended(door: Door, delivery_id: str) -> str:
    return str(door.call("cc_wait", ids=[delivery_id], timeout_seconds=30)["woke"][0]["status"])


def receipt_of(door: Door, run_id: str) -> dict[str, object]:
    (receipt,) = door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"]
    return receipt["observed"]


def test_killed_after_the_branch_moved_it_is_told_as_delivered(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, NEW)
    before = git(door.cwd, "rev-parse", "main")
    # Whoever holds the ledger keeps the delivery between the move of the branch and its receipt.
    held = until(lambda: lock.take(str(door.cwd / ".agent-workspace/ledger/lock")), 10.0)
    try:
        delivery_id = begin(door, run_id)
        until(lambda: git(door.cwd, "rev-parse", "main") != before, 20.0)
        until_step(door, delivery_id, "advance")
        kill_process(door, delivery_id)
    finally:
        os.close(held)
    assert ended(door, delivery_id) == "succeeded"
    observed = receipt_of(door, run_id)
    assert observed["status"] == "succeeded"
    assert "found by looking" in str(observed["reason"])
    again = door.call("cc_deliver", run_id=run_id, target="main")
    assert (again["repeated"], again["delivery_id"]) == (True, delivery_id)


def test_killed_before_the_branch_moved_it_is_lost_and_said_so(tmp_path: Path, isolated_home: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitattributes": "*.slow filter=block\n"}, "a filter")
    here, config = tmp_path / "reached", isolated_home / ".gitconfig"
    # The user's own configuration: that of the repository would count as planted.
    slow = f"sh -c 'echo $$ > \"{here}\"; exec sleep 600'"
    git(door.cwd, "config", "--file", str(config), "filter.block.smudge", slow)
    run_id = accepted(door, {"src/a.slow": "x = 1\n"})
    before = git(door.cwd, "rev-parse", "main")
    delivery_id = begin(door, run_id)
    blocked = int(until(lambda: here.exists() and here.read_text(), 20.0))
    kill_process(door, delivery_id)
    assert ended(door, delivery_id) == "lost"
    assert git(door.cwd, "rev-parse", "main") == before
    observed = receipt_of(door, run_id)
    assert (observed["status"], "does not hold" in str(observed["reason"])) == ("lost", True)
    until_gone(blocked, 1.0)
    config.unlink()
    git(door.cwd, "checkout", "-q", "--", ".")
    assert git(door.cwd, "status", "--porcelain") == ""
    assert door.call("cc_deliver", run_id=run_id, target="main")["how"] == "fast_forward"


def test_killed_at_its_gates_it_is_lost_and_nothing_of_them_is_left(tmp_path: Path) -> None:
    door = Door(tmp_path)
    here = tmp_path / "reached"
    run_id = accepted(door, NEW)
    before = git(door.cwd, "rev-parse", "main")
    delivery_id = begin(door, run_id, gate_commands=[f"sh -c 'echo $$ > {here}; setsid sleep 600; sleep 600'"])
    at_gate = int(until(lambda: here.exists() and here.read_text(), 20.0))
    assert trees(door) != []
    kill_process(door, delivery_id)
    assert ended(door, delivery_id) == "lost"
    until_gone(at_gate, 1.0)
    assert trees(door) == []
    assert git(door.cwd, "rev-parse", "main") == before
    assert door.call("cc_deliver", run_id=run_id, target="main")["status"] == "succeeded"


@pytest.mark.parametrize("step", ["candidate", "gates", "advance", "landed", "result"])
def test_killed_as_soon_as_a_step_is_written_what_is_told_is_what_the_branch_holds(tmp_path: Path, step: str) -> None:
    door = Door(tmp_path)
    runs = [accepted(door, {f"src/{name}.py": "x = 1\n"}) for name in ("one", "two")]
    commit(door.cwd, {"mine.txt": "mine\n"}, "meanwhile")
    first = git(door.cwd, "rev-parse", "main")
    done = door.call("cc_deliver", run_ids=runs, target="main", gate_commands=[f"{PYTHON} -c pass"], wait_seconds=0)
    delivery_id = done["delivery_id"]
    until_step(door, delivery_id, step)
    kill_process(door, delivery_id)
    status = ended(door, delivery_id)
    held = [
        subprocess.call(["git", "-C", str(door.cwd), "merge-base", "--is-ancestor", f"refs/cc/runs/{run_id}", "main"])
        == 0
        for run_id in runs
    ]
    assert held[0] == held[1]
    assert status == ("succeeded" if held[0] else "lost")
    assert len(git(door.cwd, "rev-list", "--first-parent", f"{first}..main").split()) == int(held[0])
    if git(door.cwd, "status", "--porcelain"):
        # Killed while its git wrote the files: that is told, and the user decides.
        assert (step, status) == ("advance", "lost")
        assert "may be half updated" in str(receipt_of(door, runs[0])["reason"])
        git(door.cwd, "checkout", "-q", "--", ".")
        git(door.cwd, "clean", "-fdq")
    assert trees(door) == []
    for run_id in runs:
        assert receipt_of(door, run_id)["status"] == status
    assert door.call("cc_receipts", limit=1)["ledger"]["ok"]
    again = door.call("cc_deliver", run_ids=runs, target="main")
    assert again["status"] == "succeeded"
    assert {path.name for path in (door.cwd / "src").iterdir()} == {"app.py", "one.py", "two.py"}


def test_those_that_wait_behind_a_killed_one_are_served_in_their_order(tmp_path: Path) -> None:
    door = Door(tmp_path)
    here = tmp_path / "reached"
    runs = [accepted(door, {f"src/{name}.py": "x = 1\n"}) for name in ("one", "two", "three")]
    ids = [begin(door, runs[0], gate_commands=[f"sh -c 'echo $$ > {here}; sleep 600'"])]
    ids += [begin(door, run_id) for run_id in runs[1:]]
    until(lambda: here.exists() and here.read_text(), 20.0)
    waiting = door.call("cc_delivery", delivery_id=ids[2])
    assert (waiting["status"], waiting["step"], waiting["before_it"]) == ("running", "queued", 2)
    kill_process(door, ids[0])
    answer = door.call("cc_wait", ids=ids, until="all", timeout_seconds=60)
    assert {row["id"]: row["status"] for row in answer["woke"]} == dict(
        zip(ids, ("lost", "succeeded", "succeeded"), strict=True)
    )
    landed = [until_step(door, delivery_id, "landed")["runs"][0] for delivery_id in ids[1:]]
    assert landed[0]["after"] == landed[1]["before"]


def test_a_delivery_that_no_process_took_up_is_taken_up_by_the_next_call(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, NEW)
    workspace = Workspace(str(door.cwd), str(door.cwd))
    (door.cwd / ".agent-workspace/deliveries").mkdir()
    # As if the branch's process were alive: nobody else is started.
    held = lock.take(workspace.branch_lock("main"))
    assert held is not None
    delivery_id = begin(door, run_id)
    assert door.call("cc_delivery", delivery_id=delivery_id)["step"] == "queued"
    assert begin(door, run_id) == delivery_id
    os.close(held)
    assert ended(door, delivery_id) == "succeeded"


def test_a_lock_that_somebody_holds_for_a_moment_costs_a_waiting_delivery_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    runs = [accepted(door, {f"src/{name}.py": "x = 1\n"}) for name in ("one", "two")]
    workspace = Workspace(str(door.cwd), str(door.cwd))
    (door.cwd / ".agent-workspace/deliveries").mkdir()
    branch = lock.take(workspace.branch_lock("main"))
    assert branch is not None
    ids = [begin(door, run_id) for run_id in runs]
    held = lock.take(str(journal(door, ids[0]).parent / "lock"))
    assert held is not None
    os.close(branch)
    door.call("cc_status")
    until(lambda: lock.is_held(workspace.branch_lock("main")), 20.0, what="the branch's process")
    os.close(held)
    assert [ended(door, delivery_id) for delivery_id in ids] == ["succeeded", "succeeded"]
    first, second = (until_step(door, delivery_id, "landed")["runs"][0] for delivery_id in ids)
    assert first["after"] == second["before"]


def test_a_request_that_cannot_be_read_is_told_as_lost_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    door = Door(tmp_path)
    runs = [accepted(door, {f"src/{name}.py": "x = 1\n"}) for name in ("one", "two")]
    workspace = Workspace(str(door.cwd), str(door.cwd))
    (door.cwd / ".agent-workspace/deliveries").mkdir()
    branch = lock.take(workspace.branch_lock("main"))
    assert branch is not None
    ids = [begin(door, run_id) for run_id in runs]
    (journal(door, ids[0]).parent / "request.json").write_text("{torn")
    os.close(branch)
    assert ended(door, ids[1]) == "succeeded"
    assert ended(door, ids[0]) == "lost"


def test_what_a_caller_left_that_died_before_its_request_was_visible_is_taken_away(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, NEW)
    half = door.cwd / ".agent-workspace/deliveries/.new-dlv_01k30000000000000000"
    half.mkdir(parents=True)
    (half / "request.json").write_text("{")
    assert door.call("cc_deliver", run_id=run_id, target="main")["status"] == "succeeded"
    assert not half.exists()


def test_an_end_that_a_crash_tore_off_its_newline_stays_the_only_one(tmp_path: Path) -> None:
    door = Door(tmp_path)
    done = door.call("cc_deliver", run_id=accepted(door, NEW), target="main")
    files = door.cwd / ".agent-workspace"
    path = journal(door, done["delivery_id"])
    until(lambda: not (files / "jobs/live" / done["delivery_id"]).exists(), 10.0)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    (files / "jobs/live" / done["delivery_id"]).write_text(f"deliveries/{done['delivery_id']}")
    until(lambda: not lock.is_held(str(path.parent / "lock")), 10.0)
    assert door.call("cc_wait", ids=[done["delivery_id"]])["woke"][0]["status"] == "succeeded"
    assert path.read_bytes().count(b"system.job_finished") == 1
    assert len(door.call("cc_receipts", kind="delivery")["receipts"]) == 1
    assert list((files / "jobs/live").iterdir()) == []


def test_a_caller_that_is_killed_takes_no_delivery_with_it(tmp_path: Path) -> None:
    door = Door(tmp_path)
    go, script = tmp_path / "go", tmp_path / "gate.py"
    script.write_text(f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.02)\n")
    run_id = accepted(door, NEW)
    argv = [
        sys.executable,
        "-m",
        "cc_orchestrator",
        "-C",
        str(door.cwd),
        "--json",
        "deliver",
        run_id,
        "--target",
        "main",
    ]
    argv += ["--gate-commands", f"{PYTHON} {script}"]
    caller = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    delivery_id = until(
        lambda: [path.name for path in (door.cwd / ".agent-workspace/deliveries").glob("dlv_*")], 20.0, what="the delivery"
    )[0]  # fmt: skip
    until_step(door, delivery_id, "candidate")
    caller.kill()
    caller.wait(10)
    go.touch()
    assert ended(door, delivery_id) == "succeeded"
