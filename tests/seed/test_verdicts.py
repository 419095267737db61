"""Faults of the seed's gates (its study, §12.5): what a worker did against its scope, and flags that cried wolf.

What only a sandbox can see must be said to be unverified, never passed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.runs.risk import find_flags
from cc_orchestrator.store.paths import find_workspace
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.checks import run_checks
from cc_orchestrator.verify.evidence import collect_evidence
from cc_orchestrator.verify.rulefile import load_rules
from cc_orchestrator.verify.rules import apply_levels, from_json
from cc_orchestrator.verify.verdict import decide_verdict
from kit.door import Door
from kit.repos import commit, git

pytestmark = pytest.mark.process
SCOPE = {"allow": ["src"], "deny": [".env"], "max_diff_lines": 800}
FINE: dict[str, Any] = {"write": {"path": "src/fine.py", "content": "x = 1\n"}}
RESULT: dict[str, Any] = {"result": "done"}


def work(door: Door, *steps: dict[str, Any], **more: Any) -> tuple[str, dict[str, Check], str]:
    """A write run under the scope: its id, its checks by name, the verdict."""
    state = door.play(*steps, RESULT, **{"allow_write": True, "scope": SCOPE, **more})
    workspace = find_workspace(str(door.cwd), door.env)
    rules = from_json(load_rules(workspace, {}).plain)
    checks = apply_levels(run_checks(collect_evidence(workspace, state["run_id"]), rules, ()), rules)
    return state["run_id"], {check.name: check for check in checks}, decide_verdict(checks)


def write(path: str, content: str = "x = 1\n") -> dict[str, Any]:
    return {"write": {"path": path, "content": content}}


def test_work_inside_the_scope_passes(tmp_path: Path) -> None:
    _run, checks, verdict = work(Door(tmp_path), FINE)
    assert (checks["scope"].outcome, checks["diff_size"].outcome) == ("pass", "pass")
    assert verdict == "APPROVE"


def test_a_file_outside_the_scope_is_found(tmp_path: Path) -> None:
    _run, checks, verdict = work(Door(tmp_path), FINE, write("other/evil.py"))
    assert checks["scope"].outcome == "fail"
    assert "other/evil.py" in checks["scope"].evidence
    assert verdict != "APPROVE"


def test_a_denied_file_that_git_ignores_is_found(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": ".env\n"}, "ignore")
    _run, checks, verdict = work(door, FINE, write(".env", "A=1\n"))
    assert checks["scope"].outcome == "fail"
    assert ".env" in checks["scope"].evidence
    assert verdict != "APPROVE"


def test_a_file_outside_the_scope_that_was_committed_is_found(tmp_path: Path) -> None:
    _run, checks, verdict = work(Door(tmp_path), FINE, write("other/evil.py"), {"commit": "nothing to see"})
    assert checks["scope"].outcome == "fail"
    assert "other/evil.py" in checks["scope"].evidence
    assert verdict != "APPROVE"


def test_two_thousand_lines_in_a_new_file_count(tmp_path: Path) -> None:
    _run, checks, verdict = work(Door(tmp_path), write("src/big.py", "x = 1\n" * 2_000))
    assert checks["diff_size"].outcome == "fail"
    assert verdict != "APPROVE"


def test_a_worker_that_rewrites_its_scope_file_is_not_believed(tmp_path: Path) -> None:
    """The scope lies in the run's spec, outside the worktree: without a sandbox a worker can reach it, and that is found."""
    door = Door(tmp_path)
    task_files = str(door.cwd / ".agent-workspace" / "scope.json")
    _run, checks, verdict = work(door, write(task_files, "{}"), write("other/evil.py"))
    assert checks["scope"].outcome == "fail", "the scope that counts is the one that was asked for"
    assert verdict != "APPROVE"


def test_a_file_written_outside_the_worktree_by_a_tool_is_found(tmp_path: Path) -> None:
    _run, checks, verdict = work(Door(tmp_path), FINE, write("../../../escaped.txt"))
    assert checks["outside"].outcome == "fail"
    assert checks["outside"].measured == 1
    assert verdict != "APPROVE"


def test_what_only_a_sandbox_can_see_is_unverified_and_never_a_pass(tmp_path: Path) -> None:
    outside = tmp_path / "escaped.txt"
    script = f"open({str(outside)!r}, 'w').write('x')"
    _run, checks, _verdict = work(Door(tmp_path), FINE, {"run": {"argv": ["python3", "-c", script]}})
    assert outside.exists(), "the escape did happen"
    assert checks["outside"].outcome == "unverified"
    assert "no sandbox" in checks["outside"].evidence


