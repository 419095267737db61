"""cc_explain: the few facts that decided, with the numbers of their events, through the public door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest, NotFound, VerifyFailed
from kit.door import Door
from kit.interpreter import PYTHON

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
FAIL = [f'{PYTHON} -c "exit(1)"']
WRITE = {"write": {"path": "src/new.py", "content": "x = 1\n"}}


def why(door: Door, name: str, **more: Any) -> dict[str, Any]:
    answer = door.call("cc_explain", id=name, **more)
    assert len(json.dumps(answer, ensure_ascii=False).encode()) <= 2_048
    assert "truncated" not in answer or answer["chain"]
    return answer


def check_events(door: Door, run_id: str, answer: dict[str, Any]) -> list[str]:
    """The types of the rows, each of which is an event of the journal."""
    journal = {event["seq"]: event["type"] for event in door.events(run_id)}
    assert all(journal[row["seq"]] == row["type"] for row in answer["chain"])
    return [row["type"] for row in answer["chain"]]


def test_a_run_that_was_stopped_names_who_and_what_it_was_doing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"tool": {"tool": "Bash", "target": "make all", "seconds": 60}}, {"result": "x"})
    door.until_event(run_id, "tool.started")
    live = why(door, run_id)
    assert "tool_running" in live["why"]
    assert live["in_flight"][0]["target"] == "make all"
    door.call("cc_stop", run_id=run_id, reason="changed my mind")
    door.finish(run_id)
    answer = why(door, run_id)
    assert answer["why"] == "stopped by controller: user_requested (changed my mind)"
    assert answer["failure"]["class"] == "canceled"
    assert answer["in_flight_at_end"][0]["target"] == "make all"
    assert [kind for kind in check_events(door, run_id, answer) if kind.startswith("run.")][-1] == "run.finished"
    assert "run.stopping" in check_events(door, run_id, answer)


def test_a_limit_is_explained_by_its_structured_events_and_its_class(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        {"say": "rate limit? no"}, {"retry": {"cause": "rate_limited", "status": 429, "delay_s": 600}},
        {"result": {"text": "API error", "is_error": True, "reason": "rate_limited"}},
    )  # fmt: skip
    door.finish(run_id)
    answer = why(door, run_id)
    assert answer["failure"]["class"] == "provider_limit"
    assert answer["failure"]["not_before"] > "20"
    kinds = check_events(door, run_id, answer)
    assert "run.retrying" in kinds
    assert "run.message" not in kinds
    (result,) = [row for row in answer["chain"] if row["type"] == "run.result"]
    assert (result["untrusted_text"], "text" in result) == ("API error", False)
    cursor = json.loads(answer["events"].partition(" ")[2])["cursor"]
    page = door.call("cc_poll", run_id=run_id, mode="events", cursor=cursor)
    assert page["events"][0]["seq"] == answer["chain"][0]["seq"]


def test_a_budget_and_a_crash_and_a_success_have_their_sentences(tmp_path: Path) -> None:
    door = Door(tmp_path)
    silent = door.start_fake({"hang": {"deaf": True}}, silence_seconds=0.3)
    crashed = door.start_fake({"stderr": "out of cheese"}, {"crash": {"exit": 7}})
    good = door.start_fake({"result": "fine"})
    for run_id in (silent, crashed, good):
        door.finish(run_id)
    assert why(door, silent)["why"].startswith("timed_out by limit: silence")
    assert "run.limit" in check_events(door, silent, why(door, silent))
    assert why(door, crashed)["why"] == "failed: crashed (exit 7: out of cheese)"
    assert "failure" not in why(door, good)


def test_a_denied_call_is_explained_by_its_rule_and_so_is_any_event(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"write": {"path": "no.txt", "content": "x"}}, {"result": "x"}, gate=True)
    door.finish(run_id)
    (decision,) = door.events(run_id, "policy.decided")
    answer = why(door, run_id, seq=decision["seq"])
    assert answer["why"].startswith(f"{decision['data']['decision']} by {decision['data']['rule']}")
    assert [row["type"] for row in answer["chain"]] == ["tool.started", "policy.decided", "tool.finished"]
    assert "cc_policy" in answer["next"]
    assert "policy.decided" in check_events(door, run_id, why(door, run_id))
    with pytest.raises(NotFound):
        door.call("cc_explain", id=run_id, seq=9_999)


def test_a_question_is_explained_from_the_rule_that_asked_to_its_answer(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        {"ask": {"kind": "permission", "tool": "WebFetch", "target": "https://example.org"}}, {"result": "x"}
    )
    question_id = door.until_event(run_id, "question.asked")["question_id"]
    answer = why(door, question_id)
    assert (answer["run_id"], answer["why"]) == (run_id, "open; unanswered it is deny")
    assert [row["type"] for row in answer["chain"]] == ["policy.decided", "question.asked"]
    waiting = why(door, run_id)
    assert question_id in waiting["why"]
    assert "cc_answer" in waiting["next"]
    door.call("cc_answer", run_id=run_id, decision="deny", text="not today")
    door.finish(run_id)
    answer = why(door, question_id)
    assert answer["why"] == "deny by controller"
    assert answer["chain"][-1]["type"] == "question.answered"


def test_a_verdict_and_a_delivery_are_explained_by_what_stood_in_the_way(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(WRITE, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    held = door.call("cc_verify", run_id=run_id, test_commands=FAIL, wait_seconds=60)
    answer = why(door, held["verify_id"])
    assert (answer["verdict"], answer["current"]) == ("HOLD", True)
    assert "the worker can mend" in answer["why"]
    assert answer["obstacles"][0].startswith("tests fail")
    passed = [f'{PYTHON} -c "print(1)"']
    assert door.call("cc_verify", run_id=run_id, test_commands=passed, wait_seconds=60)["verdict"] == "APPROVE"
    door.call("cc_accept", run_id=run_id, decision="accept")
    with pytest.raises(VerifyFailed) as caught:
        door.call("cc_deliver", run_id=run_id, target="main", gate_commands=FAIL)
    delivery = why(door, caught.value.details["delivery_id"])
    assert delivery["status"] == "failed"
    assert delivery["refused"][0]["run_id"] == run_id
    assert delivery["gates"][0]["outcome"] == "failed"


def test_a_long_story_is_cut_from_its_beginning_and_said_to_be(tmp_path: Path) -> None:
    door = Door(tmp_path)
    steps = [{"retry": {"cause": "overloaded " + "x" * 90, "attempt": number}} for number in range(1, 30)]
    notices = [{"notice": {"code": "note", "text": "y" * 300}} for _ in range(9)]
    run_id = door.start_fake(*steps, *notices, {"stderr": "z" * 300}, {"crash": {"exit": 1}})
    door.finish(run_id)
    answer = why(door, run_id)
    assert answer["chain"][-1]["type"] == "run.finished"


@pytest.mark.parametrize("bad", ["", "run_1", "../../etc/passwd", "task_01k3000000abcdefghjk"])
def test_what_is_no_id_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InvalidRequest):
        Door(tmp_path).call("cc_explain", id=bad)


def test_a_question_that_nobody_asked_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Door(tmp_path).call("cc_explain", id="q_01k3000000abcdefghjk")
