"""start → wait → verify → accept → deliver through the public door, with the bundled worker and real git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import CcError, Conflict, InvalidRequest, NotFound, PolicyDenied, VerifyFailed
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import commit, fingerprint, git, write
from kit.waiting import until, until_gone

pytestmark = pytest.mark.process

WRITE = {"write": {"path": "src/new.py", "content": "x = 1\n"}}
PASSES = [f"{PYTHON} -c pass"]


def work(door: Door, *steps: dict[str, Any], **more: Any) -> str:
    """A finished write run."""
    run_id = door.start_fake(*(steps or (WRITE,)), {"result": "done"}, allow_write=True, **more)
    assert door.finish(run_id)["status"] == "succeeded"
    return run_id


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["outcome"] for check in answer["checks"]}


def named(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return next(check for check in answer["checks"] if check["check"] == name)


def accepted(door: Door, *steps: dict[str, Any], **more: Any) -> str:
    run_id = work(door, *steps, **more)
    assert door.call("cc_verify", run_id=run_id, test_commands=PASSES)["verdict"] == "APPROVE"
    door.call("cc_accept", run_id=run_id, decision="accept", reason="looks right")
    return run_id


# ---------------------------------------------------------------- the whole way


def test_from_the_start_to_the_delivery_with_a_receipt_for_each_step(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    verified = door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c 'import src.new'"])
    assert (verified["status"], verified["verdict"], verified["current"]) == ("succeeded", "APPROVE", True)
    assert outcomes(verified)["tests"] == "pass"
    assert len(json.dumps(verified)) < 1_500
    assert json.loads(Path(verified["file"]).read_text())["tree"] == verified["tree"]
    assert door.call("cc_accept", run_id=run_id, decision="accept")["commit"] == verified["commit"]
    done = door.call("cc_deliver", run_id=run_id, target="main")
    assert (done["status"], done["how"], done["pushed"]) == ("succeeded", "fast_forward", False)
    assert git(door.cwd, "rev-parse", "main") == verified["commit"]
    assert (door.cwd / "src/new.py").read_text() == "x = 1\n"
    answer = door.call("cc_receipts", run_id=run_id)
    assert [row["kind"] for row in answer["receipts"]] == ["delivery", "acceptance", "verification", "run"]
    assert answer["ledger"]["ok"]
    assert {row["actor"] for row in answer["receipts"]} == {"controller"}
    woke = door.call("cc_wait", ids=[verified["verify_id"], done["delivery_id"], run_id], until="all")["woke"]
    assert [row["status"] for row in woke] == ["succeeded"] * 3


def test_the_command_line_goes_the_same_way(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)

    def cli(*argv: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "cc_orchestrator", "-C", str(door.cwd), "--json", *argv],
            capture_output=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    status, answer = cli("accept", run_id)
    assert (status, answer["error"]["code"]) == (11, "verify_failed")
    assert cli("verify", run_id, "--test-commands", *PASSES)[1]["verdict"] == "APPROVE"
    assert cli("accept", run_id, "--decision", "accept")[0] == 0
    assert cli("deliver", run_id, "--target", "main")[1]["status"] == "succeeded"
    assert cli("receipts", run_id)[1]["ledger"]["ok"]


# ---------------------------------------------------------------- verify


def test_a_live_run_is_not_verified_but_waited_for(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}}, allow_write=True)
    with pytest.raises(Conflict, match="not finished") as caught:
        door.call("cc_verify", run_id=run_id)
    assert run_id in caught.value.hint
    door.call("cc_stop", run_id=run_id, force=True)
    assert door.call("cc_verify", run_id=run_id)["verdict"] != "APPROVE"


def test_a_failing_test_holds_and_says_why(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    answer = door.call(
        "cc_verify",
        run_id=run_id,
        test_commands=[*PASSES, f"{PYTHON} -c \"print('two is not three'); exit(3)\""],
    )
    assert answer["verdict"] == "HOLD"
    assert "exit 3: two is not three" in named(answer, "tests")["evidence"]
    with pytest.raises(VerifyFailed, match="tests fail") as caught:
        door.call("cc_accept", run_id=run_id, decision="accept")
    assert run_id in caught.value.hint
    with pytest.raises(VerifyFailed, match="not accepted"):
        door.call("cc_deliver", run_id=run_id, target="main")


def test_a_command_that_is_not_there_is_unverified_and_blocks(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = door.call("cc_verify", run_id=work(door), test_commands=["no-such-program-anywhere --all"])
    assert (answer["verdict"], outcomes(answer)["tests"]) == ("ESCALATE", "unverified")


def test_without_commands_tests_are_shown_as_unverified(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = door.call("cc_verify", run_id=work(door))
    assert named(answer, "tests") == {
        "check": "tests", "outcome": "unverified", "evidence": "no test_commands were given", "required": False,
    }  # fmt: skip


def test_a_test_run_that_says_it_ran_nothing_is_no_pass(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = door.call(
        "cc_verify", run_id=work(door), test_commands=[f"{PYTHON} -c \"print('Ran 0 tests in 0.000s')\""]
    )
    assert (answer["verdict"], outcomes(answer)["tests"]) == ("HOLD", "unverified")


@pytest.mark.parametrize("text", ["pytest -q && ruff check", "A=1 pytest", "pytest 'unbalanced", "   "])
def test_what_only_a_shell_understands_is_refused_before_anything_starts(tmp_path: Path, text: str) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    with pytest.raises(InvalidRequest, match="test command"):
        door.call("cc_verify", run_id=run_id, test_commands=[text])
    with pytest.raises(NotFound, match="never verified"):
        door.call("cc_verification", run_id=run_id)


def test_a_read_only_run_has_nothing_to_test(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "looked"})
    door.finish(run_id)
    with pytest.raises(InvalidRequest, match="read-only"):
        door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    assert door.call("cc_verify", run_id=run_id)["verdict"] == "APPROVE"


@pytest.mark.parametrize(("steps", "word"), [(({"exit": 0},), "exited_empty"), ((WRITE, {"crash": {}}), "crashed")])
def test_a_run_that_failed_is_never_approved(tmp_path: Path, steps: tuple[dict[str, Any], ...], word: str) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(*steps, allow_write=True)
    door.finish(run_id)
    answer = door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    assert answer["verdict"] in ("HOLD", "ESCALATE")
    assert word in str(named(answer, "finished")["measured"])


def test_commands_run_in_the_worktree_of_the_run_and_their_litter_is_listed_and_taken_away(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    worktree = Path(str(door.spec(run_id).worktree))
    code = "import os; os.makedirs('made/deep'); open('made/deep/x', 'w').write('1'); print(os.getcwd())"
    answer = door.call("cc_verify", run_id=run_id, test_commands=[f'{PYTHON} -c "{code}"'])
    assert (answer["verdict"], answer["made_by_commands"]) == ("APPROVE", ["made/deep/x"])
    assert not (worktree / "made").exists()
    full = door.call("cc_verification", run_id=run_id, full=True)
    assert full["ran"][0]["untrusted_tail"] == str(worktree)
    assert full["where"] == "the run's worktree"


def test_a_changed_worktree_is_left_alone_and_the_result_tested_elsewhere(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    worktree = Path(str(door.spec(run_id).worktree))
    write(worktree, {"src/new.py": "x = 2\n"})
    answer = door.call(
        "cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c 'import src.new; assert src.new.x == 1'"]
    )
    assert answer["verdict"] == "APPROVE"
    assert (worktree / "src/new.py").read_text() == "x = 2\n"
    full = door.call("cc_verification", verify_id=answer["verify_id"], full=True)
    assert "changed since" in full["where"]
    assert git(door.cwd, "worktree", "list").count("\n") == 1


def test_a_command_that_changes_the_tree_proves_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    answer = door.call(
        "cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c \"open('src/app.py', 'w').write('pass')\""]
    )
    assert (answer["verdict"], outcomes(answer)["tree"]) == ("HOLD", "unverified")
    assert answer["changed_by_commands"] == ["src/app.py"]


def test_a_hanging_command_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'],"
        " start_new_session=True)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{p.pid}}')\n"
        "time.sleep(600)\n"
    )
    write(tmp_path, {"hang.py": code})
    answer = door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} {tmp_path}/hang.py"], timeout_seconds=2)
    assert (answer["verdict"], outcomes(answer)["tests"]) == ("HOLD", "fail")
    assert "killed after 2 s" in named(answer, "tests")["evidence"]
    for pid in pids.read_text().split():
        until_gone(int(pid), 1.0)


def test_a_background_process_of_a_command_does_not_outlive_it(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    code = (
        "import subprocess, sys; sleep = [sys.executable, '-c', 'import time; time.sleep(600)']; "
        "print(subprocess.Popen(sleep, start_new_session=True).pid)"
    )
    answer = door.call("cc_verify", run_id=run_id, test_commands=[f'{PYTHON} -c "{code}"'])
    ran = door.call("cc_verification", verify_id=answer["verify_id"], full=True)["ran"][0]
    assert ran["leftovers"] == 1
    until_gone(int(ran["untrusted_tail"]), 1.0)


def test_output_is_masked_and_capped(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
    write(
        tmp_path, {"flood.py": f"import sys\nfor i in range(80_000): print('line', i, 'x' * 60)\nprint({secret!r})\n"}
    )
    answer = door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} {tmp_path}/flood.py"])
    assert answer["verdict"] == "APPROVE"
    ran = door.call("cc_verification", verify_id=answer["verify_id"], full=True)["ran"][0]
    assert "[MASKED:github]" in ran["untrusted_tail"]
    log = Path(ran["log"]).read_bytes()
    assert len(log) < 4_100_000
    assert b"bytes left out" in log
    assert not [
        path
        for path in door.cwd.joinpath(".agent-workspace").rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_a_secret_in_a_command_is_written_nowhere(tmp_path: Path) -> None:
    door = Door(tmp_path)
    secret = "ghp_" + "z1B2c3D4e5F6g7H8i9J0" * 2
    answer = door.call("cc_verify", run_id=work(door), test_commands=[f"{PYTHON} -c 'import sys' {secret}"])
    assert answer["verdict"] == "APPROVE"
    files = [path for path in door.cwd.joinpath(".agent-workspace").rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_a_long_verification_is_answered_with_its_id_and_found_again_by_every_door(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    go = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
    write(tmp_path, {"slow.py": code})
    commands = [f"{PYTHON} {tmp_path}/slow.py"]
    answer = door.call("cc_verify", run_id=run_id, test_commands=commands, wait_seconds=0)
    assert (answer["status"], answer["next"]) == ("running", f'cc_wait {{"ids":["{answer["verify_id"]}"]}}')
    again = door.call("cc_verify", run_id=run_id, test_commands=commands, wait_seconds=0)
    assert again["verify_id"] == answer["verify_id"]
    with pytest.raises(CcError, match="with other commands"):
        door.call("cc_verify", run_id=run_id, test_commands=PASSES)
    with pytest.raises(CcError, match="still verifies"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Door(tmp_path, cwd=elsewhere)
    assert other.call("cc_verification", verify_id=answer["verify_id"])["status"] == "running"
    go.touch()
    assert other.call("cc_wait", ids=[answer["verify_id"]])["woke"][0]["status"] == "succeeded"
    assert other.call("cc_verification", verify_id=answer["verify_id"])["verdict"] == "APPROVE"


@pytest.mark.chaos
def test_a_verification_that_is_killed_is_lost_and_leaves_nobody(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    pids = tmp_path / "pids"
    write(
        tmp_path, {"hang.py": f"import os, time\nopen({str(pids)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"}
    )
    write(door.spec(run_id).worktree or "", {"src/new.py": "x = 3\n"})
    answer = door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} {tmp_path}/hang.py"], wait_seconds=0)
    worker = int(until(lambda: pids.exists() and pids.read_text(), 20.0))
    folder = door.cwd / ".agent-workspace/verify" / run_id / answer["verify_id"]
    events = [json.loads(row) for row in (folder / "events.ndjson").read_text().splitlines()]
    os.kill(events[0]["data"]["pid"], 9)
    woke = door.call("cc_wait", ids=[answer["verify_id"]])["woke"]
    assert woke[0]["status"] == "lost"
    until_gone(worker, 1.0)
    after = door.call("cc_verification", run_id=run_id)
    assert (after["status"], after["reason"]) == ("lost", "job_died")
    assert not (folder / "tree").exists()
    with pytest.raises(VerifyFailed, match="is lost"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    rows = door.call("cc_receipts", verify_id=answer["verify_id"])["receipts"]
    assert [row["observed"]["status"] for row in rows] == ["lost"]
    assert door.call("cc_verify", run_id=run_id, test_commands=PASSES)["verdict"] == "APPROVE"


def test_a_test_command_can_neither_accept_nor_deliver(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    before = fingerprint(door.cwd)
    command = f"{PYTHON} -m cc_orchestrator --json -C {door.cwd} deliver {run_id} --target main"
    answer = door.call("cc_verify", run_id=run_id, test_commands=[command])
    assert answer["verdict"] == "HOLD"
    assert "policy_denied" in named(answer, "tests")["evidence"]
    assert fingerprint(door.cwd) == before
    worker = Door(tmp_path, cwd=door.cwd, env={**door.env, "CC_RUN_ID": run_id})
    for name, more in (("cc_verify", {}), ("cc_accept", {}), ("cc_deliver", {"target": "main"})):
        with pytest.raises(PolicyDenied):
            worker.call(name, run_id=run_id, **more)


# ---------------------------------------------------------------- accept


def test_a_decision_made_twice_is_one_receipt_and_the_latest_of_two_counts(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    again = door.call("cc_accept", run_id=run_id, decision="accept")
    assert again["repeated"]
    door.call("cc_accept", run_id=run_id, decision="reject", reason="changed my mind")
    with pytest.raises(VerifyFailed, match="reject"):
        door.call("cc_deliver", run_id=run_id, target="main")
    kinds = [
        row["observed"]["decision"] for row in door.call("cc_receipts", run_id=run_id, kind="acceptance")["receipts"]
    ]
    assert kinds == ["reject", "accept"]


def test_a_result_that_moves_expires_verdict_and_acceptance(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    worktree = str(door.spec(run_id).worktree)
    moved = commit(worktree, {"src/new.py": "import os\n"}, "sneaked in afterwards")
    git(worktree, "update-ref", f"refs/cc/runs/{run_id}", moved)
    assert door.call("cc_verification", run_id=run_id)["current"] is False
    for name, more in (("cc_accept", {"decision": "accept"}), ("cc_deliver", {"target": "main"})):
        with pytest.raises(VerifyFailed, match="expired"):
            door.call(name, run_id=run_id, **more)
    assert door.call("cc_verify", run_id=run_id, test_commands=PASSES)["verdict"] == "ESCALATE"


def test_a_later_hold_takes_an_acceptance_away(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c 'exit(1)'"])
    with pytest.raises(VerifyFailed, match="HOLD"):
        door.call("cc_deliver", run_id=run_id, target="main")


def test_a_verdict_file_that_was_edited_is_not_believed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    answer = door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c 'exit(1)'"])
    path = Path(answer["file"])
    path.write_text(path.read_text().replace('"HOLD"', '"APPROVE"'))
    with pytest.raises(CcError, match="is not what") as caught:
        door.call("cc_accept", run_id=run_id, decision="accept")
    assert caught.value.code == "corrupt"


# ---------------------------------------------------------------- deliver


def test_a_delivery_to_a_branch_that_went_on_is_a_merge_that_says_what_was_tested(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    mine = commit(door.cwd, {"docs/mine.md": "mine\n"}, "meanwhile")
    done = door.call("cc_deliver", run_id=run_id, target="main")
    assert (done["how"], done["tested_tree"], done["before"]) == ("merged", False, mine)
    assert done["gates"] == "passed"
    assert git(door.cwd, "log", "-1", "--format=%P", "main").split() == [mine, done["result"]]
    assert git(door.cwd, "status", "--porcelain") == ""


def test_a_branch_that_nobody_has_checked_out_moves_alone(tmp_path: Path) -> None:
    door = Door(tmp_path)
    git(door.cwd, "branch", "release")
    write(door.cwd, {"README.md": "my own unfinished change\n", "untracked.txt": "mine\n"})
    run_id = accepted(door)
    before = fingerprint(door.cwd)
    done = door.call("cc_deliver", run_id=run_id, target="release")
    assert git(door.cwd, "rev-parse", "release") == done["after"]
    assert fingerprint(door.cwd) == before


def test_a_second_delivery_says_that_it_was_done(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    first = door.call("cc_deliver", run_id=run_id, target="main")
    again = door.call("cc_deliver", run_id=run_id, target="main")
    assert again["repeated"]
    assert again["delivery_id"] == first["delivery_id"]
    git(door.cwd, "branch", "copy", "main")
    assert door.call("cc_deliver", run_id=run_id, target="copy")["how"] == "already_contained"
    assert len(door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"]) == 2


def test_whatever_refuses_a_delivery_changes_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, {"write": {"path": "README.md", "content": "theirs\n"}})
    git(door.cwd, "branch", "other")
    head = commit(door.cwd, {"README.md": "mine\n"}, "meanwhile")

    def refused(kind: type[CcError], match: str, target: str) -> None:
        before = fingerprint(door.cwd)
        with pytest.raises(kind, match=match):
            door.call("cc_deliver", run_id=run_id, target=target)
        assert fingerprint(door.cwd) == before
        assert git(door.cwd, "rev-parse", "main") == head

    refused(Conflict, "conflicts with main in README.md", "main")
    refused(NotFound, "no local branch", "nowhere")
    refused(NotFound, "not a branch name", "--force")
    refused(InvalidRequest, "no target", str(door.spec(run_id).branch))
    refused(InvalidRequest, "no target", "refs/heads/main")
    git(door.cwd, "checkout", "-q", "other")
    write(door.cwd, {"src/app.py": "half done\n"})
    head = git(door.cwd, "rev-parse", "main")
    refused(Conflict, "uncommitted changes", "other")
    assert door.call("cc_receipts", run_id=run_id, kind="delivery")["receipts"] == []


def test_untracked_files_of_the_users_checkout_stay_and_are_no_reason_to_refuse(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    write(door.cwd, {"notes/mine.txt": "precious\n"})
    assert door.call("cc_deliver", run_id=run_id, target="main")["how"] == "fast_forward"
    assert (door.cwd / "notes/mine.txt").read_text() == "precious\n"
    assert git(door.cwd, "status", "--porcelain") == "?? notes/"


def test_an_untracked_file_in_the_way_of_a_result_is_not_overwritten(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door, {"write": {"path": "new.txt", "content": "theirs\n"}})
    write(door.cwd, {"new.txt": "precious\n"})
    head, before = git(door.cwd, "rev-parse", "main"), fingerprint(door.cwd)
    with pytest.raises(Conflict, match=r"new\.txt"):
        door.call("cc_deliver", run_id=run_id, target="main")
    assert (git(door.cwd, "rev-parse", "main"), fingerprint(door.cwd)) == (head, before)


def test_a_file_that_git_ignores_in_the_users_checkout_is_not_overwritten(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": "local.cfg\n"}, "ignore")
    write(door.cwd, {"local.cfg": "precious\n"})
    run_id = accepted(
        door, {"write": {"path": "local.cfg", "content": "theirs\n"}}, {"run": {"argv": ["git", "add", "-f", "local.cfg"]}},
        {"run": {"argv": ["git", "-c", "user.name=w", "-c", "user.email=w@localhost", "commit", "-qm", "cfg"]}},
    )  # fmt: skip
    before = fingerprint(door.cwd)
    with pytest.raises(Conflict, match="cannot take the result"):
        door.call("cc_deliver", run_id=run_id, target="main")
    assert (door.cwd / "local.cfg").read_text() == "precious\n"
    assert fingerprint(door.cwd) == before


def test_two_deliveries_at_once_both_arrive(tmp_path: Path) -> None:
    door = Door(tmp_path)
    runs = [accepted(door, {"write": {"path": f"src/{name}.py", "content": "x = 1\n"}}) for name in ("one", "two")]
    answers: list[Any] = []

    def go(run_id: str) -> None:
        try:
            answers.append(door.call("cc_deliver", run_id=run_id, target="main"))
        except CcError as error:
            answers.append(error)

    threads = [threading.Thread(target=go, args=(run_id,)) for run_id in (*runs, runs[0])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [answer["status"] for answer in answers] == ["succeeded"] * 3, answers
    assert (door.cwd / "src/one.py").exists()
    assert (door.cwd / "src/two.py").exists()
    assert git(door.cwd, "status", "--porcelain") == ""
    assert len(door.call("cc_receipts", kind="delivery")["receipts"]) == 2
    assert door.call("cc_receipts")["ledger"]["ok"]


# ---------------------------------------------------------------- receipts


def test_receipts_are_cut_and_a_changed_one_is_named(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = accepted(door)
    cut = door.call("cc_receipts", limit=1)
    assert (len(cut["receipts"]), cut["truncated"]) == (1, True)
    (path,) = (door.cwd / ".agent-workspace/ledger").glob("receipts-*.ndjson")
    path.write_bytes(path.read_bytes().replace(b'"APPROVE"', b'"APPROVED"', 1))
    ledger = door.call("cc_receipts", run_id=run_id)["ledger"]
    assert ledger["ok"] is False
    assert "not a sound record" in ledger["problems"][0]
