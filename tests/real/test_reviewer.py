"""A real Claude Code as reviewer of another worker's result, against a scripted model on loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kit import homes
from kit.door import Door
from kit.model_stub import ModelStub
from kit.repos import fingerprint, git
from kit.stub_script import Script, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(240)]


def test_claude_reads_the_result_of_another_worker_and_is_asked_once_more_for_the_verdict(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    verdict = {
        "steps": [{"step": "S1", "verdict": "PASS", "evidence": "src/new.py:1 holds x = 1"}],
        "findings": [{"severity": "warn", "path": "src/new.py", "line": 1, "text": "x is a short name"}],
        "summary": "It holds.",
    }
    model_stub.add(
        Script([
            call("Read", {"file_path": "src/new.py"}), say("It looks good to me."),
            say(f"```json\n{json.dumps(verdict)}\n```"),
        ])
    )  # fmt: skip
    door = Door(
        tmp_path,
        env={**homes.claude_home(tmp_path, model_stub), "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]},
    )
    run_id = door.start_fake(
        {"write": {"path": "src/new.py", "content": "x = 1\n"}}, {"result": "done"}, allow_write=True, risk="medium"
    )
    door.finish(run_id)
    before = fingerprint(door.cwd)
    answer = door.call(
        "cc_cross_review", run_id=run_id, reviewers=[{"adapter": "claude", "model": homes.CLAUDE_MODEL}],
        acceptance_steps=["src/new.py defines x"], wait_seconds=200,
    )  # fmt: skip
    assert answer["status"] == "succeeded", answer
    (row,) = answer["reviewers"]
    assert (answer["verdict"], row["outcome"], row["repaired"]) == ("passed", "passed", True)
    assert row["model"] == homes.CLAUDE_MODEL
    assert "declared" not in answer
    assert [finding["severity"] for finding in answer["findings"]] == ["warn"]
    judge = door.spec(row["run_id"])
    assert judge.resume_session
    assert not judge.allow_write
    first = next(request for request in model_stub.requests if "UNTRUSTED DATA" in request.prompt)
    assert "src/new.py defines x" in first.prompt
    assert "+x = 1" in first.prompt
    assert fingerprint(door.cwd) == before
    assert "tree" not in git(door.cwd, "worktree", "list").replace("worktrees", "")
