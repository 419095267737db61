"""Files that are old or new and never half, locks that die with their holder, places that cannot be escaped from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Busy, Corrupt, InvalidRequest, NotFound
from cc_orchestrator.store import atomic, index, lock
from cc_orchestrator.store.paths import checkout_of, existing_folder, find_workspace
from kit.repos import git, make_repo
from kit.waiting import until

# ---------------------------------------------------------------- atomic


def test_a_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = str(tmp_path / "x.json")
    atomic.write_json(path, {"a": 1})
    atomic.write_json(path, {"a": 2})
    assert atomic.read_json(path) == {"a": 2}
    assert os.listdir(tmp_path) == ["x.json"]
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    folder = tmp_path / "x.json"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic.write_json(str(folder), {"a": 1})
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff", b"[" * 200_000])
def test_what_is_no_object_is_corrupt_and_what_is_missing_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(Corrupt) as caught:
        atomic.read_json(str(tmp_path / "x"))
    assert "x" in caught.value.message
    assert atomic.read_json(str(tmp_path / "none")) is None


# ---------------------------------------------------------------- locks


def test_a_lock_has_one_holder_and_can_be_seen_without_being_taken(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert not lock.is_held(path)
    held = lock.take(path)
    assert held is not None
    assert lock.take(path) is None
    assert lock.is_held(path)
    os.close(held)
    assert not lock.is_held(path)


@pytest.mark.process
def test_a_lock_is_free_once_its_holder_was_killed(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from cc_orchestrator.store import lock; "
        "fd = lock.take(sys.argv[2]); print(fd, flush=True); time.sleep(60)"
    )
    server = str(Path(__file__).parents[2] / "server")
    with subprocess.Popen([sys.executable, "-S", "-c", program, server, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert lock.is_held(path)
        holder.kill()
        holder.wait()
        until(lambda: not lock.is_held(path), 2.0)


@pytest.mark.process
def test_a_lock_travels_to_a_child_with_its_descriptor(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    held = lock.take(path)
    assert held is not None
    with subprocess.Popen(["sleep", "60"], pass_fds=[held]) as child:
        os.close(held)
        assert lock.is_held(path)
        child.kill()
        child.wait()
        until(lambda: not lock.is_held(path), 2.0)


def test_waiting_for_a_lock_has_an_end(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with lock.Exclusive(path), pytest.raises(Busy), lock.Exclusive(path, timeout=0.05):
        pass
    with lock.Exclusive(path, timeout=0.05):
        assert lock.is_held(path)


# ---------------------------------------------------------------- index


def row(run_id: str, **more: object) -> dict[str, object]:
    return {"run_id": run_id, "status": "running", "created_at": 1.0, **more}


def test_rows_come_back_newest_first_and_are_replaced_by_id(tmp_path: Path) -> None:
    path = str(tmp_path / "index.sqlite")
    index.put(path, [row("run_a"), row("run_b", cost_usd=0.5)])
    index.put(path, [row("run_a", status="succeeded", finished_at=2.0)])
    assert [(found["run_id"], found["status"]) for found in index.select(path)] == [
        ("run_b", "running"),
        ("run_a", "succeeded"),
    ]
    assert [found["run_id"] for found in index.select(path, "finished_at is null")] == ["run_b"]
    by_status = {
        found["status"]: (found["runs"], found["cost_usd"], found["cost_unknown"]) for found in index.sums(path)
    }
    assert by_status == {"running": (1, 0.5, 0), "succeeded": (1, None, 1)}


def test_a_broken_index_is_corrupt_to_readers_and_begun_anew_by_writers(tmp_path: Path) -> None:
    path = str(tmp_path / "index.sqlite")
    Path(path).write_bytes(b"no database at all, " * 100)
    with pytest.raises(Corrupt):
        index.select(path)
    index.put(path, [row("run_a")])
    assert [found["run_id"] for found in index.select(path)] == ["run_a"]
    assert index.select(str(tmp_path / "none")) == []


def test_a_path_with_odd_characters_is_no_uri(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20 d"
    folder.mkdir()
    index.put(str(folder / "i"), [row("run_a")])
    assert len(index.select(str(folder / "i"))) == 1


# ---------------------------------------------------------------- places


def test_a_workspace_is_the_root_of_the_main_checkout_from_everywhere_in_it(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    git(repo, "worktree", "add", "-q", "-b", "t", str(tmp_path / "linked"))
    (tmp_path / "linked" / "deep").mkdir()
    for cwd in (repo, repo / "src", tmp_path / "linked", tmp_path / "linked" / "deep"):
        assert find_workspace(str(cwd), {}).root == str(repo)
    assert checkout_of(str(tmp_path / "linked" / "deep")) == str(tmp_path / "linked")
    assert checkout_of(str(repo / "src")) == str(repo)


def test_without_git_the_folder_itself_is_the_workspace_and_a_variable_overrides(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    assert find_workspace(str(tmp_path / "plain"), {}) == (found := find_workspace(str(tmp_path / "plain"), {}))
    assert (found.root, found.repository) == (str(tmp_path / "plain"), None)
    (tmp_path / "other").mkdir()
    env = {"CC_ORCHESTRATOR_WORKSPACE_ROOT": str(tmp_path / "other")}
    assert find_workspace(str(tmp_path / "plain"), env).root == str(tmp_path / "other")


def test_a_bare_repository_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    with pytest.raises(InvalidRequest, match="bare"):
        find_workspace(str(tmp_path / "bare.git"), {})


@pytest.mark.parametrize("bad", ["", "a\0b"])
def test_a_cwd_that_is_no_path_is_refused(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        existing_folder(bad)


def test_a_cwd_that_is_missing_or_a_file_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist"):
        existing_folder(str(tmp_path / "none" / "here"))
    (tmp_path / "file").touch()
    with pytest.raises(InvalidRequest, match="is a file"):
        existing_folder(str(tmp_path / "file"))
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("bad", ["../x", "run_../../etc", "run_\0", "task_01k30000000000000000"])
def test_an_id_is_no_path(tmp_path: Path, bad: str) -> None:
    workspace = find_workspace(str(tmp_path), {})
    with pytest.raises(InvalidRequest):
        workspace.run(bad)
    with pytest.raises(InvalidRequest):
        workspace.verification(bad)
    with pytest.raises(NotFound):
        workspace.existing_run("run_01k30000000000000000")
