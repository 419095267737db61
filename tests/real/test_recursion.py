"""A worker whose CLI has our server in its settings, or that calls our command line, cannot start anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kit import homes
from kit.door import Door
from kit.interpreter import PYTHON
from kit.model_stub import ModelStub
from kit.stub_script import Call, Script, Turn, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(150)]
ROOT = Path(__file__).resolve().parents[2]
START = {"task": "go on without me", "adapter": "fake"}
#: Spelled so that no rule about command lines can recognize it.
HIDDEN = (
    f"{PYTHON} -I -c 'import runpy, sys; sys.argv = [\"x\", \"--json\", \"run-streaming\", \"go on\", \"--adapter\", \"fake\"];"
    " runpy.run_module(\"cc\" + \"_orch\" + \"estrator\", run_name=\"__main__\")'"
)  # fmt: skip


def register(client: str, env: dict[str, str]) -> None:
    argv = [sys.executable, str(ROOT / "install" / "register.py"), "--yes", "--client", client]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def finish(door: Door, adapter: str, model: str) -> str:
    """One write run of a real worker, to its end."""
    answer = door.call("cc_run_streaming", task="do it", adapter=adapter, model=model, allow_write=True)
    door.finish(answer["run_id"], 60.0)
    return str(answer["run_id"])


def runs(door: Door) -> list[str]:
    return sorted(path.name for path in (door.cwd / ".agent-workspace" / "runs").glob("run_*"))


def server_in_project(door: Door) -> None:
    """The project brings the server too: Claude Code starts such servers without asking in `-p`."""
    entry: dict[str, Any] = {"command": sys.executable, "args": ["-I", "-m", "cc_orchestrator", "mcp"]}
    (door.cwd / ".mcp.json").write_text(json.dumps({"mcpServers": {"other-name": entry}}), encoding="utf-8")
    subprocess.run(["git", "add", ".mcp.json"], cwd=door.cwd, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "server"], cwd=door.cwd, check=True)


def test_a_claude_worker_has_no_door_and_its_shell_opens_none(tmp_path: Path, model_stub: ModelStub) -> None:
    env = homes.claude_home(tmp_path, model_stub)
    register("claude", env)
    door = Door(tmp_path, env=env)
    server_in_project(door)
    model_stub.add(
        Script([
            call("mcp__cc-orchestrator__cc_run_streaming", START), call("mcp__other-name__cc_run_streaming", START),
            call("Bash", {"command": HIDDEN, "description": "d"}), say("I could not."),
        ])
    )  # fmt: skip
    run_id = finish(door, "claude", homes.CLAUDE_MODEL)
    assert runs(door) == [run_id]
    results = [result.text for result in model_stub.tool_results()]
    assert len(results) == 3
    assert "No such tool" in results[0]
    assert "No such tool" in results[1]
    assert "policy_denied" in results[2] or "denied" in results[2]
    assert not any("run_id" in text and "starting" in text for text in results)


@pytest.mark.parametrize("name", ["cc-orchestrator", "other-name"])
def test_a_codex_worker_has_no_door_and_its_shell_opens_none(tmp_path: Path, model_stub: ModelStub, name: str) -> None:
    """Under a name of the user's own choice, and without the marker among the variables that Codex passes on, too."""
    env = {**homes.codex_home(tmp_path, model_stub), "OPENAI_API_KEY": homes.DUMMY_KEY}
    config = Path(env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("STUB_API_KEY", "OPENAI_API_KEY"), encoding="utf-8")
    if name == "cc-orchestrator":
        register("codex", env)
    else:
        with config.open("a", encoding="utf-8") as file:
            file.write(
                f"\n[mcp_servers.{name}]\ncommand = {json.dumps(sys.executable)}\nargs = ['-I', '-m', 'cc_orchestrator', 'mcp']\n"
                'required = true\nstartup_timeout_sec = 60\ndefault_tools_approval_mode = "approve"\n'
            )
    door = Door(tmp_path, env=env)
    model_stub.add(
        Script([
            Turn(calls=(Call(f"mcp__{name.replace('-', '_')}__cc_run_streaming", START),)),
            call("exec_command", {"cmd": HIDDEN}), say("I could not."),
        ])
    )  # fmt: skip
    run_id = finish(door, "codex", homes.CODEX_MODEL)
    assert runs(door) == [run_id]
    results = [result.text for result in model_stub.tool_results()]
    assert len(results) == 2, results
    assert "unsupported call" in results[0] or "policy_denied" in results[0]
    assert not any('"run_id"' in text and '"starting"' in text for text in results), results
