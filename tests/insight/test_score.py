"""The score of a run, from facts to points."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.insight.score import Facts, observe, score_run, stand

GOOD = Facts(True, True, True, True, (), False, False, 0, 1_000)
MAYBE = st.sampled_from([None, True, False])
FLAGS = st.lists(st.sampled_from(["route_mismatch", "tool_errors", "checkout_changed", "failed", "lost"]), max_size=6)


@pytest.mark.parametrize(
    ("facts", "points"),
    [
        (GOOD, 100),
        (GOOD._replace(solved=False), 65),
        (GOOD._replace(solved=None), 65),
        (GOOD._replace(finished=False), 85),
        (GOOD._replace(scope_ok=False), 75),
        (GOOD._replace(secret_ok=False), 70),
        (GOOD._replace(failure_flags=("tool_errors",)), 92),
        (GOOD._replace(failure_flags=("a", "b", "c", "d", "e")), 75),
        (GOOD._replace(hallucination=True), 75),
        (GOOD._replace(needs_rework=True), 85),
        (GOOD._replace(tokens=50_000), 100),
        (GOOD._replace(tokens=50_001), 90),
        (GOOD._replace(scope_ok=None, secret_ok=None, tokens=None), 100),
        (Facts(False, False, False, False, ("a", "b", "c", "d"), True, True, 2, 10**6), 0),
    ],
)
def test_each_fault_costs_its_points(facts: Facts, points: int) -> None:
    assert score_run(facts).points == points


def test_an_unfinished_run_pays_for_that_once() -> None:
    assert score_run(GOOD._replace(finished=False, failure_flags=("timed_out",))).points == 85


def test_what_nobody_knows_is_named() -> None:
    score = score_run(Facts(True))
    assert score.unknown == ("solved", "scope_ok", "secret_ok", "hallucination", "needs_rework", "tokens")
    assert [row.why for row in score.deductions] == ["not proved to be solved"]


@given(
    facts=st.builds(
        Facts, st.booleans(), MAYBE, MAYBE, MAYBE, FLAGS.map(tuple), MAYBE, MAYBE, st.integers(0, 9),
        st.one_of(st.none(), st.integers(0, 10**7)),
    )
)  # fmt: skip
def test_a_score_adds_up_and_no_fault_ever_raises_it(facts: Facts) -> None:
    score = score_run(facts)
    assert 0 <= score.points <= 100
    assert score.points == max(0, 100 - sum(row.points for row in score.deductions))
    worse = (
        {"solved": False}, {"finished": False}, {"scope_ok": False}, {"secret_ok": False}, {"hallucination": True},
        {"needs_rework": True}, {"tokens": 10**8}, {"failure_flags": (*facts.failure_flags, "one more")},
    )  # fmt: skip
    assert all(score_run(facts._replace(**change)).points <= score.points for change in worse)


def verified(verdict: str, **checks: str) -> dict[str, Any]:
    return {"verdict": verdict, "checks": [{"check": name, "outcome": outcome} for name, outcome in checks.items()]}


def test_facts_are_observed_and_never_guessed() -> None:
    state = {"status": "succeeded", "usage": {"input_tokens": 10, "output_tokens": 5}}
    facts = observe(state, ["denied"], [verified("APPROVE", scope="pass", secrets="fail"), verified("HOLD")], None)
    assert facts == Facts(True, True, True, False, ("denied",), None, False, 1, 15)
    blind = observe({"status": "failed", "usage": {"input_tokens": 10}}, [], [], None)
    assert blind == Facts(False)
    assert observe(state, [], [verified("APPROVE", scope="unverified")], None).scope_ok is None


@pytest.mark.parametrize(
    ("decision", "solved"),
    [(None, True), ("accept", True), ("abandon", True), ("reject", False), ("request_fix", False)],
)
def test_a_refusal_counts_against_an_approving_verification(decision: str | None, solved: bool) -> None:
    assert observe({"status": "succeeded"}, [], [verified("APPROVE")], decision).solved is solved
    assert observe({"status": "succeeded"}, [], [verified("HOLD")], "accept").solved is False


def test_a_model_stands_by_the_latest_score_of_each_run() -> None:
    rows = [("run_1", "m", 20), ("run_2", "m", 90), ("run_1", "m", 60), ("run_3", "other", 5)]
    records = [
        {
            "subject": {"run_id": run},
            "observed": {"actual_model": model, "role": "development", "quality_score": points},
        }
        for run, model, points in rows
    ]
    assert stand(records, "m", "development") == (2, 75.0)
    assert stand(records, "m", "review") == (0, None)
