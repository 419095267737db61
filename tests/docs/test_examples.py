"""The examples run, and their exit status is the truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kit import homes
from kit.model_stub import ModelStub
from kit.stub_script import Script, call, say

ROOT = Path(__file__).resolve().parents[2]
FIRST = ROOT / "examples" / "01-first-run"
pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


def first_run(*args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FIRST / "first_run.py"), *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_first_run_ends_approved_delivered_and_on_record() -> None:
    done = first_run()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert done.stdout.rstrip().endswith("verdict: APPROVE")
    for shown in ('"how": "fast_forward"', '"kind": "delivery"', "calc.py | 2 +-", "receipts-", "spec.json"):
        assert shown in done.stdout


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"lie": {}}], "nothing is accepted"),
        ([{"write": {"path": "calc.py", "content": "def add(a, b):\n    return 0\n"}}, {"result": {"text": "It works."}}], "verdict: HOLD"),
        ([{"crash": {}}], "nothing to verify"),
    ],
)  # fmt: skip
def test_a_worker_that_lies_fails_or_crashes_is_not_approved(tmp_path: Path, steps: list[object], words: str) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"steps": steps}), encoding="utf-8")
    done = first_run("--script", str(script))
    assert done.returncode == 1
    assert words in done.stdout, done.stdout[-2000:] + done.stderr
    assert "cc-orchestrator --json accept" not in done.stdout


@pytest.mark.real_cli
def test_the_first_run_does_the_same_with_claude_code(tmp_path: Path, model_stub: ModelStub) -> None:
    fix = {"file_path": "calc.py", "old_string": "a - b", "new_string": "a + b"}
    model_stub.add(Script([call("Read", {"file_path": "calc.py"}), call("Edit", fix), say("add() adds now.")]))
    done = first_run("--worker", "claude", "--model", homes.CLAUDE_MODEL, env=homes.claude_home(tmp_path, model_stub))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


@pytest.mark.real_cli
def test_the_first_run_does_the_same_with_codex(tmp_path: Path, model_stub: ModelStub) -> None:
    env = {**homes.codex_home(tmp_path, model_stub), "OPENAI_API_KEY": homes.DUMMY_KEY}
    config = Path(env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("STUB_API_KEY", "OPENAI_API_KEY"), encoding="utf-8")
    model_stub.add(Script([call("exec_command", {"cmd": "sed -i 's/a - b/a + b/' calc.py"}), say("add() adds now.")]))
    done = first_run("--worker", "codex", "--model", homes.CODEX_MODEL, env=env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
