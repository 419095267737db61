"""The MCP Inspector's command line as a third client: it reads our schemas strictly and calls a tool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kit import clis, homes
from kit.repos import make_repo

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(120)]
DOOR = [str(Path(sys.executable).with_name("cc-orchestrator")), "mcp"]


def inspect(tmp_path: Path, *args: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the answer, and everything that was printed."""
    repo = tmp_path / "repo"
    if not repo.exists():
        make_repo(repo)
    done = subprocess.run(
        [*clis.inspector_command(), *DOOR, *args], cwd=repo, env=homes.base_env(tmp_path / "home"), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    text = done.stdout + done.stderr
    start = done.stdout.find("{")
    return done.returncode, json.loads(done.stdout[start:]) if start >= 0 else {}, text


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_the_listed_tools_are_portable_in_both_eras(tmp_path: Path, era: str) -> None:
    status, answer, text = inspect(tmp_path, "--method", "tools/list", "--strict", "--protocol-era", era)
    assert status == 0, text
    names = [tool["name"] for tool in answer["tools"]]
    assert {"cc_run_streaming", "cc_wait", "cc_poll", "cc_stop"} <= set(names)
    assert len(names) <= 20
    for tool in answer["tools"]:
        assert tool["inputSchema"]["additionalProperties"] is False
        assert "readOnlyHint" in tool["annotations"]


def test_a_tool_answers_the_same_facts_as_text_and_as_structure(tmp_path: Path) -> None:
    status, answer, text = inspect(
        tmp_path, "--method", "tools/call", "--tool-name", "cc_tools", "--tool-args-json", '{"query": "cc_wait"}'
    )
    assert status == 0, text
    assert json.loads(answer["content"][0]["text"]) == answer["structuredContent"]
    assert answer["structuredContent"]["operations"][0]["name"] == "cc_wait"


def test_a_bad_call_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    status, answer, text = inspect(
        tmp_path, "--method", "tools/call", "--tool-name", "cc_poll", "--tool-args-json", '{"run_id": "../../etc"}'
    )
    assert status == 5, text
    assert answer["isError"] is True
    assert answer["structuredContent"]["error"]["code"] == "invalid_request"
