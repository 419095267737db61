"""Deliveries to one branch: in turn, after their gates, alone or in batches; what fails is handed back and harms nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Conflict, InvalidRequest, VerifyFailed
from cc_orchestrator.delivery.progress import first_failing
from kit.door import Door
from kit.interpreter import PYTHON
from kit.landing import PASSES, accepted, trees, until_step
from kit.repos import commit, fingerprint, git, write

pytestmark = pytest.mark.process

#: Fails as soon as the tree holds a file named BAD, or ONE and TWO together.
GATE = """
import os, sys
names = set(os.listdir("."))
if "BAD" in names or {"ONE", "TWO"} <= names:
    print("it is red:", sorted(names))
    sys.exit(1)
"""


@pytest.fixture
def gate(tmp_path: Path) -> list[str]:
    script = tmp_path / "gate.py"
    script.write_text(GATE)
    return [f"{PYTHON} {script}"]


def files(name: str) -> dict[str, str]:
    return {name: f"{name}\n"}


def test_gates_run_on_the_merge_itself_and_a_red_one_leaves_the_branch_alone(tmp_path: Path, gate: list[str]) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, files("ONE"), gate)
    # Green alone, red together with what came meanwhile.
    commit(door.cwd, files("TWO"), "meanwhile")
    before = fingerprint(door.cwd)
    with pytest.raises(VerifyFailed, match=r"gates fail on main with it.*it is red") as caught:
        door.call("cc_deliver", run_id=run_id, target="main")
    assert f'cc_send_instruction {{"run_id":"{run_id}"' in caught.value.hint
    assert fingerprint(door.cwd) == before
    assert trees(door) == []
    delivery_id = caught.value.details["delivery_id"]
    assert door.call("cc_wait", ids=[delivery_id])["woke"][0]["status"] == "failed"
    told = door.call("cc_delivery", delivery_id=delivery_id, gates=True)
    assert told["refused"][0]["code"] == "verify_failed"
    assert [row["outcome"] for row in told["gates_run"]] == ["failed"]
    (receipt,) = door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"]
    assert receipt["observed"]["status"] == "failed"


def test_what_was_verified_on_this_very_tree_is_not_run_again(tmp_path: Path) -> None:
    door = Door(tmp_path)
    done = door.call("cc_deliver", run_id=accepted(door, files("ONE"), PASSES), target="main")
    assert (done["gates"], done["tested_tree"], done["how"]) == ("verified_tree", True, "fast_forward")


def test_without_any_gate_the_answer_says_that_nothing_ran_on_the_merge(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, files("ONE"))
    commit(door.cwd, files("TWO"), "meanwhile")
    done = door.call("cc_deliver", run_id=run_id, target="main")
    assert (done["gates"], done["how"]) == ("none", "merged")
    assert "no test ran on the merge" in done["note"]


def test_a_missing_tool_a_hanging_gate_and_one_that_changes_the_tree_open_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, files("ONE"))
    head = git(door.cwd, "rev-parse", "main")
    cases: list[tuple[str, float, str]] = [
        ("no-such-tool-here", 60.0, "cannot be relied on"),
        (f"{PYTHON} -c 'import time; time.sleep(600)'", 0.5, "killed after 0.5 s"),
        (f'{PYTHON} -c \'open("ONE", "w").write("two")\'', 60.0, "changed tracked files: ONE"),
    ]
    for command, seconds, match in cases:
        with pytest.raises(VerifyFailed, match=match):
            door.call("cc_deliver", run_id=run_id, target="main", gate_commands=[command], timeout_seconds=seconds)
        assert git(door.cwd, "rev-parse", "main") == head
    assert trees(door) == []


def test_a_gate_command_that_cannot_be_kept_in_a_file_is_refused(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, files("ONE"))
    secret = "ghp_" + "a1B2" * 9
    with pytest.raises(InvalidRequest, match="keeps its commands in a file") as caught:
        door.call("cc_deliver", run_id=run_id, target="main", gate_commands=[f"curl -H {secret}"])
    assert secret not in str(caught.value)


def test_a_target_that_is_red_by_itself_is_not_blamed_on_the_run(tmp_path: Path, gate: list[str]) -> None:
    door = Door(tmp_path)
    commit(door.cwd, files("BAD"), "red")
    run_id = accepted(door, files("ONE"))
    with pytest.raises(VerifyFailed, match="the run is not to blame"):
        door.call("cc_deliver", run_id=run_id, target="main", gate_commands=gate)


def test_several_commits_of_a_worker_land_as_one_so_that_none_between_is_untested(tmp_path: Path) -> None:
    door = Door(tmp_path)
    steps: list[dict[str, Any]] = [
        {"write": {"path": "a.txt", "content": "1\n"}}, {"commit": {"message": "half"}},
        {"write": {"path": "b.txt", "content": "2\n"}}, {"commit": {"message": "whole"}}, {"result": "done"},
    ]  # fmt: skip
    run_id = door.start_fake(*steps, allow_write=True)
    door.finish(run_id)
    door.call("cc_verify", run_id=run_id)
    door.call("cc_accept", run_id=run_id)
    done = door.call("cc_deliver", run_id=run_id, target="main")
    assert done["how"] == "merged"
    assert git(door.cwd, "rev-list", "--first-parent", f"{done['before']}..main").split() == [done["after"]]


def test_gates_find_the_dependencies_that_the_workers_had(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": "node_modules/\nmade\n"}, "ignore")
    write(door.cwd, {"node_modules/dep": "1\n"})
    made = f'{PYTHON} -c \'open("made", "w").close()\''
    needs = [f'{PYTHON} -c \'open("node_modules/dep"); open("made")\'']
    setup = {"links": ["node_modules"], "install": [made]}
    run_id = accepted(door, files("ONE"), needs, worktree=setup)
    commit(door.cwd, files("TWO"), "meanwhile")
    assert door.call("cc_deliver", run_id=run_id, target="main")["gates"] == "passed"
    assert (door.cwd / "node_modules/dep").exists()


def test_a_batch_whose_gates_fail_is_halved_until_the_culprit_is_named_and_the_others_land(
    tmp_path: Path, gate: list[str]
) -> None:
    door = Door(tmp_path)
    names = ["a", "b", "BAD", "c", "ONE", "TWO", "d"]
    runs = {name: accepted(door, files(name)) for name in names}
    clash = accepted(door, files("a") | {"a": "other\n"})
    before = git(door.cwd, "rev-parse", "main")
    done = door.call("cc_deliver", run_ids=[*runs.values(), clash], target="main", gate_commands=gate, wait_seconds=120)
    assert done["status"] == "partial"
    assert [row["run_id"] for row in done["landed"]] == [runs[name] for name in ("a", "b", "c", "ONE", "d")]
    assert {row["run_id"]: row["code"] for row in done["refused"]} == {
        runs["BAD"]: "verify_failed", runs["TWO"]: "verify_failed", clash: "conflict",
    }  # fmt: skip
    assert all(row["run_id"] in row["next"] for row in done["refused"])
    assert {path.name for path in door.cwd.iterdir() if path.is_file() and len(path.name) < 4} == {
        "a",
        "b",
        "c",
        "ONE",
        "d",
    }
    assert git(door.cwd, "status", "--porcelain") == ""
    for tip in git(door.cwd, "rev-list", "--first-parent", f"{before}..main").split():
        held = set(git(door.cwd, "ls-tree", "--name-only", tip).split())
        assert "BAD" not in held
        assert not {"ONE", "TWO"} <= held
    gates = door.call("cc_delivery", delivery_id=done["delivery_id"], gates=True)["gates_run"]
    assert len(gates) < 12
    assert trees(door) == []
    for name, status in (("c", "succeeded"), ("BAD", "failed")):
        (receipt,) = door.call("cc_receipts", run_id=runs[name], kind="delivery")["receipts"]
        assert receipt["observed"]["status"] == status


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_halving_finds_the_first_that_fails_with_few_looks(count: int) -> None:
    for culprit in range(1, count + 1):
        asked: list[int] = []

        def passes(k: int, culprit: int = culprit, asked: list[int] = asked) -> bool:
            asked.append(k)
            return k < culprit

        assert first_failing(count, passes) == culprit
        assert len(asked) <= count.bit_length()
        assert culprit == 1 or (culprit - 1) in asked or culprit - 1 == 0


def test_a_delivery_that_takes_long_is_waited_for_elsewhere_and_the_next_waits_its_turn(tmp_path: Path) -> None:
    door = Door(tmp_path)
    go, script = tmp_path / "go", tmp_path / "wait.py"
    script.write_text(f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.02)\n")
    first, second = accepted(door, files("a")), accepted(door, files("b"))
    slow = door.call("cc_deliver", run_id=first, target="main", gate_commands=[f"{PYTHON} {script}"], wait_seconds=0)
    assert (slow["status"], slow["next"]) == ("running", f'cc_wait {{"ids":["{slow["delivery_id"]}"]}}')
    until_step(door, slow["delivery_id"], "candidate")
    behind = door.call("cc_deliver", run_id=second, target="main", wait_seconds=0)
    assert (behind["step"], behind["before_it"]) == ("queued", 1)
    git(door.cwd, "branch", "other")
    assert door.call("cc_deliver", run_id=second, target="other")["status"] == "succeeded"
    go.touch()
    ids = [slow["delivery_id"], behind["delivery_id"]]
    woke = door.call("cc_wait", ids=ids, until="all", timeout_seconds=60)["woke"]
    assert [row["status"] for row in woke] == ["succeeded", "succeeded"]
    told = [door.call("cc_delivery", delivery_id=delivery_id) for delivery_id in ids]
    assert told[0]["after"] == told[1]["before"]


def test_a_branch_that_somebody_else_moves_meanwhile_is_tested_again_as_it_then_is(tmp_path: Path) -> None:
    door = Door(tmp_path)
    git(door.cwd, "branch", "release")
    run_id = accepted(door, files("a"))
    mover = tmp_path / "move.py"
    moved = commit(door.cwd, files("mine"), "mine")
    mover.write_text(
        f"import subprocess\nsubprocess.run(['git', '-C', {str(door.cwd)!r}, 'update-ref', 'refs/heads/release', {moved!r}])\n"
    )
    done = door.call("cc_deliver", run_id=run_id, target="release", gate_commands=[f"{PYTHON} {mover}"])
    assert (done["status"], done["before"]) == ("succeeded", moved)
    outcomes = [
        row["outcome"] for row in door.call("cc_delivery", delivery_id=done["delivery_id"], gates=True)["gates_run"]
    ]
    assert outcomes == ["passed", "passed"]


def test_a_conflict_is_foretold_for_the_target_and_for_other_tasks_and_handed_back_with_the_call(
    tmp_path: Path,
) -> None:
    door = Door(tmp_path)
    one, two, calm = (accepted(door, {path: text}) for path, text in (("x", "1\n"), ("x", "2\n"), ("y", "1\n")))
    live = door.start_fake(
        {"write": {"path": "y", "content": "live\n"}}, {"commit": {"message": "live"}}, {"say": "committed"}, {"hang": {}}, allow_write=True
    )  # fmt: skip
    door.until_event(live, "run.message")
    seen = door.call("cc_deliver", run_ids=[one, two, calm], target="main", dry_run=True)
    assert sorted((row["run_id"], row["with"]) for row in seen["conflicts"]) == sorted([(one, two), (calm, live)])
    assert (seen["clean"], seen["refused"], seen["not_compared"]) == ([], [], 0)
    assert door.call("cc_receipts", kind="delivery")["receipts"] == []
    done = door.call("cc_deliver", run_id=one, target="main")
    assert [(row["with"], row["paths"]) for row in done["will_conflict"]] == [(two, ["x"])]
    with pytest.raises(Conflict, match="conflicts with main in x") as caught:
        door.call("cc_deliver", run_id=two, target="main")
    assert f'cc_send_instruction {{"run_id":"{two}","instruction":"Merge main' in caught.value.hint
    door.call("cc_accept", run_id=two, decision="abandon")
    door.call("cc_stop", run_id=live, force=True)
    door.call("cc_accept", run_id=live, decision="reject")
    assert door.call("cc_deliver", run_id=calm, target="main", dry_run=True)["conflicts"] == []


def test_a_request_for_a_fix_keeps_what_failed_and_names_the_call_that_tells_the_worker(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"write": {"path": "a", "content": "1\n"}}, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c 'print(\"three is not four\"); exit(1)'"])
    answer = door.call("cc_accept", run_id=run_id, decision="request_fix", reason="make it four")
    assert answer["next"].startswith(
        f'cc_send_instruction {{"run_id":"{run_id}","instruction":"Fix: make it four; tests fail'
    )
    assert "three is not four" in answer["failing"][0]
    (receipt,) = door.call("cc_receipts", run_id=run_id, kind="acceptance")["receipts"]
    assert receipt["observed"]["failing"] == answer["failing"]
    with pytest.raises(VerifyFailed, match="request_fix"):
        door.call("cc_deliver", run_id=run_id, target="main")
    assert door.call("cc_accept", run_id=run_id, decision="abandon")["decision"] == "abandon"
