"""A delivery whose process dies is found and told: delivered when the branch holds the result, lost when it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cc_orchestrator.store import lock
from kit.door import Door
from kit.repos import commit, git
from kit.waiting import until, until_gone

pytestmark = [pytest.mark.process, pytest.mark.chaos]


def accepted(door: Door, path: str = "src/new.py") -> str:
    run_id = door.start_fake({"write": {"path": path, "content": "x = 1\n"}}, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    assert door.call("cc_verify", run_id=run_id)["verdict"] == "APPROVE"
    door.call("cc_accept", run_id=run_id, decision="accept")
    return run_id


def deliver(door: Door, run_id: str) -> subprocess.Popen[bytes]:
    """The command line, in a session of its own."""
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
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(10)


def delivery_id(door: Door) -> str:
    return until(lambda: [path.name for path in (door.cwd / ".agent-workspace/deliveries").glob("dlv_*")], 20.0)[0]


def test_killed_after_the_branch_moved_it_is_told_as_delivered(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    before = git(door.cwd, "rev-parse", "main")
    # Whoever holds the ledger keeps the delivery between the move of the branch and its receipt.
    held = until(lambda: lock.take(str(door.cwd / ".agent-workspace/ledger/lock")), 10.0)
    process = deliver(door, run_id)
    try:
        until(lambda: git(door.cwd, "rev-parse", "main") != before, 20.0)
        journal = door.cwd / ".agent-workspace/deliveries" / delivery_id(door) / "events.ndjson"
        until(lambda: b'"advance"' in journal.read_bytes(), 10.0)
        kill(process)
    finally:
        os.close(held)
    row = door.call("cc_wait", ids=[delivery_id(door)])["woke"][0]
    assert row["status"] == "succeeded"
    (receipt,) = door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"]
    assert receipt["observed"]["status"] == "succeeded"
    assert "found by looking" in receipt["observed"]["reason"]
    again = door.call("cc_deliver", run_id=run_id, target="main")
    assert (again["repeated"], again["delivery_id"]) == (True, receipt["subject"]["delivery_id"])


def test_killed_before_the_branch_moved_it_is_lost_and_said_so(tmp_path: Path, isolated_home: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitattributes": "*.slow filter=block\n"}, "a filter")
    here, config = tmp_path / "reached", isolated_home / ".gitconfig"
    # The user's own configuration: that of the repository would count as planted.
    git(
        door.cwd,
        "config",
        "--file",
        str(config),
        "filter.block.smudge",
        f"sh -c 'echo $$ > \"{here}\"; exec sleep 600'",
    )
    run_id = accepted(door, "src/a.slow")
    before = git(door.cwd, "rev-parse", "main")
    process = deliver(door, run_id)
    try:
        blocked = int(until(lambda: here.exists() and here.read_text(), 20.0))
    finally:
        kill(process)
    row = door.call("cc_wait", ids=[delivery_id(door)])["woke"][0]
    assert row["status"] == "lost"
    assert git(door.cwd, "rev-parse", "main") == before
    (receipt,) = door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"]
    assert (receipt["observed"]["status"], "does not hold" in receipt["observed"]["reason"]) == ("lost", True)
    until_gone(blocked, 1.0)
    config.unlink()
    git(door.cwd, "checkout", "-q", "--", ".")
    assert git(door.cwd, "status", "--porcelain") == ""
    assert door.call("cc_deliver", run_id=run_id, target="main")["how"] == "fast_forward"


def test_an_end_that_a_crash_tore_off_its_newline_stays_the_only_one(tmp_path: Path) -> None:
    door = Door(tmp_path)
    done = door.call("cc_deliver", run_id=accepted(door), target="main")
    files = door.cwd / ".agent-workspace"
    journal = files / "deliveries" / done["delivery_id"] / "events.ndjson"
    journal.write_bytes(journal.read_bytes().rstrip(b"\n"))
    (files / "jobs/live" / done["delivery_id"]).write_text(f"deliveries/{done['delivery_id']}")
    assert door.call("cc_wait", ids=[done["delivery_id"]])["woke"][0]["status"] == "succeeded"
    assert journal.read_bytes().count(b"system.job_finished") == 1
    assert len(door.call("cc_receipts", kind="delivery")["receipts"]) == 1
    assert list((files / "jobs/live").iterdir()) == []
