"""Open items as values: what a verification opens and closes, whatever the order in which it is told."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.ids import new_id
from cc_orchestrator.tasks.item import Draft, Item, blockers_of, find_open, plan_items

TASK = new_id("task", now=1.0)
RUNS = [new_id("run", now=float(number)) for number in (1, 2)]


def result(at: int, *, run: int = 0, verdict: str = "HOLD", **checks: str) -> dict[str, Any]:
    return {
        "verify_id": f"ver_{at:020d}", "run_id": RUNS[run], "task_id": TASK, "verdict": verdict, "finished_at": float(at),
        "checks": [{"check": name, "outcome": outcome, "evidence": "seen"} for name, outcome in checks.items()],
    }  # fmt: skip


def take_in(items: list[Item], *results: dict[str, Any]) -> list[Item]:
    for one in results:
        plan = plan_items(one, items)
        closed = {"at": one["finished_at"], "evidence": one["verify_id"]}
        items = [item._replace(closed=closed) if item.item_id in plan.closes else item for item in items]
        items += [_open(draft, one["finished_at"], len(items) + number) for number, draft in enumerate(plan.opens)]
    return items


def _open(draft: Draft, at: float, number: int) -> Item:
    return Item(
        f"oi_{number}", draft.task_id, draft.run_id, draft.severity, draft.title, draft.key, draft.source, draft.check,
        draft.verify_id, at,
    )  # fmt: skip


def test_each_required_check_that_did_not_pass_opens_a_blocker_once() -> None:
    items = take_in([], result(1, scope="pass", tests="fail", tree="unverified"), result(2, tests="fail"))
    assert [(item.check, item.severity, item.verify_id) for item in items] == [
        ("tests", "blocker", "ver_00000000000000000001"),
        ("tree", "blocker", "ver_00000000000000000001"),
    ]
    assert items[0].title == "tests fail: seen"


def test_a_check_that_is_not_required_opens_nothing() -> None:
    one = result(1, tests="fail")
    one["checks"][0]["required"] = False
    assert take_in([], one) == []


def test_the_same_check_passing_under_a_later_approve_closes_and_one_that_left_it_out_does_not() -> None:
    failed = result(1, tests="fail")
    assert take_in([], failed, result(2, verdict="APPROVE", scope="pass"))[0].is_open
    assert take_in([], failed, result(2, verdict="HOLD", tests="pass"))[0].is_open
    assert not take_in([], failed, result(2, verdict="APPROVE", tests="pass"))[0].is_open


def test_a_follow_up_run_closes_what_its_parent_left_open() -> None:
    items = take_in([], result(1, tests="fail"), result(2, run=1, verdict="APPROVE", tests="pass"))
    assert [item.closed for item in items] == [{"at": 2.0, "evidence": "ver_00000000000000000002"}]


def test_a_check_that_fails_again_is_a_new_item() -> None:
    items = take_in([], result(1, tests="fail"), result(2, verdict="APPROVE", tests="pass"), result(3, tests="fail"))
    assert [item.is_open for item in items] == [False, True]


def test_what_somebody_closed_by_hand_after_it_failed_stays_closed() -> None:
    items = [
        item._replace(closed={"at": 5.0, "reason": "known flake"}) for item in take_in([], result(1, tests="fail"))
    ]
    assert len(take_in(items, result(1, tests="fail"), result(2, tests="fail"))) == 1
    assert len(take_in(items, result(6, tests="fail"))) == 2


def test_blockers_concern_a_run_its_parents_or_the_whole_task() -> None:
    items = take_in([], result(1, tests="fail"), result(2, run=1, tests="fail"))
    whole = items[0]._replace(item_id="oi_9", run_id=None, key="x", source="reviewer")
    warned = whole._replace(item_id="oi_10", severity="warn")
    found = blockers_of([*items, whole, warned], TASK, [RUNS[1]])
    assert [item.item_id for item in found] == ["oi_1", "oi_9"]
    assert blockers_of([whole], "task_other", [RUNS[1]]) == []
    assert find_open([whole], TASK, "x") == whole


OUTCOMES = st.sampled_from(["pass", "fail", "unverified"])


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 1), st.booleans(), OUTCOMES, OUTCOMES), max_size=8))
def test_taking_everything_in_again_changes_nothing(rows: list[tuple[int, bool, str, str]]) -> None:
    results = [
        result(
            at, run=run, tests=tests, tree=tree, verdict="APPROVE" if tests == tree == "pass" and approve else "HOLD"
        )
        for at, (run, approve, tests, tree) in enumerate(rows, 1)
    ]
    once = take_in([], *results)
    assert take_in(once, *results) == once
    assert take_in(once, *[one for one in results if one["run_id"] == RUNS[0]]) == once
