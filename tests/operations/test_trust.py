"""Trust at the door: anybody lowers it, a person raises it, a bad record lowers it by itself, and every change is on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import ApprovalRequired, InvalidRequest, NotFound
from cc_orchestrator.store import ledger
from cc_orchestrator.store.paths import Workspace
from kit.door import Door

FAIL = {"result": {"text": "no", "is_error": True}}


def level(door: Door, subject: str) -> tuple[int, str]:
    row: dict[str, Any] = door.call("cc_trust", subject=subject)["trust"][0]
    return row["level"], row["by"]


def test_a_controller_lowers_and_cannot_raise(tmp_path: Path) -> None:
    agent = Door(tmp_path, channel="mcp")
    agent.call("cc_trust", action="set", subject="claude", level=0, reason="odd behaviour")
    assert level(agent, "claude") == (0, "controller")
    with pytest.raises(ApprovalRequired) as refused:
        agent.call("cc_trust", action="set", subject="claude", level=1, reason="it is fine again")
    assert "cc-orchestrator trust set" in refused.value.hint


def test_a_person_raises_with_a_reason_and_it_is_on_the_ledger(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with pytest.raises(InvalidRequest):
        door.call("cc_trust", action="set", subject="codex", level=3)
    answer = door.call("cc_trust", action="set", subject="codex", level=3, reason="a month without a finding")
    assert (answer["level"], answer["was"]) == (3, 2)
    receipts = ledger.receipts(Workspace(str(door.cwd), str(door.cwd)).ledger, {}, kind="trust", limit=5)
    assert [receipt["observed"]["after"] for receipt in receipts] == [3]
    assert door.call("cc_trust", action="history")["history"][0]["reason"] == "a month without a finding"


def test_nobody_has_trust_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Door(tmp_path).call("cc_trust", subject="gpt")


@pytest.mark.process
def test_ten_runs_of_which_four_failed_cost_a_level(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for number in range(10):
        door.play(FAIL if number < 4 else {"result": {"text": "ok"}})
    assert level(door, "fake") == (1, "demotion")
    assert (
        door.call("cc_trust", action="history", subject="fake")["history"][0]["reason"]
        == "6 of the last 10 runs went well"
    )
    assert level(door, "fake") == (1, "demotion"), "what was judged once is not judged again"


def test_a_controller_grants_no_secret(tmp_path: Path) -> None:
    agent = Door(tmp_path, channel="mcp")
    with pytest.raises(ApprovalRequired):
        agent.call("cc_secrets", action="grant", name="NPM_TOKEN")


def test_a_person_grants_and_anybody_revokes(tmp_path: Path) -> None:
    door = Door(tmp_path)
    granted = door.call("cc_secrets", action="grant", name="NPM_TOKEN", hours=2, uses=3)
    assert door.call("cc_secrets")["grants"][0]["uses_left"] == 3
    agent = Door(tmp_path, cwd=door.cwd, channel="mcp")
    assert agent.call("cc_secrets", action="revoke", name="NPM_TOKEN")["revoked"] == [granted["grant_id"]]
    assert door.call("cc_secrets")["grants"] == []
