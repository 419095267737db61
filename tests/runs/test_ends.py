"""How a run ends is told exactly: every reason that the bundled worker can bring about, through the public door."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.door import Door

pytestmark = pytest.mark.process


def end(door: Door, *steps: dict[str, object], **more: object) -> tuple[str, str | None]:
    state = door.play(*steps, **more)
    return state["status"], state["reason"]


def test_a_result_and_exit_0_is_success(tmp_path: Path) -> None:
    assert end(Door(tmp_path), {"result": "done"}) == ("succeeded", "completed")


def test_exit_0_without_a_result_is_a_failure(tmp_path: Path) -> None:
    assert end(Door(tmp_path), {"say": "All done!"}, {"exit": 0}) == ("failed", "exited_empty")


def test_a_worker_gets_the_environment_of_its_caller_and_only_what_its_adapter_allows(tmp_path: Path) -> None:
    door = Door(tmp_path)
    env = {**door.env, "FAKE_WORKER_SWITCH": "on", "OPENAI_API_KEY": "not-for-this-worker", "CLAUDECODE": "1"}
    door = Door(tmp_path, cwd=door.cwd, env=env)
    names = ["FAKE_WORKER_SWITCH", "OPENAI_API_KEY", "CLAUDECODE", "CC_RUN_ID", "HOME"]
    state = door.play({"env": {"names": names}}, {"result": "x"})
    run_id = state["run_id"]
    assert door.data(run_id, "run.message")[0]["text"] == (
        "env: FAKE_WORKER_SWITCH=present OPENAI_API_KEY=absent CLAUDECODE=absent CC_RUN_ID=present HOME=present"
    )
