"""cc_questions and the limits of who may answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.core.asking import RISKS, Risk
from cc_orchestrator.core.errors import ApprovalRequired, Corrupt, InvalidRequest
from cc_orchestrator.policy.answering import Reach, may_answer, read_reach
from kit.door import Door

ASK = {
    "ask": {
        "kind": "permission",
        "tool": "WebFetch",
        "tool_kind": "network",
        "target": "https://example.org",
        "text": "may I?",
    }
}


@given(st.sampled_from(RISKS), st.sampled_from(RISKS), st.sampled_from(RISKS))
def test_a_higher_risk_is_never_answered_by_more_channels(low: Risk, controller: Risk, elicitation: Risk) -> None:
    reach = Reach(controller, elicitation)
    for higher in RISKS[RISKS.index(low) :]:
        assert set(may_answer(higher, reach)) <= set(may_answer(low, reach))
    assert may_answer("unheard of", reach) == may_answer("critical", reach)
    assert may_answer(low, reach)[-1] == "person"


def test_a_setting_that_is_none_is_refused() -> None:
    for raw in ({"controler": "low"}, {"controller": "some"}):
        with pytest.raises(ValueError, match="controller"):
            read_reach(raw)


@pytest.mark.process
def test_open_questions_are_listed_with_risk_and_who_may_answer(tmp_path: Path) -> None:
    door = Door(tmp_path, channel="mcp")
    run_id = door.start_fake(ASK, {"result": "x"})
    asked = door.until_event(run_id, "question.asked")
    assert (asked["risk"], asked["evidence"]["rule"]) == ("high", "network.asks")
    row = door.call("cc_questions")["questions"][0]
    assert (row["question_id"], row["risk"], row["may_answer"]) == (
        asked["question_id"],
        "high",
        ["controller", "elicitation", "person"],
    )
    door.call("cc_answer", run_id=run_id, decision="allow")
    door.finish(run_id)
    assert door.call("cc_questions").get("questions") is None
    told = door.data(run_id, "question.answered")[0]
    assert told["latency_s"] >= 0
    assert door.call("cc_questions", run_id=run_id, include_answered=True)["questions"][0]["decision"] == "allow"


@pytest.mark.process
def test_a_controller_says_yes_only_up_to_its_class_and_no_to_anything(tmp_path: Path) -> None:
    door = Door(tmp_path, channel="mcp")
    folder = door.cwd / ".agent-workspace"
    folder.mkdir(exist_ok=True)
    (folder / "approvals.json").write_text(json.dumps({"controller": "medium"}), encoding="utf-8")
    run_id = door.start_fake(ASK, {"result": "x"})
    door.until_event(run_id, "question.asked")
    with pytest.raises(ApprovalRequired) as refused:
        door.call("cc_answer", run_id=run_id, decision="allow")
    assert "cc-orchestrator answer" in refused.value.hint
    (folder / "approvals.json").write_text('{"controller": "much"}', encoding="utf-8")
    with pytest.raises(Corrupt):
        door.call("cc_answer", run_id=run_id, decision="allow")
    assert door.call("cc_answer", run_id=run_id, decision="deny")["decision"] == "deny"
    door.finish(run_id)


@pytest.mark.process
def test_a_choice_that_was_not_offered_is_refused(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"ask": {"kind": "choice", "text": "which?", "options": ["a", "b"]}}, {"result": "x"})
    door.until_event(run_id, "question.asked")
    with pytest.raises(InvalidRequest, match="none of the options: a, b"):
        door.call("cc_answer", run_id=run_id, decision="allow", choices={"which?": "c"})
    door.call("cc_answer", run_id=run_id, decision="allow", choices={"which?": "b"})
    door.finish(run_id)
