"""What a worker says comes through masked, whole, bounded and cheap; what is told of it is what was there."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from cc_orchestrator.core.asking import Ask
from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.core.late import Late
from cc_orchestrator.policy.judge import Unjudged
from cc_orchestrator.runs.artifacts import KEEP_CHECKPOINTS, Artifacts
from cc_orchestrator.runs.closing import receipt
from cc_orchestrator.runs.fold import fold
from cc_orchestrator.runs.questions import Questions
from cc_orchestrator.runs.replay import replay_run
from cc_orchestrator.runs.risk import find_flags, same_model
from cc_orchestrator.runs.summary import summarize, usage
from kit.clock import FakeClock
from kit.door import Door

SECRET = "ghp_" + "Ab1" * 12


def folder_bytes(path: str) -> bytes:
    return b"".join(found.read_bytes() for found in sorted(Path(path).rglob("*")) if found.is_file())


# ---------------------------------------------------------------- secrets


@pytest.mark.process
def test_a_secret_reaches_no_file_of_the_run_and_its_kind_and_count_are_recorded(tmp_path: Path) -> None:
    door = Door(tmp_path)
    env = {**door.env, "FAKE_WORKER_SECRET": 'pass"word\\of-this-run'}
    door = Door(tmp_path, cwd=door.cwd, env=env)
    state = door.play(
        {"env": {"names": ["FAKE_WORKER_SECRET"], "show": True}}, {"stderr": "env pass\"word\\of-this-run"},
        {"run": {"argv": ["sh", "-c", "printf 'token=A1b2C3d4E5f6G7h8I9'"]}}, {"result": f"used {'ghp_'}{'Ab1' * 12} twice {SECRET}"},
        task="the secret is in the script only",
    )  # fmt: skip
    run = door.run(state["run_id"])
    os.unlink(run.at("script.json"))
    os.unlink(run.spec)
    everything = folder_bytes(run.path)
    for secret in (SECRET, 'pass"word\\of-this-run', "A1b2C3d4E5f6G7h8I9", json.dumps('pass"word\\of-this-run')[1:-1]):
        assert secret.encode() not in everything
    assert state["masked"] == {"known": 2, "assignment": 3, "github": 2}
    assert [flag.code for flag in find_flags(state, 0.0)] == ["possible_secret_output"]


@pytest.mark.process
def test_a_secret_in_the_task_is_masked_in_files_and_still_reaches_the_worker(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"say": "{task}"}, {"run": {"argv": ["true"]}}, {"result": "x"}, task=f"use {SECRET} to log in")
    assert SECRET.encode() not in folder_bytes(door.run(state["run_id"]).path)
    assert door.data(state["run_id"], "run.message")[0]["text"] == "use [MASKED:github] to log in"
    assert "[MASKED:github]" in door.spec(state["run_id"]).task


@pytest.mark.process
def test_a_secret_in_a_line_over_the_cap_is_masked_and_the_line_is_told_as_oversized(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"big_line": {"bytes": 3_000_000, "secret": SECRET}}, {"result": "x"})
    raw = Path(door.run(state["run_id"]).at("stdout.raw")).read_bytes()
    assert SECRET.encode() not in raw
    assert b"[MASKED:github]" in raw
    assert state["masked"] == {"github": 1}
    assert state["oversized"] == 1
    oversized = door.data(state["run_id"], "system.oversized")[0]
    assert oversized["bytes"] >= 3_000_000
    assert state["status"] == "succeeded"


@pytest.mark.process
def test_fifty_megabytes_in_one_line_stay_within_the_memory_goal(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        {"big_line": {"bytes": 50_000_000}},
        {"say": "said"},
        {"hang": {}},
        max_output_bytes=100_000_000,
        soft_output_bytes=None,
    )
    door.until_event(run_id, "run.message", seconds=40.0, text="said")
    pid = door.until_event(run_id, "run.started")["supervisor_pid"]
    status = Path(f"/proc/{pid}/status").read_text()
    peak = int(next(row for row in status.splitlines() if row.startswith("VmHWM")).split()[1])
    door.call("cc_stop", run_id=run_id, force=True)
    print(f"peak of the supervisor: {peak} kB")
    # The goal is 16 MB; other machines' allocators differ a little.
    assert peak <= 17_500


@pytest.mark.process
def test_characters_split_over_reads_stay_whole_and_control_bytes_are_stripped_from_facts(tmp_path: Path) -> None:
    door = Door(tmp_path)
    row = json.dumps({"event": "say", "text": "€😀 \x1b[31mred\x07 \u202eevil"}, ensure_ascii=False).encode() + b"\n"
    pieces: list[dict[str, Any]] = []
    for start in range(0, len(row), 3):
        pieces += [{"raw": {"base64": base64.b64encode(row[start : start + 3]).decode()}}]
    state = door.play(*pieces, {"result": "x"})
    assert door.data(state["run_id"], "run.message")[0]["text"] == "€😀 red evil"


# ---------------------------------------------------------------- figures, models, flags


@pytest.mark.process
def test_unknown_usage_is_unknown_and_never_zero(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"result": "x"})
    assert usage(state) == {"input_tokens": "unknown", "output_tokens": "unknown", "cost_usd": "unknown"}
    assert receipt(door.spec(state["run_id"]), state, SystemClock())["observed"]["usage"] == "unknown"
    assert json.loads(Path(door.run(state["run_id"]).at("usage.json")).read_text())["usage"]["cost_usd"] == "unknown"


@pytest.mark.process
def test_a_model_that_was_not_asked_for_is_a_route_mismatch(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"usage": {"model": "other-9", "input_tokens": 1}}, {"result": "x"}, model="fake-2")
    assert (state["model"], state["actual_model"]) == ("fake-2", "other-9")
    assert [(flag.code, flag.blocking) for flag in find_flags(state, 0.0)] == [("route_mismatch", True)]
    assert summarize(state, 0.0)["declared_model"] == "fake-2"


@pytest.mark.parametrize(
    ("declared", "actual", "same"),
    [
        ("qwen3.7-plus", "qwen3.7-plus-20260901", True), ("qwen3.7-plus", "qwen3.7-plus[1m]", True), ("sonnet", "claude-sonnet-4-5-20250929", True),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", True),
        ("claude-sonnet-4.5", "anthropic/claude-sonnet-4-5", True), ("default", "anything", True),
        (None, "x", True), ("x", None, True), ("qwen3.7-plus", "qwen3.7-max", False),
        ("opus", "claude-sonnet-4-5", False), ("gpt-5", "gpt-5.5", False),
    ],
)  # fmt: skip
def test_dated_and_marked_names_mean_the_same_model(declared: str | None, actual: str | None, same: bool) -> None:
    assert same_model(declared, actual) is same


@pytest.mark.process
def test_no_flag_comes_from_prose(tmp_path: Path) -> None:
    state = Door(tmp_path).play(
        {"say": "I would run sudo apt install and rm -rf / now. The output format is JSON."},
        {"say": "pytest failed at first. After the fix all tests pass. apiKeySource: none"}, {"result": "permission denied, FATAL error"},
    )  # fmt: skip
    assert find_flags(state, 0.0) == []


# ---------------------------------------------------------------- the controller's files, replay


@pytest.mark.process
def test_the_controllers_files_are_there_with_repeated_tools_folded(tmp_path: Path) -> None:
    door = Door(tmp_path)
    grep = {"tool": {"tool": "Grep", "target": "needle"}}
    state = door.play(
        {"repeat": {"times": 7, "steps": [grep]}}, {"tool": {"tool": "Edit", "target": "a.py", "paths": ["a.py"], "kind": "edit"}},
        {"say": "found it"}, {"result": "done"},
    )  # fmt: skip
    run = door.run(state["run_id"])
    names = [
        "status.json",
        "progress_summary.json",
        "usage.json",
        "risk_flags.json",
        "changed_files.json",
        "latest_decision.md",
        "tool_timeline.md",
    ]
    assert [name for name in names if not os.path.exists(run.at(name))] == []
    assert "Grep x7 `needle`" in Path(run.at("tool_timeline.md")).read_text()
    progress = json.loads(Path(run.at("progress_summary.json")).read_text())
    assert progress["tools"] == "Grep x7, Edit"
    assert progress["tool_call_summary"][0] | {"first_seq": 0, "last_seq": 0} == {
        "name": "Grep",
        "count": 7,
        "first_seq": 0,
        "last_seq": 0,
    }
    assert progress["recommended_action"] == "verify_run"
    assert json.loads(Path(run.at("changed_files.json")).read_text())["files"] == [{"path": "a.py", "edits": 1}]
    assert "recommended action: verify_run" in Path(run.at("latest_decision.md")).read_text()
    assert os.listdir(run.at("checkpoints"))


@pytest.mark.process
def test_checkpoints_roll(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.play({"result": "x"})["run_id"]
    state, clock = door.state(run_id), FakeClock()
    writer = Artifacts(door.run(run_id), clock)
    for number in range(KEEP_CHECKPOINTS + 9):
        clock.advance(61)
        writer.write({**state, "seq": state["seq"] + number + 1})
    names = sorted(os.listdir(door.run(run_id).at("checkpoints")))
    assert len(names) == KEEP_CHECKPOINTS
    assert names[-1] == f"checkpoint-{KEEP_CHECKPOINTS + 10:03d}.md"


@pytest.mark.process
def test_a_replay_of_the_recorded_bytes_gives_what_was_recorded(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play(
        {"say": "hello"}, {"tool": {"tool": "Read", "target": "a"}}, {"usage": {"input_tokens": 5, "cost_usd": 0.1}}, {"stderr": "x"},
        {"big_line": {"bytes": 2_000_000}}, {"turn": {}}, {"raw": "no message\n"}, {"result": "done"},
    )  # fmt: skip
    replayed = replay_run(door.run(state["run_id"]))
    assert replayed.differences == {}
    assert replayed.ending == "completed"


# ---------------------------------------------------------------- time


def test_a_clock_set_back_harms_no_deadline() -> None:
    clock = FakeClock()
    questions = Questions(Unjudged("none here"), 10.0)
    questions.take(Ask("k", "clarification", "which?"), now=clock.now(), mono=clock.mono())
    clock.set_wall(0.0)
    assert questions.expire(clock.mono()) == []
    clock.advance(10.0)
    assert len(questions.expire(clock.mono())) == 1


def test_a_clock_set_back_during_a_run_gives_no_negative_times() -> None:
    rows = [
        {"seq": 1, "ts": 1_000.0, "type": "run.created", "data": {"run_id": "r", "task_id": "t", "adapter": "fake"}},
        {"seq": 2, "ts": 1_001.0, "type": "run.started", "data": {"pid": 1}},
        {"seq": 3, "ts": 10.0, "type": "run.message", "data": {"text": "back in time"}},
    ]
    shown = summarize(fold(rows), 5.0)
    assert shown["elapsed_s"] == 0.0
    assert shown["idle_s"] == 0.0
    assert shown["liveness"] == "working"


# ---------------------------------------------------------------- the supervisor itself


def test_a_supervisor_needs_the_standard_library_and_our_own_rooms_only() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cc_orchestrator.runs.supervisor; "
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})));"
        "print(' '.join(sorted({name.split('.')[1] for name in sys.modules if name.startswith('cc_orchestrator.')})))"
    )
    server = str(Path(__file__).parents[2] / "server")
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program, server], capture_output=True, text=True, check=True, timeout=30
    )
    tops, rooms = (set(row.split()) for row in done.stdout.splitlines())
    assert tops - set(sys.stdlib_module_names) - {"__main__", "cc_orchestrator"} == set()
    assert rooms == {"core", "store", "host", "adapters", "routing", "policy", "runs"}
    assert tops & {*get_args(Late), "dataclasses", "hashlib", "tempfile"} == set(), (
        "loaded when needed, not at the start"
    )


@pytest.mark.process
def test_a_supervisor_says_nothing_in_its_log(tmp_path: Path) -> None:
    door = Door(tmp_path)
    state = door.play({"fork": {}}, {"flood": {"lines": 200}}, {"result": "x"})
    assert Path(door.run(state["run_id"]).log).read_text() == ""


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 4 MB. Without the right to mount: a failure in CI, an open skip elsewhere."""
    where = tmp_path / "disk"
    where.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "cc-test", str(where)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        if os.environ.get("CI"):
            pytest.fail(f"in CI a small disk must be there: {done.stderr}")
        pytest.skip(f"a full disk cannot be tried without the right to mount: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


@pytest.mark.process
def test_a_disk_that_fills_up_ends_the_run_truthfully_and_leaves_nothing_half_written(
    tmp_path: Path, small_disk: Path
) -> None:
    door = Door(small_disk)
    run_id = door.start_fake(
        {"say": "before"}, {"flood": {"bytes": 30_000_000}}, {"result": "x"}, soft_output_bytes=None
    )
    row = door.finish(run_id, seconds=40.0)
    state = door.state(run_id)
    assert (row["status"], state["status"], state["reason"]) == ("failed", "failed", "disk_full")
    raw = Path(door.run(run_id).journal).read_bytes()
    assert raw.endswith(b"\n")
    assert [event["seq"] for event in door.events(run_id)] == list(range(1, state["seq"] + 1))
    for name in os.listdir(door.run(run_id).path):
        if name.endswith(".json"):
            json.loads(Path(door.run(run_id).at(name)).read_text())
        assert not name.endswith(".tmp")


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4_096)


@pytest.mark.process
def test_a_disk_that_is_full_at_the_start_starts_nothing_and_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    door = Door(small_disk)
    with pytest.raises(OSError, match="No space"):
        fill(small_disk / "filler")
    with pytest.raises(Unavailable) as caught:
        door.start_fake({"result": "x"})
    assert "no space" in caught.value.message
    runs = door.cwd / ".agent-workspace" / "runs"
    assert not runs.exists() or [name for name in os.listdir(runs) if name.startswith(("run_", ".new-"))] == []
