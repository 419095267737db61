"""cc_policy: what would be decided, why, what a change would change, and whether a file is a policy at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest
from kit.door import Door

OWN = '@id("own.stop") @reason("not here")\nforbid(principal, action == Action::"execute", resource) when { resource.program == "make" };\n'


def write_policy(door: Door, text: str, name: str = "own.cedar") -> None:
    folder = door.cwd / ".agent-workspace" / "policies"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def test_an_act_is_checked_for_a_level_of_trust(tmp_path: Path) -> None:
    door = Door(tmp_path)
    narrow = door.call("cc_policy", command="git push origin main")
    assert (narrow["decision"], narrow["rule"], narrow["risk"]) == ("deny", "publish.never", "critical")
    assert door.call("cc_policy", command="git push", trust=2)["decision"] == "ask"
    assert door.call("cc_policy", path="src/app.py", kind="edit")["decision"] == "allow"
    assert door.call("cc_policy", path="src/app.py", kind="edit", trust=0)["decision"] == "deny"
    assert door.call("cc_policy", host="example.org")["decision"] == "ask"
    with pytest.raises(InvalidRequest):
        door.call("cc_policy", command="ls", path="a")


def test_an_explanation_names_every_act_and_rule(tmp_path: Path) -> None:
    answer = Door(tmp_path).call("cc_policy", action="explain", command="cd src && cp a ../../../x | tee $Y")
    assert answer["decision"] == "ask" or answer["decision"] == "deny"
    acts = {(row["act"], row["what"]): row for row in answer["acts"]}
    assert acts["read", "a"]["place"] == "tree"
    assert acts["write", "../../../x"]["place"] == "records"
    assert "tee goes where nobody knows" in answer["untold"]


def test_a_workspaces_own_policy_counts(tmp_path: Path) -> None:
    door = Door(tmp_path)
    assert door.call("cc_policy", command="make")["decision"] == "allow"
    write_policy(door, OWN)
    assert door.call("cc_policy", command="make")["rule"] == "own.stop"


def test_mistakes_are_told_with_their_lines_all_at_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    assert door.call("cc_policy", action="validate")["ok"] is True
    comment = '\n// a comment; with "marks"\n'
    twice = '\n@id("own.stop")\npermit(principal, action, resource)\nwhen { resource.plase == "tree" };\n'
    write_policy(door, OWN + comment + "permit(principal, action resource);\n" + twice)
    answer = door.call("cc_policy", action="validate")
    assert answer["ok"] is False
    problems = [(row["file"], row["line"], row["message"]) for row in answer["problems"]]
    assert {(file, line) for file, line, _message in problems} == {("own.cedar", 5), ("own.cedar", 7)}
    assert "unexpected token" in problems[0][2]
    assert any("plase" in message for _file, _line, message in problems)
    assert any("used in own.cedar line 1 already" in message for _file, _line, message in problems)


def gated(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"gate": True, "steps": [*steps, {"result": {"text": "done"}}]}


@pytest.mark.process
def test_a_changed_policy_is_tried_on_past_runs_before_it_counts(tmp_path: Path) -> None:
    door = Door(tmp_path)
    script = gated(
        {"run": {"argv": ["make", "--version"], "command": "make --version"}},
        {"write": {"path": "a.txt", "content": "x"}},
    )
    run_id = door.start_fake(script=script, allow_write=True)
    door.finish(run_id)
    decisions = len(door.data(run_id, "policy.decided"))
    assert decisions == 2
    same = door.call("cc_policy", action="simulate")
    assert (same["decisions"], same.get("changes")) == (2, {})
    changed = door.call(
        "cc_policy",
        action="simulate",
        policies='@id("x") forbid(principal, action == Action::"write", resource) when { resource.place == "tree" };',
    )
    assert changed["changes"] == {"allow -> deny": 1}
    assert changed["changed"][0]["rule"] == "x"


@pytest.mark.process
def test_a_policy_that_breaks_while_a_worker_runs_lets_nothing_pass_unasked(tmp_path: Path) -> None:
    door = Door(tmp_path)
    flag = tmp_path / "go"
    script = gated({"barrier": {"path": str(flag)}}, {"write": {"path": "a.txt", "content": "x"}})
    run_id = door.start_fake(script=script, allow_write=True, question_seconds=0.5)
    write_policy(door, "permit(principal, action resource);")
    flag.touch()
    door.finish(run_id)
    decided = door.data(run_id, "policy.decided")
    assert [(row["decision"], row["rule"]) for row in decided] == [("ask", "policy.unusable")]
    assert "own.cedar" in decided[0]["reason"]
    assert door.state(run_id)["snapshot"]["file_count"] == 0
