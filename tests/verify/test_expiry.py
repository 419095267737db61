"""A verdict belongs to one result and one rule set; a store that cannot be read approves nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import CcError, Corrupt, InvalidRequest, VerifyFailed
from kit.door import Door
from kit.repos import git, write

pytestmark = pytest.mark.process
GOOD = {"write": {"path": "src/ok.py", "content": "ok = 1\n"}}
PASSES = ["python3 -c pass"]


def work(door: Door, *steps: dict[str, Any], **more: Any) -> str:
    run_id = door.start_fake(*(steps or (GOOD,)), {"result": "done"}, allow_write=True, **more)
    assert door.finish(run_id)["status"] == "succeeded"
    return run_id


def verify(door: Door, run_id: str, **more: Any) -> dict[str, Any]:
    door.call("cc_verify", run_id=run_id, test_commands=PASSES, **more)
    return door.call("cc_verification", run_id=run_id, full=True)


def policy(door: Door, text: str) -> None:
    write(door.cwd / ".agent-workspace/policies", {"verify.yaml": text})


def test_a_new_commit_and_new_rules_expire_the_verdict(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    assert verify(door, run_id)["verdict"] == "APPROVE"
    policy(door, "checks: {lint: soft}\n")
    assert door.call("cc_verification", run_id=run_id)["current"] is False
    with pytest.raises(VerifyFailed, match="expired"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    assert verify(door, run_id)["current"] is True
    state = door.state(run_id)
    ref, tree = state["snapshot"]["ref"], git(door.cwd, "rev-parse", "main^{tree}")
    later = git(
        door.cwd,
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@localhost",
        "commit-tree",
        tree,
        "-p",
        state["snapshot"]["commit"],
        "-m",
        "later",
    )
    git(door.cwd, "update-ref", ref, later)
    assert door.call("cc_verification", run_id=run_id)["current"] is False
    with pytest.raises(VerifyFailed, match="expired"):
        door.call("cc_accept", run_id=run_id, decision="accept")
    assert verify(door, run_id)["verdict"] != "APPROVE"


def test_rules_that_cannot_be_read_approve_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    assert verify(door, run_id)["verdict"] == "APPROVE"
    for text in ("preset: [\n", "presett: strict\n", "checks: {nothing: hard}\n", "checks: {result: off}\n"):
        policy(door, text)
        with pytest.raises(Corrupt, match=r"verify\.yaml"):
            door.call("cc_verify", run_id=run_id)
        with pytest.raises(VerifyFailed, match="expired"):
            door.call("cc_accept", run_id=run_id, decision="accept")


def test_a_caller_may_tighten_the_rules_of_a_project_and_never_loosen_them(tmp_path: Path) -> None:
    door = Door(tmp_path)
    policy(door, "preset: standard\nchecks: {test_delta: hard}\n")
    run_id = work(door)
    for rules in (
        {"preset": "relaxed"},
        {"checks": {"test_delta": "off"}},
        {"limits": {}},
        {"override": {"test_delta": "because"}},
    ):
        with pytest.raises(InvalidRequest, match="rules"):
            door.call("cc_verify", run_id=run_id, rules=rules)
    answer = verify(door, run_id, rules={"claims": [{"kind": "file_exists", "path": "src/no.py"}]})
    failed = {check["check"] for check in answer["checks"] if check["outcome"] == "fail"}
    assert (answer["verdict"], {"test_delta", "contract"} <= failed) == ("HOLD", True)


def test_an_override_of_a_soft_check_is_for_a_person(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door, {"run": {"argv": ["python3", "-c", "open('data.bin', 'wb').write(bytes(6000000))"]}})
    assert verify(door, run_id)["verdict"] == "HOLD"
    answer = verify(door, run_id, rules={"override": {"file_bytes": "a fixture that is needed"}})
    assert answer["verdict"] == "ESCALATE"
    (row,) = [check for check in answer["checks"] if check["check"] == "file_bytes"]
    assert (row["outcome"], row["override"]) == ("fail", "a fixture that is needed")


def test_a_damaged_journal_or_verification_holds(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door, GOOD, {"say": "a"}, {"say": "b"}, {"say": "c"})
    first = verify(door, run_id)
    assert first["verdict"] == "APPROVE"
    with open(first["file"], "r+b") as file:
        file.seek(30)
        file.write(b"#")
    with pytest.raises(Corrupt):
        door.call("cc_accept", run_id=run_id, decision="accept")
    assert verify(door, run_id)["verdict"] == "ESCALATE"
    other = work(door, GOOD, {"say": "a"}, {"say": "b"}, {"say": "c"})
    path = door.run(other).journal
    data = Path(path).read_bytes()
    place = data.index(b'"text":"b"')
    Path(path).write_bytes(data[:place] + b'"text";"b"' + data[place + 10 :])
    assert verify(door, other)["verdict"] == "ESCALATE"


def test_the_same_check_failing_on_three_results_of_a_task_goes_to_a_person(tmp_path: Path) -> None:
    door = Door(tmp_path)
    policy(door, "fail_limit: 3\n")
    run_id = work(door, {"write": {"path": "src/ok.py", "content": "def a(: # {task}\n"}})
    assert verify(door, run_id)["verdict"] == "HOLD"
    verdicts: list[str] = []
    for number in (2, 3):
        run_id = door.call("cc_send_instruction", run_id=run_id, instruction=f"mend it, {number}")["run_id"]
        door.finish(run_id)
        verdicts.append(verify(door, run_id)["verdict"])
    assert verdicts == ["HOLD", "ESCALATE"]


def test_a_holdout_tells_the_worker_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door)
    rules = {"holdout": {"commands": ["python3 -c 'exit(\"the-hidden-reason\")'"]}}
    answer = verify(door, run_id, rules=rules)
    assert answer["verdict"] == "HOLD"
    assert "1 of 1 hold-out checks failed" in str(answer["checks"])
    folder = door.cwd / ".agent-workspace"
    told = [str(answer), *(path.read_text("utf-8", "replace") for path in folder.rglob("*.json"))]
    told += [path.read_text("utf-8", "replace") for path in folder.rglob("*.ndjson")]
    assert not [text for text in told if "hidden-reason" in text]


def test_the_evidence_names_commits_files_and_what_was_left_uncommitted(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = work(door, GOOD, {"commit": {"message": "mine"}}, {"write": {"path": "src/more.py", "content": "x = 1\n"}})
    before = door.call("cc_evidence", run_id=run_id)
    assert (before["collected_by"], before["provenance"]["label"]) == ("now", "DIRTY_LOW")
    verify(door, run_id)
    answer = door.call("cc_evidence", run_id=run_id)
    assert answer["provenance"]["uncommitted"] == ["src/more.py"]
    assert {row["path"]: row["status"] for row in answer["files"]} == {"src/ok.py": "A", "src/more.py": "A"}
    assert len(answer["commits"]) == 2
    (head,) = answer["heads"]
    assert (head["passed"] > 20, "outside" in head["not_passed"]) == (True, True)


def test_a_secret_scan_says_where_and_never_what(tmp_path: Path) -> None:
    door = Door(tmp_path)
    secret = "ghp_" + "q1B2c3D4e5F6g7H8i9J0" * 2
    run_id = work(
        door,
        {"write": {"path": "src/key.py", "content": f"TOKEN = '{secret}'\n"}},
        {"outbox": {"name": "n.json", "content": {"t": secret}}},
    )
    answer = door.call("cc_secret_scan_run", run_id=run_id)
    assert (answer["status"], answer["max_severity"]) == ("blocked", "critical")
    assert {row["place"].split(":")[0] for row in answer["findings"]} == {"src/key.py", "outbox/n.json"}
    assert secret not in str(answer)


def test_a_scope_is_looked_at_before_and_after_a_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    asked = {"allowed_paths": ["src/**", str(door.cwd / "docs")], "denied_paths": [".env"]}
    before = door.call("cc_preflight_write_scope", **asked)
    assert (before["scope"]["allow"], before["writable"]) == (["src/**", "/docs"], 1)
    assert before["matches_nothing"] == ["/docs", ".env"]
    for path in ("../other", os.path.dirname(str(door.cwd))):
        with pytest.raises(CcError, match=r"lies outside|leads out"):
            door.call("cc_preflight_write_scope", allowed_paths=[path])
    run_id = work(door, {"write": {"path": "other.py", "content": "x = 1\n"}}, scope=before["scope"])
    after = door.call("cc_check_write_scope", run_id=run_id)
    assert (after["status"], "other.py" in str(after["violations"])) == ("blocked", True)
    assert door.call("cc_check_write_scope", run_id=work(door))["status"] == "no_scope"
