"""cc_approvals through the door and at a real terminal: requests, decisions, chains, the passphrase."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import ApprovalRequired, Conflict, LimitReached, PolicyDenied
from cc_orchestrator.store.verifier import check_passphrase, enroll, is_enrolled
from kit.door import Door
from kit.repos import git

FETCH = {
    "ask": {
        "kind": "permission",
        "tool": "WebFetch",
        "tool_kind": "network",
        "target": "https://example.org",
        "text": "may I?",
    }
}


def test_a_controller_requests_and_cannot_approve_and_a_person_decides_once(tmp_path: Path) -> None:
    agent = Door(tmp_path, channel="mcp")
    asked = agent.call("cc_approvals", action="request", what="publish the package", risk="critical")
    assert (asked["status"], asked["repeated"]) == ("open", False)
    again = agent.call("cc_approvals", action="request", what="publish the package", risk="critical")
    assert (again["approval_id"], again["repeated"]) == (asked["approval_id"], True)
    with pytest.raises(ApprovalRequired):
        agent.call("cc_approvals", action="approve", approval_id=asked["approval_id"])
    person = Door(tmp_path, cwd=agent.cwd)
    assert person.call("cc_approvals", action="approve", approval_id=asked["approval_id"])["status"] == "allowed"
    with pytest.raises(Conflict, match="allowed and is not decided again"):
        person.call("cc_approvals", action="approve", approval_id=asked["approval_id"])
    assert agent.call("cc_approvals", action="deny", approval_id=asked["approval_id"])["status"] == "denied"
    assert agent.call("cc_approvals")["approvals"][0]["latency_s"] >= 0


@pytest.mark.process
def test_a_chain_lets_its_steps_pass_and_then_it_is_asked_again(tmp_path: Path) -> None:
    door = Door(tmp_path)
    flag = tmp_path / "go"
    run_id = door.start_fake(
        {"barrier": {"path": str(flag)}}, FETCH, FETCH, FETCH, {"result": "x"}, question_seconds=0.5
    )
    made = door.call(
        "cc_approvals", action="chain", what="two looks at the docs", run_id=run_id, kinds=["network"], steps=2
    )
    assert made["steps_left"] == 2
    flag.touch()
    door.finish(run_id)
    decided = [(row["decision"], row["rule"]) for row in door.data(run_id, "policy.decided")]
    assert decided == [("allow", f"approval.{made['approval_id']}")] * 2 + [("ask", "network.asks")]
    assert door.call("cc_approvals", action="show", approval_id=made["approval_id"])["status"] == "used"


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_a_chain_covers_the_file_that_a_path_leads_to_not_the_one_it_looks_like(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (door.cwd / ".github").mkdir()
    (door.cwd / ".github" / "up").symlink_to("..")
    git(door.cwd, "add", ".github")
    git(door.cwd, "commit", "-qm", "a way up")
    flag = tmp_path / "go"
    paths = (
        ".github/workflows/a.yml",
        ".github/up/package.json",
        ".github/../package.json",
        ".github/up/.github/b.yml",
    )
    edits = [
        {"ask": {"kind": "permission", "tool": "Write", "tool_kind": "edit", "target": path, "paths": [path], "text": "?"}}
        for path in paths
    ]  # fmt: skip
    run_id = door.start_fake(
        {"barrier": {"path": str(flag)}}, *edits, {"result": "x"}, allow_write=True, question_seconds=0.3
    )
    made = door.call("cc_approvals", action="chain", what="CI", run_id=run_id, kinds=["edit"], paths=[".github/**"])
    flag.touch()
    door.finish(run_id)
    told = [
        (row["decision"], row["rule"] == f"approval.{made['approval_id']}")
        for row in door.data(run_id, "policy.decided")
    ]
    assert told == [("allow", True), ("ask", False), ("ask", False), ("allow", True)]


def test_a_worker_approves_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.context = replace(door.context, env={**door.env, "CC_RUN_ID": "run_01m8e6rxh3jx8csskzx1"})
    for action in ("request", "approve", "chain", "enroll"):
        with pytest.raises(PolicyDenied):
            door.call("cc_approvals", action=action, what="x")


# ---------------------------------------------------------------- the passphrase

WORDS = "correct horse battery"


def test_wrong_tries_lock_it_for_longer_each_time(tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    enroll(env, WORDS, 0.0, proved=False)
    assert WORDS not in (tmp_path / "cc-orchestrator" / "approver.json").read_text(encoding="utf-8")
    check_passphrase(env, WORDS, 1.0)
    for _ in range(5):
        with pytest.raises(PolicyDenied):
            check_passphrase(env, "wrong words", 2.0)
    with pytest.raises(LimitReached):
        check_passphrase(env, WORDS, 3.0)
    check_passphrase(env, WORDS, 63.0)


class Terminal:
    """The command line in a pseudo terminal, as a person sits before it."""

    def __init__(self, door: Door, *words: str) -> None:
        ours, theirs = pty.openpty()
        boot = "import os, sys, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
        self._fd = ours
        self.process = subprocess.Popen(
            [sys.executable, "-c", boot, sys.executable, "-m", "cc_orchestrator", *words], stdin=theirs, stdout=theirs, stderr=theirs,
            cwd=door.cwd, env=door.env,
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""

    def expect(self, text: str, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.seen:
            left = deadline - time.monotonic()
            assert left > 0, f"{text!r} did not come: {self.seen}"
            ready, _, _ = select.select((self._fd,), (), (), left)
            try:
                data = os.read(self._fd, 4096) if ready else b""
            except OSError:
                data = b""
            self.seen += data.decode("utf-8", "replace")
            assert data or text in self.seen, f"it ended without {text!r}: {self.seen}"
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode() + b"\n")

    def end(self) -> int:
        code = self.process.wait(30)
        os.close(self._fd)
        return code


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals")
def test_a_person_enrolls_and_approves_at_a_terminal_and_nobody_else_does(tmp_path: Path) -> None:
    door = Door(tmp_path, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")})
    asked = door.call("cc_approvals", action="request", what="release")["approval_id"]
    terminal = Terminal(door, "approvals", "enroll")
    terminal.expect("new passphrase:")
    terminal.type(WORDS)
    terminal.expect("the same again:")
    terminal.type(WORDS)
    assert terminal.end() == 0
    assert is_enrolled(door.env)
    with pytest.raises(ApprovalRequired, match="no terminal"):
        door.call("cc_approvals", action="approve", approval_id=asked)
    wrong = Terminal(door, "approvals", "approve", "--approval-id", asked)
    wrong.expect("passphrase:")
    wrong.type("something else")
    wrong.expect("not the passphrase")
    assert wrong.end() != 0
    right = Terminal(door, "approvals", "approve", "--approval-id", asked)
    right.expect("passphrase:")
    right.type(WORDS)
    right.expect("allowed")
    assert right.end() == 0
    row = door.call("cc_approvals", action="show", approval_id=asked)
    assert (row["status"], row["approver"]) == ("allowed", "user (passphrase)")


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="pseudo terminals")
def test_a_yes_above_the_controllers_class_takes_the_passphrase_on_the_command_line_too(tmp_path: Path) -> None:
    door = Door(tmp_path, env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")})
    folder = door.cwd / ".agent-workspace"
    folder.mkdir(exist_ok=True)
    (folder / "approvals.json").write_text('{"controller": "low"}', encoding="utf-8")
    enroll(door.env, WORDS, 0.0, proved=False)
    run_id = door.start_fake(FETCH, {"result": "x"})
    door.until_event(run_id, "question.asked")
    with pytest.raises(ApprovalRequired, match="no terminal"):
        door.call("cc_answer", run_id=run_id, decision="allow")
    right = Terminal(door, "answer", run_id, "--decision", "allow")
    right.expect("passphrase:")
    right.type(WORDS)
    assert right.end() == 0
    door.finish(run_id)
    assert door.data(run_id, "question.answered")[0]["decision"] == "allow"
