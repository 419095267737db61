"""cc_doctor: what it finds, from the door's own environment; and the self test of the whole path."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kit.door import Door
from kit.wire import Wire, command_line

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def checks(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["check"]: row for row in answer["checks"]}


def test_a_fit_machine_is_ok_and_every_check_says_what_it_found(tmp_path: Path) -> None:
    answer = Door(tmp_path).call("cc_doctor")
    assert answer["ok"] is True
    found = checks(answer)
    assert {
        "python",
        "git",
        "bytecode",
        "environment",
        "containment",
        "bell",
        "adapter fake",
        "workspace",
        "ledger",
        "index",
    } <= set(found)
    assert all(row["found"] for row in answer["checks"])
    assert all(row.get("fix") for row in answer["checks"] if not row["ok"])


def test_a_missing_cli_is_told_and_makes_nobody_unfit(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (tmp_path / "bin").mkdir()
    for line in os.environ["PATH"].split(":"):
        git = Path(line) / "git"
        if git.exists():
            (tmp_path / "bin" / "git").symlink_to(git)
            break
    door.context = replace(door.context, env={**door.env, "PATH": str(tmp_path / "bin")})
    answer = door.call("cc_doctor")
    assert answer["ok"] is True
    missing = [row for name, row in checks(answer).items() if name.startswith("adapter ") and name != "adapter fake"]
    assert missing
    assert all(not row["ok"] and "not installed" in row["found"] and row["fix"] for row in missing)


def test_without_git_the_doctor_says_so_and_exits_with_1(tmp_path: Path) -> None:
    door = Door(tmp_path)
    done = command_line(door, "--json", "doctor", env={**door.env, "PATH": str(tmp_path)})
    answer = json.loads(done.stdout)
    assert done.returncode == 1
    assert answer["ok"] is False
    assert checks(answer)["git"]["fix"]


def test_a_changed_receipt_makes_the_doctor_unhappy(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.finish(door.start_fake({"result": "done"}))
    (ledger,) = (door.cwd / ".agent-workspace" / "ledger").glob("receipts-*.ndjson")
    ledger.write_text(ledger.read_text().replace("succeeded", "succeedeD", 1))
    answer = door.call("cc_doctor")
    assert answer["ok"] is False
    assert checks(answer)["ledger"]["ok"] is False
    assert command_line(door, "doctor").returncode == 1


def test_a_door_with_codexs_environment_says_what_it_cannot_pass_on(tmp_path: Path) -> None:
    door = Door(tmp_path)
    bare = {name: door.env[name] for name in ("HOME", "PATH", "TMPDIR")} | {"LANG": "C.UTF-8", "TERM": "dumb"}
    with Wire(door, env=bare) as wire:
        wire.open()
        found = checks(wire.call("cc_doctor"))
    assert found["environment"]["ok"] is False
    assert found["environment"]["found"] == "only HOME, LANG, PATH, TERM, TMPDIR"
    assert "MCP configuration" in found["environment"]["fix"]


def test_the_doctor_names_variables_and_never_shows_their_values(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.context = replace(
        door.context,
        env={**door.env, "ANTHROPIC_API_KEY": "sk-ant-the-very-secret", "OPENAI_API_KEY": "sk-the-very-secret"},
    )
    assert "very-secret" not in json.dumps(door.call("cc_doctor"))


def test_the_self_test_passes_every_gate(tmp_path: Path) -> None:
    door = Door(tmp_path)
    answer = door.call("cc_mock_stream_test", timeout_seconds=100)
    assert answer["ok"] is True, answer
    assert all(answer["gates"].values())
    assert not (door.cwd / ".agent-workspace").exists()
