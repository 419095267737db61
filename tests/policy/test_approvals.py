"""An approval is decided once, used once, gone at its end; a chain covers what it names and no more."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.core.asking import ToolCall
from cc_orchestrator.policy.approvals import (
    Approval,
    Chain,
    find_open,
    hash_request,
    match_chain,
    read_approvals,
    status_of,
)

NOW = 100.0
REQUEST: dict[str, Any] = {
    "approval_id": "a",
    "request_hash": "h",
    "what": "merge",
    "risk": "high",
    "by": "mcp",
    "ts": 10.0,
    "expires": 200.0,
}
YES = {"approval_id": "a", "decision": "allow", "by": "ada", "ts": 20.0}
NO = {"approval_id": "a", "decision": "deny", "by": "bob", "ts": 30.0}
USED = {"approval_id": "a", "used": True}
GONE = {"approval_id": "a", "revoked": True}


def status(*rows: dict[str, Any], now: float = NOW, target: str | None = None, **more: Any) -> str:
    return status_of(read_approvals([{**REQUEST, **more}, *rows])["a"], now, target)


def test_it_is_decided_once_and_a_no_wins_while_it_is_not_used() -> None:
    assert status() == "open"
    assert status(YES) == "allowed"
    assert status(YES, NO) == "denied"
    assert status(NO, YES) == "denied"
    assert status(YES, USED, NO) == "used"
    assert read_approvals([REQUEST, YES, {**YES, "by": "eve"}])["a"].approver == "ada"


def test_it_ends_by_time_by_use_by_revocation_and_when_its_target_moved() -> None:
    assert status(YES, now=200.0) == "expired"
    assert status(YES, USED) == "used"
    assert status(YES, GONE) == "revoked"
    assert status_of(read_approvals([{**REQUEST, "target": "tree"}, YES])["a"], NOW, "moved") == "stale"
    assert status_of(read_approvals([{**REQUEST, "target": "tree"}, YES])["a"], NOW, "tree") == "allowed"


def test_its_latency_is_from_the_request_to_the_decision() -> None:
    assert read_approvals([REQUEST, YES])["a"].latency == 10.0


def test_the_same_open_request_is_found_again() -> None:
    found = read_approvals([REQUEST])
    assert find_open(found, "h", NOW) is found["a"]
    assert find_open(read_approvals([REQUEST, YES]), "h", NOW) is None
    assert hash_request({"a": 1, "b": 2}) == hash_request({"b": 2, "a": 1}) != hash_request({"a": 1, "b": 3})


@given(st.lists(st.sampled_from([YES, NO, USED, GONE]), max_size=8))
def test_a_no_without_a_use_is_never_undone(rows: list[dict[str, Any]]) -> None:
    denied = [n for n, row in enumerate(rows) if row is NO]
    used = [n for n, row in enumerate(rows) if row is USED]
    if denied and not [n for n in used if n < denied[0]]:
        assert status(*rows) != "allowed"


@given(st.lists(st.sampled_from([YES, USED]), max_size=10), st.integers(1, 4))
def test_a_chain_is_good_for_its_steps_and_no_more(rows: list[dict[str, Any]], steps: int) -> None:
    entry = read_approvals([{**REQUEST, "chain": {"kinds": ["network"], "steps": steps}}, YES, *rows])["a"]
    assert (status_of(entry, NOW) == "allowed") == (rows.count(USED) < steps)


def chain(**more: Any) -> Approval:
    bounds = Chain(**{"steps": 3, **more})
    return Approval("a", "h", "w", "high", "", "ada", 0.0, 200.0, run_id="run_1", decision="allow", chain=bounds)


def covered(
    entry: Approval, call: ToolCall, run_id: str = "run_1", cost: float | None = None, risk: Any = "high"
) -> bool:
    return match_chain(call, risk, [entry], run_id=run_id, task_id="task_1", now=NOW, cost=cost) is not None


def command(text: str) -> ToolCall:
    return ToolCall("Bash", "command", text, command=text)


def test_a_chain_covers_what_it_names_and_nothing_beside_it() -> None:
    npm = chain(kinds=("command",), commands=("npm install",))
    assert covered(npm, command("npm install left-pad"))
    assert not covered(npm, command("npm publish"))
    assert not covered(npm, command("npm install x && git push"))
    assert not covered(npm, command("npm install $(rm x)"))
    assert not covered(npm, command("npm install x"), run_id="run_2")
    assert not covered(npm, command("npm install x"), risk="critical")
    assert not covered(chain(kinds=("command",)), command("ls"))
    assert covered(
        chain(kinds=("edit",), paths=("**/package.json",)), ToolCall("Edit", "edit", paths=("x/package.json",))
    )
    assert not covered(
        chain(kinds=("edit",), paths=("**/package.json",)), ToolCall("Edit", "edit", paths=("x/package.json", "x/y"))
    )
    assert covered(chain(kinds=("network",)), ToolCall("WebFetch", "network", "https://x.org"))


def test_a_path_of_the_tree_and_one_outside_are_never_taken_for_each_other() -> None:
    docs = chain(kinds=("edit",), paths=("docs/**", "*.toml"))
    assert covered(docs, ToolCall("Edit", "edit", paths=("docs/a.md",)))
    assert not covered(docs, ToolCall("Edit", "edit", paths=("/docs/a.md",)))
    assert not covered(docs, ToolCall("Edit", "edit", paths=("/etc/x.toml",)))
    outside = chain(kinds=("edit",), paths=("/etc/app/**",))
    assert covered(outside, ToolCall("Edit", "edit", paths=("/etc/app/x",)))
    assert not covered(outside, ToolCall("Edit", "edit", paths=("etc/app/x",)))


def test_a_cost_that_nobody_knows_is_within_no_bound() -> None:
    bounded = chain(kinds=("network",), cost_usd=1.0)
    fetch = ToolCall("WebFetch", "network", "https://x.org")
    assert covered(bounded, fetch, cost=0.5)
    assert not covered(bounded, fetch, cost=1.5)
    assert not covered(bounded, fetch, cost=None)
