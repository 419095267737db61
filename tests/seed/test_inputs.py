"""Faults of the seed in protocol and inputs (its study, §12.4): each one here is one that we do not have."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import CcError
from chaos.doors import McpDoor
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import make_repo

pytestmark = pytest.mark.process


def test_a_worker_that_reads_stdin_eats_no_message_of_the_server(tmp_path: Path) -> None:
    cwd = make_repo(tmp_path / "project")
    door = McpDoor(cwd, dict(os.environ))
    try:
        script = {"steps": [{"run": {"argv": ["cat"], "seconds": 1}}, {"sleep": 0.3}, {"result": "x"}]}
        long = door.send("cc_run_agent", task="x", adapter="fake", script=script, wait_seconds=20)
        others = [door.send("cc_status") for _ in range(4)]
        order: list[int] = []
        while len(order) < 5:
            got = door.take(30.0)
            assert got, f"no answer any more: {order}"
            order += got
        assert set(order) == {long, *others}
        assert order[-1] == long, "calls are answered while a run is waited for"
    finally:
        door.close()


@pytest.mark.parametrize("run_id", ["../../../../etc/passwd", "run_../x", "run_\0", "", "run_01k3000000abcdefghjk/.."])
def test_an_id_that_is_a_path_is_refused(tmp_path: Path, run_id: str) -> None:
    door = Door(tmp_path)
    with pytest.raises(CcError) as caught:
        door.call("cc_poll", run_id=run_id)
    assert caught.value.code == "invalid_request"
    assert caught.value.hint


def test_a_missing_run_is_an_error_and_said_to_be_one(tmp_path: Path) -> None:
    cwd = make_repo(tmp_path / "project")
    door = McpDoor(cwd, dict(os.environ))
    try:
        answer = door.ask("cc_poll", run_id="run_01k3000000abcdefghjk")
    finally:
        door.close()
    assert answer["error"]["isError"] is True
    assert answer["error"]["structuredContent"]["error"]["code"] == "not_found"


def test_malformed_yaml_is_reported_as_such(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (door.cwd / "script.yaml").write_text("steps: [testing\n  - say: x\n", encoding="utf-8")
    with pytest.raises(CcError, match="YAML") as caught:
        door.call("cc_run_streaming", task="x", adapter="fake", script="script.yaml")
    assert caught.value.code == "invalid_request"


def test_a_scope_that_is_a_word_and_a_limit_that_is_a_word_are_refused(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for wrong in ({"scope": "src"}, {"timeout_seconds": "lots"}, {"max_turns": -1}, {"timeout_seconds": 1e30}):
        with pytest.raises(CcError, match=next(iter(wrong))) as caught:
            door.start_fake({"result": "x"}, **wrong)
        assert caught.value.code == "invalid_request"
    assert door.call("cc_run_status", include_finished=True)["count"] == 0


def test_an_unknown_role_is_refused_and_not_routed(tmp_path: Path) -> None:
    with pytest.raises(CcError, match="no role"):
        Door(tmp_path).start_fake({"result": "x"}, role="wizard")


def test_long_identifiers_and_host_names_reach_the_worker_unchanged_and_not_in_its_argv(tmp_path: Path) -> None:
    task = (
        "Rename internationalizationSettings.configuration on db-primary-0123456789abcdef.internal.example.com to"
        " applicationInternationalizationServiceBeanFactoryPostProcessor " + "ä" * 200_000
    )
    door = Door(tmp_path)
    cli = tmp_path / "bin" / "codex"
    cli.parent.mkdir()
    cli.with_name("codex.py").write_text(
        "import sys, pathlib\nhere = pathlib.Path(__file__).parent\n"
        "(here / 'argv').write_text(repr(sys.argv))\n(here / 'stdin').write_bytes(sys.stdin.buffer.read())\n",
        encoding="utf-8",
    )
    # A path with a blank cannot stand behind `#!`.
    cli.write_text(f'#!/bin/sh\nexec {PYTHON} "$0.py" "$@"\n', encoding="utf-8")
    cli.chmod(0o755)
    door = Door(
        tmp_path, cwd=door.cwd, env={**door.env, "PATH": f"{cli.parent}:{door.env['PATH']}", "OPENAI_API_KEY": "dummy"}
    )
    run_id = door.call("cc_run_streaming", task=task, adapter="codex-exec")["run_id"]
    door.finish(run_id)
    sent = (cli.parent / "stdin").read_bytes()
    assert task.encode() in sent
    assert "internationalization" not in (cli.parent / "argv").read_text(encoding="utf-8").lower()
    spec = door.spec(run_id)
    assert spec.prompt_sha256 == hashlib.sha256(sent).hexdigest(), "of the text that was sent"
    assert spec.prompt_bytes == len(sent) > 131_072


def test_a_prompt_with_a_secret_is_masked_in_every_file_of_the_run(tmp_path: Path) -> None:
    secret = "ghp_" + "a1B2c3D4e5" * 3 + "f6G7h8"
    door = Door(tmp_path)
    run_id = door.play({"say": "{task}"}, {"result": "x"}, task=f"use {secret} for it")["run_id"]
    for path in Path(door.run(run_id).path).rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path.name
