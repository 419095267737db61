"""What tokens cost: by which table, of how many, and when nobody knows."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.adapters.catalog import adapter
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.routing.prices import cost_of, price_of, read_table
from cc_orchestrator.runs.pricing import load_prices, money_gap, shipped_prices
from cc_orchestrator.store.paths import Workspace
from kit.door import Door

SONNET = "claude-sonnet-4-5"
TABLE = read_table({"m": {"input": 2, "output": 10, "cache_read": 0.2}, "n": {"input": 1, "output": 1}}, "table")


def usage(**figures: float) -> dict[str, Any]:
    return {f"{name}_tokens": figure for name, figure in figures.items()}


def test_each_kind_of_token_is_paid_by_its_own_rate() -> None:
    cost = cost_of(usage(input=1_000_000, output=100_000, cache_read=500_000, cache_write=10_000), {}, "m", TABLE)
    assert cost is not None
    assert cost.usd == 2 + 1 + 0.1 + 0.02
    assert cost.source == "table"


def test_a_model_that_no_table_names_has_no_cost() -> None:
    assert cost_of(usage(input=5), {}, "unheard-of", TABLE) is None
    assert cost_of(usage(input=5), {}, None, TABLE) is None
    assert cost_of({}, {}, "m", TABLE) is None


def test_models_that_shared_the_work_are_each_paid_by_their_own_price_and_one_unknown_leaves_all_unknown() -> None:
    shares = {"m": usage(input=1_000_000), "n": usage(output=1_000_000)}
    whole = usage(input=1_000_000, output=1_000_000)
    cost = cost_of(whole, shares, "m", TABLE)
    assert cost is not None
    assert cost.usd == 3
    assert cost_of(whole, {**shares, "x": usage(input=0)}, "m", TABLE) == cost
    assert cost_of(whole, {"m": usage(input=1_000_000), "x": usage(output=1_000_000)}, "m", TABLE) is None


@pytest.mark.parametrize("name", ["m", "M", "m[1m]", "m-20250929", "m-2026-04-01", "vendor/m", "vendor/m-20250929"])
def test_a_name_with_date_window_or_vendor_is_the_same_model(name: str) -> None:
    assert price_of(TABLE, name) == TABLE["m"]


@pytest.mark.parametrize("name", ["m-mini", "mm", "m-5", "", None])
def test_a_name_that_only_looks_alike_is_another_model(name: str | None) -> None:
    assert price_of(TABLE, name) is None


def test_rows_that_are_no_prices_are_left_out() -> None:
    rows = {
        "a": {"input": 1},
        "b": {"input": "1", "output": 2},
        "c": {"input": -1, "output": 2},
        "d": 5,
        "e": {"input": 0, "output": 0},
    }
    assert set(read_table(rows, "cc-switch")) == {"e"}
    assert read_table([], "table") == {}


def test_the_shipped_table_is_dated_and_names_a_source_for_each_row() -> None:
    shipped = shipped_prices()
    assert shipped["as_of"].count("-") == 2
    assert len(read_table(shipped["models"], "table", strict=True)) == len(shipped["models"])
    assert all(row["source"].startswith("https://") for row in shipped["models"].values())


def ccswitch(home: Path, *rows: tuple[str, ...], schema: str = "") -> None:
    (home / ".cc-switch").mkdir()
    columns = "input_cost_per_million text, output_cost_per_million text, cache_read_cost_per_million text"
    with closing(sqlite3.connect(home / ".cc-switch" / "cc-switch.db")) as db:
        db.execute(schema or f"create table model_pricing (model_id text primary key, display_name text, {columns})")
        db.executemany("insert into model_pricing values (?, ?, ?, ?, ?)", rows)
        db.commit()


def test_overrides_come_before_cc_switch_and_that_before_the_shipped_table(tmp_path: Path, isolated_home: Path) -> None:
    env = {"HOME": str(isolated_home), "XDG_CONFIG_HOME": str(isolated_home / ".config")}
    workspace = Workspace(str(tmp_path))
    Path(workspace.folder).mkdir()
    assert load_prices(workspace, env)[SONNET]["origin"] == "table"
    ccswitch(
        isolated_home,
        (SONNET, "S", "3.5", "16", "0.4"),
        ("broken", "B", "?", "1", "1"),
        ("glm-5", "G", "0.6", "2.2", "0.1"),
    )
    found = load_prices(workspace, env)
    assert found[SONNET] == {"input": 3.5, "output": 16.0, "cache_read": 0.4, "origin": "cc-switch"}
    assert found["glm-5"]["origin"] == "cc-switch"
    assert "broken" not in found
    user = isolated_home / ".config" / "cc-orchestrator" / "prices.json"
    user.parent.mkdir()
    user.write_text(json.dumps({"models": {SONNET: {"input": 9, "output": 9}, "mine": {"input": 8, "output": 8}}}))
    Path(workspace.prices).write_text(json.dumps({"models": {"mine": {"input": 7, "output": 7}}}))
    found = load_prices(workspace, env)
    assert (found[SONNET]["input"], found["mine"]["input"], found["glm-5"]["input"]) == (9, 7, 0.6)
    assert found[SONNET]["origin"] == "override"


@pytest.mark.parametrize("content", [b"", b"no database at all", None])
def test_a_cc_switch_that_cannot_be_read_is_none(isolated_home: Path, tmp_path: Path, content: bytes | None) -> None:
    folder = isolated_home / ".cc-switch"
    folder.mkdir()
    file = folder / "cc-switch.db"
    file.mkdir() if content is None else file.write_bytes(content)
    found = load_prices(Workspace(str(tmp_path)), {"HOME": str(isolated_home)})
    assert {row["origin"] for row in found.values()} == {"table"}


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"models":{"m":{"input":1}}}', '{"models":[]}', '{"prices":{}}', '{"models":{"m":{"input":1,"output":true}}}']
)  # fmt: skip
def test_an_override_that_is_no_price_file_is_refused_by_name_and_starts_nothing(tmp_path: Path, text: str) -> None:
    door = Door(tmp_path)
    folder = door.cwd / ".agent-workspace"
    folder.mkdir()
    (folder / "prices.json").write_text(text)
    with pytest.raises(Corrupt, match=r"prices\.json"):
        door.start_fake({"result": "x"})
    assert not list((folder / "runs").glob("run_*"))


def test_what_money_cannot_be_kept_for_is_said() -> None:
    codex = adapter("codex").capabilities._replace(cost="never", tokens="live")
    assert money_gap(adapter("claude").capabilities, "unheard-of", TABLE) is None
    assert money_gap(codex, "m", TABLE) is None
    assert "no price is known for unheard-of" in (money_gap(codex, "unheard-of", TABLE) or "")
    assert "default model" in (money_gap(codex, None, TABLE) or "")
    assert "at the end" in (money_gap(codex._replace(tokens="end"), "m", TABLE) or "")


# ---------------------------------------------------------------- through the door

SPEND = {"usage": {"model": SONNET, "input_tokens": 1_000_000, "output_tokens": 10_000}}


@pytest.mark.process
def test_a_run_without_a_cost_of_its_own_is_priced_by_the_table_and_says_so(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(SPEND, {"result": "x"})
    row = door.finish(run_id)
    assert row["summary"]["usage"]["cost_usd"] == 3.15
    assert row["summary"]["usage"]["cost_source"] == "table"
    assert door.call("cc_receipts", run_id=run_id)["receipts"][0]["observed"]["cost_source"] == "table"


@pytest.mark.process
def test_the_providers_own_figure_comes_before_any_table(tmp_path: Path) -> None:
    door = Door(tmp_path)
    told = {"usage": {**SPEND["usage"], "cost_usd": 0.5}}
    summary = door.finish(door.start_fake(told, SPEND, {"result": "x"}))["summary"]
    assert (summary["usage"]["cost_usd"], summary["usage"]["cost_source"]) == (0.5, "provider")
    # It came late: what the table said until then gives way.
    summary = door.finish(door.start_fake(SPEND, {"sleep": 0.2}, told, {"result": "x"}))["summary"]
    assert (summary["usage"]["cost_usd"], summary["usage"]["cost_source"]) == (0.5, "provider")


@pytest.mark.process
def test_a_budget_of_money_holds_for_a_cost_that_a_table_gave(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(SPEND, {"hang": {}}, max_cost_usd=1.0)
    assert (state["status"], state["reason"]) == ("budget_exceeded", "max_cost")


@pytest.mark.process
def test_the_prices_of_its_day_stay_with_a_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "x"})
    door.finish(run_id)
    assert json.loads(Path(door.run(run_id).prices).read_text())[SONNET]["input"] == 3
