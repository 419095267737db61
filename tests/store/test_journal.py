"""A journal has one writer and any number of readers; however it is torn, whole events are read and none twice."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.events import Fact
from cc_orchestrator.runs.fold import fold
from cc_orchestrator.store.journal import START, Cursor, Journal, last_events, last_seq, parse_cursor, read_page
from kit.clock import FakeClock


def written(path: str, count: int, text: str = "word") -> list[dict[str, object]]:
    journal = Journal(path, "run_x", FakeClock())
    try:
        return journal.append([Fact("run.message", {"text": f"{text} {number}"}) for number in range(count)])
    finally:
        journal.close()


def test_what_is_written_is_read_back_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    written(path, 3)
    page = read_page(path)
    assert [(event["seq"], event["data"]["text"]) for event in page.events] == [
        (1, "word 0"),
        (2, "word 1"),
        (3, "word 2"),
    ]
    assert page.cursor == Cursor(os.path.getsize(path), 3)
    assert page.more is False


def test_a_missing_journal_is_empty(tmp_path: Path) -> None:
    assert read_page(str(tmp_path / "none")) == ([], START, False, [])
    assert last_events(str(tmp_path / "none"), 3) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2_000), st.integers(1, 600))
def test_cut_anywhere_all_whole_events_are_read_and_the_next_writer_goes_on(place: int, page_size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "j")
        written(path, 9, "ä€😀")
        data = Path(path).read_bytes()
        torn = data[: place % (len(data) + 1)]
        Path(path).write_bytes(torn)
        whole = torn.count(b"\n")
        seen: list[int] = []
        cursor = START
        while True:
            page = read_page(path, cursor, page_size)
            seen += [event["seq"] for event in page.events]
            cursor = page.cursor
            if not page.events:
                break
        assert seen == list(range(1, whole + 1))
        assert last_seq(path) == whole
        written(path, 1, "after")
        rest = [(event["seq"], event["data"]["text"]) for event in read_page(path, cursor).events]
        # An event that lacked nothing but its newline is whole once the next writer has closed the line.
        if len(rest) == 2:
            assert rest.pop(0) == (whole + 1, f"ä€😀 {whole}")
            whole += 1
        assert rest == [(whole + 1, "after 0")]


def test_a_line_longer_than_a_page_is_read_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    written(path, 1, "x" * 300_000)
    page = read_page(path, START, 100)
    assert len(page.events) == 1
    assert page.more is False


def test_each_event_has_a_cursor_from_which_one_can_go_on(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    written(path, 5)
    page = read_page(path)
    for place in page.after:
        assert [event["seq"] for event in read_page(path, place).events] == list(range(place.seq + 1, 6))


@pytest.mark.parametrize("cursor", [Cursor(3, 0), Cursor(10**9, 5)])
def test_a_cursor_that_stands_on_no_event_is_refused(tmp_path: Path, cursor: Cursor) -> None:
    path = str(tmp_path / "j")
    written(path, 2)
    with pytest.raises(InvalidRequest):
        read_page(path, cursor)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_a_foreign_cursor_is_refused_and_ours_comes_back(text: str) -> None:
    try:
        cursor = parse_cursor(text)
    except InvalidRequest:
        return
    assert cursor == START or str(cursor).split(".") == [str(int(part)) for part in text.split(".")]


def test_our_cursor_survives_its_text() -> None:
    assert parse_cursor(str(Cursor(123, 4))) == Cursor(123, 4)
    assert parse_cursor(None) == parse_cursor("") == START


def test_the_last_events_are_found_without_reading_the_rest(tmp_path: Path) -> None:
    path = str(tmp_path / "j")
    written(path, 50, "y" * 500)
    assert [event["seq"] for event in last_events(path, 3, window=64)] == [48, 49, 50]
    assert len(last_events(path, 500, window=64)) == 50


facts = st.lists(
    st.one_of(
        st.builds(lambda text: ("run.message", {"text": text}), st.text(max_size=20)),
        st.builds(
            lambda name, n: ("tool.started", {"id": str(n), "tool": name, "kind": "edit", "target": name}),
            st.sampled_from("abc"), st.integers(0, 5),
        ),
        st.builds(lambda n, ok: ("tool.finished", {"id": str(n), "ok": ok}), st.integers(0, 5), st.booleans()),
        st.builds(lambda n: ("run.usage", {"input_tokens": n, "total": n % 2 == 0}), st.integers(0, 99)),
        st.builds(lambda n: ("question.asked", {"question_id": f"q{n}", "kind": "choice"}), st.integers(0, 4)),
        st.builds(lambda n: ("question.answered", {"question_id": f"q{n}", "decision": "allow"}), st.integers(0, 4)),
        st.sampled_from([
            ("run.retrying", {"cause": "rate_limited", "delay_s": 3}), ("run.created", {"run_id": "r", "task_id": "t"}), ("run.started", {"pid": 1}),
            ("run.turn", {}), ("run.turn", {"turn": 4}), ("run.exited", {"exit": 0}), ("future.type", {"x": 1}), ("artifact.masked", {"kind": "npm"}),
            ("run.finished", {"status": "succeeded", "reason": "completed"}), ("run.stopping", {"step": "conclude"}),
        ]),
    ),
    max_size=25,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(facts, st.integers(0, 25))
def test_a_fold_taken_up_in_the_middle_equals_the_whole_and_overlaps_are_harmless(
    rows: list[tuple[str, dict[str, object]]], place: int
) -> None:
    events = [{"seq": n, "ts": float(n), "type": kind, "data": data} for n, (kind, data) in enumerate(rows, 1)]
    whole = fold(events)
    assert fold(events[place:], fold(events[:place])) == whole
    assert fold(events[max(0, place - 3) :], fold(events[:place])) == whole
