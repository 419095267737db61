"""The rules of a shared budget: never over by a grant, always freed, whatever runs do and in whatever order they die."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cc_orchestrator.runs import purse
from cc_orchestrator.runs.purse import Account, ask, bury, committed, leave, new_account, settle, slice_of, spent

LIMIT = 10.0
CEILING = {"cost_usd": LIMIT, "concurrent": 5.0, "runs": 40.0}
REQUEST = {"cost_usd": 0.5}
START = {"runs": 1.0, "concurrent": 1.0}


class Purse(RuleBasedStateMachine):
    """Runs that heed what they are told: they pay at most one request for each grant, and one to conclude."""

    def __init__(self) -> None:
        super().__init__()
        self.account: Account = new_account()
        self.live: dict[str, float] = {}
        self.concluding: set[str] = set()
        self.dead: dict[str, float] = {}
        self.paid = 0.0
        self.started = 0

    @rule()
    def start(self) -> None:
        copy = {**self.account, "holds": dict(self.account["holds"]), "largest": dict(self.account["largest"])}
        self.started += 1
        run_id = f"run-{self.started}"
        if not ask(copy, CEILING, run_id, dict(START), REQUEST).shortages:
            self.account = copy
            self.live[run_id] = 0.0

    @precondition(lambda self: self.live)
    @rule(data=st.data(), price=st.floats(0, 0.5))
    def pay_for_a_request(self, data: st.DataObject, price: float) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.live)))
        self.live[run_id] += price
        self.paid += price
        used = {**START, "cost_usd": self.live[run_id]}
        shortages = ask(self.account, CEILING, run_id, used, REQUEST).shortages
        if run_id in self.concluding:
            self.end(run_id, used)
        elif shortages:
            assert [row.level for row in shortages] == ["conclude"], "a conclusion is always covered"
            self.concluding.add(run_id)

    def end(self, run_id: str, used: dict[str, float]) -> None:
        assert settle(self.account, run_id, used)
        assert not settle(self.account, run_id, used), "settled twice"
        del self.live[run_id]
        self.concluding.discard(run_id)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.live)))
        self.end(run_id, {**START, "cost_usd": self.live[run_id]})

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.live)))
        bury(self.account, run_id)
        self.dead[run_id] = self.live.pop(run_id)
        self.concluding.discard(run_id)

    @precondition(lambda self: self.dead)
    @rule()
    def sweep(self) -> None:
        run_id, cost = self.dead.popitem()
        assert settle(self.account, run_id, {"runs": 1, "cost_usd": cost})

    @invariant()
    def nothing_is_promised_beyond_the_budget(self) -> None:
        assert committed(self.account, "cost_usd") <= LIMIT + 1e-6
        assert committed(self.account, "concurrent") <= 5
        assert committed(self.account, "runs") <= 40

    @invariant()
    def what_was_paid_is_within_the_budget(self) -> None:
        assert self.paid <= LIMIT + 1e-6

    @invariant()
    def only_live_runs_hold_more_than_they_used(self) -> None:
        if not self.live:
            assert abs(committed(self.account, "cost_usd") - spent(self.account, "cost_usd")) < 1e-9
            assert committed(self.account, "concurrent") == 0


Purse.TestCase.settings = settings(max_examples=80, stateful_step_count=60, deadline=None)
TestPurse = Purse.TestCase


def grant(account: Account, run_id: str, cost: float, ceiling: float = 1.0) -> purse.Grant:
    return ask(account, {"cost_usd": ceiling}, run_id, {"cost_usd": cost}, {"cost_usd": 0.1})


def test_a_run_holds_its_next_request_and_its_conclusion() -> None:
    account = new_account()
    assert grant(account, "a", 0.3).shortages == []
    assert round(committed(account, "cost_usd"), 9) == 0.5
    assert spent(account, "cost_usd") == 0.3


def test_a_run_that_cannot_have_both_concludes_and_keeps_what_is_left_for_that() -> None:
    account = new_account()
    assert grant(account, "a", 0.6).shortages == []
    (short,) = grant(account, "b", 0.1).shortages
    assert (short.metric, short.level, short.allowed) == ("cost_usd", "conclude", 1.0)
    assert round(committed(account, "cost_usd"), 9) == 1.0


def test_a_run_whose_conclusion_is_not_covered_is_ended_at_once() -> None:
    account = new_account({"cost_usd": 0.9})
    assert [row.level for row in grant(account, "a", 0.2).shortages] == ["hard"]


def test_who_does_not_conclude_is_ended_before_a_request_that_is_not_covered() -> None:
    account = new_account()
    levels = [[row.level for row in grant(account, "a", cost).shortages] for cost in (0.8, 0.85, 0.9, 0.95)]
    assert levels == [[], ["conclude"], ["conclude"], ["hard"]]


def test_the_last_turn_may_be_finished() -> None:
    account = new_account()
    turns = [ask(account, {"turns": 5}, "a", {"turns": number}, {}).shortages for number in (3, 4, 5, 6)]
    assert [[row.level for row in found] for found in turns] == [[], ["conclude"], ["conclude"], ["hard"]]


def test_a_request_that_cost_more_than_thought_is_remembered_for_all_within_bounds() -> None:
    account = new_account()
    assert slice_of(account, "cost_usd", 10.0, {}) == 0.05
    ask(account, {"cost_usd": 10.0}, "a", {"cost_usd": 0.4}, {})
    assert slice_of(account, "cost_usd", 10.0, {}) == 0.4
    ask(account, {"cost_usd": 10.0}, "a", {"cost_usd": 9.0}, {})
    assert slice_of(account, "cost_usd", 10.0, {}) == 2.5
    assert slice_of(account, "cost_usd", 10.0, {"cost_usd": 0.2}) == 0.2


def test_four_fifths_are_told() -> None:
    account = new_account({"cost_usd": 0.7})
    assert grant(account, "a", 0.05, 10.0).near == []
    (near,) = ask(account, {"cost_usd": 1.0}, "a", {"cost_usd": 0.1}, {"cost_usd": 0.01}).near
    assert (near.metric, round(near.used, 9)) == ("cost_usd", 0.8)


def test_a_run_that_was_never_made_leaves_nothing() -> None:
    account = new_account()
    grant(account, "a", 0.0)
    assert leave(account, "a")
    assert committed(account, "cost_usd") == 0
