"""Bad places, broken files, broken CLIs: each is answered with what is wrong and what to do, and nothing is made up."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.operations.size import size_of
from kit.door import Door
from kit.repos import git, make_repo

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def refusal(door: Door, name: str, /, **arguments: Any) -> CcError:
    with pytest.raises(CcError) as caught:
        door.call(name, **arguments)
    return caught.value


def start(door: Door, **more: Any) -> str:
    return door.start_fake({"result": "done"}, **more)


# ---------------------------------------------------------------- places


def test_a_folder_that_is_missing_is_refused_and_not_made(tmp_path: Path) -> None:
    door = Door(tmp_path)
    error = refusal(door, "cc_run_streaming", task="x", adapter="fake", cwd=str(tmp_path / "nowhere"))
    assert error.code == "invalid_request"
    assert "does not exist" in error.message
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_refused_as_a_folder(tmp_path: Path) -> None:
    door = Door(tmp_path)
    error = refusal(door, "cc_run_streaming", task="x", adapter="fake", cwd=str(door.cwd / "README.md"))
    assert "is a file" in error.message
    assert str(door.cwd) in error.hint


@pytest.mark.parametrize("cwd", ["a\0b", "", "/dev/null/x"])
def test_a_path_that_cannot_be_is_refused(tmp_path: Path, cwd: str) -> None:
    assert refusal(Door(tmp_path), "cc_status", cwd=cwd or "\0").code == "invalid_request"


def test_without_git_a_run_may_read_and_not_write(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    door = Door(tmp_path, cwd=folder)
    error = refusal(door, "cc_run_streaming", task="x", adapter="fake", allow_write=True)
    assert error.code == "invalid_request"
    assert "git init" in error.hint
    run_id = start(door)
    assert door.finish(run_id)["status"] == "succeeded"
    assert refusal(door, "cc_git_diff").code == "invalid_request"


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(make_repo(tmp_path / "source"), "clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    error = refusal(Door(tmp_path, cwd=tmp_path / "bare.git"), "cc_run_streaming", task="x", adapter="fake")
    assert error.code == "invalid_request"
    assert "bare" in error.message


def test_a_repository_without_a_commit_may_be_read_and_not_written(tmp_path: Path) -> None:
    door = Door(tmp_path, cwd=make_repo(tmp_path / "fresh", files={}))
    error = refusal(door, "cc_run_streaming", task="x", adapter="fake", allow_write=True)
    assert error.code == "invalid_request"
    assert "commit" in error.hint
    assert door.finish(start(door))["status"] == "succeeded"


def test_a_subfolder_and_a_linked_worktree_belong_to_the_main_checkout(tmp_path: Path) -> None:
    door = Door(tmp_path)
    git(door.cwd, "worktree", "add", "-q", str(tmp_path / "linked"))
    for place in (door.cwd / "src", tmp_path / "linked"):
        assert door.call("cc_status", cwd=str(place))["workspace"] == str(door.cwd)


def test_a_run_of_another_project_is_found_by_its_id(tmp_path: Path) -> None:
    one = Door(tmp_path / "one")
    run_id = start(one)
    one.finish(run_id)
    other = Door(tmp_path / "other")
    assert other.call("cc_poll", run_id=run_id)["status"] == "succeeded"


# ---------------------------------------------------------------- workspaces


def test_a_workspace_that_cannot_be_made_is_unavailable_and_reads_still_answer(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (door.cwd / ".agent-workspace").write_text("a file stands here")
    for name, arguments in (("cc_run_streaming", {"task": "x", "adapter": "fake"}), ("cc_init_workspace", {})):
        error = refusal(door, name, **arguments)
        assert error.code == "unavailable"
        assert ".agent-workspace" in error.message
        assert error.hint
    assert door.call("cc_status")["workspace"] == str(door.cwd)
    doctor = door.call("cc_doctor")
    assert doctor["ok"] is False
    assert [row["check"] for row in doctor["checks"] if not row["ok"] and row["check"] == "workspace"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the file in the folder's place stands for it")
def test_a_read_only_project_is_unavailable(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.cwd.chmod(0o555)
    try:
        assert refusal(door, "cc_run_streaming", task="x", adapter="fake").code == "unavailable"
    finally:
        door.cwd.chmod(0o755)


# ---------------------------------------------------------------- broken files


@pytest.fixture
def ended(tmp_path: Path) -> tuple[Door, str]:
    door = Door(tmp_path)
    run_id = start(door)
    door.finish(run_id)
    return door, run_id


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\0\0\0", '{"run_id": 7}'])
def test_a_corrupt_spec_is_said_by_what_needs_it_and_the_rest_goes_on(ended: tuple[Door, str], content: str) -> None:
    door, run_id = ended
    Path(door.run(run_id).spec).write_text(content)
    assert door.call("cc_poll", run_id=run_id)["status"] == "succeeded"
    assert door.call("cc_status")["recent"][0]["run_id"] == run_id
    error = refusal(door, "cc_send_instruction", run_id=run_id, instruction="go on")
    assert isinstance(error, Corrupt)
    assert error.hint
    assert door.call("cc_recover")["workspace"] == str(door.cwd)
    again = start(door)
    assert door.finish(again)["status"] == "succeeded"


@pytest.mark.parametrize("name", ["status.json", "fold.json", "progress_summary.json", "usage.json", "bell"])
@pytest.mark.parametrize("content", ["", "{", '{"state": {"v": 1}, "offset": 5}', "\xff"])
def test_a_corrupt_cache_changes_no_answer(ended: tuple[Door, str], name: str, content: str) -> None:
    door, run_id = ended
    before = door.call("cc_poll", run_id=run_id)
    Path(door.run(run_id).at(name)).write_bytes(content.encode("latin-1"))
    after = door.call("cc_poll", run_id=run_id)
    assert {**after, "as_of": ""} == {**before, "as_of": ""}


@pytest.mark.parametrize(
    "content", [b"", b"no database at all, but long enough to look at " * 50, b"SQLite format 3\0" + b"\xff" * 4_000]
)
def test_a_corrupt_index_is_made_anew(ended: tuple[Door, str], content: bytes) -> None:
    door, run_id = ended
    for path in (door.cwd / ".agent-workspace").glob("index.sqlite*"):
        path.unlink()
    (door.cwd / ".agent-workspace" / "index.sqlite").write_bytes(content)
    again = start(door)
    door.finish(again)
    door.call("cc_recover")
    listed = [row["run_id"] for row in door.call("cc_run_status", include_finished=True)["runs"]]
    assert listed == [again, run_id]


def test_a_workspace_whose_index_is_gone_still_lists_its_runs(ended: tuple[Door, str]) -> None:
    door, run_id = ended
    for path in (door.cwd / ".agent-workspace").glob("index.sqlite*"):
        path.unlink()
    assert door.call("cc_status")["recent"][0]["run_id"] == run_id


def test_a_run_whose_folder_is_gone_is_not_found(ended: tuple[Door, str]) -> None:
    door, run_id = ended
    shutil.rmtree(door.run(run_id).path)
    assert refusal(door, "cc_poll", run_id=run_id).code == "not_found"
    assert size_of(door.call("cc_status")) < 1_536


# ---------------------------------------------------------------- broken CLIs


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([{"raw": {"text": "Usage: cli [options]\nnothing of our protocol\n"}}, {"exit": 0}], None),
        ([{"raw": {"text": '{"event":"say","te'}}, {"exit": 0}], "exited_empty"),
        ([{"raw": {"text": '[1,2]\n7\nnull\n"text"\n{}\n{"event":7}\n{"event":"result"}\n{"event":"tool_start"}\n'}}, {"exit": 0}], None),
        ([{"raw": {"base64": "AAH//v8KgICAgArwn5iA4pgK7aCACg=="}}, {"exit": 3}], "crashed"),
        ([{"exit": 1}], "crashed"),
    ],
)  # fmt: skip
def test_a_cli_that_prints_no_protocol_ends_with_a_reason_and_its_output_is_kept(
    tmp_path: Path, raw: list[dict[str, Any]], reason: str | None
) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(*raw)
    row = door.finish(run_id)
    if reason is not None:
        assert (row["status"], row["reason"]) == ("failed", reason)
    poll = door.call("cc_poll", run_id=run_id)
    assert poll["done"] is True
    json.dumps(door.call("cc_poll", run_id=run_id, mode="raw")).encode("utf-8")
    json.dumps(door.call("cc_last_run", run_id=run_id)).encode("utf-8")


def test_a_cli_that_is_not_installed_is_unavailable_and_nothing_is_left(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (tmp_path / "bin").mkdir()
    os.symlink(shutil.which("git") or "/usr/bin/git", tmp_path / "bin" / "git")
    door.context = replace(door.context, env={**door.env, "PATH": str(tmp_path / "bin")})
    for name in [
        row["check"].removeprefix("adapter ")
        for row in door.call("cc_doctor")["checks"]
        if row["check"].startswith("adapter ")
    ]:
        if name == "fake":
            continue
        error = refusal(door, "cc_run_streaming", task="x", adapter=name)
        assert error.code == "unavailable"
        assert "not installed" in error.message
        assert "cc_doctor" in error.hint
    runs = door.cwd / ".agent-workspace" / "runs"
    assert not list(runs.glob("run_*")) if runs.exists() else True
