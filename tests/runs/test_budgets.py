"""Budgets that several runs share: kept to the last request, told to the worker, and free again whatever dies."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import CcError, Corrupt, LimitReached
from cc_orchestrator.runs.accounts import look, names_now, read_budgets
from cc_orchestrator.runs.budgets import parse_budgets, raised, tighten
from cc_orchestrator.runs.limits import Breach
from cc_orchestrator.runs.purse import Account, committed, spent
from cc_orchestrator.runs.spec import Limits
from cc_orchestrator.runs.spending import warning
from cc_orchestrator.store.paths import find_workspace
from kit.door import Door
from kit.waiting import alive, until


def limited(tmp_path: Path, **budgets: Any) -> Door:
    door = Door(tmp_path)
    folder = door.cwd / ".agent-workspace"
    folder.mkdir()
    (folder / "budgets.json").write_text(json.dumps(budgets))
    return door


def account(door: Door, kind: str, **names: str) -> Account:
    workspace = find_workspace(str(door.cwd), door.env)
    views = look(workspace, names_now(door.context.clock.now(), **names), read_budgets(workspace))
    return next(view.account for view in views if view.kind == kind)


def spender(cost: float, times: int = 100, **figures: float) -> dict[str, Any]:
    """A worker that pays for a request, and goes on only when its supervisor has heard of it."""
    turn = [{"turn": {}}, {"usage": {"cost_usd": cost, **figures}}, {"tool": {"tool": "Read", "target": "a"}}]
    return {"gate": True, "steps": [{"repeat": {"times": times, "steps": turn}}, {"result": "all done"}]}


def end(state: dict[str, Any]) -> tuple[str, str | None]:
    return state["status"], state["reason"]


# ---------------------------------------------------------------- many runs, one budget


@pytest.mark.process
@pytest.mark.parametrize("known", [True, False])
def test_twenty_runs_at_once_stay_within_one_budget_of_money(tmp_path: Path, known: bool) -> None:
    price, budget = 0.05, 1.0
    door = limited(tmp_path, day={"max_cost_usd": budget}, **({"request_cost_usd": price} if known else {}))

    def start(_number: int) -> str | CcError:
        try:
            return door.start_fake(script=spender(price))
        except CcError as error:
            return error

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(start, range(20)))
    started = [answer for answer in answers if isinstance(answer, str)]
    refused = [answer for answer in answers if isinstance(answer, CcError)]
    for run_id in started:
        door.finish(run_id, seconds=60.0)
    states = [door.state(run_id) for run_id in started]
    assert {error.code: error.message for error in refused if not isinstance(error, LimitReached)} == {}
    assert {end(state) for state in states} == {("budget_exceeded", "day_budget")}
    total = sum(state["usage"].get("cost_usd", 0) for state in states)
    print(f"{len(started)} started, {len(refused)} refused, {total:.2f} of {budget:.2f} spent")
    # What a request costs is known beforehand, or found out by one for each run.
    assert total <= budget + (0 if known else price * len(started)) + 1e-9
    assert total >= budget * 0.4
    left = account(door, "day")
    assert left["holds"] == {}
    assert round(left["settled"]["cost_usd"], 6) == round(total, 6)


@pytest.mark.process
def test_a_start_without_room_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    door = limited(tmp_path, day={"max_cost_usd": 1.0}, request_cost_usd=0.4)
    run_id = door.start_fake({"hang": {}})
    with pytest.raises(LimitReached, match=r"budget of the day has no room .* nothing was started") as caught:
        door.start_fake({"result": "x"})
    assert "cc_budget" in caught.value.hint
    assert caught.value.details == {"budget": "day.max_cost_usd"}
    folder = door.cwd / ".agent-workspace"
    assert [path.name for path in (folder / "runs").glob("*run_*")] == [run_id]
    assert len(list((folder / "tasks").iterdir())) == 1
    assert list(account(door, "day")["holds"]) == [run_id]
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)
    assert door.play({"result": "x"})["status"] == "succeeded"


@pytest.mark.process
def test_a_killed_supervisor_gives_back_what_its_run_held_and_what_it_used_stays(tmp_path: Path) -> None:
    door = limited(tmp_path, day={"max_cost_usd": 1.0}, request_cost_usd=0.3)
    run_id = door.start_fake({"usage": {"cost_usd": 0.1}}, {"say": "paid"}, {"hang": {}})
    door.until_event(run_id, "run.message", text="paid")
    until(lambda: round(committed(account(door, "day"), "cost_usd"), 6) == 0.7, 5.0, what="the next slice")
    pid = door.until_event(run_id, "run.started")["supervisor_pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), 5.0, what="the death of the supervisor")
    # Before any sweep: its lock is free.
    assert round(committed(account(door, "day"), "cost_usd"), 6) == 0.1
    assert door.play({"usage": {"cost_usd": 0.1}}, {"result": "x"})["status"] == "succeeded"
    after = account(door, "day")
    assert after["holds"] == {}
    assert round(after["settled"]["cost_usd"], 6) == 0.2
    assert after["settled"]["runs"] == 2


# ---------------------------------------------------------------- what the worker hears


@pytest.mark.process
@pytest.mark.parametrize("shared", [False, True])
def test_a_worker_is_told_once_that_four_fifths_are_used(tmp_path: Path, shared: bool) -> None:
    door = limited(tmp_path, **({"day": {"max_tokens": 100}, "request_tokens": 1} if shared else {}))
    more = {} if shared else {"max_tokens": 100}
    state = door.play(
        {"usage": {"input_tokens": 85}}, {"wait_instruction": {"seconds": 10}}, {"usage": {"input_tokens": 2}}, {"sleep": 0.1},
        {"result": "x"}, **more,
    )  # fmt: skip
    assert end(state) == ("succeeded", "completed")
    said = [data["text"] for data in door.data(state["run_id"], "run.message")]
    whose = "today's shared tokens" if shared else "your tokens"
    assert said == [f"instruction: Budget notice: 85 % of {whose} budget is used. Finish the essential part now."]
    assert [data["delivered"] for data in door.data(state["run_id"], "run.instructed")] == [True]
    limits = [(data["limit"], data["level"]) for data in door.data(state["run_id"], "run.limit")]
    assert limits == [("day.max_tokens" if shared else "max_tokens", "soft")]


def test_a_worker_in_its_last_turn_is_told_nothing_that_would_cost_another() -> None:
    near = Breach("max_turns", "max_turns", "soft", 4, 5)
    assert warning(near) == "Budget notice: 80 % of your turns budget is used. Finish the essential part now."
    assert warning(near._replace(measured=5)) is None
    assert warning(near._replace(level="conclude")) is None
    assert warning(near._replace(limit="soft_output_bytes")) is None


@pytest.mark.process
def test_a_worker_concludes_while_there_is_enough_left_for_that(tmp_path: Path) -> None:
    door = limited(tmp_path, workspace={"max_cost_usd": 1.0}, request_cost_usd=0.1)
    state = door.play(script=spender(0.1))
    assert end(state) == ("budget_exceeded", "workspace_budget")
    assert state["result"]["text"].startswith("concluded early: workspace.max_cost_usd")
    assert 0.89 < state["usage"]["cost_usd"] <= 1.0


# ---------------------------------------------------------------- every metric, every scope


@pytest.mark.process
@pytest.mark.parametrize("scope", ["task", "day"])
@pytest.mark.parametrize(
    ("ceiling", "steps"),
    [
        ({"max_turns": 6}, [{"repeat": {"times": 50, "steps": [{"turn": {}}, {"sleep": 0.02}]}}]),
        ({"max_tokens": 5_000}, [{"repeat": {"times": 50, "steps": [{"usage": {"input_tokens": 500}}, {"sleep": 0.02}]}}]),
        ({"max_wall_seconds": 2}, [{"sleep": 30}]),
        ({"max_output_bytes": 300_000}, [{"flood": {"bytes": 3_000_000}}, {"sleep": 5}]),
    ],
    ids=["turns", "tokens", "wall", "bytes"],
)  # fmt: skip
def test_a_run_ends_when_what_it_shares_is_used_up(
    tmp_path: Path, scope: str, ceiling: dict[str, float], steps: list[dict[str, Any]]
) -> None:
    door = limited(tmp_path, **{scope: ceiling})
    state = door.play(*steps, {"result": "never"})
    assert end(state) == ("budget_exceeded", f"{scope}_budget")
    names = {"task_id": state["task_id"]} if scope == "task" else {}
    left = account(door, scope, **names)
    metric = next(iter(ceiling)).removeprefix("max_")
    assert left["holds"] == {}
    assert 0 < left["settled"][metric] < 2 * ceiling[f"max_{metric}"] or metric == "output_bytes"


@pytest.mark.process
def test_a_task_has_so_many_attempts_and_another_task_has_its_own(tmp_path: Path) -> None:
    door = limited(tmp_path, task={"max_runs": 2})
    first = door.play({"result": "x"})["run_id"]
    second = door.call("cc_send_instruction", run_id=first, instruction="again")["run_id"]
    door.finish(second)
    with pytest.raises(LimitReached, match="budget of task task_"):
        door.call("cc_send_instruction", run_id=second, instruction="and again")
    assert door.play({"result": "x"})["status"] == "succeeded"


@pytest.mark.process
def test_so_many_runs_may_be_live_at_once(tmp_path: Path) -> None:
    door = limited(tmp_path, workspace={"max_concurrent": 1})
    run_id = door.start_fake({"hang": {}})
    with pytest.raises(LimitReached, match="max_concurrent"):
        door.start_fake({"result": "x"})
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)
    assert door.play({"result": "x"})["status"] == "succeeded"


@pytest.mark.process
def test_a_budget_counts_what_was_used_before_it_was_set(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.play({"usage": {"cost_usd": 0.9}}, {"result": "x"})
    live = door.start_fake({"usage": {"cost_usd": 0.3}}, {"say": "paid"}, {"hang": {}})
    door.until_event(live, "run.message", text="paid")
    (door.cwd / ".agent-workspace" / "budgets.json").write_text('{"day":{"max_cost_usd":1.5},"request_cost_usd":0.2}')
    assert round(spent(account(door, "day"), "cost_usd"), 6) == 1.2
    with pytest.raises(LimitReached):
        door.start_fake({"result": "x"})
    door.call("cc_stop", run_id=live, force=True)
    door.finish(live)
    assert round(spent(account(door, "day"), "cost_usd"), 6) == 1.2


@pytest.mark.process
def test_a_cost_that_nobody_knows_ends_a_run_only_where_that_is_refused(tmp_path: Path) -> None:
    steps = ({"usage": {"model": "unheard-of", "input_tokens": 10}}, {"sleep": 0.2}, {"result": "x"})
    door = limited(tmp_path, day={"max_cost_usd": 1.0})
    assert door.play(*steps)["status"] == "succeeded"
    assert account(door, "day")["unknown_cost"] == 1
    (door.cwd / ".agent-workspace" / "budgets.json").write_text('{"day":{"max_cost_usd":1.0},"unknown_cost":"refuse"}')
    assert end(door.play(*steps[:1], {"hang": {}})) == ("budget_exceeded", "budget_unknown")


@pytest.mark.process
def test_a_lower_budget_holds_for_runs_that_are_under_way(tmp_path: Path) -> None:
    door = limited(tmp_path, day={"max_cost_usd": 100}, request_cost_usd=0.05)
    run_id = door.start_fake(script=spender(0.05, times=100_000))
    until(lambda: door.state(run_id)["usage"].get("cost_usd", 0) > 0.3, 10.0, what="some spending")
    door.call("cc_budget", action="set", budget={"day": {"max_cost_usd": 0.2}})
    assert door.finish(run_id)["reason"] == "day_budget"


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(
    ("raw", "named"),
    [({"days": {}}, "days"), ({"day": {"max_cost": 1}}, "day.max_cost"), ({"day": {"max_cost_usd": 0}}, "day.max_cost_usd"),
     ({"day": {"max_tokens": 1.5}}, "day.max_tokens"), ({"task": []}, "task"), ({"run": {"max_runs": 1}}, "run.max_runs"),
     ({"models": {"m": {"max_turns": "1"}}}, "models.m.max_turns"), ({"unknown_cost": "ask"}, "unknown_cost"),
     ({"request_tokens": True}, "request_tokens"), ({"day": {"max_cost_usd": float("nan")}}, "day.max_cost_usd")],
)  # fmt: skip
def test_a_field_that_is_wrong_is_refused_by_name(raw: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_budgets(raw)


def test_a_file_that_is_wrong_lets_nothing_start(tmp_path: Path) -> None:
    door = limited(tmp_path, day={"max_money": 1})
    with pytest.raises(Corrupt, match=r"budgets\.json: unknown field day\.max_money"):
        door.start_fake({"result": "x"})
    assert not list((door.cwd / ".agent-workspace" / "runs").glob("run_*"))


def test_each_run_and_each_model_is_held_to_the_narrower_limit() -> None:
    budgets = parse_budgets(
        {"run": {"max_wall_seconds": 100, "max_turns": 9}, "models": {"opus": {"max_cost_usd": 2, "max_turns": 5}}}
    )
    assert (
        tighten(Limits(), budgets, None)._asdict() | {"timeout_seconds": 100.0, "max_turns": 9}
        == tighten(Limits(), budgets, None)._asdict()
    )
    opus = tighten(Limits(timeout_seconds=50, max_cost_usd=1), budgets, "opus")
    assert (opus.timeout_seconds, opus.max_cost_usd, opus.max_turns) == (50, 1, 5)


def test_what_allows_more_is_told_apart_from_what_allows_less() -> None:
    before = parse_budgets(
        {"day": {"max_runs": 5}, "run": {"max_turns": 5}, "unknown_cost": "refuse", "request_tokens": 5}
    )
    less = {
        "day": {"max_runs": 4, "max_turns": 1},
        "run": {"max_turns": 5},
        "unknown_cost": "refuse",
        "request_tokens": 5,
        "task": {"max_runs": 1},
    }
    assert raised(before, parse_budgets(less)) == []
    assert raised(before, parse_budgets({"run": {"max_turns": 6}})) == [
        "day.max_runs",
        "run.max_turns",
        "unknown_cost",
        "request_tokens",
    ]
