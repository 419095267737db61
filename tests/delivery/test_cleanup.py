"""Worktrees are listed with what would be lost with them, and removed only without loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Conflict, InvalidRequest, NotFound
from kit.door import Door
from kit.landing import accepted, start
from kit.repos import commit, git, write

pytestmark = pytest.mark.process
DONE = {"result": "done"}


def play(door: Door, *steps: dict[str, Any]) -> str:
    run_id = door.start_fake(*steps, DONE, allow_write=True)
    door.finish(run_id)
    return run_id


def file(path: str) -> dict[str, Any]:
    return {"write": {"path": path, "content": f"{path}\n"}}


def row_of(door: Door, run_id: str) -> dict[str, Any]:
    task_id = door.spec(run_id).task_id
    return next(row for row in door.call("cc_worktree")["worktrees"] if row["task_id"] == task_id)


def tree(door: Door, run_id: str) -> Path:
    return Path(str(door.spec(run_id).worktree))


def heads(door: Door) -> set[str]:
    return set(git(door.cwd, "for-each-ref", "--format=%(refname:short)", "refs/heads").split())


def test_a_list_tells_class_owner_size_and_age_of_each(tmp_path: Path) -> None:
    door = Door(tmp_path)
    origin = tmp_path / "origin.git"
    git(door.cwd, "init", "-q", "--bare", str(origin))
    git(door.cwd, "remote", "add", "origin", str(origin))
    clean, dirty = play(door), play(door, file("a"), file("b"))
    committed, pushed = (
        play(door, file("c"), {"commit": {"message": "c"}}),
        play(door, file("d"), {"commit": {"message": "d"}}),
    )
    git(tree(door, pushed), "push", "-q", "origin", "HEAD")
    rows = {
        name: row_of(door, run_id)
        for name, run_id in (("clean", clean), ("dirty", dirty), ("committed", committed), ("pushed", pushed))
    }
    assert {name: row["class"] for name, row in rows.items()} == {name: name for name in rows}
    assert (rows["dirty"]["untracked"], rows["committed"]["ahead"]) == (2, 1)
    for run_id, row in zip((clean, dirty, committed, pushed), rows.values(), strict=True):
        assert (row["run_id"], row["run_status"]) == (run_id, "succeeded")
        assert row["bytes"] > 0
        assert row["age_seconds"] >= 0
    shown = door.call("cc_worktree", action="show", run_id=dirty)
    assert (shown["untracked_files"], shown["removable"]) == (["a", "b"], False)
    assert "2 untracked files" in shown["at_risk"]


def test_what_only_the_worktree_holds_is_not_removed_unless_it_is_salvaged_whole(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": "*.log\n"}, "ignore")
    run_id = play(
        door,
        file("done.txt"),
        {"commit": {"message": "half"}},
        {"write": {"path": "src/app.py", "content": "changed\n"}},
        file("new/deep.txt"),
    )
    place = tree(door, run_id)
    write(place, {"noise.log": "noise\n", "after.txt": "written after the run\n"})
    with pytest.raises(Conflict, match="1 changed and 2 untracked files that are committed nowhere") as caught:
        door.call("cc_worktree", action="remove", run_id=run_id)
    assert '"salvage":true' in caught.value.hint
    assert place.is_dir()
    done = door.call("cc_worktree", action="remove", run_id=run_id, salvage=True)
    assert not place.exists()
    assert (done["removed"], done["ignored_not_kept"]) == (True, 1)
    kept = done["salvaged_to"]
    assert kept.startswith("cc/salvage/")
    assert git(door.cwd, "show", f"{kept}:after.txt") == "written after the run"
    assert git(door.cwd, "show", f"{kept}:new/deep.txt") == "new/deep.txt"
    assert git(door.cwd, "show", f"{kept}:src/app.py") == "changed"
    assert "noise.log" not in git(door.cwd, "ls-tree", "-r", "--name-only", kept).split()
    assert str(door.spec(run_id).branch) in heads(door)
    with pytest.raises(NotFound, match="has no worktree"):
        door.call("cc_worktree", action="show", run_id=run_id)
    assert str(place) not in git(door.cwd, "worktree", "list")


def test_commits_that_only_its_own_branch_holds_need_salvage_and_a_delivered_one_does_not(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = play(door, file("a"), {"commit": {"message": "a"}})
    with pytest.raises(Conflict, match="1 commits that only its own branch holds"):
        door.call("cc_worktree", action="remove", run_id=run_id)
    door.call("cc_verify", run_id=run_id)
    door.call("cc_accept", run_id=run_id)
    door.call("cc_deliver", run_id=run_id, target="main")
    done = door.call("cc_worktree", action="remove", run_id=run_id)
    assert (done["class"], done["own_branch_removed"]) == ("clean", True)
    assert str(door.spec(run_id).branch) not in heads(door)
    assert git(door.cwd, "rev-parse", f"refs/cc/runs/{run_id}")


def test_salvage_alone_leaves_everything_where_it_is_and_takes_a_new_name_each_time(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = play(door, file("a"))
    place = tree(door, run_id)
    before = git(place, "status", "--porcelain"), git(place, "rev-parse", "HEAD"), git(place, "write-tree")
    names = [door.call("cc_worktree", action="salvage", run_id=run_id)["salvaged_to"] for _ in range(2)]
    assert names[1] == f"{names[0]}-2"
    assert (git(place, "status", "--porcelain"), git(place, "rev-parse", "HEAD"), git(place, "write-tree")) == before


def test_what_was_lent_is_not_salvaged_and_not_counted_as_the_workers(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": "local.cfg\n", ".worktreeinclude": "local.cfg\n"}, "include")
    write(door.cwd, {"local.cfg": "mine\n"})
    run_id = play(door)
    assert (tree(door, run_id) / "local.cfg").exists()
    assert row_of(door, run_id)["class"] == "clean"
    done = door.call("cc_worktree", action="remove", run_id=run_id, salvage=True)
    assert "salvaged_to" not in done
    assert (door.cwd / "local.cfg").read_text() == "mine\n"


def test_a_worktree_whose_worker_is_at_work_or_that_git_cannot_read_stays(tmp_path: Path) -> None:
    door = Door(tmp_path)
    live = door.start_fake({"hang": {}}, allow_write=True)
    door.until_event(live, "run.started")
    with pytest.raises(Conflict, match=r"is running in the worktree"):
        door.call("cc_worktree", action="remove", run_id=live, salvage=True)
    door.call("cc_stop", run_id=live, force=True)
    assert door.call("cc_worktree", action="remove", run_id=live)["removed"]
    broken = play(door)
    (tree(door, broken) / ".git").write_text("gitdir: /nowhere\n")
    assert row_of(door, broken)["class"] == "dirty"
    with pytest.raises(Conflict, match="cannot be told"):
        door.call("cc_worktree", action="remove", run_id=broken)
    with pytest.raises(InvalidRequest, match="needs a task_id or a run_id"):
        door.call("cc_worktree", action="remove")


def test_an_abandoned_run_leads_to_its_worktree(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, {"a": "a\n"})
    answer = door.call("cc_accept", run_id=run_id, decision="abandon", reason="not needed any more")
    assert answer["next"] == f'cc_call {{"name":"cc_worktree","arguments":{{"action":"show","run_id":"{run_id}"}}}}'
    other = start(door, {"b": "b\n"})
    door.finish(other)
    assert len(door.call("cc_worktree", limit=1)["worktrees"]) == 1
    assert door.call("cc_worktree", limit=1)["truncated"]
