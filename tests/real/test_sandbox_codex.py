"""A real Codex, which brings a sandbox of its own, inside ours: both hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kit import homes
from kit.door import Door
from kit.model_stub import ModelStub
from kit.repos import git
from kit.sandboxes import need
from kit.stub_script import Script, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(120)]


@pytest.mark.parametrize("level", ["fs", "fs+net"])
def test_codex_runs_its_sandbox_in_ours(tmp_path: Path, model_stub: ModelStub, level: str) -> None:
    need("bubblewrap")
    door = Door(
        tmp_path, env={**homes.codex_home(tmp_path, model_stub), "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
    )
    outside = tmp_path / "secret.txt"
    outside.write_text("SECRET\n")
    tries = f"echo hi > made.txt; cat {outside}; echo x > {outside}; echo x >> ~/.codex/config.toml; kill -9 {os.getpid()}; cat made.txt"
    # In a program of the project's: what that does no policy can see beforehand.
    (door.cwd / "tries.sh").write_text(tries)
    git(door.cwd, "add", "tries.sh")
    git(door.cwd, "commit", "-q", "-m", "a program")
    model_stub.add(Script([call("exec_command", {"cmd": "sh tries.sh"}), say("done")]))
    config = Path(door.env["CODEX_HOME"]) / "config.toml"
    before = config.read_bytes()
    arguments = {
        "task": "make it",
        "adapter": "codex",
        "model": homes.CODEX_MODEL,
        "allow_write": True,
        "sandbox": level,
    }
    run_id = str(door.call("cc_run_streaming", **arguments)["run_id"])
    door.finish(run_id, 60.0)
    state = door.state(run_id)
    assert (state["status"], state["sandbox"]) == ("succeeded", level), state["detail"]
    assert [row["path"] for row in state["snapshot"]["files"]] == ["made.txt"]
    assert door.data(run_id, "policy.decided")[0]["decision"] == "allow"
    said = model_stub.tool_results("exec_command")[0].text
    assert "hi" in said.splitlines()
    assert "SECRET" not in said
    assert outside.read_text() == "SECRET\n"
    assert config.read_bytes() == before
