"""The one list of what can be asked: what it takes, what it refuses, and how it is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import CcError, InvalidRequest, NotFound
from cc_orchestrator.operations import inherited
from cc_orchestrator.operations.catalog import TOOLSETS, listed, operations
from cc_orchestrator.operations.registry import Operation, Params, find, invoke
from kit.door import Door

RUN = "run_01k3000000abcdefghjk"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def refusal(door: Door, name: str, /, **arguments: Any) -> CcError:
    with pytest.raises(CcError) as caught:
        door.call(name, **arguments)
    return caught.value


def test_every_operation_is_complete() -> None:
    names: set[str] = set()
    for op in operations():
        assert op.name.startswith("cc_")
        assert op.summary.endswith(".")
        assert op.toolset in TOOLSETS
        assert op.handler is not None
        assert op.effect in ("read", "write", "destructive", "open_world")
        assert op.search_hint
        assert op.positional is None or op.positional in op.params.model_fields
        assert set(op.long_texts) <= set(op.params.model_fields)
        assert not names & {op.name, *op.aliases}
        names |= {op.name, *op.aliases}


def test_what_is_not_read_only_is_refused_to_workers_unless_it_only_relays() -> None:
    assert [op.name for op in operations() if not op.guarded] == ["cc_call"]


def test_toolsets_add_to_the_default_tools() -> None:
    default = {op.name for op in listed(frozenset())}
    assert default == {op.name for op in operations() if op.default_on}
    for toolset in TOOLSETS:
        names = {op.name for op in listed(frozenset({toolset}))}
        assert names == default | {op.name for op in operations() if op.toolset == toolset}
    assert {op.name for op in listed(frozenset({"all"}))} == {op.name for op in operations()}


def test_an_unknown_field_is_named_together_with_the_known_ones(door: Door) -> None:
    error = refusal(door, "cc_poll", run_id=RUN, verbose=True)
    assert error.code == "invalid_request"
    assert "verbose: unknown field" in error.message
    assert "known fields: run_id, cursor, mode, max_bytes" in error.message
    assert "cc_tools" in error.hint


def test_an_unknown_field_of_any_length_makes_a_short_error(door: Door) -> None:
    assert len(refusal(door, "cc_poll", run_id=RUN, **{"x" * 100_000: 1}).message) < 600


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_seconds", -1), ("timeout_seconds", 0), ("timeout_seconds", 10**9), ("timeout_seconds", "soon"),
        ("timeout_seconds", float("nan")), ("timeout_seconds", float("inf")), ("timeout_seconds", [1]), ("timeout_seconds", None),
        ("max_turns", 0), ("max_turns", 1.5), ("max_turns", 10**30), ("max_tokens", -5), ("max_tokens", 10**30),
        ("max_cost_usd", -0.01), ("max_cost_usd", float("nan")), ("max_output_bytes", 0), ("max_output_bytes", "all"),
        ("max_events_bytes", -1), ("silence_seconds", 0), ("final_max_chars", 3), ("output_budget_policy", "ignore"),
        ("allow_write", "perhaps"), ("scope", "src"), ("scope", {"allow": "src"}), ("scope", {"allowed": []}), ("task", ""),
        ("task", 7), ("client_request_id", ""), ("client_request_id", "x" * 300), ("script", 7), ("script", "../../etc/passwd"),
        ("script", "nowhere.json"), ("script", {"steps": "no"}), ("script", {"steps": [{"fly": {}}]}),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_before_anything_is_made(door: Door, field: str, value: Any) -> None:
    error = refusal(door, "cc_run_streaming", **{"task": "look", "adapter": "fake", field: value})
    assert error.code == "invalid_request"
    assert field.split("_")[0] in error.message or "step" in error.message
    runs = door.cwd / ".agent-workspace" / "runs"
    assert not runs.exists() or [entry.name for entry in runs.iterdir() if not entry.name.startswith(".")] == []
    tasks = door.cwd / ".agent-workspace" / "tasks"
    assert not tasks.exists() or list(tasks.iterdir()) == []


@pytest.mark.parametrize(("field", "value"), [("adapter", "gpt"), ("role", "wizard"), ("profile", "nobody")])
def test_an_unknown_name_is_refused_with_what_there_is(door: Door, field: str, value: str) -> None:
    error = refusal(door, "cc_run_streaming", **{"task": "look", "adapter": "fake", field: value})
    assert error.code in ("invalid_request", "not_found")
    assert value in error.message
    assert error.hint


@pytest.mark.parametrize(
    "bad",
    ["", "run_1", "../../../etc/passwd", "run_/../../..", RUN + "/..", RUN + "\0", "\0", "a" * 10_000, RUN.upper()],
)
@pytest.mark.parametrize(
    "name", ["cc_poll", "cc_stop", "cc_run_status", "cc_last_run", "cc_git_diff", "cc_open_run_folder", "cc_replay"]
)
def test_what_is_no_id_is_never_made_into_a_path(door: Door, name: str, bad: str) -> None:
    error = refusal(door, name, run_id=bad)
    assert error.code == "invalid_request"
    assert len(error.message) < 400


def test_an_id_that_nobody_knows_is_not_found(door: Door) -> None:
    error = refusal(door, "cc_poll", run_id=RUN)
    assert error.code == "not_found"
    assert RUN in error.message


def test_arguments_may_be_nested_in_params(door: Door) -> None:
    assert door.call("cc_tools", params={"query": "cc_poll"})["operations"][0]["name"] == "cc_poll"
    assert refusal(door, "cc_tools", params={"query": "x"}, limit=3).code == "invalid_request"
    assert refusal(door, "cc_tools", params=7).code == "invalid_request"


def test_a_name_is_found_with_and_without_its_prefix() -> None:
    assert find("poll").name == find("cc_poll").name == find("cc_poll_run").name == "cc_poll"
    with pytest.raises(NotFound) as caught:
        find("cc_" + "z" * 500)
    assert len(caught.value.message) < 200
    assert "cc_tools" in caught.value.hint


# ---------------------------------------------------------------- cc_tools, cc_read, cc_call


def test_cc_tools_lists_every_name_and_shows_the_parameters_of_one(door: Door) -> None:
    names = [name for group in door.call("cc_tools")["toolsets"].values() for name in group]
    assert sorted(names) == sorted(op.name for op in operations())
    (row,) = door.call("cc_tools", query="cc_git_diff")["operations"]
    assert row["parameters"]["properties"]["run_id"]
    assert door.call("cc_tools", query="healthcheck")["operations"][0]["name"] == "cc_doctor"
    assert door.call("cc_tools", query="zzzz")["operations"] == []


def test_every_operation_is_found_by_its_own_name(door: Door) -> None:
    for op in operations():
        answer = door.call("cc_tools", query=op.name)
        assert answer["operations"][0]["name"] == op.name
        assert answer["next"].startswith("cc_read" if op.reads else "cc_call")


def test_cc_read_calls_what_reads_and_refuses_what_writes(door: Door) -> None:
    assert door.call("cc_read", name="cc_workspace_status")["workspace"] == str(door.cwd)
    for op in operations():
        if not op.reads:
            error = refusal(door, "cc_read", name=op.name, arguments={"task": "x"})
            assert error.code == "invalid_request"
            assert "read" in error.message or "itself" in error.message


def test_cc_call_reaches_operations_that_are_not_listed_and_keeps_their_errors(door: Door) -> None:
    assert door.call("cc_call", name="cc_init_workspace")["created"]
    assert refusal(door, "cc_call", name="cc_poll", arguments={"run_id": RUN}).code == "not_found"
    assert refusal(door, "cc_call", name="cc_poll", arguments={"nope": 1}).code == "invalid_request"
    assert refusal(door, "cc_call", name="cc_call", arguments={"name": "cc_call"}).code == "invalid_request"
    assert refusal(door, "cc_call", name="cc_read").code == "invalid_request"
    assert refusal(door, "cc_call", name="nothing").code == "not_found"


# ---------------------------------------------------------------- the names of the skill that came before

SAME, ALIAS, LATER = "present", "alias of", "not yet"
#: All 67 tools of claude-code-orchestrator-skill 0.7.1.
TABLE: dict[str, tuple[str, str]] = {
    "cc_healthcheck": (ALIAS, "cc_doctor"), "cc_list_profiles": (LATER, ""), "cc_pick_profile": (LATER, ""),
    "cc_score_models": (LATER, ""), "cc_write_strategy_reports": (LATER, ""), "cc_workflow_plan": (LATER, ""),
    "cc_model_registry": (LATER, ""), "cc_local_policy": (LATER, ""), "cc_calibrate_policy": (LATER, ""),
    "cc_benchmark_model": (LATER, ""), "cc_benchmark_suite": (LATER, ""), "cc_run_agent": (SAME, ""),
    "cc_run_streaming_agent": (ALIAS, "cc_run_streaming"), "cc_run_visible_agent": (LATER, ""), "cc_poll_run": (ALIAS, "cc_poll"),
    "cc_summarize_run": (SAME, ""), "cc_compact_events": (SAME, ""), "cc_stop_run": (ALIAS, "cc_stop"), "cc_run_status": (SAME, ""),
    "cc_send_instruction": (SAME, ""), "cc_last_run": (SAME, ""), "cc_open_run_folder": (SAME, ""), "cc_spawn_role_team": (LATER, ""),
    "cc_collect_team_results": (LATER, ""), "cc_cross_review": (SAME, ""), "cc_preflight_write_scope": (SAME, ""),
    "cc_check_write_scope": (SAME, ""), "cc_diff_summary": (SAME, ""), "cc_git_diff": (SAME, ""), "cc_secret_scan_run": (SAME, ""),
    "cc_rollback_run": (SAME, ""), "cc_verify_run": (ALIAS, "cc_verify"), "cc_score_worker": (SAME, ""),
    "cc_decision_review": (SAME, ""), "cc_export_report": (SAME, ""), "cc_controller_report": (LATER, ""),
    "cc_pressure_report": (LATER, ""), "cc_dashboard": (LATER, ""), "cc_queue_submit": (SAME, ""), "cc_queue_tick": (SAME, ""),
    "cc_queue_status": (SAME, ""), "cc_queue_cancel": (SAME, ""), "cc_queue_policy": (SAME, ""), "cc_cost_guard": (SAME, ""),
    "cc_usage_summary": (LATER, ""), "cc_upgrade_check": (LATER, ""), "cc_mock_stream_test": (SAME, ""), "cc_prompt_pack": (LATER, ""),
    "cc_init_workspace": (SAME, ""), "cc_workspace_status": (SAME, ""), "cc_migrate_data": (LATER, ""), "cc_clean_workspace": (LATER, ""),
    "cc_archive_runs": (LATER, ""), "cc_repair_mcp_paths": (LATER, ""), "cc_folder_policy": (LATER, ""), "cc_write_claude_md": (LATER, ""),
    "cc_workflow_validate": (LATER, ""), "cc_workflow_dry_run": (LATER, ""), "cc_workflow_run": (LATER, ""),
    "cc_workflow_status": (LATER, ""), "cc_workflow_retry_node": (LATER, ""), "cc_workflow_stop": (LATER, ""),
    "cc_workflow_report": (LATER, ""), "cc_handoff_template": (LATER, ""), "cc_handoff_validate": (LATER, ""),
    "cc_handoff_read": (LATER, ""), "cc_handoff_repair_prompt": (LATER, ""),
}  # fmt: skip


def test_the_table_holds_all_names_and_agrees_with_the_registry() -> None:
    assert len(TABLE) == 67
    assert {name for name, (what, _) in TABLE.items() if what == LATER} == inherited.NOT_YET
    registered = {name for op in operations() for name in (op.name, *op.aliases)}
    assert not registered & inherited.NOT_YET


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_name_of_before_works_or_says_plainly_that_it_does_not_yet(name: str) -> None:
    what, target = TABLE[name]
    if what == LATER:
        with pytest.raises(NotFound, match=f"{name} is not available yet"):
            find(name)
        return
    assert find(name).name == (target or name)


#: A call as users of the skill made it, and what becomes of it here.
CALLS: list[tuple[str, dict[str, Any], str]] = [
    (
        "cc_poll_run",
        {"run_id": RUN, "event_offset": 0, "stdout_offset": 0, "include_output_tail": False, "mode": "raw"},
        "",
    ),
    ("cc_poll_run", {"run_id": RUN, "event_offset": 120}, "cursor"),
    ("cc_poll_run", {"run_id": RUN, "max_events": 20}, "max_bytes"),
    ("cc_stop_run", {"run_id": RUN, "force": True, "timeout_seconds": 5}, "force=true"),
    ("cc_run_status", {"run_id": RUN, "include_output_tail": True}, "cc_poll"),
    ("cc_run_status", {"run_id": RUN, "include_finished": True, "limit": 5}, ""),
    ("cc_summarize_run", {"run_id": RUN, "event_offset": 0, "write_artifacts": True}, ""),
    ("cc_compact_events", {"run_id": RUN, "max_bytes": 20_000, "write_artifacts": False}, ""),
    ("cc_send_instruction", {"run_id": RUN, "instruction": "go", "preserve_route": True, "reroute": False}, ""),
    ("cc_send_instruction", {"run_id": RUN, "instruction": "go", "route_model": "opus"}, "keeps the route"),
    ("cc_last_run", {"run_id": RUN, "include_output": True, "response_format": "json"}, ""),
    ("cc_last_run", {"run_id": RUN, "response_format": "markdown"}, "JSON"),
    ("cc_open_run_folder", {"run_id": RUN, "open_folder": False}, ""),
    ("cc_open_run_folder", {"run_id": RUN, "open_folder": True}, "no window"),
    ("cc_export_report", {"run_id": RUN, "team_id": None}, ""),
    ("cc_export_report", {"run_id": RUN, "team_id": "team_1"}, "name a run"),
]


@pytest.mark.parametrize(("name", "arguments", "refused"), CALLS)
def test_parameters_of_before_are_taken_where_they_make_sense(
    door: Door, name: str, arguments: dict[str, Any], refused: str
) -> None:
    error = refusal(door, name, params=arguments)
    # The run is unknown: a call that gets this far was understood.
    assert error.code == ("invalid_request" if refused else "not_found"), error.message
    assert refused in error.message


def test_retired_parameters_belong_to_operations_and_are_no_fields_of_them() -> None:
    names = {op.name: op for op in operations()}
    for name, retired in inherited.RETIRED.items():
        if name not in names:
            assert name == "cc_verify"
            continue
        assert not set(retired) & set(names[name].params.model_fields)


def test_false_is_not_taken_for_zero() -> None:
    with pytest.raises(InvalidRequest):
        inherited.translate("cc_poll", {"event_offset": False}, set())
    assert inherited.translate("cc_poll", {"event_offset": 0}, set()) == {}


def test_an_operation_that_breaks_the_disk_answers_with_what_to_do(door: Door) -> None:
    (door.cwd / ".agent-workspace").write_text("a file where the folder should be")
    with pytest.raises(CcError) as caught:
        invoke(find("cc_init_workspace"), door.context, {})
    assert caught.value.code == "unavailable"
    assert ".agent-workspace" in caught.value.message


def test_a_defect_of_ours_is_an_internal_error_with_its_operation(door: Door) -> None:
    def broken(_ctx: Any, _params: Any) -> dict[str, Any]:
        raise ZeroDivisionError("nobody thought of it")

    op = Operation(
        name="cc_broken",
        summary="Breaks.",
        params=Params,
        handler=broken,
        effect="read",
        toolset="core",
        words=("broken",),
    )
    with pytest.raises(CcError) as caught:
        invoke(op, door.context, {})
    assert caught.value.code == "internal"
    assert "cc_broken" in caught.value.message
    assert "nobody thought of it" in caught.value.message
