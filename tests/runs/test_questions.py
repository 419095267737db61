"""Questions, permissions, steering and going on: who decided, by when, and that nothing is answered twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.errors import Conflict, InvalidRequest, NotFound
from cc_orchestrator.operations.steering import WatchedEvent
from cc_orchestrator.runs.summary import liveness
from kit.door import Door
from kit.staging import stage

pytestmark = pytest.mark.process


def ask(text: str = "may I?", **more: Any) -> dict[str, Any]:
    return {"ask": {"kind": "clarification", "text": text, **more}}


def open_question(door: Door, run_id: str) -> str:
    return str(door.until_event(run_id, "question.asked")["question_id"])


def said(door: Door, run_id: str) -> list[str]:
    return [data["text"] for data in door.data(run_id, "run.message")]


# ---------------------------------------------------------------- questions


def test_a_question_makes_the_run_wait_and_wakes_the_controller(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ask("which one?", options=["a", "b"]), {"result": "done"})
    row = door.wait(run_id, "finished", "question")
    assert (row["status"], row["woke_by"], row["summary"]["liveness"]) == ("waiting", "question", "waiting")
    question = row["summary"]["question"]
    assert (question["text"], question["options"], question["default"]) == ("which one?", ["a", "b"], "deny")
    answer = door.call("cc_answer", run_id=run_id, decision="allow", text="take b")
    assert (answer["decision"], answer["by"]) == ("allow", "controller")
    assert door.finish(run_id)["status"] == "succeeded"
    assert said(door, run_id) == ["answer: allow take b"]


def test_a_closed_question_cannot_be_answered_again(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ask(), {"hang": {}})
    question_id = open_question(door, run_id)
    door.call("cc_answer", run_id=run_id, question_id=question_id, decision="deny")
    with pytest.raises(Conflict) as caught:
        door.call("cc_answer", run_id=run_id, question_id=question_id, decision="allow")
    assert "deny by controller" in caught.value.message
    with pytest.raises(Conflict):
        door.call("cc_answer", run_id=run_id, decision="allow")
    door.call("cc_stop", run_id=run_id, force=True)
    assert len(door.data(run_id, "question.answered")) == 1


def test_a_question_of_an_ended_run_is_closed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ask(), {"result": "x"})
    question_id = open_question(door, run_id)
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)
    assert door.data(run_id, "question.answered")[0]["by"] == "end of run"
    with pytest.raises(Conflict):
        door.call("cc_answer", run_id=run_id, question_id=question_id, decision="allow")


def test_an_unknown_question_is_not_found(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    with pytest.raises(NotFound):
        door.call("cc_answer", run_id=run_id, question_id="q_nothing", decision="allow")
    door.call("cc_stop", run_id=run_id, force=True)


def test_at_the_deadline_a_question_is_denied_and_the_run_goes_on(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ask(), {"result": "went on"}, question_seconds=0.3)
    door.finish(run_id)
    answered = door.data(run_id, "question.answered")
    assert [(data["decision"], data["by"]) for data in answered] == [("deny", "deadline")]
    assert door.state(run_id)["status"] == "succeeded"
    assert said(door, run_id)[0].startswith("answer: deny")


def test_two_questions_at_once_are_each_answered_by_name(tmp_path: Path) -> None:
    talk = tmp_path / "talk"
    asks = [
        json.dumps({"event": "ask", "key": f"k{n}", "kind": "clarification", "text": f"question {n}"}) for n in (1, 2)
    ]
    hello = json.dumps({"event": "hello", "session_id": "s", "version": 1})
    done = json.dumps({"event": "result", "text": "both"})
    talk.write_text(f"""#!/bin/sh
