"""cc_open_items and what it holds: nothing is accepted over an open blocker, and nothing closes one for nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import ApprovalRequired, Conflict, Corrupt, InvalidRequest, NotFound, VerifyFailed
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import git

pytestmark = pytest.mark.process
PASSES = [f"{PYTHON} -c pass"]
FAILS = [f"{PYTHON} -c \"raise SystemExit('it is broken')\""]


def work(door: Door) -> str:
    run_id = door.start_fake({"write": {"path": "new.py", "content": "x\n"}}, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    return run_id


def verify(door: Door, run_id: str, commands: list[str]) -> dict[str, Any]:
    return door.call("cc_verify", run_id=run_id, test_commands=commands)


def test_a_failing_check_opens_a_blocker_that_only_the_check_itself_closes(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    failed = verify(door, run_id, FAILS)
    (item,) = door.call("cc_open_items", run_id=run_id)["items"]
    assert (item["severity"], item["source"], item["check"], item["verify_id"]) == (
        "blocker", "check", "tests", failed["verify_id"],
    )  # fmt: skip
    assert "it is broken" in item["untrusted_title"]
    # Without the tests all checks that are left pass; that closes nothing.
    assert verify(door, run_id, [])["verdict"] == "APPROVE"
    with pytest.raises(VerifyFailed, match=item["item_id"]) as caught:
        door.call("cc_accept", run_id=run_id)
    assert "tests fail" in caught.value.message
    assert caught.value.details["items"] == [item["item_id"]]
    passed = verify(door, run_id, PASSES)
    assert door.call("cc_accept", run_id=run_id)["decision"] == "accept"
    listed = door.call("cc_open_items", run_id=run_id, include_closed=True)
    assert listed["open"] == {"blocker": 0, "warn": 0, "info": 0}
    assert listed["items"][0]["closed"]["evidence"] == passed["verify_id"]
    assert door.call("cc_open_items")["items"] == []


def test_a_follow_up_is_held_by_what_its_parent_left_open(tmp_path: Path) -> None:
    door = Door(tmp_path)
    first = door.start_fake(
        {"write": {"path": "new.py", "content": "x\n"}}, {"result": "done"}, allow_write=True, script_model="m"
    )
    door.finish(first)
    verify(door, first, FAILS)
    second = str(door.call("cc_send_instruction", run_id=first, instruction="fix it")["run_id"])
    door.finish(second)
    assert verify(door, second, [])["verdict"] == "APPROVE"
    with pytest.raises(VerifyFailed, match="open blocker"):
        door.call("cc_accept", run_id=second)
    verify(door, second, PASSES)
    assert door.call("cc_accept", run_id=second)["decision"] == "accept"


def test_a_blocker_added_after_the_acceptance_holds_the_delivery(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    verify(door, run_id, PASSES)
    door.call("cc_accept", run_id=run_id)
    task_id = door.spec(run_id).task_id
    made = door.call(
        "cc_open_items",
        action="add",
        task_id=task_id,
        severity="blocker",
        title="Not before the freeze",
        source="reviewer",
    )
    assert (made["task_id"], made["repeated"], made["source"]) == (task_id, False, "reviewer")
    again = door.call(
        "cc_open_items",
        action="add",
        task_id=task_id,
        severity="info",
        title="not  before the FREEZE",
        source="reviewer",
    )
    assert (again["item_id"], again["repeated"]) == (made["item_id"], True)
    with pytest.raises(VerifyFailed, match=made["item_id"]):
        door.call("cc_deliver", run_id=run_id, target="main")


def test_only_evidence_that_speaks_for_the_item_closes_it(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id, other = work(door), work(door)
    before = verify(door, run_id, PASSES)
    elsewhere = verify(door, other, PASSES)
    item_id = door.call("cc_open_items", action="add", run_id=run_id, severity="blocker", title="Look at names")[
        "item_id"
    ]

    def close(evidence: str) -> dict[str, Any]:
        return door.call("cc_open_items", action="close", item_id=item_id, evidence=evidence)

    for evidence, why in [
        (before["verify_id"], "older"), (elsewhere["verify_id"], "it is about"), ("ver_" + "0" * 20, "no such"),
        ("999", "no sound receipt"), ("1", "receipt of kind run"), ("trust me", "is expected"),
    ]:  # fmt: skip
        with pytest.raises(VerifyFailed, match=why):
            close(evidence)
    failed = verify(door, run_id, FAILS)
    with pytest.raises(VerifyFailed, match="says HOLD"):
        close(failed["verify_id"])
    passed = verify(door, run_id, PASSES)
    assert close(str(passed["receipt"]))["closed"]["evidence"] == str(passed["receipt"])
    assert close(str(passed["receipt"]))["repeated"] is True
    with pytest.raises(Conflict, match="closed before"):
        close(passed["verify_id"])
    with pytest.raises(NotFound):
        door.call("cc_open_items", action="close", item_id="oi_" + "0" * 20, evidence=passed["verify_id"])


def test_a_blocker_closes_by_a_reason_at_the_command_line_only_and_never_without_one(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    blocker = door.call("cc_open_items", action="add", run_id=run_id, severity="blocker", title="Ask Ada")["item_id"]
    hint = door.call("cc_open_items", action="add", run_id=run_id, severity="info", title="A nicer name")["item_id"]
    over_mcp = Door(tmp_path, cwd=door.cwd, channel="mcp")
    with pytest.raises(ApprovalRequired, match="person"):
        over_mcp.call("cc_open_items", action="close", item_id=blocker, reason="I am sure that it is fine")
    assert over_mcp.call("cc_open_items", action="close", item_id=hint, reason="done in another task")["closed"]
    with pytest.raises(InvalidRequest, match="reason"):
        door.call("cc_open_items", action="close", item_id=blocker)
    argv = [sys.executable, "-m", "cc_orchestrator", "-C", str(door.cwd), "open-items", "close", "--item-id", blocker]
    done = subprocess.run([*argv, "--reason", "Ada looked at it today"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    closed = door.call("cc_open_items", run_id=run_id, include_closed=True, item_id=blocker)["items"][0]["closed"]
    assert (closed["actor"], closed["channel"], closed["reason"]) == ("user", "cli", "Ada looked at it today")


def test_a_store_that_was_changed_holds_everything(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    verify(door, run_id, PASSES)
    door.call("cc_open_items", action="add", run_id=run_id, severity="blocker", title="Look again")
    (path,) = (door.cwd / ".agent-workspace/open_items").glob("receipts-*")
    path.write_bytes(path.read_bytes().replace(b'"blocker"', b'"info"', 1))
    for call in ({"action": "list"}, {"action": "add", "run_id": run_id, "title": "More"}):
        with pytest.raises(Corrupt, match="cannot be relied on"):
            door.call("cc_open_items", **call)
    with pytest.raises(Corrupt, match="nothing is accepted"):
        door.call("cc_accept", run_id=run_id)
    # Emptied or deleted is no better than changed.
    path.write_bytes(b"")
    with pytest.raises(Corrupt):
        door.call("cc_accept", run_id=run_id)
    shutil.rmtree(path.parent)
    with pytest.raises(Corrupt, match="refs/cc/open-items"):
        door.call("cc_accept", run_id=run_id)
    git(door.cwd, "update-ref", "-d", "refs/cc/open-items")
    assert door.call("cc_accept", run_id=run_id)["decision"] == "accept"


def test_many_at_once_make_one_item_of_one_key(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    argv = [
        sys.executable, "-m", "cc_orchestrator", "-C", str(door.cwd), "open-items", "add", "--run-id", run_id, "--title", "The same",
        "--severity", "warn",
    ]  # fmt: skip
    writers = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=os.environ) for _ in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert door.call("cc_open_items", run_id=run_id)["open"] == {"blocker": 0, "warn": 1, "info": 0}
