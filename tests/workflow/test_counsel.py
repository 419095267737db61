"""cc_decision_review: what is on record decides; what somebody says does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit.door import Door
from kit.interpreter import PYTHON

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

PASSES = [f"{PYTHON} -c pass"]


def ask(door: Door, action: str, **more: Any) -> dict[str, Any]:
    return door.call("cc_decision_review", proposed_action=action, **more)


def made(door: Door, **more: Any) -> str:
    run_id = door.start_fake(
        {"write": {"path": "src/new.py", "content": "x = 1\n"}}, {"result": "done"}, allow_write=True, **more
    )
    assert door.finish(run_id)["status"] == "succeeded"
    return run_id


def test_a_merge_to_production_with_the_evidence_yes_is_blocked(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = ask(door, "merge and release to production", evidence="yes")
    assert answer["verdict"] == "block"
    assert "nothing on record" in answer["objections"][0]
    receipt = door.call("cc_receipts", kind="counsel")["receipts"][0]
    assert receipt["untrusted_claimed"]["evidence"] == "yes"


def test_a_clean_run_is_approved_step_by_step(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    first = ask(door, "accept the result", run_id=run_id)
    assert first["verdict"] == "revise"
    assert first["next"].startswith("cc_verify")
    assert door.call("cc_verify", run_id=run_id, test_commands=PASSES)["verdict"] == "APPROVE"
    second = ask(door, "accept the result", run_id=run_id)
    assert (second["verdict"], second["confidence"], second["objections"]) == ("approve", "high", [])
    third = ask(door, "merge it into main", run_id=run_id)
    assert (third["verdict"], third["next"][:9]) == ("revise", "cc_accept")
    door.call("cc_accept", run_id=run_id, decision="accept")
    assert ask(door, "merge it into main", run_id=run_id)["verdict"] == "approve"
    release = ask(door, "merge and release to production", run_id=run_id, evidence="all green, trust me")
    assert release["verdict"] == "revise"
    assert "a person's decision" in release["required_changes"][0]


def test_a_result_that_does_not_hold_is_blocked_whatever_is_claimed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    door.call("cc_verify", run_id=run_id, test_commands=[f'{PYTHON} -c "exit(1)"'])
    answer = ask(door, "accept it", run_id=run_id, evidence="the tests are flaky, it is fine")
    assert answer["verdict"] == "block"
    assert "HOLD: tests fail" in answer["objections"][0]


def test_a_run_at_work_is_blocked_and_waited_for(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}}, allow_write=True)
    answer = ask(door, "accept it", run_id=run_id)
    assert answer["verdict"] == "block"
    assert answer["next"].startswith("cc_wait")
    door.call("cc_stop", run_id=run_id, force=True)
    assert ask(door, "accept it", run_id=run_id)["verdict"] == "block"
    assert ask(door, "abandon it", run_id=run_id)["verdict"] == "approve"


def test_reviewers_can_be_asked_on_the_way(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="medium")
    door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    assert "needs 1 distinct reviewers" in ask(door, "accept it", run_id=run_id)["missing_evidence"][0]
    text = '{"steps": [{"step": "S1", "verdict": "PASS", "evidence": "src/new.py:1"}]}'
    judge = {"adapter": "fake", "script": {"steps": [{"result": text}]}}
    answer = ask(door, "accept it", run_id=run_id, reviewers=[judge], acceptance_steps=["x is there"])
    assert answer["verdict"] == "approve"


def test_a_changed_ledger_blocks_everything(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    (file,) = (door.cwd / ".agent-workspace/ledger").glob("receipts-*.ndjson")
    file.write_bytes(file.read_bytes().replace(b"succeeded", b"Succeeded", 1))
    answer = ask(door, "accept it", run_id=run_id)
    assert answer["verdict"] == "block"
    assert "the ledger is not sound" in answer["objections"][0]
