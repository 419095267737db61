"""Taking a delivery back: a revert commit, looked at first, and only when what is recorded proves it safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Conflict, NotFound, VerifyFailed
from kit.door import Door
from kit.interpreter import PYTHON
from kit.landing import accepted
from kit.repos import commit, fingerprint, git, write

pytestmark = pytest.mark.process
ROLL = "cc_rollback_run"


def failing(answer: dict[str, Any]) -> list[str]:
    return [check["check"] for check in answer["checks"] if check["outcome"] != "pass"]


def test_it_looks_first_then_reverts_by_a_commit_and_says_so_afterwards(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, {"src/new.py": "x = 1\n", "src/app.py": "changed\n"})
    original = (door.cwd / "src/app.py").read_text()
    done = door.call("cc_deliver", run_id=run_id, target="main")
    later = commit(door.cwd, {"other.txt": "mine\n"}, "later")
    before = fingerprint(door.cwd)
    seen = door.call(ROLL, run_id=run_id)
    assert (seen["dry_run"], seen["safe"], seen["files"], failing(seen)) == (True, True, 2, [])
    assert fingerprint(door.cwd) == before
    back = door.call(ROLL, run_id=run_id, dry_run=False)
    assert (back["status"], back["how"], back["undoes"], back["before"]) == (
        "succeeded",
        "reverted",
        done["delivery_id"],
        later,
    )
    assert git(door.cwd, "log", "-1", "--format=%P", "main") == later
    assert (door.cwd / "src/app.py").read_text() == original
    assert not (door.cwd / "src/new.py").exists()
    assert (door.cwd / "other.txt").exists()
    assert git(door.cwd, "status", "--porcelain") == ""
    with pytest.raises(Conflict, match="rolled back from main already"):
        door.call(ROLL, run_id=run_id, confirm=True)
    with pytest.raises(Conflict, match="was rolled back from main"):
        door.call("cc_deliver", run_id=run_id, target="main")
    kinds = [row["observed"]["how"] for row in door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"]]
    assert kinds == ["reverted", "fast_forward"]


def test_one_run_of_a_batch_is_taken_back_alone(tmp_path: Path) -> None:
    door = Door(tmp_path)
    runs = [accepted(door, {name: f"{name}\n"}) for name in ("a", "b", "c")]
    done = door.call("cc_deliver", run_ids=runs, target="main")
    assert done["status"] == "succeeded"
    assert door.call(ROLL, run_id=runs[1], dry_run=False)["how"] == "reverted"
    assert [name for name in ("a", "b", "c") if (door.cwd / name).exists()] == ["a", "c"]


def test_what_a_batch_found_there_already_is_not_its_to_take_back(tmp_path: Path) -> None:
    door = Door(tmp_path)
    old, new = accepted(door, {"old": "1\n"}), accepted(door, {"new": "1\n"})
    git(door.cwd, "merge", "-q", "--no-ff", "-m", "by hand", f"refs/cc/runs/{old}")
    done = door.call("cc_deliver", run_ids=[old, new], target="main")
    assert {row["run_id"]: row["how"] for row in done["landed"]} == {old: "already_contained", new: "merged"}
    with pytest.raises(Conflict, match="we did not bring it"):
        door.call(ROLL, run_id=old)
    assert door.call(ROLL, run_id=new, dry_run=False)["how"] == "reverted"
    assert [name for name in ("old", "new") if (door.cwd / name).exists()] == ["old"]


def test_what_is_not_proved_safe_is_refused_and_named(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, {"a": "1\n"})
    with pytest.raises(NotFound, match="never delivered"):
        door.call(ROLL, run_id=run_id)
    before = git(door.cwd, "rev-parse", "main")
    done = door.call("cc_deliver", run_id=run_id, target="main")

    def refused(check: str) -> None:
        print_before = fingerprint(door.cwd)
        seen = door.call(ROLL, run_id=run_id)
        assert seen["safe"] is False
        assert check in failing(seen)
        with pytest.raises(Conflict, match="cannot be taken back safely"):
            door.call(ROLL, run_id=run_id, dry_run=False)
        assert fingerprint(door.cwd) == print_before

    write(door.cwd, {"README.md": "half done\n"})
    refused("checkout")
    git(door.cwd, "checkout", "-q", "--", ".")
    commit(door.cwd, {"a": "2\n"}, "built on it")
    refused("revert")
    git(door.cwd, "update-ref", f"refs/cc/runs/{run_id}", before)
    refused("snapshot")
    git(door.cwd, "checkout", "-q", "--detach", before)
    git(door.cwd, "branch", "-f", "main", before)
    git(door.cwd, "checkout", "-q", "main")
    refused("contained")
    assert done["status"] == "succeeded"


def test_a_revert_whose_gates_fail_does_not_land(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, {"needed": "1\n"})
    done = door.call("cc_deliver", run_id=run_id, target="main")
    gate = f"{PYTHON} -c 'open(\"needed\")'"
    with pytest.raises(VerifyFailed, match="the revert fails its gates"):
        door.call(ROLL, run_id=run_id, dry_run=False, gate_commands=[gate])
    assert git(door.cwd, "rev-parse", "main") == done["after"]
