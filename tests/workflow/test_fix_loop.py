"""Fix loops through the public door: a bundled worker whose tree differs from round to round, real checks, real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Busy, InvalidRequest
from chaos import truth
from chaos.rewind import workspace_of
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import fingerprint
from kit.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

#: Each round adds one letter.
LETTER = {"write": {"path": "src/letters.txt", "content": "x", "append": True}}


def letters(count: int) -> list[str]:
    """A test command that passes when there are at least so many letters; it says how many are missing by letters."""
    code = f"n = len(open('src/letters.txt').read()); print('missing', 'x' * ({count} - n)); exit(n < {count})"
    return [f'{PYTHON} -c "{code}"']


STUCK = [f"{PYTHON} -c \"print('never'); exit(1)\""]


def made(door: Door, *steps: dict[str, Any], **more: Any) -> str:
    run_id = door.start_fake(*steps, {"result": "done"}, allow_write=True, **more)
    assert door.finish(run_id)["status"] == "succeeded"
    return run_id


def loop(door: Door, run_id: str, commands: list[str], **more: Any) -> dict[str, Any]:
    answer = door.call("cc_fix_loop", run_id=run_id, test_commands=commands, **{"wait_seconds": 240, **more})
    assert answer["status"] == "succeeded", answer
    return answer


def ways(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["how"], row["move"]) for row in answer["rounds"]]


def test_a_result_that_holds_needs_no_round(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, LETTER)
    answer = loop(door, run_id, letters(1))
    assert (answer["outcome"], answer["run_id"], ways(answer)) == ("APPROVE", run_id, [("start", "approve")])
    assert answer["next"].startswith("cc_accept")


def test_what_fails_goes_back_to_the_maker_until_it_holds(tmp_path: Path) -> None:
    door = Door(tmp_path)
    before = fingerprint(door.cwd)
    run_id = made(door, LETTER)
    answer = loop(door, run_id, letters(2))
    assert answer["outcome"] == "APPROVE"
    assert ways(answer) == [("start", "fix"), ("fix", "approve")]
    spec = door.spec(answer["run_id"])
    assert (spec.parent_run_id, spec.task_id) == (run_id, door.spec(run_id).task_id)
    assert spec.resume_session == door.state(run_id)["session_id"]
    prompt = Path(door.run(spec.run_id).at("prompt.md")).read_text()
    assert "tests: fail" in prompt
    assert "missing x" in prompt
    assert door.call("cc_accept", run_id=answer["run_id"], decision="accept")["decision"] == "accept"
    assert door.call("cc_deliver", run_id=answer["run_id"], target="main")["status"] == "succeeded"
    assert (door.cwd / "src/letters.txt").read_text() == "xx"
    assert fingerprint(door.cwd) != before
    receipts = door.call("cc_receipts", run_id=run_id)["receipts"]
    assert [row["observed"]["outcome"] for row in receipts if row["kind"] == "fix_loop"] == ["APPROVE"]


def test_three_rounds_are_the_most(tmp_path: Path) -> None:
    door = Door(tmp_path)
    # Each round another letter goes missing by name, so that no failure is the same.
    code = "n = len(open('src/letters.txt').read()); print('missing', 'abcdefgh'[n]); exit(1)"
    answer = loop(door, made(door, LETTER), [f'{PYTHON} -c "{code}"'])
    assert (answer["outcome"], len(answer["rounds"])) == ("ESCALATE", 4)
    assert ways(answer) == [("start", "fix"), ("fix", "fix"), ("fix", "fix"), ("fix", "escalate")]
    assert "3 rounds are used up" in answer["reason"]


def test_the_same_failure_twice_restarts_from_the_contract_in_the_same_worktree_and_then_escalates(
    tmp_path: Path,
) -> None:
    door = Door(tmp_path)
    run_id = made(door, LETTER, task="Write the letters")
    answer = loop(door, run_id, STUCK)
    assert ways(answer) == [("start", "fix"), ("fix", "restart"), ("restart", "escalate")]
    assert "the same failure again after a restart" in answer["reason"]
    fresh = door.spec(answer["run_id"])
    assert fresh.resume_session is None
    assert fresh.worktree == door.spec(run_id).worktree
    prompt = Path(door.run(fresh.run_id).at("prompt.md")).read_text()
    assert "Write the letters" in prompt
    assert Path(str(fresh.worktree), "src/letters.txt").read_text() == "xxx"


def test_what_the_worker_cannot_mend_is_not_sent_back(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = loop(door, made(door, LETTER), ["no-such-program-anywhere"])
    assert (answer["outcome"], ways(answer)) == ("ESCALATE", [("start", "escalate")])
    assert "cannot mend" in answer["reason"]


def test_what_reviewers_find_goes_back_too_and_their_word_closes_it(tmp_path: Path) -> None:
    door = Door(tmp_path)
    bad = {"steps": [{"step": "S1", "verdict": "FAIL", "evidence": "only one letter"}]}
    good = {
        "steps": [{"step": "S1", "verdict": "PASS", "evidence": "src/letters.txt"}],
        "known": [{"finding": "F1", "state": "fixed", "evidence": "src/letters.txt has two"}],
    }
    run_id = made(
        door, LETTER, {"write": {"path": "verdict.json", "content": json.dumps(bad)}}, risk="medium",
        script={
            "steps": [LETTER, {"write": {"path": "verdict.json", "content": json.dumps(bad)}}, {"result": "done"}],
            "resumed": [LETTER, {"write": {"path": "verdict.json", "content": json.dumps(good)}}, {"result": "mended"}],
        },
    )  # fmt: skip
    judge = {"adapter": "fake", "script": {"steps": [{"result": {"file": "verdict.json"}}]}}
    answer = loop(door, run_id, letters(1), reviewers=[judge], acceptance_steps=["there are two letters"])
    assert (answer["outcome"], ways(answer)) == ("APPROVE", [("start", "fix"), ("fix", "approve")])
    assert answer["rounds"][0]["failing"] == ["F1"]
    prompt = Path(door.run(answer["run_id"]).at("prompt.md")).read_text()
    assert "only one letter" in prompt
    found = door.call("cc_findings", run_id=run_id, state="all")["findings"]
    assert [(row["finding_id"], row["state"]) for row in found] == [("F1", "fixed")]
    assert door.call("cc_accept", run_id=answer["run_id"], decision="accept")["decision"] == "accept"


def test_reviewers_that_disagree_are_for_a_person(tmp_path: Path) -> None:
    door = Door(tmp_path)
    judges: list[dict[str, Any]] = []
    for verdict in ("PASS", "FAIL"):
        text = json.dumps({"steps": [{"step": "S1", "verdict": verdict, "evidence": "letters.txt"}]})
        judges.append({"adapter": "fake", "model": verdict, "script": {"steps": [{"result": text}]}})
    answer = loop(door, made(door, LETTER), letters(1), reviewers=judges, acceptance_steps=["there are two letters"])
    assert (answer["outcome"], ways(answer)) == ("ESCALATE", [("start", "escalate")])
    assert "reviewers disagree" in answer["reason"]


def test_a_read_only_run_has_nothing_to_fix(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "read"})
    door.finish(run_id)
    with pytest.raises(InvalidRequest, match="read-only"):
        door.call("cc_fix_loop", run_id=run_id)


@pytest.mark.chaos
def test_a_killed_loop_is_lost_and_told_and_its_worker_is_ended(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, script={"steps": [LETTER, {"result": "done"}], "resumed": [{"hang": {}}]})
    fix_id = door.call("cc_fix_loop", run_id=run_id, test_commands=STUCK, wait_seconds=0)["fix_id"]
    worker = until(lambda: door.call("cc_review", id=fix_id).get("worker"), 90.0, what="the maker's next run")
    assert door.call("cc_fix_loop", run_id=run_id, test_commands=STUCK, wait_seconds=0)["fix_id"] == fix_id
    assert {"id": fix_id} in door.call("cc_status")["jobs"]
    with pytest.raises(Busy, match=fix_id):
        door.call("cc_fix_loop", run_id=run_id, wait_seconds=0)
    folder = Path(workspace_of(door).reviews(door.spec(run_id).task_id), fix_id)
    for pid in truth.holders(folder):
        os.kill(pid, 9)
    until(lambda: not truth.holders(folder), what="the end of the loop's process")
    row = door.call("cc_wait", ids=[fix_id], timeout_seconds=90)["woke"][0]
    assert (row["status"], row["reason"]) == ("lost", "job_died")
    ended = door.finish(worker, 90)
    assert ended["status"] == "stopped", (ended, door.events(worker))
    receipts = door.call("cc_receipts", run_id=run_id, kind="fix_loop")["receipts"]
    assert [entry["observed"]["status"] for entry in receipts] == ["lost"]
