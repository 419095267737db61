"""The parts that the replay library does not tell apart: lines that are life, prompts, coaxing, and what doors make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core import events as ev
from cc_orchestrator.runs.coaxing import ANSWER_SECONDS, MOST_NUDGES, Coaxing
from cc_orchestrator.runs.fold import apply, new_state
from cc_orchestrator.runs.liveness import Judgement, judge
from cc_orchestrator.runs.stirring import Stirring, find_prompt
from cc_orchestrator.runs.summary import next_call, summarize
from kit.door import Door

STALL = Judgement("suspected_stall", 1.0, None, "silent", "no sign of life for 60 s")
STUCK = Judgement("suspected_stall", 1.0, None, "dead_stream", "a message stopped half way")
WORKING = Judgement("working")


def line(**value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    "data",
    [line(type="stream_event", event={"type": "content_block_delta", "delta": {"type": "text_delta", "text": "so"}}),
     line(method="item/agentMessage/delta", params={"delta": "so"}), line(event="delta", text="x"), line(event="thinking", text="hm"),
     line(method="item/commandExecution/outputDelta", params={"itemId": "i", "delta": "compiling"})],
)  # fmt: skip
def test_pieces_with_something_in_them_are_life_however_often(data: bytes) -> None:
    stirring = Stirring()
    assert [stirring.judge(data) for _ in range(3)] == ["piece"] * 3


@pytest.mark.parametrize(
    "data",
    [line(type="stream_event", event={"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}),
     line(method="item/agentMessage/delta", params={"delta": ""}), line(event="delta", text="")],
)  # fmt: skip
def test_empty_pieces_are_not(data: bytes) -> None:
    assert Stirring().judge(data) == ""


def test_a_tick_is_news_once_whatever_number_time_or_id_it_carries() -> None:
    stirring = Stirring()
    ticks = [
        line(type="keep_alive", n=n, at=1767225600.5 + n, uuid=f"{n:08x}-aaaa-4bbb-8ccc-0123456789ab")
        for n in range(20)
    ]
    assert [stirring.judge(tick) for tick in ticks] == ["news", *[""] * 19]
    assert stirring.judge(line(type="keep_alive", note="compacting")) == "news"


def test_what_ticks_is_remembered_and_memory_is_bounded() -> None:
    stirring = Stirring()
    for number in range(500):
        stirring.judge(b"kind " + bytes([97 + number % 26]) * (number // 26 + 1))
    assert len(stirring.__dict__["_ticks"]) <= 64


@pytest.mark.parametrize(
    "text",
    ["Do you trust the files in this folder?", "Continue? [Y/n]", "Please run /login", "Password:", "Enter passphrase for key '/x':",
     "Username for 'https://github.com':", "Are you sure you want to continue connecting (yes/no/[fingerprint])?", "Press Enter to continue"],
)  # fmt: skip
def test_prompts_are_known(text: str) -> None:
    assert find_prompt(text)


@pytest.mark.parametrize(
    "text",
    ["warning: password authentication is deprecated", "reading tokens from cache", "error: not found", "[claude-code:unrecognized_model] x",
     "2026-11-21T10:00:00Z ERROR codex_core: stream disconnected", "3 tests passed", "notify: user logged in", "hotpatch 92fa81c applied"],
)  # fmt: skip
def test_log_lines_are_no_prompts(text: str) -> None:
    assert find_prompt(text) == ""


# ---------------------------------------------------------------- what is done


def test_a_report_neither_nudges_nor_gives_up() -> None:
    coaxing = Coaxing("report", 60.0, steers=True)
    assert coaxing.grace == 0.0
    assert [coaxing.step(STUCK, now) for now in (0.0, 100.0)] == ["", ""]


def test_a_nudge_comes_once_for_each_stall_and_a_few_times_in_a_run() -> None:
    coaxing = Coaxing("nudge", 60.0, steers=True)
    steps = [coaxing.step(found, float(now)) for now, found in enumerate([STALL, STALL, WORKING] * 5)]
    assert steps.count("nudge") == MOST_NUDGES
    assert steps[:3] == ["nudge", "", ""]
    assert "give_up" not in steps


def test_recovery_gives_up_what_is_stuck_once_the_nudge_had_its_time() -> None:
    coaxing = Coaxing("recover", 600.0, steers=True)
    assert [coaxing.step(STUCK, now) for now in (0.0, ANSWER_SECONDS - 1, ANSWER_SECONDS)] == ["nudge", "", "give_up"]


def test_what_cannot_be_steered_gets_no_grace() -> None:
    coaxing = Coaxing("recover", 600.0, steers=False)
    assert (coaxing.grace, coaxing.step(STUCK, 0.0)) == (0.0, "give_up")


# ---------------------------------------------------------------- doors


def state_of(*rows: tuple[float, str, dict[str, Any]]) -> dict[str, Any]:
    state = new_state()
    begin = [(0.0, ev.RUN_CREATED, {"run_id": "run_x", "adapter": "fake"}), (0.0, ev.RUN_STARTED, {"pid": 1}),
             (0.0, ev.RUN_SESSION, {"session_id": "s1"})]  # fmt: skip
    for seq, (ts, kind, data) in enumerate([*begin, *rows], 1):
        apply(state, {"seq": seq, "ts": ts, "type": kind, "data": data})
    return state


def test_a_door_shows_the_supervisors_judgement_until_the_worker_acts() -> None:
    told = {"liveness": "suspected_stall", "code": "silent", "why": "no sign of life for 60 s", "since": 3.0}
    state = state_of((63.0, ev.RUN_LIVENESS, told))
    summary = summarize(state, 70.0)
    assert (summary["liveness"], summary["why"]) == ("suspected_stall", "no sign of life for 60 s")
    assert summary["attention"] == ["stalled: no sign of life for 60 s"]
    assert judge(state, 70.0).since == 3.0
    apply(state, {"seq": 9, "ts": 71.0, "type": ev.RUN_MESSAGE, "data": {"text": "here", "chars": 4}})
    assert summarize(state, 72.0)["liveness"] == "working"


def test_a_door_without_news_for_ten_minutes_calls_a_run_slow() -> None:
    state = state_of((1.0, ev.RUN_TURN, {"turn": 1}))
    assert [judge(state, now).liveness for now in (500.0, 602.0)] == ["working", "slow"]


def test_an_end_by_silence_names_the_call_that_goes_on() -> None:
    end = (5.0, ev.RUN_FINISHED, {"status": "timed_out", "reason": "silence"})
    assert next_call(state_of(end)).startswith('cc_send_instruction {"run_id":"run_x"')
    planned = (4.0, ev.SYSTEM_NOTICE, {"code": "renewal", "text": "a run in the same conversation follows"})
    assert next_call(state_of(planned, end)) == "cc_status {}"


@pytest.mark.process
def test_a_service_that_fails_is_listed_as_attention(tmp_path: Path) -> None:
    door = Door(tmp_path)
    retry = {"retry": {"attempt": 3, "max": 10, "delay_s": 60, "status": 503, "cause": "service_error"}}
    run_id = door.start_fake({"say": "hm"}, retry, {"hang": {}})
    door.until_event(run_id, "run.retrying")
    (row,) = door.call("cc_status")["attention"]
    assert (row["run_id"], row["liveness"]) == (run_id, "provider_down")
    assert "service_error" in row["why"]
    door.call("cc_stop", run_id=run_id, force=True)
