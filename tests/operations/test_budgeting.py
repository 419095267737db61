"""cc_budget and cc_cost_guard: what is left for whom, who may change it, and whether one more run may start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import ApprovalRequired, Corrupt, InvalidRequest, LimitReached
from kit.door import Answer, Door


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def agent(door: Door) -> Door:
    return Door("unused", cwd=door.cwd, channel="mcp")


def budget(door: Door, **settings: object) -> Answer:
    return door.call("cc_budget", action="set", budget=settings)


def test_without_budgets_nothing_is_limited_and_nothing_is_written(door: Door) -> None:
    answer = door.call("cc_budget")
    assert answer["settings"] == "none: nothing is limited"
    assert "budgets" not in answer
    assert answer["prices"]["models"] > 10
    assert door.call("cc_cost_guard")["within_budget"] is True
    assert not (door.cwd / ".agent-workspace").exists()


@pytest.mark.process
def test_a_budget_shows_what_is_used_reserved_and_left_and_who_holds_it(door: Door) -> None:
    budget(door, day={"max_cost_usd": 2, "max_runs": 10}, request_cost_usd=0.25)
    door.play({"usage": {"cost_usd": 0.5}}, {"result": "x"})
    run_id = door.start_fake({"hang": {}})
    (row,) = door.call("cc_budget")["budgets"]
    assert row["scope"] == "day"
    assert row["limits"]["cost_usd"] == {"limit": 2, "used": 0.5, "reserved": 0.5, "left": 1}
    assert row["limits"]["runs"] == {"limit": 10, "used": 2, "reserved": 0, "left": 8}
    assert row["holders"] == [
        {"run_id": run_id, "used": {"cost_usd": 0, "runs": 1}, "held": {"cost_usd": 0.5, "runs": 1}}
    ]
    assert row["resets_at"].endswith("T00:00:00.000Z")
    door.call("cc_stop", run_id=run_id, force=True)


def test_setting_adds_to_what_is_set_null_takes_away_and_each_change_has_a_receipt(door: Door) -> None:
    budget(door, day={"max_cost_usd": 2, "max_tokens": 1000}, task={"max_runs": 3})
    answer = budget(door, day={"max_tokens": None}, run={"max_turns": 9}, models={"opus": {"max_cost_usd": 1}})
    assert answer["settings"] == {
        "day": {"max_cost_usd": 2}, "task": {"max_runs": 3}, "run": {"max_turns": 9}, "models": {"opus": {"max_cost_usd": 1}},
    }  # fmt: skip
    receipts = door.call("cc_receipts", kind="budget")["receipts"]
    assert len(receipts) == 2
    assert receipts[0]["observed"]["before"]["day"] == {"cost_usd": 2, "tokens": 1000}
    assert receipts[0]["observed"]["after"]["day"] == {"cost_usd": 2}
    assert receipts[0]["channel"] == "cli"
    assert door.call("cc_ledger")["ok"]


def test_an_agent_may_lower_a_budget_and_only_a_person_raises_one(door: Door) -> None:
    budget(agent(door), day={"max_cost_usd": 5}, unknown_cost="refuse")
    budget(agent(door), day={"max_cost_usd": 4})
    for more in (
        {"day": {"max_cost_usd": 6}},
        {"day": {"max_cost_usd": None}},
        {"day": None},
        {"unknown_cost": "allow"},
    ):
        with pytest.raises(ApprovalRequired) as caught:
            budget(agent(door), **more)
        assert caught.value.hint.startswith("a person: cc-orchestrator budget --action set --budget '{")
    assert door.call("cc_budget")["settings"]["day"] == {"max_cost_usd": 4}
    assert budget(door, day={"max_cost_usd": 6})["settings"]["day"] == {"max_cost_usd": 6}


@pytest.mark.parametrize(
    "arguments",
    [{"action": "set"}, {"action": "set", "budget": {}}, {"budget": {"day": {"max_runs": 1}}},
     {"action": "set", "budget": {"day": {"max_cost": 1}}}, {"action": "set", "budget": {"day": {"max_cost": None}}},
     {"action": "set", "budget": {"run": {"max_runs": 1}}},
     {"action": "set", "budget": {"day": {"max_cost_usd": 0}}}, {"workflow": "../x"}],
)  # fmt: skip
def test_a_request_that_makes_no_sense_changes_nothing(door: Door, arguments: Answer) -> None:
    with pytest.raises(InvalidRequest):
        door.call("cc_budget", **arguments)
    assert not (door.cwd / ".agent-workspace" / "budgets.json").exists()


def test_a_file_that_was_broken_by_hand_is_named(door: Door) -> None:
    budget(door, day={"max_runs": 1})
    (door.cwd / ".agent-workspace" / "budgets.json").write_text(json.dumps({"day": {"max_runs": "many"}}))
    for name in ("cc_budget", "cc_cost_guard"):
        with pytest.raises(Corrupt, match=r"budgets\.json: day\.max_runs must be a number above 0"):
            door.call(name)


# ---------------------------------------------------------------- the guard


@pytest.mark.process
def test_the_guard_tells_what_today_cost_and_whether_one_more_may_start(door: Door) -> None:
    budget(door, day={"max_cost_usd": 1}, request_cost_usd=0.1)
    door.play({"usage": {"model": "m-1", "input_tokens": 7, "cost_usd": 0.7}}, {"result": "x"})
    door.play({"usage": {"model": "m-2", "input_tokens": 5}}, {"result": "x"})
    answer = door.call("cc_cost_guard")
    assert answer["within_budget"] is True
    assert answer["today"]["runs"] == 2
    assert answer["today"]["cost_usd"] == 0.7
    assert answer["today"]["by_model"]["m-1"] == {"runs": 1, "cost_usd": 0.7, "tokens": 7, "unknown_cost": 0}
    assert answer["warnings"] == ["1 runs of today have no known cost: they are in no sum of money"]
    door.play({"usage": {"cost_usd": 0.15}}, {"result": "x"})
    answer = door.call("cc_cost_guard")
    assert answer["within_budget"] is False
    assert answer["blocked"] == ["day.max_cost_usd: 0.85 of 1 used, no room for another run"]
    assert "day.max_cost_usd: 85% used" in answer["warnings"]
    with pytest.raises(LimitReached):
        door.start_fake({"result": "x"})


@pytest.mark.process
def test_the_predecessors_guard_is_shown_before_it_is_applied_and_then_holds(door: Door) -> None:
    config = {"max_concurrent": 1, "max_timeout_seconds": 900, "per_model": {"slow-1": {"max_timeout_seconds": 60}}}
    shown = door.call("cc_cost_guard", config=config)
    assert shown["applied"] is False
    assert not (door.cwd / ".agent-workspace").exists()
    applied = door.call("cc_cost_guard", config=config, apply=True)
    assert applied["applied"] is True
    assert applied["guard"] == shown["guard"] == {**config, "budgets": {"workspace": {"max_concurrent": 1}}}
    run_id = door.start_fake({"hang": {}}, model="slow-1")
    assert door.spec(run_id).limits.timeout_seconds == 60
    with pytest.raises(LimitReached, match="max_concurrent"):
        door.start_fake({"result": "x"})
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)
    run_id = door.start_fake({"result": "x"}, timeout_seconds=7_200)
    assert door.spec(run_id).limits.timeout_seconds == 900
    door.finish(run_id)
    with pytest.raises(ApprovalRequired):
        agent(door).call("cc_cost_guard", config={"max_concurrent": 2}, apply=True)


def test_a_guard_without_a_counterpart_is_refused_by_name(door: Door) -> None:
    for config in ({"max_files": 1}, {"output_budget": {"policy": "stop"}}, {"per_model": 3}):
        with pytest.raises(InvalidRequest, match=f"config: '{next(iter(config))}' is not known"):
            door.call("cc_cost_guard", config=config)
    with pytest.raises(InvalidRequest, match="apply needs a config"):
        door.call("cc_cost_guard", apply=True)


def test_a_model_whose_price_nobody_knows_is_a_warning(door: Door) -> None:
    answer = door.call("cc_cost_guard", adapter="codex", model="unheard-of")
    assert "no price is known for unheard-of" in answer["warnings"][0]
