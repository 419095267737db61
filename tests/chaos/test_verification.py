"""A verification whose process is killed is lost, never passed, and leaves nobody and nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cc_orchestrator.store import audit, ledger
from chaos import truth
from chaos.rewind import workspace_of
from kit.door import Door
from kit.repos import fingerprint
from kit.waiting import until, until_gone

pytestmark = [pytest.mark.chaos, pytest.mark.process]


def test_a_killed_verification_is_lost_and_its_commands_are_gone_when_the_next_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    (tmp_path / "run").mkdir()
    door = Door(tmp_path)
    run_id = door.start_fake({"write": {"path": "made.txt", "content": "x"}}, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    before = fingerprint(door.cwd)
    began = tmp_path / "began"
    code = f"import os, pathlib, time; pathlib.Path({str(began)!r}).write_text(str(os.getpid())); time.sleep(60)"
    asked = {"run_id": run_id, "test_commands": [f'python3 -c "{code}"'], "wait_seconds": 0}
    verify_id = door.call("cc_verify", **asked)["verify_id"]
    command = int(until(lambda: began.exists() and began.read_text(), 20.0, what="the command at work"))
    workspace = workspace_of(door)
    job = Path(workspace.verification(run_id), verify_id)
    killed = truth.holders(job)
    assert killed
    for pid in killed:
        os.kill(pid, 9)
    for pid in killed:
        # A dying process loses its command line before its lock: only its end says that the lock is free.
        until_gone(pid)
    door.call("cc_status")
    until_gone(command, 5.0)
    answer = door.call("cc_wait", ids=[verify_id], timeout_seconds=5)
    assert (answer["woke"][0]["status"], answer["woke"][0].get("reason")) == ("lost", "job_died")
    receipts = ledger.receipts(workspace.ledger, {"verify_id": verify_id})
    assert [record["observed"]["status"] for record in receipts] == ["lost"]
    assert audit.check_ledger(workspace.ledger).ok
    assert list((tmp_path / "run" / "cc-orchestrator").iterdir()) == []
    assert fingerprint(door.cwd) == before
    again = door.call("cc_verify", run_id=run_id, wait_seconds=20)
    assert again["verify_id"] != verify_id
    assert again["verdict"] == "APPROVE"
