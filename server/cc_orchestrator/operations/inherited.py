"""The tool names of claude-code-orchestrator-skill 0.7.1: what its users may still say here, and what is not there yet.

A name that has a counterpart is an alias of it (see `Operation.aliases`). Of its parameters those that still make sense are
fields of ours; one that does not is refused with the reason, unless its value asks for what is done anyway.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.core.errors import InvalidRequest

#: Names without a counterpart in this version.
NOT_YET = frozenset({
    "cc_list_profiles", "cc_pick_profile", "cc_score_models", "cc_write_strategy_reports", "cc_workflow_plan", "cc_model_registry",
    "cc_local_policy", "cc_calibrate_policy", "cc_benchmark_model", "cc_benchmark_suite", "cc_run_visible_agent", "cc_spawn_role_team",
    "cc_collect_team_results",
    "cc_controller_report", "cc_pressure_report", "cc_dashboard",
    "cc_usage_summary",
    "cc_upgrade_check", "cc_prompt_pack", "cc_migrate_data", "cc_clean_workspace", "cc_archive_runs", "cc_repair_mcp_paths",
    "cc_folder_policy", "cc_write_claude_md", "cc_workflow_validate", "cc_workflow_dry_run", "cc_workflow_run", "cc_workflow_status",
    "cc_workflow_retry_node", "cc_workflow_stop", "cc_workflow_report", "cc_handoff_template", "cc_handoff_validate",
    "cc_handoff_read", "cc_handoff_repair_prompt",
})  # fmt: skip


class Retired(NamedTuple):
    """A parameter that is gone: values that ask for what is done anyway, and what to do instead of any other."""

    harmless: tuple[Any, ...]
    instead: str


_CURSOR = Retired((0, None), "pass the cursor of the last answer")
_TASK_TYPE = Retired((None, ""), "role says what kind of work it is")
_NO_FILES = Retired((False, None), "reads write nothing; the run's files are kept by its supervisor")
_JSON = Retired(("json", None), "answers are JSON")
_TAIL = Retired((False, 0, None), 'cc_poll {"mode":"raw"} shows output')
_SIZES = Retired((), "max_bytes bounds the answer")
_ROUTE = Retired((None, False), "a follow-up keeps the route of its run; start a new run for another")

RETIRED: dict[str, dict[str, Retired]] = {
    "cc_run_agent": {"task_type": _TASK_TYPE},
    "cc_run_streaming": {"task_type": _TASK_TYPE},
    "cc_queue_tick": {
        "max_concurrent": Retired((None,), 'cc_queue_policy {"config":{"max_concurrent":3},"apply":true} sets it'),
    },
    "cc_poll": {
        "event_offset": _CURSOR, "stdout_offset": _CURSOR, "stderr_offset": _CURSOR, "include_output_tail": _TAIL, "tail_chars": _TAIL,
        "max_events": _SIZES, "max_summary_chars": _SIZES, "write_artifacts": _NO_FILES,
    },
    "cc_summarize_run": {"event_offset": _CURSOR, "max_bytes": _SIZES, "max_events": _SIZES, "max_summary_chars": _SIZES},
    "cc_compact_events": {"event_offset": _CURSOR, "max_events": _SIZES, "write_artifacts": _NO_FILES},
    "cc_stop": {"timeout_seconds": Retired((), "the steps have their own grace; force=true kills at once")},
    "cc_run_status": {"include_output_tail": _TAIL, "tail_chars": _TAIL},
    "cc_send_instruction": {
        "role": _ROUTE, "task_type": _ROUTE, "timeout_seconds": Retired((None,), "a follow-up keeps the limits of its run"),
        "preserve_route": Retired((True, None), _ROUTE.instead), "reroute": _ROUTE, "route_profile": _ROUTE, "route_model": _ROUTE,
    },
    "cc_last_run": {"include_output": Retired((True, None), 'cc_poll {"mode":"raw"} shows output'), "response_format": _JSON},
    "cc_open_run_folder": {"open_folder": Retired((False,), "the answer names the path; no window is opened")},
    "cc_verify": {
        "test_timeout_seconds": Retired((), "see the parameters of cc_verify"),
        "include_diff": Retired((True, None), "the diff is always checked"),
    },
    "cc_cross_review": {
        "run_ids": Retired((None,), "one review for each result: run_id"),
        "reviewer_roles": Retired((None,), "each reviewer has its role: reviewers=[{adapter, role}]"),
        "cwd": Retired((None,), "the run's own workspace is found by its id"),
    },
    "cc_decision_review": {
        "team_id": Retired((None,), "name a run"), "output_dir": Retired((None,), "the answer is kept as a receipt"),
    },
    "cc_check_write_scope": {"cwd": Retired((None,), "name the run: its scope and tree are its own")},
    "cc_export_report": {"team_id": Retired((None,), "name a run"), "output_dir": Retired((None,), "the answer names the path")},
    "cc_init_workspace": {
        "role": Retired((None,), "a role belongs to a run"), "write_claude_md": Retired((False,), "no file of the project is written"),
        "repair_mcp": Retired((False,), "the installer registers the server"),
    },
}  # fmt: skip


def translate(operation: str, raw: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """`raw` without retired parameters. InvalidRequest when one asks for something that is gone."""
    retired = RETIRED.get(operation, {})
    out: dict[str, Any] = {}
    for name, value in raw.items():
        rule = retired.get(name) if name not in known else None
        if rule is None:
            out[name] = value
        elif not any(value is entry or (value == entry and type(value) is type(entry)) for entry in rule.harmless):
            raise InvalidRequest(
                f"{operation}: {name} is not a parameter any more: {rule.instead}",
                hint=f'cc_tools {{"query": "{operation}"}} shows its parameters',
            )
    return out
