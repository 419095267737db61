"""What answers cost: caps that hold for any run, and cuts that are said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.operations import watching
from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.operations.size import fit, size_of
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import find_workspace
from kit.door import Door

pytestmark = pytest.mark.timeout(180)
LONG = 'wörds and "quotes" \\ 🙂 ' * 4_000
SMALL = 1_536

leaf = st.none() | st.booleans() | st.integers() | st.text(max_size=120)
row = st.dictionaries(st.text(max_size=10), leaf, max_size=4)
plain = leaf | row | st.lists(leaf, max_size=6) | st.lists(row, max_size=4)


@given(st.dictionaries(st.text(max_size=20), plain, max_size=8), st.integers(60, 1_000))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_answer_fits_and_says_when_it_was_cut(answer: dict[str, Any], cap: int) -> None:
    small = fit(answer, cap)
    assert size_of(small) <= cap
    assert small == answer or small["truncated"] is True


def test_cutting_keeps_ids_status_cursor_and_the_next_call() -> None:
    run_id = new_id("run")
    answer = {
        "run_id": run_id,
        "status": "running",
        "cursor": "123.4",
        "summary": {"said": LONG},
        "events": [LONG] * 90,
        "next": "cc_wait",
    }
    small = fit(answer, 500)
    assert {key: small[key] for key in ("run_id", "status", "cursor", "next")} == {
        key: answer[key] for key in ("run_id", "status", "cursor", "next")
    }
    assert small["truncated"] is True


def test_every_operation_has_a_cap_and_those_a_controller_lives_on_have_a_small_one() -> None:
    caps = {op.name: op.result_cap for op in operations()}
    assert all(caps.values())
    for name in ("cc_run_streaming", "cc_stop", "cc_send_instruction", "cc_answer", "cc_status"):
        assert caps[name] <= SMALL, name


@pytest.mark.process
def test_a_poll_of_a_run_with_huge_texts_stays_small_and_names_the_next_call(tmp_path: Path) -> None:
    door = Door(tmp_path)
    long = LONG[:60_000]
    steps: list[dict[str, Any]] = [
        {"say": long}, {"tool": {"tool": "T" * 3_000, "target": long}}, {"notice": {"code": "c" * 500, "text": long}},
        {"stderr": {"text": long[:5_000]}}, {"usage": {"model": "m" * 4_000, "input_tokens": 10**15}},
        *({"tool": {"tool": f"Tool{number}", "target": "/x" * 400}} for number in range(30)), {"result": {"text": long}},
    ]  # fmt: skip
    run_id = door.start_fake(*steps, task=long, script_model="m" * 3_000)
    door.finish(run_id)
    for name, arguments in (
        ("cc_poll", {"run_id": run_id}),
        ("cc_poll", {"run_id": run_id, "cursor": "0.0"}),
        ("cc_run_status", {"run_id": run_id}),
        ("cc_status", {}),
    ):
        answer = door.call(name, **arguments)
        assert size_of(answer) <= SMALL, name
        assert answer["next"].startswith("cc_")
    for name in ("cc_last_run", "cc_summarize_run", "cc_compact_events", "cc_open_run_folder"):
        assert size_of(door.call(name, run_id=run_id)) <= 8_192, name
    assert size_of(door.call("cc_wait", ids=[run_id])) <= 2_048


@pytest.mark.process
def test_a_poll_from_the_last_cursor_holds_only_what_is_new(tmp_path: Path) -> None:
    door = Door(tmp_path)
    flag = tmp_path / "go"
    run_id = door.start_fake({"say": "first"}, {"barrier": {"path": str(flag)}}, {"say": "second"})
    door.until_event(run_id, "run.message", text="first")
    before = door.call("cc_poll", run_id=run_id)
    assert [row.get("text") for row in before["events"] if row["type"] == "run.message"] == ["first"]
    again = door.call("cc_poll", run_id=run_id, cursor=before["cursor"])
    assert "events" not in again
    assert again["new_events"] == 0
    flag.touch()
    door.finish(run_id)
    after = door.call("cc_poll", run_id=run_id, cursor=before["cursor"])
    assert [row.get("text") for row in after["events"] if row["type"] == "run.message"] == ["second"]
    assert after["done"] is True


@pytest.mark.process
def test_pages_of_events_and_of_raw_output_join_to_the_whole(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(*({"say": f"number {number}"} for number in range(60)))
    door.finish(run_id)
    for mode in ("events", "raw"):
        texts: list[str] = []
        cursor, truncated = None, True
        while truncated:
            page = door.call("cc_poll", run_id=run_id, mode=mode, max_bytes=700, cursor=cursor)
            assert size_of(page) < 2_000
            assert page["cursor"] != cursor
            cursor, truncated = page["cursor"], page["truncated"]
            texts.append(json.dumps(page.get("events", page.get("untrusted_stdout"))))
        whole = "".join(texts)
        assert all(f"number {number}" in whole for number in range(60))


@pytest.mark.parametrize("cursor", ["x", "-1.0", "1", "1.2.3", "9" * 50, "999999.9", "3.1", "１.１"])
@pytest.mark.process
def test_a_cursor_that_is_not_ours_is_refused(tmp_path: Path, cursor: str) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "done"})
    door.finish(run_id)
    with pytest.raises(InvalidRequest):
        door.call("cc_poll", run_id=run_id, cursor=cursor)


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "run_id": new_id("run", now=1_760_000_000 + number), "task_id": new_id("task"), "status": "succeeded", "reason": "completed",
            "adapter": "claude", "role": "implementation", "model": "some-model-with-a-long-name-20260101", "created_at": 1_760_000_000.0 + number,
            "finished_at": 1_760_000_100.0 + number, "cost_usd": 0.25, **more,
        }
        for number in range(count)
    ]  # fmt: skip


def test_status_and_lists_stay_small_with_a_thousand_runs(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.call("cc_init_workspace")
    workspace = find_workspace(str(door.cwd), door.env)
    index.put(workspace.index, rows(1_000))
    answer = door.call("cc_status")
    assert size_of(answer) <= SMALL
    assert answer["recent"]
    assert answer["next"].startswith("cc_verify")
    listing = door.call("cc_run_status", include_finished=True, limit=500)
    assert size_of(listing) <= 8_192
    assert listing["truncated"] is True
    assert listing["count"] == len(listing["runs"]) > 20
    assert size_of(door.call("cc_workspace_status")) <= 8_192


@pytest.mark.process
def test_status_puts_what_needs_attention_first(tmp_path: Path) -> None:
    door = Door(tmp_path)
    asks = door.start_fake({"ask": {"kind": "clarification", "text": "which?"}})
    works = door.start_fake({"hang": {}})
    door.wait(asks, "question")
    answer = door.call("cc_status")
    assert [row["run_id"] for row in answer["attention"]] == [asks]
    assert [row["run_id"] for row in answer["live"]] == [works]
    assert answer["live_count"] == 2
    assert size_of(answer) <= SMALL
    for run_id in (asks, works):
        door.call("cc_stop", run_id=run_id, force=True)
        door.finish(run_id)


def test_the_small_cap_is_the_promised_one() -> None:
    assert watching.SMALL == SMALL
