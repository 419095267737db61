"""cc_score_worker through the public door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Conflict
from kit.door import Door
from kit.interpreter import PYTHON

pytestmark = pytest.mark.process
PASSES = [f"{PYTHON} -c pass"]


def work(door: Door, **usage: int) -> str:
    steps = [{"write": {"path": "new.py", "content": "x\n"}}, {"result": "done", **({"usage": usage} if usage else {})}]
    run_id = door.start_fake(*steps, allow_write=True, role="development")
    door.finish(run_id)
    return run_id


def test_a_run_is_graded_by_what_was_verified_and_kept_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    unproved = door.call("cc_score_worker", run_id=run_id, apply=False)
    assert (unproved["quality_score"], unproved["applied"]) == (65, False)
    assert "solved" in unproved["unknown"]
    assert "cc_verify" in unproved["next"]
    assert not (door.cwd / ".agent-workspace/quality").exists()
    verified = door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    graded = door.call("cc_score_worker", run_id=run_id, notes="clean work")
    assert (graded["quality_score"], graded["solved"], graded["scope_ok"], graded["secret_ok"]) == (
        100,
        True,
        True,
        True,
    )
    assert (graded["verify_id"], graded["record"], graded["role"]) == (verified["verify_id"], 1, "development")
    assert (graded["history"]["runs"], graded["history"]["average"], graded["history"]["sound"]) == (1, 100.0, True)
    again = door.call("cc_score_worker", run_id=run_id, notes="clean work")
    assert (again["record"], again["repeated"]) == (1, True)


def test_what_a_caller_says_counts_and_is_marked_as_said(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    graded = door.call("cc_score_worker", run_id=run_id, solved=False, hallucination=True)
    assert (graded["quality_score"], graded["needs_rework"]) == (100 - 35 - 15 - 25, True)
    assert graded["given"] == ["hallucination", "solved"]
    (path,) = (door.cwd / ".agent-workspace/quality").glob("receipts-*")
    record = json.loads(path.read_text())
    assert record["observed"]["seen"] == {"hallucination": None, "solved": True}
    assert record["claimed"]["given"] == ["hallucination", "solved"]


def test_a_hold_and_a_refusal_are_rework(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    door.call("cc_verify", run_id=run_id, test_commands=[f'{PYTHON} -c "raise SystemExit(1)"'])
    held = door.call("cc_score_worker", run_id=run_id)
    assert (held["quality_score"], held["solved"], held["rework"]) == (50, False, 1)
    door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    door.call("cc_accept", run_id=run_id, decision="reject", reason="not what was asked")
    assert door.call("cc_score_worker", run_id=run_id)["quality_score"] == 50


def test_a_live_run_is_not_graded_and_the_command_line_says_the_same(tmp_path: Path) -> None:
    door = Door(tmp_path)
    live = door.start_fake({"hang": {}})
    with pytest.raises(Conflict, match="not finished"):
        door.call("cc_score_worker", run_id=live)
    door.call("cc_stop", run_id=live, force=True)
    argv = ["score-worker", live, "--no-solved", "--hallucination", "--no-apply"]
    done = subprocess.run(
        [sys.executable, "-m", "cc_orchestrator", "-C", str(door.cwd), "--json", *argv],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["given"] == ["hallucination", "solved"]
