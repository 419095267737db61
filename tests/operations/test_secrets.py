"""A secret reaches a worker, or our own commands for it, only by a person's grant; its value is in no file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.errors import ApprovalRequired, InvalidRequest
from cc_orchestrator.store.grants import append_grant
from cc_orchestrator.store.paths import Workspace
from kit.door import Door

pytestmark = pytest.mark.process
VALUE = "plain-looking value of a secret 4711"


def grant(door: Door, name: str, to: str, **more: Any) -> None:
    row = {"grant_id": f"grt_{name}", "name": name, "to": to, "expires": SystemClock().now() + 600, "by": "ada", **more}
    append_grant(Workspace(str(door.cwd), str(door.cwd)), row)


def files_with(folder: Path, text: str) -> list[str]:
    found: list[str] = []
    for where, _folders, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            if path.is_file() and text.encode() in path.read_bytes():
                found.append(str(path))
    return found


TELL = {"steps": [{"env": {"names": ["DEPLOY_TOKEN"], "show": True}}, {"result": {"text": "done"}}]}


def test_without_a_grant_nothing_starts_and_a_person_is_named(tmp_path: Path) -> None:
    door = Door(tmp_path, env={**os.environ, "DEPLOY_TOKEN": VALUE})
    with pytest.raises(ApprovalRequired) as refused:
        door.call("cc_run_streaming", task="t", adapter="fake", script=TELL, secrets=["DEPLOY_TOKEN"])
    assert "secrets grant --name DEPLOY_TOKEN" in refused.value.hint


def test_a_granted_secret_that_is_not_set_here_is_said(tmp_path: Path) -> None:
    door = Door(tmp_path)
    grant(door, "DEPLOY_TOKEN", "worker")
    with pytest.raises(InvalidRequest, match="not set"):
        door.call("cc_run_streaming", task="t", adapter="fake", script=TELL, secrets=["DEPLOY_TOKEN"])


def test_an_expired_grant_is_none(tmp_path: Path) -> None:
    door = Door(tmp_path, env={**os.environ, "DEPLOY_TOKEN": VALUE})
    grant(door, "DEPLOY_TOKEN", "worker", expires=1.0)
    with pytest.raises(ApprovalRequired):
        door.call("cc_run_streaming", task="t", adapter="fake", script=TELL, secrets=["DEPLOY_TOKEN"])


def test_a_granted_worker_has_it_for_as_many_runs_as_were_granted(tmp_path: Path) -> None:
    door = Door(tmp_path, env={**os.environ, "DEPLOY_TOKEN": VALUE})
    grant(door, "DEPLOY_TOKEN", "worker", uses=1)
    started = door.call("cc_run_streaming", task="t", adapter="fake", script=TELL, secrets=["DEPLOY_TOKEN"])
    door.finish(started["run_id"])
    assert door.data(started["run_id"], "run.message")[0]["text"] == "env: DEPLOY_TOKEN=[MASKED:known]"
    assert files_with(door.cwd / ".agent-workspace", VALUE) == []
    with pytest.raises(ApprovalRequired):
        door.call("cc_run_streaming", task="t", adapter="fake", script=TELL, secrets=["DEPLOY_TOKEN"])


def test_our_install_command_has_the_secret_and_the_worker_sees_its_result_only(tmp_path: Path) -> None:
    door = Door(tmp_path, env={**os.environ, "DEPLOY_TOKEN": VALUE})
    grant(door, "DEPLOY_TOKEN", "host")
    install = "sh -c 'echo with $DEPLOY_TOKEN | wc -c > size.txt; echo $DEPLOY_TOKEN'"
    run_id = door.call(
        "cc_run_streaming", task="t", adapter="fake", script=TELL, allow_write=True, secrets=["DEPLOY_TOKEN"],
        worktree={"install": [install]},
    )["run_id"]  # fmt: skip
    door.finish(run_id)
    assert door.data(run_id, "run.message")[0]["text"] == "env: DEPLOY_TOKEN=absent"
    spec = door.spec(run_id)
    assert spec.worktree is not None
    assert (Path(spec.worktree) / "size.txt").read_text(encoding="utf-8").strip() == str(len(VALUE) + len("with \n"))
    assert files_with(door.cwd / ".agent-workspace", VALUE) == []
    log = (door.cwd / ".agent-workspace" / "runs" / run_id / "install-1.log").read_text(encoding="utf-8")
    assert "[MASKED:known]" in log
