"""Reviews through the public door: bundled workers as maker and reviewers, real git, real processes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Conflict, Corrupt, InvalidRequest, PolicyDenied, VerifyFailed
from chaos import truth
from chaos.rewind import workspace_of
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import fingerprint, git
from kit.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

STEPS = ["new.py defines x", "no test was weakened"]
PASSES = [f"{PYTHON} -c pass"]
WRITE = {"write": {"path": "src/new.py", "content": "x = 1\n"}}


def opinion(*verdicts: str, **more: Any) -> str:
    rows = [
        {"step": f"S{number}", "verdict": verdict, "evidence": "src/new.py:1 x = 1"}
        for number, verdict in enumerate(verdicts, 1)
    ]
    return json.dumps({"steps": rows, **more})


def reviewer(text: str, *, model: str = "judge-1", **script: Any) -> dict[str, Any]:
    return {"adapter": "fake", "model": model, "script": {"steps": [{"result": text}], **script}}


def made(door: Door, *steps: dict[str, Any], **more: Any) -> str:
    run_id = door.start_fake(*(steps or (WRITE,)), {"result": "done, all is well"}, allow_write=True, **more)
    assert door.finish(run_id)["status"] == "succeeded"
    return run_id


def reviewed(door: Door, run_id: str, *reviewers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return door.call("cc_cross_review", run_id=run_id, reviewers=list(reviewers), **{"acceptance_steps": STEPS, **more})


def approved(door: Door, run_id: str) -> None:
    assert door.call("cc_verify", run_id=run_id, test_commands=PASSES)["verdict"] == "APPROVE"


# ---------------------------------------------------------------- the main road


def test_a_review_has_a_verdict_per_step_a_receipt_and_leaves_nothing_behind(tmp_path: Path) -> None:
    door = Door(tmp_path)
    before = fingerprint(door.cwd)
    run_id = made(door)
    answer = reviewed(door, run_id, reviewer(opinion("PASS", "PASS", summary="fine")))
    assert (answer["status"], answer["verdict"], answer["current"]) == ("succeeded", "passed", True)
    (row,) = answer["reviewers"]
    assert (row["outcome"], row["passed_steps"], row["untrusted_summary"]) == ("passed", 2, "fine")
    assert "same vendor" in answer["declared"][0]
    spec = door.spec(row["run_id"])
    assert (spec.allow_write, spec.role) == (False, "review")
    assert not os.path.exists(spec.cwd)
    assert git(door.cwd, "worktree", "list").count("\n") == 1
    assert door.call("cc_receipts", run_id=run_id, kind="review")["receipts"][0]["observed"]["verdict"] == "passed"
    assert door.call("cc_wait", ids=[answer["review_id"]])["woke"][0]["status"] == "succeeded"
    assert door.call("cc_review", id=answer["review_id"])["reviewers"] == answer["reviewers"]
    assert fingerprint(door.cwd) == before


def test_a_reviewer_is_told_the_task_the_change_and_the_claim_as_untrusted_data(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, task="Define x in new.py")
    approved(door, run_id)
    answer = reviewed(door, run_id, reviewer(opinion("PASS", "PASS")))
    prompt = Path(door.run(answer["reviewers"][0]["run_id"]).at("prompt.md")).read_text()
    parts = prompt.split("<<<UNTRUSTED DATA ")
    fenced = {part.partition("\n")[2].partition("END OF UNTRUSTED DATA")[0].strip() for part in parts[2:]}
    assert "done, all is well" in fenced
    assert any("+x = 1" in part for part in fenced)
    assert any("tests: pass" in part for part in fenced)
    assert "Define x in new.py" in parts[1]
    assert "- S1: new.py defines x" in prompt
    assert "{{" not in prompt


def test_a_step_without_a_verdict_is_a_fail_and_becomes_a_blocking_finding(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    approved(door, run_id)
    answer = reviewed(door, run_id, reviewer(opinion("PASS")))
    assert answer["verdict"] == "failed"
    assert [row["step"] for row in answer["reviewers"][0]["failing_steps"]] == ["S2"]
    assert [row["severity"] for row in answer["findings"]] == ["blocker"]
    with pytest.raises(VerifyFailed, match="blocking findings are open: F1"):
        door.call("cc_accept", run_id=run_id, decision="accept")


def test_an_answer_that_cannot_be_read_gets_one_repair_turn_in_the_same_conversation(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    good = [{"result": f"Sorry.\n```json\n{opinion('PASS', 'PASS')}\n```"}]
    answer = reviewed(door, run_id, reviewer("Looks great to me!", resumed=good))
    (row,) = answer["reviewers"]
    assert (answer["verdict"], row["outcome"], row["repaired"]) == ("passed", "passed", True)
    assert door.spec(row["run_id"]).parent_run_id
    assert door.spec(row["run_id"]).resume_session


def test_an_answer_that_stays_unreadable_never_counts(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="medium")
    approved(door, run_id)
    answer = reviewed(door, run_id, reviewer("Looks great to me!"))
    assert (answer["verdict"], answer["reviewers"][0]["outcome"]) == ("incomplete", "invalid")
    assert "no JSON object" in answer["reviewers"][0]["problems"][0]
    with pytest.raises(VerifyFailed, match="risk medium needs 1 distinct reviewers that passed it, there are 0"):
        door.call("cc_accept", run_id=run_id, decision="accept")


def test_a_reviewer_that_takes_too_long_never_counts_and_is_ended(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="medium")
    approved(door, run_id)
    slow = {"adapter": "fake", "script": {"steps": [{"hang": {}}], "ignore_conclude": True, "ignore_interrupt": True}}
    answer = reviewed(door, run_id, slow, timeout_seconds=1)
    (row,) = answer["reviewers"]
    assert (answer["verdict"], row["outcome"]) == ("incomplete", "timed_out")
    assert door.state(row["run_id"])["status"] == "timed_out"
    with pytest.raises(VerifyFailed, match="there are 0"):
        door.call("cc_accept", run_id=run_id, decision="accept")


def test_a_reviewer_that_changes_what_it_judges_judged_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    meddler = {
        "adapter": "fake",
        "script": {
            "steps": [{"write": {"path": "src/new.py", "content": "x = 2\n"}}, {"result": opinion("PASS", "PASS")}]
        },
    }
    answer = reviewed(door, run_id, meddler)
    assert (answer["verdict"], answer["reviewers"][0]["outcome"]) == ("incomplete", "tampered")


# ---------------------------------------------------------------- who may


def test_a_review_is_of_an_ended_run_with_a_result_that_is_no_review(tmp_path: Path) -> None:
    door = Door(tmp_path)
    reader = door.start_fake({"result": "read"})
    door.finish(reader)
    with pytest.raises(InvalidRequest, match="no result"):
        reviewed(door, reader, reviewer(opinion("PASS", "PASS")))
    run_id = made(door)
    judge = reviewed(door, run_id, reviewer(opinion("PASS", "PASS")))["reviewers"][0]["run_id"]
    with pytest.raises(Conflict, match="is a reviewer's run"):
        reviewed(door, judge, reviewer(opinion("PASS", "PASS")))
    live = door.start_fake({"hang": {}}, allow_write=True)
    with pytest.raises(Conflict, match="not finished"):
        reviewed(door, live, reviewer(opinion("PASS", "PASS")))
    door.call("cc_stop", run_id=live, force=True)


# ---------------------------------------------------------------- the policy


def test_high_risk_needs_two_distinct_reviewers(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="high")
    approved(door, run_id)
    with pytest.raises(VerifyFailed, match="needs 2 distinct reviewers that passed it, there are 0"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    good = opinion("PASS", "PASS")
    reviewed(door, run_id, reviewer(good), reviewer(good))
    with pytest.raises(VerifyFailed, match="needs 2 distinct reviewers that passed it, there are 1"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    reviewed(door, run_id, reviewer(good, model="judge-2"))
    standing = door.call("cc_review", run_id=run_id)
    assert (standing["risk"], len(standing["passed"])) == ("high", 2)
    assert door.call("cc_accept", run_id=run_id, decision="accept")["decision"] == "accept"
    assert door.call("cc_deliver", run_id=run_id, target="main")["status"] == "succeeded"


def test_a_new_head_makes_a_review_stale(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="medium")
    answer = reviewed(door, run_id, reviewer(opinion("PASS", "PASS")))
    more = door.call("cc_send_instruction", run_id=run_id, instruction="once more")["run_id"]
    door.finish(more)
    git(door.cwd, "update-ref", f"refs/cc/runs/{run_id}", git(door.cwd, "commit-tree", "HEAD^{tree}", "-m", "other"))
    assert door.call("cc_review", id=answer["review_id"])["current"] is False
    standing = door.call("cc_review", run_id=run_id)
    assert standing["stale"] == 1
    assert "1 votes are about another result" in standing["problems"][0]


def test_a_waiver_needs_a_name_and_a_reason_and_ends(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    approved(door, run_id)
    finding = {"severity": "blocker", "path": "src/new.py", "line": 1, "text": "x is a poor name"}
    reviewed(door, run_id, reviewer(opinion("PASS", "PASS", findings=[finding])))
    with pytest.raises(InvalidRequest, match="expires_days"):
        door.call(
            "cc_resolve_finding", run_id=run_id, finding_id="F1", decision="waive", owner="Ada", reason="known for now"
        )
    waived = door.call(
        "cc_resolve_finding", run_id=run_id, finding_id="F1", decision="waive", owner="Ada", reason="known for now",
        expires_days=1e-6,
    )  # fmt: skip
    assert waived["owner"] == "Ada"
    until(lambda: door.call("cc_findings", run_id=run_id)["findings"], what="the end of the waiver")
    with pytest.raises(VerifyFailed, match="F1"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    door.call(
        "cc_resolve_finding",
        run_id=run_id,
        finding_id="F1",
        decision="waive",
        owner="Ada",
        reason="known for now",
        expires_days=1,
    )
    assert door.call("cc_findings", run_id=run_id)["findings"] == []
    assert door.call("cc_accept", run_id=run_id, decision="accept")["decision"] == "accept"
    kinds = [row["kind"] for row in door.call("cc_receipts", run_id=run_id)["receipts"]]
    assert kinds.count("finding") == 2


# ---------------------------------------------------------------- the pack


def test_a_pack_is_bound_to_its_head_and_keeps_claims_apart(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    approved(door, run_id)
    answer = door.call("cc_review_pack", run_id=run_id)
    folder = Path(answer["folder"])
    pack = json.loads((folder / "pack.json").read_text())
    assert pack["head"]["commit"] == answer["commit"] == git(door.cwd, "rev-parse", f"refs/cc/runs/{run_id}")
    assert pack["observed"]["verification"]["verdict"] == "APPROVE"
    assert [row["kind"] for row in pack["observed"]["receipts"]] == ["verification", "run"]
    assert pack["claimed"]["untrusted_text"] == "done, all is well"
    assert "done, all is well" not in json.dumps(pack["observed"])
    assert "+x = 1" in (folder / "change.patch").read_text()
    assert "> done, all is well" in (folder / "pack.md").read_text()
    assert door.call("cc_review_pack", run_id=run_id)["digest"] == answer["digest"]


# ---------------------------------------------------------------- a process that dies


@pytest.mark.chaos
def test_a_killed_review_is_lost_and_its_reviewers_are_ended(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="medium")
    approved(door, run_id)
    slow = {"adapter": "fake", "script": {"steps": [{"hang": {}}]}}
    review_id = reviewed(door, run_id, slow, wait_seconds=0)["review_id"]
    (judge,) = until(lambda: door.call("cc_review", id=review_id).get("runs"), 90.0, what="the reviewer's start")
    task_id = door.spec(run_id).task_id
    folder = Path(workspace_of(door).reviews(task_id), review_id)

    def kill(*_said: Any) -> None:
        for pid in truth.holders(folder):
            os.kill(pid, 9)

    # It dies while the wait sleeps, so that the wait is the first to see it.
    door.context = replace(door.context, progress=kill)
    row = door.call("cc_wait", ids=[review_id], timeout_seconds=90)["woke"][0]
    assert (row["status"], row["reason"]) == ("lost", "job_died")
    assert door.finish(judge, 90)["status"] == "stopped"
    assert not (folder / "tree").exists()
    assert door.call("cc_receipts", run_id=run_id, kind="review")["receipts"][0]["observed"]["status"] == "lost"
    with pytest.raises(VerifyFailed, match="there are 0"):
        door.call("cc_accept", run_id=run_id, decision="accept")


# ---------------------------------------------------------------- what cannot be read holds


def test_a_store_of_findings_that_cannot_be_read_holds(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    approved(door, run_id)
    reviewed(door, run_id, reviewer(opinion("PASS", "PASS")))
    folder = Path(workspace_of(door).reviews(door.spec(run_id).task_id))
    (folder / "findings.json").write_text("{")
    with pytest.raises(Corrupt, match=r"findings\.json"):
        door.call("cc_accept", run_id=run_id, decision="accept")


def test_a_verdict_that_was_changed_afterwards_holds(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door, risk="medium")
    approved(door, run_id)
    answer = reviewed(door, run_id, reviewer(opinion("PASS", "FAIL")))
    file = Path(answer["file"])
    file.write_text(file.read_text().replace('"failed"', '"passed"').replace("FAIL", "PASS"))
    with pytest.raises(Corrupt, match="is not what"):
        door.call("cc_accept", run_id=run_id, decision="accept")


def test_a_worker_starts_no_review_and_decides_over_no_finding(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = made(door)
    inside = Door(tmp_path, cwd=door.cwd, env={**door.env, "CC_RUN_ID": run_id})
    for name, more in (
        ("cc_cross_review", {}),
        ("cc_fix_loop", {}),
        ("cc_resolve_finding", {"finding_id": "F1", "decision": "reject", "owner": "me", "reason": "not true at all"}),
    ):
        with pytest.raises(PolicyDenied, match="inside a worker"):
            inside.call(name, run_id=run_id, **more)
