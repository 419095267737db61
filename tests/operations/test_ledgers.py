"""cc_ledger through the public door: verify, query by page, export."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest, PolicyDenied
from cc_orchestrator.insight.statement import make_statement
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import find, invoke
from cc_orchestrator.store import ledger
from cc_orchestrator.store.sealed import unseal
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import git, make_repo

pytestmark = pytest.mark.process


def folder_of(door: Door) -> Path:
    return door.cwd / ".agent-workspace" / "ledger"


def fill(door: Door, count: int, **more: Any) -> None:
    """Receipts of runs that took place elsewhere."""
    door.call("cc_init_workspace")
    for index in range(count):
        entry = {
            "kind": "run", "ts": 1_795_000_000.0 + index, "subject": {"run_id": f"run_{index}"}, "actor": "controller",
            "observed": {"status": "succeeded"}, "claimed": {"text": "done"}, **more,
        }  # fmt: skip
        ledger.append(str(folder_of(door)), entry)


def finished(door: Door) -> dict[str, Any]:
    run_id = door.start_fake({"write": {"path": "new.py", "content": "x\n"}}, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    return door.call("cc_verify", run_id=run_id, test_commands=[f"{PYTHON} -c pass"])


def test_a_verification_is_anchored_in_git_and_a_rewritten_ledger_is_found_and_named(tmp_path: Path) -> None:
    door = Door(tmp_path)
    verified = finished(door)
    assert verified["verdict"] == "APPROVE"
    sound = door.call("cc_ledger")
    assert (sound["ok"], sound["receipts"]) == (True, 2)
    assert sound["anchor"] == {"ref": "refs/cc/ledger", "record": 2, "younger_records": 0}
    assert git(door.cwd, "status", "--porcelain") == ""
    rows = [unseal(row) for row in next(folder_of(door).glob("receipts-*")).read_bytes().splitlines()]
    for path in folder_of(door).iterdir():
        path.unlink()
    for row in rows:
        assert row is not None
        ledger.append(str(folder_of(door)), {**row, "observed": {**row["observed"], "verdict": "HOLD"}})
    found = door.call("cc_ledger", action="verify")
    assert found["ok"] is False
    assert found["problems"][0]["where"] == "refs/cc/ledger"
    assert "were rewritten: git holds another record" in found["problems"][0]["what"]
    assert door.call("cc_receipts")["ledger"]["ok"] is False
    assert door.call("cc_doctor")["ok"] is False


def test_the_command_line_verifies_and_fails_when_something_is_wrong(tmp_path: Path) -> None:
    door = Door(tmp_path)
    fill(door, 3)

    def cli() -> tuple[int, dict[str, Any]]:
        argv = [sys.executable, "-m", "cc_orchestrator", "-C", str(door.cwd), "--json", "ledger", "verify"]
        done = subprocess.run(argv, capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout)

    assert cli()[0] == 0
    path = next(folder_of(door).glob("receipts-*"))
    path.write_bytes(path.read_bytes().replace(b"succeeded", b"succeedEd", 1))
    status, answer = cli()
    assert (status, answer["ok"]) == (1, False)
    assert answer["problems"][0] == {"where": f"{path.name}:1", "what": "not a sound record: changed or inserted"}


def test_a_query_pages_through_all_that_matches_and_nothing_twice(tmp_path: Path) -> None:
    door = Door(tmp_path)
    fill(door, 25)
    fill(door, 5, actor="reviewer", kind="review")
    seen: list[int] = []
    cursor: int | None = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = door.call("cc_ledger", action="query", kind="run", limit=7, **more)
        seen += [row["n"] for row in page["receipts"]]
        fill(door, 1)  # what comes later moves no page
        if not page["truncated"]:
            break
        cursor = page["cursor"]
    assert seen == list(range(25, 0, -1))
    assert {row["kind"] for row in door.call("cc_ledger", action="query", actor="reviewer")["receipts"]} == {"review"}
    between = door.call(
        "cc_ledger", action="query", actor="controller", since="2026-11-18T11:06:42Z", until="2026-11-18T11:06:44"
    )
    assert {row["subject"]["run_id"] for row in between["receipts"]} == {"run_2", "run_3"}
    with pytest.raises(InvalidRequest, match="since"):
        door.call("cc_ledger", action="query", since="yesterday")


def test_an_export_holds_the_lines_as_they_are(tmp_path: Path) -> None:
    door = Door(tmp_path)
    fill(door, 4)
    made = door.call("cc_ledger", action="export")
    path = Path(made["path"])
    assert path.parent == door.cwd / ".agent-workspace" / "reports"
    assert path.read_bytes() == next(folder_of(door).glob("receipts-*")).read_bytes()
    assert (made["exported"], made["signed"], made["ok"]) == (4, False, True)
    assert made["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert door.call("cc_ledger", action="export")["path"] == made["path"]


def test_an_export_as_in_toto_statements_names_the_result_as_git_does(tmp_path: Path) -> None:
    door = Door(tmp_path)
    verified = finished(door)
    made = door.call("cc_ledger", action="export", format="in-toto", run_id=verified["run_id"])
    rows = [json.loads(row) for row in Path(made["path"]).read_bytes().splitlines()]
    assert [row["predicate"]["receipt"]["kind"] for row in rows] == ["run", "verification"]
    for row in rows:
        assert set(row) == {"_type", "subject", "predicateType", "predicate"}
        assert row["_type"] == "https://in-toto.io/Statement/v1"
        assert row["predicateType"] == "urn:cc-orchestrator:receipt:v1"
        assert row["predicate"]["signed"] is False
        digests = {key: value for entry in row["subject"] for key, value in entry["digest"].items()}
        assert digests == {"gitCommit": verified["commit"], "gitTree": verified["tree"]}
        assert git(door.cwd, "rev-parse", f"{digests['gitCommit']}^{{tree}}") == digests["gitTree"]


def test_a_statement_about_no_result_is_about_the_receipt_itself() -> None:
    record, line = ledger.make_line({"kind": "run", "ts": 1.0, "subject": {"run_id": "run_1"}}, 7, "0" * 64)
    assert make_statement(record)["subject"] == [
        {"name": "receipt-7", "digest": {"sha256": hashlib.sha256(line).hexdigest()}}
    ]
    with pytest.raises(ValueError, match="changed"):
        make_statement({**record, "n": 8})


def test_a_worker_may_look_at_receipts_but_exports_nothing(tmp_path: Path) -> None:
    root = make_repo(tmp_path / "project")
    inside = Context(cwd=str(root), env={"CC_RUN_ID": "run_x", "HOME": str(tmp_path)})
    assert invoke(find("cc_receipts"), inside, {})["ledger"]["ok"]
    with pytest.raises(PolicyDenied):
        invoke(find("cc_ledger"), inside, {"action": "export"})
