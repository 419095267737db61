"""Accounts as files: whose they are, what becomes of broken ones, and of runs that never were or cannot reach theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import LimitReached
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.runs.accounts import enter, extend, leave, look, names_now, read_budgets, settle_run
from cc_orchestrator.runs.fold import new_state
from cc_orchestrator.runs.limits import Measures
from cc_orchestrator.runs.purse import committed
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.spending import PATIENCE_SECONDS, Spending
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, hidden_folder
from kit.clock import FakeClock

DAY = 86_400.0
NOON = 1_767_268_800.0  # 2026-01-01T12:00Z


def make(tmp_path: Path, **budgets: Any) -> Workspace:
    workspace = Workspace(str(tmp_path))
    Path(workspace.runs).mkdir(parents=True)
    Path(workspace.budget_settings).write_text(json.dumps(budgets))
    return workspace


def spec_at(workspace: Workspace, now: float = NOON, **more: Any) -> RunSpec:
    return RunSpec(
        run_id=new_id("run", now=now), task_id=new_id("task", now=now), created_at=now, workspace_root=workspace.root, repository=None,
        cwd=workspace.root, adapter="fake", executable="", role="testing", allow_write=False, prompt_sha256="", prompt_bytes=0, task="t",
        **more,
    )  # fmt: skip


def begin(workspace: Workspace, spec: RunSpec, *, born: bool = True) -> tuple[str, ...]:
    """Enter, and have a folder: whose owner is dead, unless somebody holds its lock."""
    kinds = enter(workspace, read_budgets(workspace), spec)
    if born:
        Path(workspace.run(spec.run_id)).mkdir()
    return kinds


def test_a_run_counts_for_the_day_on_which_it_started(tmp_path: Path) -> None:
    workspace = make(tmp_path, day={"max_runs": 1})
    assert begin(workspace, spec_at(workspace, NOON)) == ("day",)
    with pytest.raises(LimitReached):
        begin(workspace, spec_at(workspace, NOON + DAY / 2 - 1))
    assert begin(workspace, spec_at(workspace, NOON + DAY / 2)) == ("day",)
    assert sorted(path.name for path in Path(workspace.accounts).glob("*.json")) == [
        "day-2026-01-01.json",
        "day-2026-01-02.json",
    ]


def test_runs_of_one_workflow_share_its_budget(tmp_path: Path) -> None:
    workspace = make(tmp_path, workflow={"max_runs": 1})
    assert begin(workspace, spec_at(workspace, workflow="nightly")) == ("workflow",)
    assert begin(workspace, spec_at(workspace, workflow="weekly")) == ("workflow",)
    assert begin(workspace, spec_at(workspace)) == ()
    with pytest.raises(LimitReached, match="budget of workflow nightly"):
        begin(workspace, spec_at(workspace, workflow="nightly"))


def test_a_launch_that_died_before_anything_was_visible_holds_nothing(tmp_path: Path) -> None:
    workspace = make(tmp_path, day={"max_cost_usd": 1}, request_cost_usd=0.4)
    begin(workspace, spec_at(workspace), born=False)
    assert begin(workspace, spec_at(workspace)) == ("day",)
    (view,) = look(workspace, names_now(NOON), read_budgets(workspace))
    assert len(view.account["holds"]) == 1


def test_a_launch_at_work_is_not_taken_for_dead(tmp_path: Path) -> None:
    workspace = make(tmp_path, day={"max_cost_usd": 1}, request_cost_usd=0.4)
    first = spec_at(workspace)
    _run, _lock = hidden_folder(workspace.runs, first.run_id)
    begin(workspace, first, born=False)
    with pytest.raises(LimitReached):
        begin(workspace, spec_at(workspace))
    leave(workspace, first)
    assert begin(workspace, spec_at(workspace)) == ("day",)


@pytest.mark.parametrize("content", [b"", b"{", b'{"settled":1}', b"[]"])
def test_an_account_that_cannot_be_read_is_made_anew(tmp_path: Path, content: bytes) -> None:
    workspace = make(tmp_path, workspace={"max_tokens": 1000}, request_tokens=10)
    spec = spec_at(workspace)
    begin(workspace, spec)
    (Path(workspace.accounts) / "workspace.json").write_bytes(content)
    (answer,) = extend(workspace, spec, {"runs": 1, "tokens": 100})
    assert answer.grant.shortages == []
    (view,) = look(workspace, names_now(NOON), read_budgets(workspace))
    assert committed(view.account, "tokens") == 100


def test_settling_twice_is_settling_once(tmp_path: Path) -> None:
    workspace = make(tmp_path, day={"max_tokens": 1000}, request_tokens=10)
    spec = spec_at(workspace)
    begin(workspace, spec)
    state = {**new_state(), "usage": {"input_tokens": 70}}
    settle_run(workspace, spec, state)
    settle_run(workspace, spec, state)
    (view,) = look(workspace, names_now(NOON), read_budgets(workspace))
    assert view.account["holds"] == {}
    assert view.account["settled"]["tokens"] == 70
    assert view.account["unknown_cost"] == 1


def measures(tokens: int) -> Measures:
    return Measures(elapsed=1.0, idle=0.0, output_bytes=0, events_bytes=0, turns=1, tokens=tokens, cost_usd=None)


def test_a_run_whose_account_cannot_be_reached_goes_on_for_a_while_and_then_concludes(tmp_path: Path) -> None:
    workspace = make(tmp_path, day={"max_tokens": 1000}, request_tokens=10)
    clock = FakeClock(NOON)
    spec = spec_at(workspace, shared_budgets=("day",))
    begin(workspace, spec)
    spending = Spending(RunDir(workspace.run(spec.run_id)), spec, clock)
    Path(workspace.budget_settings).write_text("broken")
    assert spending.check(measures(1)) == []
    clock.advance(PATIENCE_SECONDS - 1)
    assert spending.check(measures(2)) == []
    clock.advance(2)
    (breach,) = spending.check(measures(3))
    assert (breach.reason, breach.level) == ("budget_unknown", "conclude")
    Path(workspace.budget_settings).write_text('{"day":{"max_tokens":1000},"request_tokens":10}')
    clock.advance(2)
    assert spending.check(measures(4)) == []
