"""Opinions, findings, standing and counsel: what counts, by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.verify.counsel import name_kind
from cc_orchestrator.verify.findings import Event, Finding, fold_findings, list_news, list_open, take_fingerprint
from cc_orchestrator.verify.opinion import Opinion, OpinionError, number_steps, read_opinion
from cc_orchestrator.verify.standing import Vote, judge_standing, weigh_risk

STEPS = number_steps(["it works", "it is tested"])
PASS_ALL = {
    "steps": [
        {"step": "S1", "verdict": "PASS", "evidence": "a.py:1"},
        {"step": "S2", "verdict": "PASS", "evidence": "t.py:3"},
    ]
}


def read(value: Any, *known: str) -> Opinion:
    return read_opinion(value if isinstance(value, str) else json.dumps(value), STEPS, known)


def with_step(**change: Any) -> dict[str, Any]:
    return {"steps": [{**PASS_ALL["steps"][0], **change}, PASS_ALL["steps"][1]]}


# ---------------------------------------------------------------- opinions


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PASS_ALL), f"```json\n{json.dumps(PASS_ALL)}\n```", f"Here it is:\n\n```\n{json.dumps(PASS_ALL, indent=2)}\n```\nDone.",
        f"My verdict: {json.dumps(PASS_ALL)}",
    ],
)  # fmt: skip
def test_prose_and_fences_around_the_object_are_tolerated(text: str) -> None:
    assert read(text).passed


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("all good", "no JSON object"), ("", "no JSON object"), ("[1]", "no JSON object"), ('{"steps": [}', "no single JSON object"),
        (json.dumps(PASS_ALL) + json.dumps(PASS_ALL), "no single JSON object"),
        (f"```json\n{json.dumps(PASS_ALL)}\n```\n```json\n{json.dumps(PASS_ALL)}\n```", "2 fenced objects"),
        ('{"steps": [], "steps": []}', "stands twice"), ('{"steps": NaN}', "NaN"), ({}, "steps: a list was expected"),
        ({**PASS_ALL, "verdict": "PASS"}, "unknown keys verdict"), (with_step(step="S9"), "S9 is none of S1, S2"),
        (with_step(step="S2"), "S2 stands twice"), (with_step(verdict="OK"), "one of PASS, FAIL"), (with_step(verdict=True), "one of PASS, FAIL"),
        (with_step(evidence=""), "S1.evidence: a text that says something"), (with_step(evidence=7), "S1.evidence"),
        (with_step(note="x"), "unknown keys note"), ({**PASS_ALL, "findings": [{"severity": "fatal", "text": "x"}]}, "one of blocker"),
        ({**PASS_ALL, "findings": [{"severity": "warn"}]}, "findings 1.text"), ({**PASS_ALL, "findings": ["bad"]}, "an object was expected"),
        ({**PASS_ALL, "findings": [{"severity": "warn", "text": "x", "line": "3"}]}, "findings 1.line"),
        ({**PASS_ALL, "known": [{"finding": "F9", "state": "fixed", "evidence": "x"}]}, "F9 was not asked about"),
        ({**PASS_ALL, "known": [{"finding": "F1", "state": "gone", "evidence": "x"}]}, "one of fixed, open"),
        ({**PASS_ALL, "known": [{"finding": "F1", "state": "fixed"}]}, "F1.evidence"), ('{"steps": ' + "[" * 100_000 + "}", "no single JSON object"),
    ],
)  # fmt: skip
def test_what_is_not_the_contract_is_named(value: Any, problem: str) -> None:
    with pytest.raises(OpinionError) as caught:
        read(value, "F1")
    assert problem in str(caught.value)


def test_a_missing_step_fails() -> None:
    found = read({"steps": PASS_ALL["steps"][:1]})
    assert not found.passed
    assert [row.passed for row in found.rulings] == [True, False]


def test_a_blocker_fails_and_a_warning_does_not() -> None:
    assert not read({**PASS_ALL, "findings": [{"severity": "blocker", "text": "it deletes data"}]}).passed
    assert read({**PASS_ALL, "findings": [{"severity": "warn", "text": "slow"}]}).passed


def passes(text: str) -> bool:
    try:
        return read_opinion(text, STEPS).passed
    except OpinionError:
        return False


@given(st.text(max_size=300), st.integers(0, 200))
def test_no_text_is_read_as_a_pass_by_accident(text: str, at: int) -> None:
    assert not passes(text)
    whole = json.dumps(PASS_ALL)
    assert passes(whole)
    assert not passes(whole[: min(at, len(whole) - 1)])


# ---------------------------------------------------------------- findings


def opinion(*texts: str, fixed: tuple[str, ...] = (), still: tuple[str, ...] = ()) -> Opinion:
    known = [{"finding": name, "state": "fixed", "evidence": "seen"} for name in fixed]
    known += [{"finding": name, "state": "open", "evidence": "seen"} for name in still]
    findings = [{"severity": "blocker", "path": "a.py", "text": text} for text in texts]
    return read_opinion(json.dumps({**PASS_ALL, "findings": findings, "known": known}), STEPS, (*fixed, *still))


class Story:
    """Reviews of one head after the other."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.heads = 0

    def review(self, *opinions: Opinion, same_head: bool = False) -> dict[str, Finding]:
        self.heads += not same_head
        self.events += list_news(self.findings, opinions, review_id="rev", head=f"head-{self.heads}", now=1.0)
        return self.findings

    def decide(self, kind: str, **more: Any) -> dict[str, Finding]:
        self.events.append({"kind": kind, "finding_id": "F1", "owner": "Ada", "reason": "because", **more})
        return self.findings

    @property
    def findings(self) -> dict[str, Finding]:
        return fold_findings(self.events)


