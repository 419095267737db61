"""Marks by which git is told not to look at a file hide nothing from a result; a sparse checkout loses nothing by it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.host.snapshot import Snapshot, snapshot
from cc_orchestrator.runs.risk import find_flags
from kit.door import Door
from kit.repos import git, make_repo

pytestmark = pytest.mark.process
FLAGS = ("--assume-unchanged", "--skip-worktree")
DONE = {"result": "done"}


def take(repo: Path, *, commit_on_branch: bool = False) -> Snapshot:
    base = git(repo, "rev-parse", "HEAD")
    return snapshot(str(repo), base=base, ref="refs/cc/runs/x", message="x", commit_on_branch=commit_on_branch)


def flags_of(state: dict[str, Any]) -> dict[str, str]:
    return {flag.code: flag.message for flag in find_flags(state, 0.0)}


def command(*argv: str) -> dict[str, Any]:
    return {"run": {"argv": list(argv)}}


@pytest.mark.parametrize("flag", FLAGS)
def test_a_change_that_a_worker_hides_by_a_mark_is_in_the_result_and_told(tmp_path: Path, flag: str) -> None:
    door = Door(tmp_path)
    change = {"write": {"path": "README.md", "content": "# changed\n"}}
    state = door.play(command("git", "update-index", flag, "README.md"), change, DONE, allow_write=True)
    found = state["snapshot"]
    assert [(row["path"], row["status"]) for row in found["files"]] == [("README.md", "M")]
    assert git(door.cwd, "show", f"{found['commit']}:README.md") == "# changed"
    assert found["hidden"] == ["README.md"]
    assert "README.md" in flags_of(state)["hidden_changes"]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_deletion_that_a_worker_hides_by_a_mark_is_in_the_result_and_told(tmp_path: Path, flag: str) -> None:
    door = Door(tmp_path)
    state = door.play(
        command("git", "update-index", flag, "README.md"), command("rm", "README.md"), DONE, allow_write=True
    )
    assert [(row["path"], row["status"]) for row in state["snapshot"]["files"]] == [("README.md", "D")]
    assert state["snapshot"]["hidden"] == ["README.md"]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_mark_that_hides_no_change_is_not_told(tmp_path: Path, flag: str) -> None:
    door = Door(tmp_path)
    state = door.play(command("git", "update-index", flag, "README.md"), DONE, allow_write=True)
    assert state["snapshot"]["files"] == []
    assert "hidden" not in state["snapshot"]
    assert "hidden_changes" not in flags_of(state)


def test_both_marks_at_once_and_a_name_with_a_newline_hide_nothing(tmp_path: Path) -> None:
    name = "a\nb ü.txt"
    repo = make_repo(tmp_path / "repo", {name: "1\n", "other": "1\n"})
    git(repo, "update-index", *FLAGS[:1], name)
    git(repo, "update-index", *FLAGS[1:], name)
    (repo / name).write_text("2\n", encoding="utf-8")
    taken = take(repo)
    assert [row.path for row in taken.files] == [name]
    assert taken.hidden == [name]
    assert git(repo, "ls-files", "-v").startswith("s "), "the worker's own index stays as it is"


@pytest.mark.parametrize("commit_on_branch", [False, True])
def test_what_a_sparse_checkout_leaves_out_is_never_deleted(tmp_path: Path, commit_on_branch: bool) -> None:
    repo = make_repo(tmp_path / "repo", {"in/a": "1\n", "out/b": "1\n", "out/c": "1\n", "top": "1\n"})
    git(repo, "sparse-checkout", "set", "in")
    assert not (repo / "out").exists()
    (repo / "in" / "a").write_text("2\n", encoding="utf-8")
    for _round in (1, 2):
        taken = take(repo, commit_on_branch=commit_on_branch)
        assert [row.path for row in taken.files] == ([] if commit_on_branch and _round == 2 else ["in/a"])
        assert (taken.absent, taken.hidden, taken.incomplete) == (2, [], None)
        assert git(repo, "ls-tree", "-r", "--name-only", taken.commit).split() == ["in/a", "out/b", "out/c", "top"]


def test_what_is_written_outside_of_a_sparse_checkout_is_in_the_result(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", {"in/a": "1\n", "out/b": "1\n", "out/c": "1\n"})
    git(repo, "sparse-checkout", "set", "in")
    (repo / "out").mkdir()
    (repo / "out" / "b").write_text("2\n", encoding="utf-8")
    (repo / "out" / "new").write_text("1\n", encoding="utf-8")
    taken = take(repo)
    assert [(row.path, row.status) for row in taken.files] == [("out/b", "M"), ("out/new", "A")]
    assert (taken.absent, taken.incomplete) == (1, None)


def test_a_run_in_a_sparse_project_keeps_what_is_left_out_and_its_result_is_verified_whole(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", {"in/a": "1\n", "out/b": "1\n"})
    git(repo, "sparse-checkout", "set", "in")
    door = Door(tmp_path, cwd=repo)
    state = door.play({"write": {"path": "in/new", "content": "1\n"}}, DONE, allow_write=True)
    assert not Path(str(door.spec(state["run_id"]).worktree), "out").exists()
    assert [row["path"] for row in state["snapshot"]["files"]] == ["in/new"]
    assert flags_of(state)["sparse_checkout"].startswith("1 files")
    answer = door.call("cc_verify", run_id=state["run_id"], test_commands=["cat out/b in/new"])
    assert answer["verdict"] == "APPROVE", answer


def test_a_worktree_with_a_hidden_change_is_not_taken_for_a_clean_one(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(DONE, allow_write=True)
    tree = Path(str(door.spec(state["run_id"]).worktree))
    git(tree, "update-index", "--skip-worktree", "README.md")
    (tree / "README.md").write_text("late\n", encoding="utf-8")
    (row,) = door.call("cc_worktree")["worktrees"]
    assert (row["class"], row["changed"]) == ("dirty", 1), row
    shutil.rmtree(tree)
