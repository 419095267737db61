"""A run's report: what was observed beside what was claimed, the worker's commits among it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.host.history import commits_between
from kit.door import Door

pytestmark = pytest.mark.process


def report_of(door: Door, *steps: object, allow_write: bool = True) -> str:
    run_id = door.start_fake(*steps, allow_write=allow_write)
    door.finish(run_id)
    return Path(door.call("cc_export_report", run_id=run_id)["path"]).read_text(encoding="utf-8")


def test_a_report_lists_the_workers_own_commits_in_their_order(tmp_path: Path) -> None:
    door = Door(tmp_path)
    text = report_of(
        door,
        {"write": {"path": "a.txt", "content": "1"}}, {"commit": "the first"},
        {"write": {"path": "b.txt", "content": "2"}}, {"commit": "the second"},
        {"write": {"path": "c.txt", "content": "3"}}, {"result": "three files"},
    )  # fmt: skip
    commits = text.partition("## Commits of the worker")[2].partition("##")[0]
    assert commits.index("the first") < commits.index("the second")
    assert commits.count("\n- ") == 2, "what was left uncommitted is no commit of the worker's"
    assert "`c.txt`" in text


def test_a_report_of_a_reader_has_no_commits(tmp_path: Path) -> None:
    text = report_of(Door(tmp_path), {"result": "looked"}, allow_write=False)
    assert "## Commits of the worker (observed; its words are untrusted)\n\n- none" in text


def test_a_log_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with pytest.raises(Unavailable):
        commits_between(str(door.cwd), "f" * 40, "e" * 40)
    with pytest.raises(Unavailable):
        commits_between(str(tmp_path / "none"), "a", "b")
