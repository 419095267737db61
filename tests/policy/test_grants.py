"""A secret is granted by name, for a time, for a number of uses, and to somebody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.policy.grants import choose_grants, is_name, standing_grants

ROW = {"grant_id": "g1", "name": "NPM_TOKEN", "to": "host", "expires": 100.0, "by": "ada"}
USED = {"grant_id": "g1", "used": True}


def test_a_grant_holds_until_its_end_and_not_a_moment_longer() -> None:
    assert [grant.name for grant in standing_grants([ROW], 99.9)] == ["NPM_TOKEN"]
    assert standing_grants([ROW], 100.0) == []


def test_a_revoked_grant_is_gone() -> None:
    assert standing_grants([ROW, {"grant_id": "g1", "revoked": True}], 1.0) == []


def test_uses_count_down_where_they_are_counted() -> None:
    assert standing_grants([{**ROW, "uses": 2}, USED], 1.0)[0].uses == 1
    assert standing_grants([{**ROW, "uses": 2}, USED, USED], 1.0) == []
    assert len(standing_grants([ROW, USED, USED, USED], 1.0)) == 1


def test_a_row_that_says_not_to_whom_grants_nothing() -> None:
    assert standing_grants([{**ROW, "to": "everybody"}], 1.0) == []


def test_a_grant_of_another_task_does_not_count() -> None:
    grants = standing_grants([{**ROW, "task_id": "task_a"}], 1.0)
    assert choose_grants(["NPM_TOKEN"], grants, "task_b").missing == ("NPM_TOKEN",)
    assert choose_grants(["NPM_TOKEN", "NPM_TOKEN"], grants, "task_a").grants == tuple(grants)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_every_wanted_name_is_either_covered_or_missing(names: list[str]) -> None:
    chosen = choose_grants(names, standing_grants([ROW], 1.0))
    assert {*(grant.name for grant in chosen.grants), *chosen.missing} == set(names)


def test_names_are_names() -> None:
    assert is_name("NPM_TOKEN")
    assert not is_name("NPM-TOKEN; rm")
