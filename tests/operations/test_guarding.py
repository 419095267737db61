"""A workspace's policies over what callers ask of the orchestrator."""

from __future__ import annotations

from pathlib import Path

import pytest

from cc_orchestrator.core.errors import ApprovalRequired, Corrupt, PolicyDenied
from cc_orchestrator.store.sealedlog import read_sealed
from kit.door import Door

LOOK = {"result": {"text": "ok"}}


def write_policy(door: Door, text: str) -> None:
    folder = door.cwd / ".agent-workspace" / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "callers.cedar").write_text(text, encoding="utf-8")


def test_a_forbidden_dispatch_starts_nothing_and_is_on_record(tmp_path: Path) -> None:
    door = Door(tmp_path, channel="mcp")
    write_policy(
        door,
        '@id("no.writers") @reason("freeze") forbid(principal is Caller, action == Action::"dispatch", resource) when { resource.allow_write };',
    )
    with pytest.raises(PolicyDenied, match=r"no\.writers: freeze"):
        door.start_fake(LOOK, allow_write=True)
    rows = read_sealed(str(door.cwd / ".agent-workspace" / "logs" / "policy.ndjson"))
    assert [(row["operation"], row["act"], row["decision"], row["rule"]) for row in rows] == [
        ("cc_run_streaming", "dispatch", "deny", "no.writers")
    ]
    assert door.call("cc_status").get("live") is None


@pytest.mark.process
def test_what_it_does_not_forbid_goes_on(tmp_path: Path) -> None:
    door = Door(tmp_path, channel="mcp")
    write_policy(
        door, 'forbid(principal is Caller, action == Action::"dispatch", resource) when { resource.allow_write };'
    )
    assert door.play(LOOK)["status"] == "succeeded"


def test_what_asks_is_a_persons_and_a_look_is_everybodys(tmp_path: Path) -> None:
    agent = Door(tmp_path, channel="mcp")
    own = '@ask("settings are mine") permit(principal is Caller, action == Action::"set", resource is Operation);'
    write_policy(
        agent,
        own
        + '\n@id("never") forbid(principal is Caller, action == Action::"merge", resource) unless { principal.channel == "cli" };',
    )
    with pytest.raises(ApprovalRequired, match="settings are mine"):
        agent.call("cc_trust", action="set", subject="claude", level=0)
    assert agent.call("cc_trust")["trust"]
    Door(tmp_path, cwd=agent.cwd).call("cc_trust", action="set", subject="claude", level=0)


def test_policies_that_are_none_stop_every_act(tmp_path: Path) -> None:
    door = Door(tmp_path)
    write_policy(door, "permit(principal, action resource);")
    with pytest.raises(Corrupt, match=r"callers\.cedar"):
        door.start_fake(LOOK)


ASKS = '@ask("a person says so") permit(principal is Caller, action == Action::"dispatch", resource is Operation);'


@pytest.mark.process
def test_what_a_person_approved_passes_once_and_only_as_it_was_asked(tmp_path: Path) -> None:
    agent = Door(tmp_path, channel="mcp")
    write_policy(agent, ASKS)
    with pytest.raises(ApprovalRequired, match="requested as apr_") as first:
        agent.start_fake(LOOK)
    with pytest.raises(ApprovalRequired) as second:
        agent.start_fake(LOOK)
    row = agent.call("cc_approvals")["approvals"][0]
    approval_id = row["approval_id"]
    assert approval_id in first.value.hint
    assert approval_id in second.value.hint
    assert "cc_run_streaming" in row["what"]
    asleep = agent.call("cc_wait", ids=[approval_id], timeout_seconds=0)
    assert asleep["pending"] == [{"id": approval_id, "status": "open"}]
    Door(tmp_path, cwd=agent.cwd).call("cc_approvals", action="approve", approval_id=approval_id)
    assert agent.call("cc_wait", ids=[approval_id], timeout_seconds=5)["woke"][0]["status"] == "allowed"
    with pytest.raises(ApprovalRequired):
        agent.start_fake({"result": {"text": "something else"}})
    assert agent.play(LOOK)["status"] == "succeeded"
    with pytest.raises(ApprovalRequired):
        agent.start_fake(LOOK)


def test_what_a_person_denied_is_not_asked_again(tmp_path: Path) -> None:
    agent = Door(tmp_path, channel="mcp")
    write_policy(agent, ASKS)
    with pytest.raises(ApprovalRequired):
        agent.start_fake(LOOK)
    approval_id = agent.call("cc_approvals")["approvals"][0]["approval_id"]
    Door(tmp_path, cwd=agent.cwd).call("cc_approvals", action="deny", approval_id=approval_id)
    with pytest.raises(PolicyDenied, match="denied it"):
        agent.start_fake(LOOK)
    assert agent.call("cc_approvals")["count"] == 1
