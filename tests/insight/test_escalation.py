"""How urgent a thing is: it rises with time alone, in steps, never beyond its bound; the most urgent comes first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.insight.escalation import (
    ESCALATE_SECONDS,
    HOLD_SECONDS,
    LEVELS,
    URGENCY,
    Code,
    Item,
    level_of,
    rank,
)

CODES = st.sampled_from(sorted(URGENCY))


@given(CODES, st.floats(-1e3, 1e7), st.floats(0, 1e7))
def test_a_level_never_falls_by_waiting_and_stays_within_its_bounds(code: Code, age: float, more: float) -> None:
    start, most = (LEVELS.index(level) for level in URGENCY[code])
    before, after = LEVELS.index(level_of(code, age)), LEVELS.index(level_of(code, age + more))
    assert start <= before <= after <= most


def test_half_an_hour_makes_a_hold_and_an_hour_more_escalates() -> None:
    steps = [
        level_of("question", age) for age in (0, HOLD_SECONDS - 1, HOLD_SECONDS, HOLD_SECONDS + ESCALATE_SECONDS - 1)
    ]
    assert steps == ["review_required", "review_required", "hold", "hold"]
    assert level_of("question", HOLD_SECONDS + ESCALATE_SECONDS) == "escalate"
    assert (level_of("login_needed", ESCALATE_SECONDS - 1), level_of("login_needed", ESCALATE_SECONDS)) == (
        "hold",
        "escalate",
    )
    assert level_of("unverified", 1e9) == "hold"
    assert level_of("goes_on", 1e9) == "info"


@given(st.lists(st.tuples(CODES, st.floats(0, 1e6)), max_size=20))
def test_the_order_is_by_level_then_kind_then_age_and_loses_nothing(rows: list[tuple[Code, float]]) -> None:
    items = [Item(code, f"run_{number}", since, "", "") for number, (code, since) in enumerate(rows)]
    ranked = rank(items, 1e6)
    assert sorted(row.item.id for row in ranked) == sorted(item.id for item in items)
    levels = [LEVELS.index(row.level) for row in ranked]
    assert levels == sorted(levels, reverse=True)
    for left, right in pairwise(ranked):
        if (left.level, left.item.code) == (right.level, right.item.code):
            assert left.item.since <= right.item.since
