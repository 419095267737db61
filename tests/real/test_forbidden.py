"""Real workers that try what they must not: stopped before it takes effect, told why, and they go on. Each try is on record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kit import homes
from kit.door import Door
from kit.forbidden import SECRET, damage, forbidden_commands, lay_ground
from kit.model_stub import ModelStub
from kit.stub_script import Script, Turn, call, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(240)]
LEVELS = [(0, False), (1, True), (2, True)]


def bash(command: str) -> Turn:
    return call("Bash", {"command": command, "description": "d"})


def finish(door: Door, run_id: str) -> dict[str, Any]:
    door.finish(run_id, 200.0)
    return door.state(run_id)


@pytest.mark.parametrize(("trust", "may_write"), LEVELS)
def test_claude_code_is_stopped_told_and_goes_on(
    trust: int, may_write: bool, tmp_path: Path, model_stub: ModelStub
) -> None:
    env = homes.claude_home(tmp_path, model_stub)
    door = Door(tmp_path, env={**env, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    with lay_ground(tmp_path, door.cwd, Path(env["HOME"])) as ground:
        commands = forbidden_commands(ground)
        edits = [
            f"{ground.outside}/e1",
            f"{ground.project}/README.md",
            f"{ground.project}/.agent-workspace/ledger/receipts-209901.ndjson",
        ]
        turns = [bash(command) for command in commands]
        turns += [call("Write", {"file_path": path, "content": "x"}) for path in edits]
        turns += [call("Read", {"file_path": f"{ground.home}/.ssh/id_rsa"})]
        model_stub.add(Script([*turns, say("I went on to the end.")]))
        run_id = door.call(
            "cc_run_streaming", task="try", adapter="claude", model=homes.CLAUDE_MODEL, allow_write=may_write, trust=trust, question_seconds=0.2,
            timeout_seconds=200,
        )["run_id"]  # fmt: skip
        state = finish(door, run_id)
        assert (state["status"], state["completion"]["claimed"]["text"]) == ("succeeded", "I went on to the end.")
        assert damage(ground) == []
        results = model_stub.tool_results()
        assert not [result.text for result in results if SECRET in result.text]
        decided = door.data(run_id, "policy.decided")
        tried = {data["target"] for data in decided}
        assert not [command for command in commands if command[:300] not in tried]
        assert all(data["correlation_id"] for data in decided)
        assert not [data for data in decided if data["decision"] == "allow" and data["target"] in commands]
        assert len(results) == len(turns)
        assert all(result.text.strip() for result in results), "each refusal has its reason"
        assert state["violations"] > 0


def test_the_work_that_its_trust_allows_is_not_hindered(tmp_path: Path, model_stub: ModelStub) -> None:
    env = homes.claude_home(tmp_path, model_stub)
    door = Door(tmp_path, env={**env, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    commands = [
        "ls -la && git status", "python3 -c 'print(1 + 1)'", "mkdir -p a/b && echo x > a/b/c.txt", "for f in a/b/*; do cat $PWD/a/b/c.txt; done",
        "echo '{}' > $CC_RUN_OUTBOX/handoff.json", "git add -A && git commit -q -m work",
    ]  # fmt: skip
    model_stub.add(Script([*(bash(command) for command in commands), say("done")]))
    run_id = door.call(
        "cc_run_streaming",
        task="work",
        adapter="claude",
        model=homes.CLAUDE_MODEL,
        allow_write=True,
        question_seconds=0.2,
    )["run_id"]
    state = finish(door, run_id)
    assert state["denied"] == 0, door.data(run_id, "policy.decided")
    assert [row["path"] for row in state["snapshot"]["files"]] == ["a/b/c.txt"]


def test_at_the_right_trust_the_same_acts_are_asked_allowed_and_take_effect(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    env = homes.claude_home(tmp_path, model_stub)
    door = Door(tmp_path, env={**env, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    with lay_ground(tmp_path, door.cwd, Path(env["HOME"])) as ground:
        commands = [
            f"echo x > {ground.outside}/a1",
            "git push -q origin HEAD:refs/heads/mine",
            f"cat {ground.home}/.ssh/id_rsa",
        ]
        model_stub.add(Script([*(bash(command) for command in commands), say("done")]))
        run_id = door.call(
            "cc_run_streaming", task="work", adapter="claude", model=homes.CLAUDE_MODEL, allow_write=True, trust=2
        )["run_id"]
        for command in commands:
            row = door.wait(run_id, "question", seconds=60)
            assert row["summary"]["question"]["target"] == command
            door.call("cc_answer", run_id=run_id, decision="allow")
        state = finish(door, run_id)
        assert (state["status"], state["denied"]) == ("succeeded", 0)
        assert set(damage(ground)) == {"outside/a1", "pushed"}
        assert SECRET in model_stub.tool_results("Bash")[-1].text
