"""The result of a write run is a commit of its own; the user's checkout stays as it was, whatever the worker does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cc_orchestrator.adapters.base import Ending
from cc_orchestrator.core.errors import CcError, InvalidRequest
from cc_orchestrator.core.states import REASONS
from cc_orchestrator.runs.outcome import Stop, decide_outcome
from kit.door import Door
from kit.repos import commit, fingerprint, git, make_repo, write

pytestmark = pytest.mark.process
WRITE = {"write": {"path": "new.txt", "content": "one\ntwo\n"}}
DONE = {"result": "done"}


def test_a_write_run_has_its_own_branch_and_its_result_is_a_commit_under_refs_cc(tmp_path: Path) -> None:
    door = Door(tmp_path)
    base = git(door.cwd, "rev-parse", "HEAD")
    state = door.play(WRITE, DONE, allow_write=True)
    spec, snapshot = door.spec(state["run_id"]), state["snapshot"]
    assert spec.branch == f"cc/{spec.task_id}"
    assert spec.base == snapshot["base"] == base
    assert git(door.cwd, "rev-parse", f"refs/cc/runs/{spec.run_id}") == snapshot["commit"]
    assert git(door.cwd, "show", f"{snapshot['commit']}:new.txt") == "one\ntwo"
    assert (snapshot["committed"], snapshot["uncommitted"], snapshot["head"]) == (0, True, base)
    assert (snapshot["file_count"], snapshot["added"], snapshot["deleted"]) == (1, 2, 0)
    assert git(door.cwd, "rev-parse", spec.branch) == base, "what was not committed does not move the branch"


def test_what_the_worker_committed_and_what_it_left_are_told_apart(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        WRITE, {"commit": "first"}, {"write": {"path": "late.txt", "content": "x\n"}}, DONE, allow_write=True
    )
    snapshot = state["snapshot"]
    assert (snapshot["committed"], snapshot["uncommitted"]) == (1, True)
    assert git(door.cwd, "rev-parse", snapshot["branch"]) == snapshot["head"]
    assert git(door.cwd, "rev-parse", f"{snapshot['commit']}^") == snapshot["head"]
    assert git(door.cwd, "diff", "--name-only", snapshot["head"], snapshot["commit"]) == "late.txt"
    observed = state["completion"]["observed"]
    assert (observed["committed"], observed["uncommitted"], observed["file_count"]) == (1, True, 2)


def test_a_run_that_commits_everything_has_that_commit_as_its_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    snapshot = door.play(WRITE, {"commit": "all"}, DONE, allow_write=True)["snapshot"]
    assert snapshot["commit"] == snapshot["head"]
    assert snapshot["uncommitted"] is False


def test_a_run_that_changes_nothing_has_its_base_as_result(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"lie": "I rewrote everything. All tests pass."}, allow_write=True)
    assert state["snapshot"]["commit"] == state["snapshot"]["base"]
    assert state["completion"]["observed"]["file_count"] == 0
    assert state["completion"]["claimed"]["text"] == "I rewrote everything. All tests pass."


def test_a_dirty_checkout_is_the_same_afterwards_and_its_changes_are_not_in_the_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    write(door.cwd, {"README.md": "# mine, unsaved\n", "untracked.txt": "mine\n", "staged.txt": "staged\n"})
    git(door.cwd, "add", "staged.txt")
    before = fingerprint(door.cwd)
    index = (door.cwd / ".git" / "index").read_bytes()
    state = door.play(
        {"write": {"path": "README.md", "content": "# theirs\n"}}, {"commit": "x"}, DONE, allow_write=True
    )
    assert (door.cwd / ".git" / "index").read_bytes() == index
    assert fingerprint(door.cwd) == before
    assert (door.cwd / "README.md").read_text() == "# mine, unsaved\n"
    assert state["checkout"] == {"changed": False}
    assert [row["path"] for row in state["snapshot"]["files"]] == ["README.md"]


def test_a_worker_that_writes_into_the_users_checkout_is_found_out(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"write": {"path": str(door.cwd / "README.md"), "content": "mine now\n"}}, DONE, allow_write=True)
    assert state["checkout"] == {"changed": True, "parts": ["files"]}
    flags = door.call("cc_summarize_run", run_id=state["run_id"])["risk"]["flags"]
    assert [(flag["code"], flag["blocking"]) for flag in flags] == [("checkout_changed", True)]


def test_a_read_only_run_works_in_the_folder_of_its_caller_and_has_no_worktree(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"look": {}}, DONE)
    assert state["snapshot"] is None
    assert door.data(state["run_id"], "run.started")[0]["cwd"] == str(door.cwd)
    assert git(door.cwd, "worktree", "list").count("\n") == 0
    assert git(door.cwd, "status", "--porcelain") == ""


def test_an_index_lock_that_a_killed_git_left_does_no_harm(tmp_path: Path) -> None:
    door = Door(tmp_path)
    lock = ["sh", "-c", 'touch "$(git rev-parse --git-dir)/index.lock"']
    state = door.play(WRITE, {"run": {"argv": lock}}, DONE, allow_write=True)
    assert [row["path"] for row in state["snapshot"]["files"]] == ["new.txt"]
    assert state["status"] == "succeeded"


def test_a_repository_that_the_worker_made_inside_becomes_a_gitlink(tmp_path: Path) -> None:
    door = Door(tmp_path)
    make = [
        "sh",
        "-c",
        "git init -q inner && cd inner && git -c user.name=x -c user.email=x commit -q --allow-empty -m x",
    ]
    state = door.play({"run": {"argv": make}}, DONE, allow_write=True)
    assert [(row["path"], row["mode"]) for row in state["snapshot"]["files"]] == [("inner", "160000")]


def test_a_repository_without_a_commit_inside_does_not_cost_the_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(WRITE, {"run": {"argv": ["git", "init", "-q", "inner"]}}, DONE, allow_write=True)
    assert state["snapshot"] is not None, state["notices"]
    assert [row["path"] for row in state["snapshot"]["files"]] == ["new.txt"]
    flags = door.call("cc_summarize_run", run_id=state["run_id"])["risk"]["flags"]
    assert [(flag["code"], flag["blocking"]) for flag in flags] == [("result_incomplete", True)]
    assert "inner" in flags[0]["message"]


def test_ignored_files_are_listed_and_not_part_of_the_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": ".env\nbuild/\n"})
    state = door.play(
        {"write": {"path": ".env", "content": "A=1"}},
        {"write": {"path": "build/x", "content": "x"}},
        DONE,
        allow_write=True,
    )
    assert state["snapshot"]["file_count"] == 0
    assert state["snapshot"]["ignored"] == [".env", "build/"]


def test_odd_names_links_and_binary_files_are_told_right(tmp_path: Path) -> None:
    door = Door(tmp_path)
    make = (
        "printf 'a\\000b' > bin.dat; ln -s /etc/passwd link; printf x > 'sp ace ü.txt'; "
        "printf '#!/bin/sh\\n' > run.sh; chmod +x run.sh; git mv README.md READ.md"
    )
    state = door.play({"run": {"argv": ["sh", "-c", make]}}, DONE, allow_write=True)
    rows = {row["path"]: row for row in state["snapshot"]["files"]}
    assert set(rows) == {"bin.dat", "link", "sp ace ü.txt", "run.sh", "READ.md"}
    assert (rows["bin.dat"]["added"], rows["link"]["mode"], rows["run.sh"]["mode"]) == (None, "120000", "100755")
    assert (rows["READ.md"]["status"], rows["READ.md"]["old_path"]) == ("R", "README.md")


def test_a_worker_on_another_branch_or_a_detached_head_still_leaves_its_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"run": {"argv": ["git", "checkout", "-q", "--detach"]}}, WRITE, {"commit": "x"}, DONE, allow_write=True
    )
    assert [row["path"] for row in state["snapshot"]["files"]] == ["new.txt"]
    assert state["snapshot"]["committed"] == 1


def test_a_worker_that_rewinds_its_branch_has_what_it_left_as_result(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {"second.txt": "2\n"})
    state = door.play({"run": {"argv": ["git", "reset", "-q", "--hard", "HEAD~1"]}}, DONE, allow_write=True)
    assert [(row["path"], row["status"]) for row in state["snapshot"]["files"]] == [("second.txt", "D")]


def test_a_worker_that_deletes_its_worktree_costs_the_result_and_says_so(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"run": {"argv": ["sh", "-c", 'rm -rf "$PWD"']}}, {"result": "x"}, allow_write=True)
    assert state["status"] == "failed"
    assert state["snapshot"] is None
    assert [notice["code"] for notice in state["notices"]] == ["no_result"]


@pytest.mark.parametrize("argv", [["sh", "-c", "rm .git; ln -s /nowhere .git"], ["sh", "-c", "echo gitdir: /nowhere > .git"],
                                  ["sh", "-c", 'echo x > "$(git rev-parse --git-dir)/HEAD"']])  # fmt: skip
def test_a_write_run_whose_result_cannot_be_taken_has_not_succeeded_whatever_it_says(
    tmp_path: Path, argv: list[str]
) -> None:
    door = Door(tmp_path)
    state = door.play(WRITE, {"run": {"argv": argv}}, DONE, allow_write=True)
    assert (state["status"], state["reason"]) == ("failed", "no_result")
    assert door.data(state["run_id"], "run.snapshot") == []
    assert [notice["text"] for notice in state["notices"] if notice["code"] == "no_result"] == [state["detail"]]
    (receipt,) = door.call("cc_receipts", run_id=state["run_id"], kind="run")["receipts"]
    assert (receipt["observed"]["status"], receipt["observed"]["reason"]) == ("failed", "no_result")
    with pytest.raises(CcError):
        door.call("cc_accept", run_id=state["run_id"], decision="accept", reason="it says so")


@pytest.mark.parametrize("reason", [reason for reason, status in REASONS.items() if status == "succeeded"])
def test_no_success_outlives_a_missing_result_and_no_other_end_is_renamed_by_it(reason: str) -> None:
    assert decide_outcome(Ending(reason, "", ""), None).status == "succeeded"
    assert decide_outcome(Ending(reason, "", ""), None, "gone") == ("failed", "no_result", "gone")
    assert decide_outcome(Ending("crashed", "", "exit 3"), None, "gone") == ("failed", "crashed", "exit 3")
    stop = Stop("user_requested", "controller", "enough")
    assert decide_outcome(Ending(reason, "", ""), stop, "gone") == ("stopped", "user_requested", "enough")


# ---------------------------------------------------------------- where the user stands


def test_a_detached_head_of_the_user_is_the_base(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {"second.txt": "2\n"})
    git(door.cwd, "checkout", "-q", "--detach", "HEAD~1")
    head = git(door.cwd, "rev-parse", "HEAD")
    assert door.play(WRITE, DONE, allow_write=True)["snapshot"]["base"] == head
    assert git(door.cwd, "rev-parse", "HEAD") == head


def test_a_repository_without_a_commit_is_refused_for_writing_and_fine_for_reading(tmp_path: Path) -> None:
    door = Door(tmp_path, cwd=make_repo(tmp_path / "unborn", {}))
    with pytest.raises(InvalidRequest) as caught:
        door.start_fake(WRITE, DONE, allow_write=True)
    assert "no commit yet" in caught.value.message
    assert door.play({"look": {}}, DONE)["status"] == "succeeded"


def test_a_folder_without_git_is_refused_for_writing_and_fine_for_reading(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    door = Door(tmp_path, cwd=folder)
    with pytest.raises(InvalidRequest) as caught:
        door.start_fake(WRITE, DONE, allow_write=True)
    assert "not a git repository" in caught.value.message
    state = door.play({"look": {}}, DONE)
    assert (state["status"], state["checkout"]) == ("succeeded", None)


def test_a_user_on_a_linked_worktree_gets_its_commit_as_base_and_one_workspace(tmp_path: Path) -> None:
    main = make_repo(tmp_path / "project")
    git(main, "worktree", "add", "-q", "-b", "topic", str(tmp_path / "topic"))
    there = commit(tmp_path / "topic", {"topic.txt": "t\n"})
    door = Door(tmp_path, cwd=tmp_path / "topic")
    before = fingerprint(tmp_path / "topic")
    state = door.play(WRITE, DONE, allow_write=True)
    assert os.path.isdir(main / ".agent-workspace" / "runs" / state["run_id"])
    assert state["snapshot"]["base"] == there
    assert fingerprint(tmp_path / "topic") == before
    assert state["checkout"] == {"changed": False}


def test_a_worker_started_in_a_subfolder_works_in_that_subfolder_of_its_worktree(tmp_path: Path) -> None:
    door = Door(tmp_path)
    inner = Door(tmp_path, cwd=door.cwd / "src")
    state = inner.play(WRITE, DONE, allow_write=True)
    assert [row["path"] for row in state["snapshot"]["files"]] == ["src/new.txt"]


def test_a_checkout_that_takes_long_is_made_after_the_answer(tmp_path: Path) -> None:
    door = Door(tmp_path)
    # A smudge filter holds the checkout up until this test lets it go on.
    commit(door.cwd, {".gitattributes": "*.slow filter=slow\n", "a.slow": "x\n"})
    go = tmp_path / "go"
    git(door.cwd, "config", "filter.slow.smudge", f"sh -c 'while [ ! -e {go} ]; do sleep 0.02; done; cat'")
    git(door.cwd, "config", "filter.slow.clean", "cat")
    answer = door.call("cc_run_streaming", task="x", adapter="fake", script={"steps": [DONE]}, allow_write=True)
    assert (answer["status"], answer["liveness"]) == ("starting", "starting")
    assert not door.events(answer["run_id"], "run.started")
    go.touch()
    assert door.finish(answer["run_id"])["status"] == "succeeded"


# ---------------------------------------------------------------- what it hands over


def test_the_outbox_is_listed_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"outbox": {"name": "handoff.json", "content": {"a": 1}}},
        {"run": {"argv": ["sh", "-c", 'ln -s /etc/passwd "$CC_RUN_OUTBOX/link"']}}, DONE,
    )  # fmt: skip
    assert state["completion"]["claimed"]["outbox"] == [
        {"name": "handoff.json", "bytes": 8},
        {"name": "link", "link": True},
    ]
