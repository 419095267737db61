"""What a bad end means, and what follows it: by structure alone, at the provider's own time, never twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.core.states import REASONS
from cc_orchestrator.runs.failures import LONGEST_PAUSE, TABLE, describe_failure, resume_at, rule_of
from cc_orchestrator.store import index
from cc_orchestrator.store.rundir import later_runs
from kit.door import Door
from kit.waiting import until

LIMITED = [
    {"retry": {"cause": "rate_limited", "status": 429, "delay_s": 1.0}},
    {"result": {"text": "API error 429", "is_error": True, "reason": "rate_limited"}},
]
SAYS_SO = {"result": {"text": "I hit a rate limit: 429, no capacity left", "is_error": True}}


# ---------------------------------------------------------------- the table


def test_every_reason_has_its_class_and_only_success_has_none() -> None:
    for reason, status in REASONS.items():
        rule = rule_of(reason)
        assert (rule is None) == (status == "succeeded"), reason
        assert (status == "budget_exceeded") == (rule is not None and rule.name == "budget_exceeded"), reason
    assert set(TABLE) <= set(REASONS)


@given(
    st.sampled_from(sorted(REASONS)),
    st.floats(0, 2e9),
    st.one_of(st.none(), st.floats(0, 4e9)),
    st.one_of(st.none(), st.floats(0, 1e6)),
    st.integers(0, 9),
    st.text(max_size=5),
)
def test_a_time_is_after_now_within_six_hours_and_the_same_each_time(
    reason: str, now: float, reset: float | None, delay: float | None, tries: int, seed: str
) -> None:
    rule = rule_of(reason)
    if rule is None:
        return
    at = resume_at(rule, now=now, reset=reset, tries=tries, seed=seed, delay=delay)
    assert at == resume_at(rule, now=now, reset=reset, tries=tries, seed=seed, delay=delay)
    if at is None:
        assert rule.mends != "time" or tries >= rule.tries
        return
    assert now <= at <= now + LONGEST_PAUSE + 1
    if rule.name == "provider_limit" and reset is None and delay is not None and delay < LONGEST_PAUSE:
        assert at >= now + delay - 0.01
    if rule.name == "provider_limit" and reset is not None and now < reset < now + LONGEST_PAUSE:
        assert at >= reset - 0.01


def test_without_a_time_each_try_waits_twice_as_long_and_jitter_differs_from_run_to_run() -> None:
    rule = TABLE["rate_limited"]
    waits = [resume_at(rule, now=0.0, reset=None, tries=tries, seed="x") for tries in range(rule.tries)]
    for tries, wait in enumerate(waits):
        assert wait is not None
        assert 60.0 * 2**tries <= wait <= 60.0 * 2**tries * 1.1
    assert resume_at(rule, now=0.0, reset=None, tries=rule.tries, seed="x") is None
    assert len({resume_at(rule, now=0.0, reset=100.0, tries=0, seed=str(seed)) for seed in range(20)}) == 20
    last = resume_at(rule, now=0.0, reset=None, delay=9.0, tries=0, seed="x")
    assert last is not None
    assert 9.0 <= last <= 9.9


def test_nobody_stopped_is_gone_on_with_and_a_login_waits_for_a_person() -> None:
    for reason, mends in (("user_requested", "controller"), ("auth_failed", "person"), ("max_cost", "person")):
        found = describe_failure(reason, now=1.0, reset=None, tries=0, seed="x")
        assert found is not None
        assert found["mends"] == mends
        assert "not_before" not in found


# ---------------------------------------------------------------- through the door

pytestmark = pytest.mark.process


def follow_ups(door: Door, run_id: str) -> list[str]:
    rows = index.select(str(door.cwd / ".agent-workspace" / "index.sqlite"), "parent_run_id = ?", (run_id,))
    return [str(row["run_id"]) for row in rows]


def test_words_about_a_limit_are_no_limit(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"say": "rate limit, 429, over capacity"}, SAYS_SO, resume_on_limit=True)
    door.finish(run_id)
    state = door.state(run_id)
    assert (state["reason"], state["failure"]["class"]) == ("worker_error", "agent_error")
    assert later_runs(str(door.cwd / ".agent-workspace" / "runs")) == []


def limited(door: Door, **more: Any) -> str:
    run_id = door.start_fake(script={"steps": LIMITED, "resumed": [{"result": {"text": "went on"}}]}, **more)
    door.finish(run_id)
    return run_id


def test_a_structured_limit_is_gone_on_with_in_the_same_conversation_at_its_time(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = limited(door, resume_on_limit=True)
    state = door.state(run_id)
    assert (state["status"], state["failure"]["class"], state["failure"]["mends"]) == (
        "failed",
        "provider_limit",
        "time",
    )
    summary = door.call("cc_poll", run_id=run_id)["summary"]
    assert summary["failure"]["resumes_itself"] is True
    found = until(lambda: follow_ups(door, run_id), 20.0, what="the run that goes on")
    door.finish(found[0])
    after = door.state(found[0])
    assert (after["status"], after["session_id"]) == ("succeeded", state["session_id"])
    assert after["created_at"] >= state["failure"]["not_before"]
    until(lambda: not later_runs(str(door.cwd / ".agent-workspace" / "runs")), 10.0, what="the mark to go")
    assert len(follow_ups(door, run_id)) == 1


def test_without_being_asked_for_nothing_follows_and_the_call_is_named(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = limited(door)
    answer = door.call("cc_poll", run_id=run_id)
    assert "cc_send_instruction" in answer["next"]
    assert answer["summary"]["failure"]["resumes_itself"] is False
    assert later_runs(str(door.cwd / ".agent-workspace" / "runs")) == []


LONG = [
    {"retry": {"cause": "rate_limited", "status": 429, "delay_s": 3600}},
    {"result": {"text": "x", "is_error": True, "reason": "rate_limited"}},
]


def test_who_stops_the_ended_run_stops_what_would_follow(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id, runs = long_limited(door)
    assert "not gone on with" in door.call("cc_stop", run_id=run_id)["note"]
    until(lambda: later_runs(runs) == [], 10.0, what="the mark to go")
    assert follow_ups(door, run_id) == []


def long_limited(door: Door) -> tuple[str, str]:
    """A run that is to be gone on with in an hour, and the folder of runs."""
    run_id = door.start_fake(script={"steps": LONG, "resumed": [{"result": "by hand"}]}, resume_on_limit=True)
    door.finish(run_id)
    runs = str(door.cwd / ".agent-workspace" / "runs")
    until(lambda: later_runs(runs) == [run_id], 10.0, what="the mark")
    return run_id, runs


def test_who_goes_on_by_hand_is_not_followed_by_a_second_one(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id, runs = long_limited(door)
    (job,) = door.call("cc_status")["jobs"]
    assert job["id"] == run_id
    assert job["goes_on_at"] > "20"
    by_hand = door.call("cc_send_instruction", run_id=run_id, instruction="go on now")["run_id"]
    door.finish(by_hand)
    until(lambda: later_runs(runs) == [], 10.0, what="the mark to go")
    assert follow_ups(door, run_id) == [by_hand]


@pytest.mark.parametrize("how", ["by hand", "abandoned"])
def test_a_sleeper_that_wakes_late_looks_what_became_of_the_run(tmp_path: Path, how: str) -> None:
    door = Door(tmp_path)
    run_id = limited(door)
    known: list[str] = []
    if how == "by hand":
        known = [door.call("cc_send_instruction", run_id=run_id, instruction="go on")["run_id"]]
        door.finish(known[0])
    else:
        door.call("cc_accept", run_id=run_id, decision="abandon", reason="not worth it")
    runs = door.cwd / ".agent-workspace" / "runs"
    os.makedirs(runs / ".later", exist_ok=True)
    (runs / ".later" / run_id).touch()
    door.call("cc_status")
    until(lambda: later_runs(str(runs)) == [], 20.0, what="the mark to go")
    assert follow_ups(door, run_id) == known


def test_a_start_on_a_limited_account_is_warned_until_somebody_was_served_there(tmp_path: Path) -> None:
    door = Door(tmp_path)
    arguments = {"task": "x", "adapter": "fake", "script": {"steps": [{"result": "x"}], "gate": True}}
    assert "declared" not in door.call("cc_run_streaming", **arguments)
    run_id = door.start_fake(*LONG)
    door.finish(run_id)
    warned = door.call("cc_run_streaming", **arguments)
    assert [row for row in warned["declared"] if "limited by its provider until 20" in row and run_id in row]
    door.finish(warned["run_id"])
    again = door.call("cc_run_streaming", **arguments)
    assert "declared" not in again
    door.finish(again["run_id"])


def test_a_lost_run_has_its_class_for_readers_and_in_the_journal(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    os.kill(door.until_event(run_id, "run.started")["supervisor_pid"], signal.SIGKILL)
    until(lambda: not door.run(run_id).is_owned(), 10.0, what="the lock to be free")
    assert door.state(run_id)["failure"]["class"] == "lost"
    door.call("cc_status")
    assert door.data(run_id, "run.lost")[0]["failure"]["class"] == "lost"


def test_a_waiting_process_that_died_is_made_good_by_the_next_door(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = limited(door)
    runs = door.cwd / ".agent-workspace" / "runs"
    os.makedirs(runs / ".later", exist_ok=True)
    (runs / ".later" / run_id).touch()
    door.call("cc_status")
    found = until(lambda: follow_ups(door, run_id), 20.0, what="the run that goes on")
    door.finish(found[0])
    door.call("cc_status")
    assert len(follow_ups(door, run_id)) == 1
