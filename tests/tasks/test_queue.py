"""The queue through the door: what is submitted runs when its turn comes, once, whatever dies meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Conflict, InvalidRequest, NotFound
from kit.queueing import QueueDoor
from kit.waiting import until

pytestmark = pytest.mark.process


def crash() -> dict[str, object]:
    return {"exit": {"code": 3}}


def test_a_submitted_task_runs_by_itself_and_the_engine_ends_when_nothing_is_left(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    answer = door.call(
        "cc_queue_submit", task="look", adapter="fake", script=door.script("a", {"say": {"text": "hello"}})
    )
    assert answer["status"] == "queued"
    assert answer["priority"] == 100
    assert answer["max_retries"] == 1
    assert answer["timeout_seconds"] == 900
    assert len(json.dumps(answer)) < 1_536
    woken = door.call("cc_wait", ids=[answer["job_id"]], timeout_seconds=20)
    (row,) = woken["woke"]
    assert (row["status"], row["woke_by"]) == ("done", "finished")
    assert door.state(row["run_id"])["status"] == "succeeded"
    assert door.spec(row["run_id"]).task_id == answer["job_id"]
    assert door.starts("a") == 1
    until(lambda: not door.has_engine(), 15.0, what="the end of the idle engine")
    status = door.call("cc_queue_status")
    assert status["engine"] == "idle"
    assert status["state_counts"] == {"done": 1}


def test_no_more_run_at_once_than_the_policy_says_and_the_highest_priority_goes_first(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    door.policy(max_concurrent=1)
    opened = tmp_path / "open"
    first = door.submit("first", {"barrier": {"path": str(opened)}})
    door.until_running(first)
    low = door.submit("low", priority=-5)
    high = door.submit("high", priority=900)
    assert [row["job_id"] for row in door.call("cc_queue_status")["jobs"]] == [first, high, low]
    assert door.starts("high") == door.starts("low") == 0
    assert door.call("cc_status")["queue"] == {"running": 1, "queued": 2}
    opened.touch()
    assert door.ended(first, high, low) == ["done"] * 3
    started = [event.ts for event in door.board.starts]
    jobs = door.board.jobs
    assert started == sorted(started)
    assert jobs[high].started_at is not None
    assert jobs[first].ended_at is not None
    assert jobs[high].started_at >= jobs[first].ended_at
    assert (jobs[low].started_at or 0) >= (jobs[high].ended_at or 0)


def test_a_reader_that_fails_is_tried_once_more_and_never_when_no_retries_were_asked_for(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    again = door.submit("again", crash())
    never = door.submit("never", crash(), max_retries=0)
    assert door.ended(again, never) == ["failed", "failed"]
    assert (door.starts("again"), door.starts("never")) == (2, 1)


def test_a_writer_is_never_tried_again_by_itself(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    with pytest.raises(InvalidRequest, match="not tried again"):
        door.submit("writer", crash(), allow_write=True, max_retries=1)
    job = door.submit("writer", crash(), allow_write=True)
    assert door.ended(job) == ["failed"]
    assert door.starts("writer") == 1


def test_a_job_that_takes_too_long_is_stopped_and_not_tried_again(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    job = door.submit("slow", {"hang": {"deaf": True}}, timeout_seconds=1)
    assert door.ended(job) == ["timed_out"]
    assert door.starts("slow") == 1


def test_a_job_waits_for_those_it_depends_on_and_is_called_off_when_one_fails(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    opened = tmp_path / "open"
    good = door.submit("good", {"barrier": {"path": str(opened)}})
    bad = door.submit("bad", crash(), max_retries=0)
    after_good = door.submit("after_good", depends_on=[good])
    after_bad = door.submit("after_bad", depends_on=[bad, good])
    assert door.ended(bad, after_bad) == ["failed", "cancelled"]
    row = next(row for row in door.call("cc_queue_status")["jobs"] if row["job_id"] == after_good)
    assert row["waits_for"] == f"depends on {good}"
    opened.touch()
    assert door.ended(good, after_good) == ["done", "done"]
    assert door.starts("after_bad") == 0
    assert bad in str(door.board.jobs[after_bad].reason)
    with pytest.raises(NotFound, match="no job"):
        door.submit("x", depends_on=["task_00000000000000000000"])


def test_a_job_does_not_start_before_its_time(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    when = door.context.clock.now() + 4.0
    job = door.submit("later", not_before=when)
    assert door.ended(job) == ["done"]
    assert (door.board.jobs[job].started_at or 0) >= when


def test_cancelling_takes_a_job_out_of_the_queue_or_stops_its_run(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    door.policy(max_concurrent=1)
    running = door.submit("running", {"hang": {}})
    run_id = door.until_running(running)
    waiting = door.submit("waiting")
    assert door.call("cc_queue_cancel", job_id=waiting)["cancelled"] is True
    assert door.call("cc_queue_cancel", job_id=running)["cancelled"] is True
    assert door.state(run_id)["status"] == "stopped"
    assert door.starts("waiting") == 0
    told = door.call("cc_queue_cancel", job_id=running)
    assert told["note"] == "it had already ended"


def test_the_same_request_is_one_job_and_another_one_under_its_name_a_conflict(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    job = door.submit("once", client_request_id="r1")
    assert door.submit("once", client_request_id="r1") == job
    with pytest.raises(Conflict, match=job):
        door.submit("once", client_request_id="r1", priority=7)
    assert door.ended(job) == ["done"]
    assert door.starts("once") == 1


def test_submissions_from_many_doors_at_once_are_all_kept_and_one_engine_serves_them(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    far = door.context.clock.now() + 3_600
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: door.submit(f"n{n}", not_before=far), range(40)))
    assert set(door.board.jobs) == set(ids)
    assert len(door.board.waiting) == 40
    for name in ids:
        door.call("cc_queue_cancel", job_id=name)
    assert door.board.counts["cancelled"] == 40


def test_a_task_that_holds_a_secret_is_not_put_on_disk(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    key = "sk-ant-api03-" + "Zx9" * 30
    with pytest.raises(InvalidRequest, match="secret") as caught:
        door.call("cc_queue_submit", task=f"use {key}", adapter="fake")
    assert key not in str(caught.value)
    files = [path for path in (door.cwd / ".agent-workspace").rglob("*") if path.is_file()]
    assert all(key.encode() not in path.read_bytes() for path in files)


def test_what_cannot_start_is_refused_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    for wrong in ({"role": "chef"}, {"adapter": "none"}, {"not_before": "soon"}, {"queue": "a b"}, {"priority": 5000}):
        with pytest.raises(InvalidRequest):
            door.call("cc_queue_submit", **{"task": "x", "adapter": "fake", **wrong})
    assert door.call("cc_queue_status")["count"] == 0
    assert not (door.cwd / ".agent-workspace" / "queue" / "pending").exists()


def test_a_tick_says_what_was_started(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    assert door.call("cc_queue_tick")["started"] == []
    job = door.submit("a", {"hang": {}}, not_before=door.context.clock.now() + 1.0)
    # The engine waits for the job's time; so does the one who asks for a tick after it.
    door.until_running(job)
    tick = door.call("cc_queue_tick")
    assert tick["slots_used"] == 1
    assert tick["max_concurrent"] == 3
    assert door.call("cc_queue_cancel", job_id=job)["cancelled"] is True
    with pytest.raises(InvalidRequest, match="cc_queue_policy"):
        door.call("cc_queue_tick", max_concurrent=2)


def test_the_policy_is_shown_before_it_is_written_and_wrong_ones_are_not(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    shown = door.call("cc_queue_policy", config={"max_concurrent": 9})
    assert shown["applied"] is False
    assert shown["policy"]["max_concurrent"] == 9
    assert door.call("cc_queue_policy")["policy"]["max_concurrent"] == 3
    door.policy(
        queues={"gpu": {"max_concurrent": 1}}, accounts={"max": {"profiles": ["claude"], "starts": 5, "seconds": 3600}}
    )
    assert door.call("cc_queue_policy")["policy"]["queues"]["gpu"]["max_concurrent"] == 1
    for wrong in ({"max_concurrent": 0}, {"max_parallel": 2}, {"queues": {"x": {"most": 1}}}):
        with pytest.raises(InvalidRequest, match="no queue policy"):
            door.policy(**wrong)


def test_a_job_whose_worker_asks_wakes_its_waiter(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    job = door.submit("asks", {"ask": {"text": "which one?", "kind": "choice", "options": ["a", "b"]}})
    (row,) = door.call("cc_wait", ids=[job], timeout_seconds=20)["woke"]
    assert row["woke_by"] == "question"
    assert door.call("cc_queue_cancel", job_id=job)["cancelled"] is True


# ---------------------------------------------------------------- deaths


def test_an_engine_killed_while_workers_run_goes_on_with_them_and_starts_none_twice(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    door.policy(max_concurrent=2)
    opened = tmp_path / "open"
    names = [f"n{n}" for n in range(4)]
    jobs = [door.submit(name, {"barrier": {"path": str(opened)}}) for name in names]
    for job in jobs[:2]:
        door.until_running(job)
    assert door.kill_engine()
    opened.touch()
    # Any call that looks at the workspace brings the engine back.
    assert door.call("cc_queue_status")["engine"] == "running"
    assert door.ended(*jobs) == ["done"] * 4
    assert [door.starts(name) for name in names] == [1] * 4


def test_one_who_waits_for_a_job_brings_a_dead_engine_back(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    opened = tmp_path / "open"
    job = door.submit("a", {"barrier": {"path": str(opened)}})
    door.until_running(job)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.ended, job)
        until(waiting.running, 5.0)
        assert door.kill_engine()
        opened.touch()
        assert waiting.result(30) == ["done"]
    assert door.starts("a") == 1


@pytest.mark.timeout(120)
def test_an_engine_killed_again_and_again_at_any_moment_starts_each_job_once(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    door.policy(max_concurrent=2)
    names = [f"n{n}" for n in range(8)]
    jobs = [door.submit(name, {"sleep": {"seconds": 0.2}}) for name in names]
    kills = 0
    for size in range(1, 9):
        # Once the journal has grown by so many ends, and at a moment of its own within that.
        def reached(size: int = size) -> bool:
            door.call("cc_queue_status")
            return (
                sum(door.board.counts[state] for state in ("done", "failed")) >= size - 1
                and door.engine_pid() is not None
            )

        if not door.board.live:
            break
        until(reached, 30.0, what=f"{size} jobs ended")
        kills += door.kill_engine()
    door.call("cc_queue_status")
    assert door.ended(*jobs, seconds=60) == ["done"] * 8
    assert [door.starts(name) for name in names] == [1] * 8
    assert kills >= 4


def test_a_queue_goes_on_in_the_foreground_where_a_person_starts_the_engine(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    far = door.context.clock.now() + 3_600
    later = door.submit("later", not_before=far)
    until(lambda: door.engine_pid(), 10.0, what="the engine")
    argv = [sys.executable, "-m", "cc_orchestrator", "engine", "--cwd", str(door.cwd)]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=30, env=door.env, check=False)
    assert second.returncode == 8
    assert "already" in second.stderr
    assert door.kill_engine()
    opened = tmp_path / "open"
    with subprocess.Popen(argv, env=door.env) as engine:
        until(door.has_engine, 15.0, what="the engine of the person")
        job = door.submit("now", {"barrier": {"path": str(opened)}})
        opened.touch()
        assert door.ended(job) == ["done"]
        assert door.call("cc_queue_cancel", job_id=later)["cancelled"] is True
        assert engine.wait(20) == 0
    assert door.starts("now") == 1


def test_a_broken_or_foreign_cache_of_the_queue_only_costs_time(tmp_path: Path) -> None:
    door = QueueDoor(tmp_path)
    job = door.submit("a")
    assert door.ended(job) == ["done"]
    until(lambda: not door.has_engine(), 15.0, what="the end of the idle engine")
    cache = Path(door.workspace.queue_fold)
    saved = json.loads(cache.read_text())
    before = door.call("cc_queue_status")["jobs"]
    assert before[0]["job_id"] == job
    offset = saved["offset"]
    foreign = [{**saved, "offset": 10**9}, {**saved, "offset": offset - 3}, {**saved, "fields": ["x"]}]
    for text in ("{", "[]", *map(json.dumps, foreign)):
        cache.write_text(text)
        assert [row["status"] for row in door.call("cc_queue_status")["jobs"]] == ["done"]
    other = door.submit("b")
    assert door.ended(other, job) == ["done", "done"]