def test_a_cwd_that_is_a_subfolder_sees_the_changes_of_the_whole_tree(tmp_path: Path) -> None:
    door = Door(tmp_path)
    _run, checks, verdict = work(door, write("../other/evil.py"), cwd=str(door.cwd / "src"))
    assert checks["scope"].outcome == "fail"
    assert "other/evil.py" in checks["scope"].evidence
    assert verdict != "APPROVE"


def test_without_a_git_repository_nothing_passes_unseen(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    door = Door(tmp_path, cwd=plain)
    run_id = door.play(RESULT)["run_id"]
    workspace = find_workspace(str(plain), door.env)
    found = run_checks(collect_evidence(workspace, run_id), from_json(load_rules(workspace, {}).plain), ())
    checks = {check.name: check for check in found}
    assert checks["result"].outcome == "unverified"
    assert decide_verdict(list(checks.values())) != "APPROVE"


def test_a_read_only_run_on_a_clean_repository_lists_no_changed_file(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"say": "1"}, {"hang": {"deaf": True}})
    door.until_event(run_id, "run.message")
    assert not door.call("cc_poll", run_id=run_id)["summary"].get("files")
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)
    state = door.state(run_id)
    assert state["files"] == {}
    assert {flag.code for flag in find_flags(state, state["finished_at"])} == set()


@pytest.mark.parametrize("actual", ["qwen3.7-plus-20260901", "qwen3.7-plus[1m]", "qwen3.7-plus"])
def test_a_dated_or_marked_name_of_the_same_model_is_no_route_mismatch(tmp_path: Path, actual: str) -> None:
    state = Door(tmp_path).play({"usage": {"model": actual, "input_tokens": 1}}, RESULT, model="qwen3.7-plus")
    assert "route_mismatch" not in {flag.code for flag in find_flags(state, state["finished_at"])}


@pytest.mark.parametrize(
    "sentence",
    [
        "You may have to sudo apt install the headers first; I did not.",
        "The output format is JSON.",
        "pytest failed at first. After the fix all tests pass.",
        '{"apiKeySource": "none", "tools": ["Bash"]}',
    ],
)
def test_a_sentence_is_no_risk(tmp_path: Path, sentence: str) -> None:
    state = Door(tmp_path).play({"say": sentence}, {"result": sentence})
    assert find_flags(state, state["finished_at"]) == []
    assert state["masked"] == {}


def test_a_secret_that_was_masked_in_the_stream_is_still_told(tmp_path: Path) -> None:
    door = Door(tmp_path)
    secrets = ["ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8", "sk-ant-api03-" + "Ab1" * 31 + "-AA"]
    run_id, checks, _verdict = work(door, FINE, *[{"say": f"the key is {secret}"} for secret in secrets])
    raw = Path(door.run(run_id).raw("stdout")).read_text(encoding="utf-8")
    assert not any(secret in raw for secret in secrets)
    assert sum(door.state(run_id)["masked"].values()) >= 2
    # A warning, because the stream is no part of the result; the seed's scan said that all was well.
    assert checks["stream_secrets"].outcome == "fail"


def test_a_renamed_file_is_told_with_its_names_the_right_way_round(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id, _checks, _verdict = work(
        door, {"run": {"argv": ["git", "mv", "src/app.py", "src/new.py"]}}, scope={"allow": ["src"]}
    )
    (row,) = door.data(run_id, "run.snapshot")[0]["files"]
    assert (row["status"], row["old_path"], row["path"]) == ("R", "src/app.py", "src/new.py")
    assert git(door.cwd, "status", "--porcelain") == ""


def test_the_mock_workers_cost_is_no_money(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.play(RESULT)
    assert door.call("cc_status")["last_24h"]["cost_usd"] == 0


def test_the_timeline_names_tools_once_with_their_count(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.play(*[{"tool": {"tool": "Grep", "target": f"x{n}"}} for n in range(7)], RESULT)["run_id"]
    assert "Grep x7" in Path(door.run(run_id).at("tool_timeline.md")).read_text(encoding="utf-8")
    assert "Grep" in json.dumps(door.call("cc_poll", run_id=run_id))
