"""Budgets of a run: each is kept, its reason is exact, and what was kept out is counted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.runs.limits import Measures, check_limits, used_tokens
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.spec import Limits
from cc_orchestrator.runs.stopping import Ladder
from kit.door import Door

TURNS = {"repeat": {"times": 50, "steps": [{"turn": {}}, {"sleep": 0.02}]}}


def end(state: dict[str, Any]) -> tuple[str, str | None]:
    return state["status"], state["reason"]


def last_limit(state: dict[str, Any]) -> tuple[str, str, str]:
    entry = state["limits"][-1]
    return entry["limit"], entry["level"], entry["action"]


# ---------------------------------------------------------------- turns, tokens, cost


@pytest.mark.process
def test_turns_over_the_limit_ask_the_worker_to_conclude_first(tmp_path: Path) -> None:
    state = Door(tmp_path).play(TURNS, {"result": "never"}, max_turns=3)
    assert end(state) == ("budget_exceeded", "max_turns")
    assert state["result"]["text"].startswith("concluded early: max_turns")
    assert last_limit(state) == ("max_turns", "hard", "conclude")
    assert state["exit"]["exit"] == 0


@pytest.mark.process
def test_the_last_allowed_turn_may_be_finished(tmp_path: Path) -> None:
    assert end(Door(tmp_path).play({"turn": {}}, {"result": "x"}, max_turns=2)) == ("succeeded", "completed")


@pytest.mark.process
def test_tokens_and_cost_have_reasons_of_their_own(tmp_path: Path) -> None:
    door = Door(tmp_path)
    spend = {"repeat": {"times": 50, "steps": [{"usage": {"input_tokens": 100, "cost_usd": 0.01}}, {"sleep": 0.02}]}}
    assert end(door.play(spend, max_tokens=250)) == ("budget_exceeded", "max_tokens")
    assert end(door.play(spend, max_cost_usd=0.025)) == ("budget_exceeded", "max_cost")


@pytest.mark.process
def test_a_limit_that_is_near_is_announced_and_ends_nothing(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"usage": {"input_tokens": 85}}, {"sleep": 0.05}, {"result": "x"}, max_tokens=100)
    assert end(state) == ("succeeded", "completed")
    assert last_limit(state) == ("max_tokens", "soft", "soft")


# ---------------------------------------------------------------- bytes


@pytest.mark.process
def test_too_much_output_stops_the_worker(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"flood": {"bytes": 2_000_000}}, {"result": "x"}, max_output_bytes=50_000)
    assert end(state) == ("budget_exceeded", "output_bytes")


@pytest.mark.process
def test_too_many_events_stop_the_worker(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"flood": {"bytes": 2_000_000}}, {"result": "x"}, max_events_bytes=50_000)
    assert end(state) == ("budget_exceeded", "events_bytes")


@pytest.mark.process
def test_truncating_output_keeps_the_run_and_counts_what_is_not_kept(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"flood": {"bytes": 1_000_000}}, {"result": "all of it"}, max_output_bytes=50_000, output_budget_policy="truncate"
    )  # fmt: skip
    assert end(state) == ("succeeded", "completed")
    assert state["result"]["text"] == "all of it"
    kept = os.path.getsize(door.run(state["run_id"]).at("stdout.raw"))
    assert kept < 600_000
    assert kept + state["exit"]["dropped_bytes"] > 900_000


@pytest.mark.process
def test_truncating_events_keeps_what_is_essential(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"flood": {"bytes": 1_000_000}}, {"result": "kept"}, max_events_bytes=50_000, output_budget_policy="truncate"
    )  # fmt: skip
    assert end(state) == ("succeeded", "completed")
    assert os.path.getsize(door.run(state["run_id"]).journal) < 400_000
    assert state["exit"]["dropped_events"] > 1_000
    assert state["result"]["text"] == "kept"


@pytest.mark.process
def test_text_deltas_do_not_count_as_output(tmp_path: Path) -> None:
    state = Door(tmp_path).play(
        {"flood": {"as": "delta", "bytes": 3_000_000}}, {"result": "x"}, max_output_bytes=10_000, max_events_bytes=10_000,
    )  # fmt: skip
    assert end(state) == ("succeeded", "completed")
    assert state["limits"] == []


@pytest.mark.process
def test_the_soft_limit_announces_and_only_kills_when_asked_to(tmp_path: Path) -> None:
    door = Door(tmp_path)
    flood = ({"flood": {"bytes": 200_000}}, {"sleep": 0.05}, {"result": "x"})
    soft = door.play(*flood, soft_output_bytes=50_000)
    assert end(soft) == ("succeeded", "completed")
    assert last_limit(soft) == ("soft_output_bytes", "soft", "soft")
    hard = door.play(*flood[:1], {"hang": {}}, soft_output_bytes=50_000, kill_on_excessive_output=True)
    assert end(hard) == ("budget_exceeded", "output_bytes")
    assert hard["limits"][-1]["limit"] == "soft_output_bytes"


@pytest.mark.process
def test_final_only_keeps_the_answer_and_no_chatter(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"say": "thinking aloud"}, {"tool": {"tool": "Read", "target": "a"}}, {"usage": {"input_tokens": 7}},
        {"result": "the answer"}, final_only=True,
    )  # fmt: skip
    run_id = state["run_id"]
    assert end(state) == ("succeeded", "completed")
    kinds = {event["type"] for event in door.events(run_id)}
    assert not kinds & {"run.message", "tool.started", "tool.finished", "run.turn"}
    assert state["completion"]["claimed"]["text"] == "the answer"
    assert state["usage"]["input_tokens"] == 7
    assert os.path.getsize(door.run(run_id).at("stdout.raw")) == 0
    assert state["exit"]["dropped_events"] >= 4


@pytest.mark.process
def test_the_final_text_is_cut_at_its_characters(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": "ä" * 5_000}, final_max_chars=1_000)
    assert state["completion"]["claimed"]["text"] == "ä" * 999 + "…"


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("name", "value"),
    [("timeout_seconds", -1), ("timeout_seconds", 1e9), ("timeout_seconds", "soon"), ("max_turns", 0), ("max_turns", 1.5),
     ("max_tokens", -5), ("max_cost_usd", 0), ("max_output_bytes", 0), ("max_output_bytes", 10**30), ("final_max_chars", 10),
     ("output_budget_policy", "explode"), ("silence_seconds", float("nan")), ("no_such_limit", 1)],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    door = Door(tmp_path)
    with pytest.raises(InvalidRequest) as caught:
        door.call("cc_run_streaming", task="x", adapter="fake", **{name: value})
    assert name in caught.value.message
    assert not (door.cwd / ".agent-workspace").exists()


# ---------------------------------------------------------------- deciding, pure


def measures(**changes: Any) -> Measures:
    return Measures(
        **{"elapsed": 0.0, "idle": 0.0, "output_bytes": 0, "events_bytes": 0, "turns": 0, "tokens": None, "cost_usd": None}
        | changes
    )  # fmt: skip


def test_what_is_unknown_breaks_no_budget() -> None:
    assert check_limits(Limits(max_tokens=1, max_cost_usd=0.01), measures()) == []


def test_no_limit_means_no_breach() -> None:
    limits = Limits(silence_seconds=None, max_output_bytes=None, soft_output_bytes=None, max_events_bytes=None)
    assert check_limits(limits, measures(idle=1e6, output_bytes=10**12, events_bytes=10**12, turns=10**6)) == []


def test_the_hardest_breach_comes_first() -> None:
    found = check_limits(Limits(timeout_seconds=10, max_turns=1), measures(elapsed=11, turns=5, output_bytes=6_000_000))
    assert [breach.level for breach in found] == ["hard", "conclude", "soft"]


def test_all_paid_tokens_count_and_none_known_is_unknown() -> None:
    assert used_tokens({"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 4, "cache_write_tokens": 8}) == 15
    assert used_tokens({"cost_usd": 1.0}) is None


STOP = Stop("max_turns", "limit")


def descend(ladder: Ladder, *times: float) -> list[str | None]:
    return [ladder.advance(now) for now in times]


def test_a_ladder_gives_each_step_its_time() -> None:
    ladder = Ladder(STOP, 100.0, first="conclude", grace=2.0)
    assert descend(ladder, 99.0, 100.0, 129.9, 130.0, 131.9, 132.0, 134.0, 1e9) == [
        None, "conclude", None, "interrupt", None, "terminate", "kill", None,
    ]  # fmt: skip
    assert ladder.due is None


def test_a_harder_wish_goes_on_at_once_and_a_softer_one_changes_nothing() -> None:
    ladder = Ladder(STOP, 100.0, first="conclude", grace=2.0)
    ladder.advance(100.0)
    ladder.escalate(Stop("user_requested", "controller"), "interrupt")
    assert ladder.advance(100.1) == "interrupt"
    assert ladder.stop.reason == "user_requested"
    ladder.escalate(Stop("timeout", "limit"), "kill")
    assert ladder.advance(100.2) == "kill"
    assert ladder.stop.reason == "user_requested"
    ladder.escalate(Stop("timeout", "limit"), "interrupt")
    assert ladder.advance(1e9) is None


@pytest.mark.parametrize(("limit", "asked_at"), [(2, 1), (8, 4), (30, 25), (100, 90), (1_800, 1_780)])
def test_a_worker_has_seconds_to_conclude_before_the_wall_clock_ends_it(limit: float, asked_at: float) -> None:
    limits = Limits(timeout_seconds=limit)
    before = check_limits(limits, measures(elapsed=asked_at - 0.1))
    assert [breach.level for breach in before] == (["soft"] if limit >= 60 else [])
    assert [breach.level for breach in check_limits(limits, measures(elapsed=asked_at))] == ["conclude"]
