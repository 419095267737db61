"""The life of a task: one table, and nothing beside it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.core.errors import Conflict, InvalidRequest
from cc_orchestrator.tasks.lifecycle import EDGES, SETTLED, STATES, TaskState, advance, replay

TASK = "task_00000000000000000000"
STRAIGHT = [
    ("queued", "submitted"), ("active", "started"), ("review", "run_succeeded"), ("accepted", "accepted"), ("merged", "delivered"),
    ("cleaned", "cleaned"),
]  # fmt: skip


def test_the_straight_way_leads_from_staged_to_cleaned() -> None:
    assert replay(TASK, STRAIGHT) == "cleaned"


@given(
    before=st.sampled_from(STATES),
    after=st.sampled_from(STATES),
    cause=st.sampled_from(["submitted", "accepted", "cleaned", "x"]),
)
def test_only_what_the_table_has_is_a_step(before: TaskState, after: TaskState, cause: str) -> None:
    if cause in EDGES[before].get(after, ()):
        assert advance(TASK, before, after, cause) == (before, after, cause)
    else:
        with pytest.raises(Conflict, match=TASK):
            advance(TASK, before, after, cause)


@pytest.mark.parametrize("skipped", range(len(STRAIGHT) - 1))
def test_no_station_of_the_way_can_be_left_out(skipped: int) -> None:
    with pytest.raises(Conflict):
        replay(TASK, STRAIGHT[:skipped] + STRAIGHT[skipped + 1 :])


def test_an_error_names_what_may_follow() -> None:
    with pytest.raises(Conflict, match="cannot become merged: what may follow is accepted, rejected"):
        advance(TASK, "review", "merged", "delivered")
    with pytest.raises(InvalidRequest, match="no state"):
        advance(TASK, "review", "done", "accepted")


def test_every_state_can_be_reached_and_left_until_it_is_cleaned() -> None:
    reached: set[str] = {"staged"}
    while more := {after for state in reached for after in EDGES[state]} - reached:
        reached |= more
    assert reached == set(STATES)
    assert [state for state in STATES if not EDGES[state]] == ["cleaned"]


def test_only_acceptance_leads_to_a_merge_and_nothing_settled_becomes_active_unasked() -> None:
    assert [state for state in STATES if "merged" in EDGES[state]] == ["accepted"]
    assert [state for state in STATES if "accepted" in EDGES[state]] == ["review"]
    assert {state for state in SETTLED if "active" in EDGES[state]} == {"rejected"}
    assert EDGES["rejected"]["active"] == ("fix_started",)
