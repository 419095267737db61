"""How a run ends is told exactly: every reason that the bundled worker can bring about, through the public door."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Unavailable
from kit.door import Door
from kit.staging import stage

pytestmark = pytest.mark.process


def end(state: dict[str, Any]) -> tuple[str, str | None]:
    return state["status"], state["reason"]


# ---------------------------------------------------------------- what the worker did


def test_a_result_and_exit_0_is_success(tmp_path: Path) -> None:
    assert end(Door(tmp_path).play({"result": "done"})) == ("succeeded", "completed")


def test_exit_0_without_a_result_is_a_failure_whatever_was_said(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"say": "All done! Task completed successfully."}, {"exit": 0})
    assert end(state) == ("failed", "exited_empty")


def test_a_result_that_says_error_is_a_failure(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": {"text": "I could not", "is_error": True}})
    assert end(state) == ("failed", "worker_error")
    assert state["detail"] == "I could not"


def test_of_several_results_the_last_one_counts(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": {"text": "no", "is_error": True}}, {"result": "yes"})
    assert end(state) == ("succeeded", "completed")
    assert state["results"] == 2


def test_a_good_result_does_not_hide_a_bad_exit(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": "all fine"}, {"exit": 3})
    assert end(state) == ("failed", "crashed")
    assert state["exit"]["exit"] == 3


def test_a_crash_names_its_exit_code_and_last_words(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"stderr": "out of cheese"}, {"crash": {"exit": 7}})
    assert end(state) == ("failed", "crashed")
    assert (state["exit"]["exit"], state["exit"]["signal"]) == (7, None)
    assert state["detail"] == "exit 7: out of cheese"


def test_a_crash_by_a_signal_names_the_signal(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"crash": "SEGV"})
    assert end(state) == ("failed", "crashed")
    assert (state["exit"]["exit"], state["exit"]["signal"]) == (None, signal.SIGSEGV)


def test_a_half_line_at_the_end_is_kept_as_unparsed(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"partial_line": {"exit": 1}})
    assert end(state) == ("failed", "crashed")
    assert state["unparsed"] == 1


def test_a_rate_limit_for_good_is_a_failure_of_its_own(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": {"text": "429", "is_error": True, "reason": "rate_limited"}})
    assert end(state) == ("failed", "rate_limited")


def test_a_worker_cannot_claim_an_end_that_is_not_its_to_claim(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": {"text": "x", "is_error": True, "reason": "user_requested"}})
    assert end(state) == ("failed", "worker_error")


def test_a_program_that_says_nothing_gave_no_stream(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = stage(door, executable="/bin/true")
    door.finish(run_id)
    assert end(door.state(run_id)) == ("failed", "no_stream")


def test_a_program_that_prints_binary_gave_no_stream_and_its_bytes_harm_nothing(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_text('#!/bin/sh\nhead -c 100000 /dev/urandom; printf "\\n\\033[31m{half"\n')
    noise.chmod(0o755)
    door = Door(tmp_path)
    run_id = stage(door, executable=str(noise))
    door.finish(run_id)
    state = door.state(run_id)
    assert end(state) == ("failed", "no_stream")
    assert state["unparsed"] > 1


def test_a_program_that_is_gone_at_the_start_is_cli_not_found(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = stage(door, executable=str(tmp_path / "gone"))
    door.finish(run_id)
    assert end(door.state(run_id)) == ("failed", "cli_not_found")


def test_a_program_that_may_not_be_executed_is_spawn_failed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("not a program")
    door = Door(tmp_path)
    run_id = stage(door, executable=str(tmp_path / "plain"))
    door.finish(run_id)
    assert end(door.state(run_id)) == ("failed", "spawn_failed")


def test_a_worktree_that_cannot_be_made_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    door = Door(tmp_path)
    (door.cwd / ".agent-workspace").mkdir()
    (door.cwd / ".agent-workspace" / "worktrees").write_text("in the way")
    run_id = door.start_fake({"result": "x"}, allow_write=True)
    door.finish(run_id)
    state = door.state(run_id)
    assert end(state) == ("failed", "worktree_failed")
    assert "worktrees" in state["detail"]


def test_a_supervisor_that_cannot_start_is_told_and_leaves_an_end(tmp_path: Path) -> None:
    door = Door(tmp_path)
    blocked = {**door.env, "LD_PRELOAD": "", "PYTHONHOME": "/nowhere"}
    # -E ignores PYTHON*, so that such variables of the caller do no harm.
    door = Door(tmp_path, cwd=door.cwd, env=blocked)
    assert end(door.play({"result": "x"})) == ("succeeded", "completed")


# ---------------------------------------------------------------- what we did


def test_silence_ends_a_deaf_worker(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {"deaf": True}}, silence_seconds=0.2)
    door.finish(run_id)
    state = door.state(run_id)
    assert end(state) == ("timed_out", "silence")
    assert state["limits"][-1]["limit"] == "silence_seconds"
    assert state["limits"][-1]["measured"] >= 0.2


def test_a_worker_that_speaks_is_not_silent(tmp_path: Path) -> None:
    steps = {"repeat": {"times": 6, "steps": [{"sleep": 0.15}, {"think": "hm"}]}}
    assert end(Door(tmp_path).play(steps, {"result": "x"}, silence_seconds=0.6)) == ("succeeded", "completed")


def test_the_wall_clock_ends_a_worker_that_goes_on(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"hang": {}}, timeout_seconds=0.5, ignore_conclude=True)
    assert end(state) == ("timed_out", "timeout")


def test_near_the_wall_clock_a_worker_is_asked_to_conclude_and_may_succeed(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"hang": {}}, timeout_seconds=8.0)
    assert end(state) == ("succeeded", "completed")
    assert state["result"]["text"].startswith("concluded early")
    assert [entry["level"] for entry in state["limits"]] == ["soft"]


def test_a_stop_is_told_with_who_and_why(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    door.until_event(run_id, "run.started")
    answer = door.call("cc_stop", run_id=run_id, reason="changed my mind")
    assert (answer["previous_status"], answer["status"], answer["reason"]) == ("running", "stopped", "user_requested")
    assert answer["stopped"] is True
    door.finish(run_id)
    state = door.state(run_id)
    assert state["detail"] == "changed my mind"
    assert state["stopping"]["by"] == "controller"


def test_a_stop_of_an_ended_run_changes_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"result": "done"})
    door.finish(run_id)
    before = door.events(run_id)
    answer = door.call("cc_stop", run_id=run_id)
    assert (answer["status"], answer["stopped"]) == ("succeeded", False)
    assert door.events(run_id) == before


def test_a_result_given_while_being_stopped_stays_in_the_record_but_does_not_decide(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    door.call("cc_stop", run_id=run_id)
    door.finish(run_id)
    state = door.state(run_id)
    assert state["result"]["text"] == "interrupted"
    assert end(state) == ("stopped", "user_requested")


def test_a_forced_stop_kills_at_once(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"ignore_term": {}}, {"ignore_int": {}}, {"hang": {"deaf": True}})
    door.until_event(run_id, "run.session")
    answer = door.call("cc_stop", run_id=run_id, force=True)
    assert (answer["status"], answer["reason"]) == ("stopped", "user_requested")
    door.finish(run_id)
    assert door.state(run_id)["exit"]["signal"] == signal.SIGKILL
    assert [data["step"] for data in door.data(run_id, "run.stopping")] == ["kill"]


def test_a_worker_that_ignores_everything_goes_down_the_whole_ladder(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(
        {"ignore_term": {}}, {"ignore_int": {}}, {"say": "deaf now"}, {"hang": {"deaf": True}}, ignore_interrupt=True
    )
    door.until_event(run_id, "run.message", text="deaf now")
    answer = door.call("cc_stop", run_id=run_id)
    assert (answer["status"], answer["stopped"]) == ("stopped", True)
    door.finish(run_id)
    assert [data["step"] for data in door.data(run_id, "run.stopping")] == ["interrupt", "terminate", "kill"]
    assert door.state(run_id)["exit"]["signal"] == signal.SIGKILL


def test_a_worker_that_heeds_term_is_not_killed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"ignore_int": {}}, {"say": "half deaf"}, {"hang": {"deaf": True}}, ignore_interrupt=True)
    door.until_event(run_id, "run.message", text="half deaf")
    door.call("cc_stop", run_id=run_id)
    door.finish(run_id)
    assert [data["step"] for data in door.data(run_id, "run.stopping")] == ["interrupt", "terminate"]
    assert door.state(run_id)["exit"]["signal"] == signal.SIGTERM


def test_a_supervisor_that_gets_term_ends_its_run_in_order(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    os.kill(door.until_event(run_id, "run.started")["supervisor_pid"], signal.SIGTERM)
    door.finish(run_id)
    state = door.state(run_id)
    assert end(state) == ("stopped", "user_requested")
    assert state["stopping"]["by"] == "signal"


def test_a_worker_that_lingers_after_its_result_with_closed_input_still_succeeded(tmp_path: Path) -> None:
    state = Door(tmp_path).play({"result": "done"}, stay=True)
    assert end(state) == ("succeeded", "completed")


# ---------------------------------------------------------------- before anything started


def test_a_cli_that_is_not_installed_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door = Door(tmp_path, cwd=door.cwd, env={**door.env, "PATH": str(tmp_path)})
    with pytest.raises(Unavailable) as caught:
        door.call("cc_run_streaming", task="x", adapter="claude")
    assert "claude" in caught.value.message
    assert caught.value.hint
    assert not (door.cwd / ".agent-workspace").exists()


def test_a_worker_gets_the_environment_of_its_caller_and_only_what_its_adapter_allows(tmp_path: Path) -> None:
    door = Door(tmp_path)
    env = {**door.env, "FAKE_WORKER_SWITCH": "on", "OPENAI_API_KEY": "not-for-this-worker", "CLAUDECODE": "1"}
    door = Door(tmp_path, cwd=door.cwd, env=env)
    names = ["FAKE_WORKER_SWITCH", "OPENAI_API_KEY", "CLAUDECODE", "CC_RUN_ID", "HOME"]
    state = door.play({"env": {"names": names}}, {"result": "x"})
    assert door.data(state["run_id"], "run.message")[0]["text"] == (
        "env: FAKE_WORKER_SWITCH=present OPENAI_API_KEY=absent CLAUDECODE=absent CC_RUN_ID=present HOME=present"
    )


@pytest.mark.process
def test_a_tool_that_takes_longer_than_the_allowed_silence_is_no_silence(tmp_path: Path) -> None:
    tool = {"id": "t1", "tool": "Bash", "kind": "command", "target": "make", "paths": [], "command": "make"}
    begin = {"raw": json.dumps({"event": "tool_start", **tool}) + "\n"}
    finish = {"raw": json.dumps({"event": "tool_end", "id": "t1", "ok": True}) + "\n"}
    door = Door(tmp_path)
    assert end(door.play(begin, {"sleep": 1.5}, finish, {"result": "x"}, silence_seconds=0.4)) == (
        "succeeded",
        "completed",
    )
    assert end(door.play(begin, finish, {"hang": {}}, silence_seconds=0.4)) == ("timed_out", "silence")
