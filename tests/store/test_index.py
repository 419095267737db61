"""The index while it is being made: readers wait for its table instead of calling it broken."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store import index

ROW = {
    "run_id": "run_1",
    "task_id": "task_1",
    "created_at": 86_400.0 * 365,
    "finished_at": 86_400.0 * 365 + 5,
    "cost_usd": 0.5,
    "input_tokens": 3,
}


def test_an_index_whose_table_is_about_to_be_made_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "index.sqlite")
    Path(path).touch()
    writer = threading.Timer(0.05, lambda: index.put(path, [ROW]))
    writer.start()
    rows = index.select(path)
    writer.join()
    assert [row["run_id"] for row in rows] in ([], ["run_1"])
    assert [row["run_id"] for row in index.select(path)] == ["run_1"]


def test_an_index_that_stays_without_its_table_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    path.touch()
    with pytest.raises(Corrupt, match="no such table"):
        index.select(str(path))


def test_totals_are_those_of_ended_runs_of_a_day_or_a_task(tmp_path: Path) -> None:
    path = str(tmp_path / "index.sqlite")
    assert index.totals(path) == {}
    live = {**ROW, "run_id": "run_2", "finished_at": None}
    other = {
        **ROW,
        "run_id": "run_3",
        "task_id": "task_2",
        "created_at": 86_400.0 * 366,
        "finished_at": 86_400.0 * 366 + 1,
        "cost_usd": None,
    }
    index.put(path, [ROW, live, other])
    assert index.totals(path)["runs"] == 2
    assert index.totals(path, day="1971-01-01") == {
        "runs": 1,
        "tokens": 3,
        "cost_usd": 0.5,
        "wall_seconds": 5,
        "cost_unknown": 0,
    }
    assert index.totals(path, task_id="task_2")["cost_unknown"] == 1