echo '{hello}'; echo '{asks[0]}'; echo '{asks[1]}'; read prompt; read one; read two; printf '%s\\n' "$one" "$two" >&2; echo '{done}'
""")
    talk.chmod(0o755)
    door = Door(tmp_path)
    run_id = stage(door, executable=str(talk))
    door.until_event(run_id, "question.asked", text="question 2")
    first, second = (data["question_id"] for data in door.data(run_id, "question.asked"))
    with pytest.raises(Conflict) as caught:
        door.call("cc_answer", run_id=run_id, decision="allow")
    assert first in caught.value.message
    assert second in caught.value.message
    assert door.call("cc_answer", run_id=run_id, question_id=second, decision="allow")["status"] == "waiting"
    assert door.call("cc_answer", run_id=run_id, question_id=first, decision="deny")["decision"] == "deny"
    assert door.finish(run_id)["status"] == "succeeded"
    assert '"key": "k2"' in door.data(run_id, "system.stderr")[0]["text"]


def test_a_waiting_run_is_neither_silent_nor_slow(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ask(), {"result": "x"}, silence_seconds=0.3, question_seconds=1.2)
    door.finish(run_id)
    assert door.state(run_id)["status"] == "succeeded"


# ---------------------------------------------------------------- permission by policy


def test_policy_answers_what_it_may_and_the_rest_asks(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        ask(kind="permission", tool="Read", target="README.md", paths=["README.md"]),
        ask(kind="permission", tool="Bash", command="cc-orchestrator run x", target="cc-orchestrator run x"),
        ask(kind="permission", tool="WebFetch", target="https://example.org"), {"result": "x"},
    )  # fmt: skip
    question = door.until_event(run_id, "question.asked")
    assert (question["tool"], question["target"]) == ("WebFetch", "https://example.org")
    decided = [(data["decision"], data["rule"]) for data in door.data(run_id, "policy.decided")]
    assert decided == [("allow", "read.anywhere"), ("deny", "orchestrate.never"), ("ask", "network.asks")]
    door.call("cc_answer", run_id=run_id, decision="deny", text="not today")
    door.finish(run_id)
    assert said(door, run_id)[2] == "answer: deny not today"


def test_a_denied_tool_call_does_not_happen_and_is_counted(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"write": {"path": "ok.txt", "content": "x"}}, {"write": {"path": "secret/no.txt", "content": "x"}}, {"result": "x"},
        gate=True, allow_write=True, scope={"deny": ["secret/**"]},
    )  # fmt: skip
    assert state["denied"] == 1
    assert [row["path"] for row in state["snapshot"]["files"]] == ["ok.txt"]
    assert state["completion"]["observed"]["denied"] == 1


def test_a_read_only_run_does_not_write_without_an_answer(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"write": {"path": "no.txt", "content": "x"}}, {"result": "wrote it"}, gate=True)
    assert not (door.cwd / "no.txt").exists()
    assert state["checkout"] == {"changed": False}


# ---------------------------------------------------------------- rate limit, liveness


def test_a_rate_limited_run_waits_and_says_until_when(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"rate_limit": 30}, {"result": "x"}, silence_seconds=0.4)
    door.until_event(run_id, "run.retrying")
    answer = door.call("cc_run_status", run_id=run_id)
    assert (answer["status"], answer["summary"]["liveness"]) == ("waiting", "rate_limited")
    assert answer["summary"]["rate_limited_until"] > answer_time(door)
    door.call("cc_stop", run_id=run_id, force=True)


def answer_time(door: Door) -> float:
    return door.context.clock.now()


def test_after_a_rate_limit_the_run_goes_on_as_running(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"rate_limit": 0.1}, {"say": "back"}, {"hang": {}})
    door.until_event(run_id, "run.message", text="back")
    assert door.call("cc_run_status", run_id=run_id)["status"] == "running"
    door.call("cc_stop", run_id=run_id, force=True)


def test_liveness_names_the_tool_that_runs(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"tool": {"tool": "Bash", "target": "make", "seconds": 30}}, {"result": "x"})
    door.until_event(run_id, "tool.started")
    summary = door.call("cc_run_status", run_id=run_id)["summary"]
    assert (summary["liveness"], summary["tool_now"]) == ("tool_running", "Bash make")
    assert liveness({**door.state(run_id), "open_tools": {}}, door.context.clock.now() + 1_000) == "slow"
    assert liveness({**door.state(run_id), "open_tools": {}}, door.context.clock.now()) == "working"
    door.call("cc_stop", run_id=run_id, force=True)
    assert liveness(door.state(run_id), 0.0) == "ended"


# ---------------------------------------------------------------- instructions


def test_an_instruction_reaches_a_live_worker(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"wait_instruction": {}}, {"result": "done"})
    door.until_event(run_id, "run.turn")
    answer = door.call("cc_send_instruction", run_id=run_id, instruction="look left")
    assert (answer["delivered"], answer["how"]) == (True, "while it works")
    door.finish(run_id)
    assert said(door, run_id) == ["instruction: look left"]
    assert door.state(run_id)["instructions"] == 1


def test_an_ended_run_goes_on_in_the_same_conversation_with_its_figures_apart(tmp_path: Path) -> None:
    door = Door(tmp_path)
    first = door.start_fake({"usage": {"input_tokens": 100, "cost_usd": 0.5}}, {"result": "one"})
    door.finish(first)
    answer = door.call("cc_send_instruction", run_id=first, instruction="go on")
    second = answer["run_id"]
    assert (answer["resumed"], answer["route_drift"]["changed"]) == (first, False)
    door.finish(second)
    before, after = door.state(first), door.state(second)
    assert after["session_id"] == before["session_id"]
    assert after["parent_run_id"] == first
    assert after["task_id"] == before["task_id"]
    assert after["usage"]["input_tokens"] == 100, "its own figures, not the conversation's"
    assert after["session_totals"]["input_tokens"] == 200
    assert door.spec(second).baseline == {"input_tokens": 100, "cost_usd": 0.5}


def test_a_write_run_goes_on_in_its_own_worktree(tmp_path: Path) -> None:
    door = Door(tmp_path)
    first = door.start_fake(
        {"write": {"path": "a.txt", "content": "1\n", "append": True}}, {"result": "one"}, allow_write=True
    )
    door.finish(first)
    second = door.call("cc_send_instruction", run_id=first, instruction="again")["run_id"]
    door.finish(second)
    assert door.state(second)["status"] == "succeeded"
    assert door.spec(second).worktree == door.spec(first).worktree
    assert (Path(door.spec(second).worktree or "") / "a.txt").read_text() == "1\n1\n"


def test_force_stops_nothing_that_can_be_steered(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"wait_instruction": {}}, {"result": "done"})
    door.until_event(run_id, "run.turn")
    assert door.call("cc_send_instruction", run_id=run_id, instruction="x", force=True)["delivered"] is True
    assert door.finish(run_id)["status"] == "succeeded"


# ---------------------------------------------------------------- the same request twice


def test_the_same_request_id_gives_the_same_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    script = {"steps": [{"result": "x"}]}
    first = door.call("cc_run_streaming", task="t", adapter="fake", script=script, client_request_id="r1")
    second = door.call("cc_run_streaming", task="t", adapter="fake", script=script, client_request_id="r1")
    assert second["run_id"] == first["run_id"]
    assert second["repeated"] is True
    with pytest.raises(Conflict) as caught:
        door.call("cc_run_streaming", task="other", adapter="fake", script=script, client_request_id="r1")
    assert first["run_id"] in caught.value.message
    door.finish(first["run_id"])
    assert len(door.call("cc_run_status", include_finished=True)["runs"]) == 1


@pytest.mark.parametrize("bad", ["", " ", "x" * 300])
def test_a_request_id_that_is_none_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InvalidRequest):
        Door(tmp_path).start_fake({"result": "x"}, client_request_id=bad)


# ---------------------------------------------------------------- receipts of permissions


def test_an_answered_permission_has_a_receipt_at_once_and_one_only(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        ask(kind="permission", tool="WebFetch", target="https://example.org"), ask("and now?"), {"result": "x"}
    )
    question_id = open_question(door, run_id)
    door.call("cc_answer", run_id=run_id, question_id=question_id, decision="allow")
    (row,) = door.call("cc_receipts", run_id=run_id)["receipts"]
    assert (row["kind"], row["actor"], row["channel"]) == ("approval", "controller", "cli")
    assert row["subject"]["question_id"] == question_id
    assert row["observed"] == {
        "decision": "allow", "by": "controller", "tool": "WebFetch", "target": "https://example.org",
    }  # fmt: skip
    door.until_event(run_id, "question.asked", text="and now?")
    door.call("cc_answer", run_id=run_id, decision="allow")
    door.finish(run_id)
    assert [row["kind"] for row in door.call("cc_receipts", run_id=run_id)["receipts"]] == ["run", "approval"]


def test_an_event_is_never_told_beside_a_state_that_does_not_know_it(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ask(kind="permission", tool="WebFetch", target="https://example.org"), {"result": "x"})
    question_id = open_question(door, run_id)

    class AnsweredBetween(WatchedEvent):
        """The answer lands when the state has just been read."""

        answered = False

        def _why(self, now: float) -> str | None:
            why = super()._why(now)
            if not self.answered:
                self.answered = True
                door.call("cc_answer", run_id=run_id, decision="allow")
            return why

    watched = AnsweredBetween(door.run(run_id), (ev.QUESTION_ANSWERED, "question_id", question_id))
    for _look in range(2):
        watched.look(0.0)
        known = watched.reading.state["questions"][question_id].get("decision")
        assert (watched.found is None) or known == "allow"
    assert watched.found is not None


def test_a_permission_that_nobody_gave_in_time_has_its_receipt_at_the_end(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        ask(kind="permission", tool="WebFetch", target="https://example.org"), {"result": "x"}, question_seconds=0.3
    )
    door.finish(run_id)
    kinds = {row["kind"]: row for row in door.call("cc_receipts", run_id=run_id)["receipts"]}
    assert set(kinds) == {"run", "approval"}
    assert (kinds["approval"]["actor"], kinds["approval"]["observed"]["decision"]) == ("deadline", "deny")