def test_the_same_words_are_the_same_finding() -> None:
    assert take_fingerprint("a.py", "Line 12: `x` is  unused!") == take_fingerprint("a.py", "line 40: x is unused")
    assert take_fingerprint("a.py", "x is unused") != take_fingerprint("b.py", "x is unused")


def test_a_finding_is_fixed_only_by_a_review_of_another_head_that_says_so() -> None:
    story = Story()
    assert story.review(opinion("x leaks"))["F1"].state == "open"
    assert story.review(opinion(fixed=("F1",)), same_head=True)["F1"].state == "open"
    assert story.review(opinion())["F1"].state == "open"
    assert story.review(opinion(fixed=("F1",)), opinion(still=("F1",)))["F1"].state == "open"
    assert story.review(opinion(fixed=("F1",)), opinion())["F1"].state == "fixed"


def test_what_comes_back_twice_goes_round_in_circles() -> None:
    story = Story()
    story.review(opinion("x leaks"))
    for returns in (1, 2):
        story.review(opinion(fixed=("F1",)))
        found = story.review(opinion("x leaks"))["F1"]
        assert (found.state, found.returns, found.oscillates) == ("open", returns, returns == 2)


def test_a_rejected_finding_stays_rejected_and_a_waived_one_until_it_expires() -> None:
    story = Story()
    story.review(opinion("x leaks"))
    story.decide("waived", expires_at=100.0)
    found = story.review(opinion("x leaks"))
    assert list_open(found, 99.0) == []
    assert [row.id for row in list_open(found, 100.0)] == ["F1"]
    story.decide("rejected")
    assert list_open(story.review(opinion("x leaks")), 10.0**9) == []
    assert [row.id for row in list_open(story.decide("reopened"), 0.0)] == ["F1"]


def test_a_failed_step_is_a_finding_that_the_passed_step_closes() -> None:
    story = Story()
    failed = read({"steps": [{"step": "S1", "verdict": "FAIL", "evidence": "no"}, PASS_ALL["steps"][1]]})
    assert story.review(failed)["F1"].severity == "blocker"
    assert story.review(read(PASS_ALL))["F1"].state == "fixed"


# ---------------------------------------------------------------- standing


def vote(
    model: str = "m1", outcome: str = "passed", *, run_id: str = "r", head: str = "c", adapter: str = "claude"
) -> Vote:
    return Vote("rev", run_id, adapter, model, outcome, head, "t")


def stand(risk: str, *votes: Vote) -> list[str]:
    return judge_standing(risk, votes, {}, commit="c", tree="t", makers={"maker"}, now=0.0).problems


@pytest.mark.parametrize(
    ("votes", "enough"),
    [
        ((vote("m1"), vote("m2")), True), ((vote("m1"), vote("m1", adapter="codex")), True), ((vote("m1"), vote("m1", run_id="r2")), False),
        ((vote("m1"), vote("m2", "timed_out")), False), ((vote("m1"), vote("m2", "failed")), False), ((vote("m1"), vote("m2", "invalid")), False),
        ((vote("m1"), vote("m2", head="old")), False), ((vote("m1"), vote("m2", run_id="maker")), False),
        ((vote("m1"), vote("m2"), vote("m2", "failed")), False), ((vote("m1"), vote("m2", "failed"), vote("m2")), True), ((), False),
    ],
)  # fmt: skip
def test_high_risk_counts_distinct_votes_that_passed_this_very_result(votes: tuple[Vote, ...], enough: bool) -> None:
    assert (stand("high", *votes) == []) is enough


def test_low_needs_none_and_medium_one() -> None:
    assert stand("low") == []
    assert stand("medium") != []
    assert stand("medium", vote()) == []


@pytest.mark.parametrize(
    ("stated", "measured", "risk"),
    [
        (None, None, "low"),
        (None, 40, "low"),
        (None, 50, "medium"),
        ("high", 0, "high"),
        ("low", 100, "medium"),
        ("??", None, "high"),
    ],
)
def test_the_risk_is_what_was_said_and_at_least_what_was_measured(
    stated: str | None, measured: int | None, risk: str
) -> None:
    assert weigh_risk(stated, measured) == risk


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        ("merge and release to production", "release"), ("Fix and merge run 7", "deliver"), ("Review, then merge", "deliver"),
        ("reject the merge", "back_off"), ("reject it and push main", "push"), ("hold", "back_off"), ("delete the branch", "destroy"),
        ("verify it again", "back_off"), ("mark it as done", "accept"), ("paint it blue", "other"), ("git push --force", "push"),
    ],
)  # fmt: skip
def test_an_action_is_as_grave_as_the_gravest_word_in_it(action: str, kind: str) -> None:
    assert name_kind(action) == kind
