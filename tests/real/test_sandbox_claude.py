"""A real Claude Code in the sandbox: it does its work there, and what its commands try to reach stays out of reach."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kit import clis, escapes, homes
from kit.door import Door
from kit.model_stub import ModelStub
from kit.repos import git
from kit.sandboxes import need
from kit.siege import besieged
from kit.stub_script import Script, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(180)]


def claude_env(stub: ModelStub) -> dict[str, str]:
    return {"PATH": clis.path_with_node(), **homes.claude_variables(stub)}


def bash(command: str) -> Any:
    return call("Bash", {"command": command, "description": "d", "timeout": 90_000})


@pytest.mark.parametrize("level", ["fs", "fs+net"])
def test_claude_code_works_inside_and_every_escape_is_denied(model_stub: ModelStub, level: str) -> None:
    need("bubblewrap")
    asked: list[str] = []

    def start(door: Door, command: str, hosts: list[str]) -> str:
        asked.append(command)
        fix = {"file_path": "src/app.py", "old_string": "a - b", "new_string": "a + b"}
        model_stub.add(
            Script([
                call("Read", {"file_path": "src/app.py"}), call("Edit", fix), bash("git add -A && git commit -q -m 'add adds'"),
                bash(command), say("Fixed."),
            ])
        )  # fmt: skip
        arguments = {
            "task": "fix add",
            "adapter": "claude",
            "model": homes.CLAUDE_MODEL,
            "allow_write": True,
            "sandbox": level,
        }
        return str(door.call("cc_run_streaming", **arguments, sandbox_hosts=hosts)["run_id"])

    with besieged(level, claude_env(model_stub), start) as siege:
        state = siege.door.state(siege.run_id)
        assert (state["status"], state["reason"]) == ("succeeded", "completed"), state["detail"]
        assert (state["sandbox"], state["sandbox_backend"]) == (level, "bubblewrap")
        got = {name: row["got"] for name, row in siege.found.items() if name != "controls" and row["got"]}
        assert set(got) - escapes.PRIVATE == set()
        assert len(siege.found) >= 50
        assert siege.after == siege.before
        assert siege.heard == []
        assert siege.victim_lives
        snapshot = state["snapshot"]
        assert snapshot["committed"] == 2
        assert "a + b" in git(siege.door.cwd, "show", f"{snapshot['commit']}:src/app.py")


def test_a_conversation_is_resumed_inside(tmp_path: Path, model_stub: ModelStub) -> None:
    need("bubblewrap")
    model_stub.add(Script([say("One.")]))
    model_stub.add(Script([say("Two.")]))
    env = {**homes.claude_home(tmp_path, model_stub), "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
    door = Door(tmp_path, env=env)
    arguments = {
        "task": "say one",
        "adapter": "claude",
        "model": homes.CLAUDE_MODEL,
        "allow_write": True,
        "sandbox": "fs",
    }
    first = str(door.call("cc_run_streaming", **arguments)["run_id"])
    door.finish(first, 60.0)
    again = str(door.call("cc_send_instruction", run_id=first, instruction="say two")["run_id"])
    door.finish(again, 60.0)
    state = door.state(again)
    assert (state["status"], state["sandbox"]) == ("succeeded", "fs"), state["detail"]
    assert state["session_id"] == door.state(first)["session_id"]
    assert not (Path(env["HOME"]) / ".claude").exists(), "nothing of it is in the user's own home"
