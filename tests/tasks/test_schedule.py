"""What the queue starts next: caps held exactly, order kept, nothing forgotten. Pure."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.core import events as ev
from cc_orchestrator.tasks.board import Board, load_board
from cc_orchestrator.tasks.schedule import Account, Cap, QueuePolicy, after_end, overlaps, schedule

Event = dict[str, Any]


def submitted(task_id: str, ts: float = 0.0, **facts: Any) -> Event:
    return {
        "ts": ts,
        "type": ev.TASK_SUBMITTED,
        "data": {"task_id": task_id, "profile": "claude", "max_retries": 1, **facts},
    }


def started(task_id: str, ts: float, start: int = 1) -> Event:
    return {"ts": ts, "type": ev.TASK_STARTED, "data": {"task_id": task_id, "start": start}}


def ended(task_id: str, ts: float, state: str = "done", start: int = 1, **more: Any) -> Event:
    return {"ts": ts, "type": ev.TASK_ENDED, "data": {"task_id": task_id, "start": start, "state": state, **more}}


def board(*events: Event) -> Board:
    made = Board()
    made.apply(events)
    return made


def test_priority_goes_before_age_and_age_before_nothing() -> None:
    jobs = board(submitted("a", 1), submitted("b", 2, priority=200), submitted("c", 0))
    assert schedule(jobs, QueuePolicy(max_concurrent=2), 10).starts == ("b", "c")


def test_a_full_queue_lets_jobs_of_others_pass() -> None:
    policy = QueuePolicy(max_concurrent=5, queues={"gpu": Cap(max_concurrent=1)})
    jobs = board(submitted("a", 1, queue="gpu"), submitted("b", 2, queue="gpu"), submitted("c", 3))
    plan = schedule(jobs, policy, 10)
    assert plan.starts == ("a", "c")
    assert plan.held == {"b": "queue gpu is full"}


def test_profiles_of_one_account_share_its_limit() -> None:
    policy = QueuePolicy(
        max_concurrent=9, accounts={"max": Account(frozenset({"claude/work", "codex"}), Cap(max_concurrent=2))}
    )
    jobs = board(
        *(submitted(f"w{n}", n, profile="claude/work") for n in range(2)),
        submitted("x", 3, profile="codex"),
        submitted("o", 4),
    )
    assert schedule(jobs, policy, 10).starts == ("w0", "w1", "o")


def test_a_rate_counts_starts_in_any_stretch_of_time_and_says_when_to_look_again() -> None:
    policy = QueuePolicy(max_concurrent=9, profiles={"claude": Cap(starts=2, seconds=60)})
    jobs = board(
        submitted("a"),
        submitted("b"),
        submitted("c"),
        started("a", 100),
        ended("a", 101),
        started("b", 130),
        ended("b", 131),
    )
    plan = schedule(jobs, policy, 140)
    assert plan.starts == ()
    assert plan.wake_at == 160
    assert schedule(jobs, policy, 160.001).starts == ("c",)


def test_a_job_whose_dependency_did_not_succeed_is_dropped_with_the_reason() -> None:
    jobs = board(submitted("a"), submitted("b", depends_on=["a"]), started("a", 1), ended("a", 2, "failed"))
    ((name, why),) = schedule(jobs, QueuePolicy(), 3).drops
    assert name == "b"
    assert "a" in why
    assert "failed" in why


def test_a_named_resource_is_one_jobs_alone() -> None:
    jobs = board(
        submitted("a", 1, resources=["db", "gpu"]),
        submitted("b", 2, resources=["gpu"]),
        submitted("c", 3, resources=["port"]),
    )
    plan = schedule(jobs, QueuePolicy(), 10)
    assert plan.starts == ("a", "c")
    assert plan.held == {"b": "resource gpu, which a has"}
    jobs.apply([started("a", 10), ended("a", 11)])
    assert schedule(jobs, QueuePolicy(), 12).starts == ("b", "c")


def test_writers_that_declared_the_same_places_go_one_after_the_other() -> None:
    jobs = board(
        submitted("a", 1, writes=["src/api/**"]),
        submitted("b", 2, writes=["src/**"]),
        submitted("c", 3, writes=["docs/*.md"]),
    )
    plan = schedule(jobs, QueuePolicy(), 10)
    assert plan.starts == ("a", "c")
    assert plan.held == {"b": "a, which writes the same places"}
    assert schedule(jobs, QueuePolicy(write_overlap="allow"), 10).starts == ("a", "b", "c")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("src/a.py", "src/a.py", True), ("src", "src/deep/a.py", True), ("src/", "src/*.py", True), ("**/*.py", "docs/x.md", True),
        ("src/a*.py", "src/abc/**", True), ("./src/**", "/src/a.py", True), ("src/a/**", "src/b/**", False), ("src", "srcs/a.py", False),
        ("src/a.py", "src/a.pyc", False), ("tests/**", "src/**", False),
    ],
)  # fmt: skip
def test_globs_overlap_when_one_file_may_be_meant_by_both(one: str, other: str, same: bool) -> None:
    assert overlaps([one], [other]) is same
    assert overlaps([other], [one]) is same


def test_a_late_word_about_an_earlier_start_changes_nothing() -> None:
    jobs = board(
        submitted("a"), started("a", 1), ended("a", 2, "failed", again=True), started("a", 3, 2), ended("a", 4, "done", start=1)
    )  # fmt: skip
    assert jobs.jobs["a"].state == "running"
    assert jobs.running == {"a": None}


END = {
    "status": "failed",
    "reason": "crashed",
    "failure": {"class": "agent_error", "mends": "controller"},
    "run_id": "r",
}


def test_a_failure_is_tried_again_later_and_only_as_often_as_was_asked_for() -> None:
    job = board(submitted("a"), started("a", 1)).jobs["a"]
    told = after_end(job, END, 50.0)
    assert told["again"] is True
    assert told["not_before"] > 50.0
    assert "again" not in after_end(job._replace(failures=1), END, 50.0)
    assert "again" not in after_end(job._replace(max_retries=0), END, 50.0)


def test_what_a_person_has_to_mend_is_not_tried_again_and_a_providers_time_is_kept() -> None:
    job = board(submitted("a"), started("a", 1)).jobs["a"]
    assert "again" not in after_end(job, {**END, "failure": {"class": "provider_auth", "mends": "person"}}, 50.0)
    limited = {**END, "failure": {"class": "provider_limit", "mends": "time", "not_before": 900.0}}
    assert after_end(job, limited, 50.0)["not_before"] == 900.0


def test_a_start_that_never_reached_a_worker_uses_up_no_try() -> None:
    job = board(submitted("a", max_retries=0), started("a", 1)).jobs["a"]
    told = after_end(job, {"status": "lost", "reason": "never_started"}, 5.0)
    assert told["free"] is True
    again = board(submitted("a", max_retries=0), started("a", 1), {"ts": 5, "type": ev.TASK_ENDED, "data": told})
    assert (again.jobs["a"].state, again.jobs["a"].failures) == ("queued", 0)


def test_one_who_was_to_be_cancelled_is_cancelled_unless_it_was_done() -> None:
    job = board(submitted("a"), started("a", 1), {"ts": 2, "type": ev.TASK_CANCEL, "data": {"task_id": "a"}}).jobs["a"]
    assert after_end(job, END, 3.0)["state"] == "cancelled"
    assert after_end(job, {"status": "succeeded"}, 3.0)["state"] == "done"


job_facts = st.fixed_dictionaries({
    "queue": st.sampled_from(["default", "gpu"]), "priority": st.integers(-3, 3), "profile": st.sampled_from(["claude", "claude/work", "codex"]),
    "not_before": st.sampled_from([None, 3.0, 20.0]), "deps": st.lists(st.integers(0, 20), max_size=2),
    "ends": st.sampled_from(["succeeded", "failed", "lost", "timed_out"]), "seconds": st.integers(1, 5),
})  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(job_facts, max_size=15), most=st.integers(1, 4), gpu=st.integers(1, 2), account=st.integers(1, 3),
    rate=st.integers(1, 3),
)  # fmt: skip
def test_any_queue_comes_to_its_end_within_all_its_limits(
    jobs: list[dict[str, Any]], most: int, gpu: int, account: int, rate: int
) -> None:
    policy = QueuePolicy(
        max_concurrent=most, queues={"gpu": Cap(max_concurrent=gpu)}, profiles={"codex": Cap(starts=rate, seconds=10)},
        accounts={"a": Account(frozenset({"claude"}), Cap(max_concurrent=account))},
    )  # fmt: skip
    made = Board()
    for number, facts in enumerate(jobs):
        deps = [f"t{dep}" for dep in facts["deps"] if dep < number]
        made.apply(
            [
                submitted(
                    f"t{number}",
                    0.0,
                    **{key: facts[key] for key in ("queue", "priority", "profile", "not_before")},
                    depends_on=deps,
                )
            ]
        )
    begun: list[tuple[float, str]] = []
    for now in range(2_000):
        if not made.live:
            break
        for task_id in list(made.running):
            job, facts = made.jobs[task_id], jobs[int(task_id[1:])]
            if now >= (job.started_at or 0) + facts["seconds"]:
                made.apply(
                    [
                        {
                            "ts": now,
                            "type": ev.TASK_ENDED,
                            "data": after_end(job, {"status": facts["ends"], "reason": "x"}, now),
                        }
                    ]
                )
        plan = schedule(made, policy, now)
        for name, why in plan.drops:
            made.apply([ended(name, now, "cancelled", made.jobs[name].starts, reason=why)])
        for name in plan.starts:
            job = made.jobs[name]
            assert job.not_before is None or job.not_before <= now
            assert all(made.jobs[dep].state == "done" for dep in job.depends_on)
            begun.append((now, job.profile))
            made.apply([started(name, now, job.starts + 1)])
        running = [made.jobs[name] for name in made.running]
        assert len(running) <= most
        assert sum(job.queue == "gpu" for job in running) <= gpu
        assert sum(job.profile.startswith("claude") for job in running) <= account
        assert sum(ts > now - 10 for ts, profile in begun if profile == "codex") <= rate
        if now % 5 == 0:
            # As a door sees it that begins with the saved fold.
            saved = load_board(json.loads(json.dumps(made.dump())))
            assert (saved.jobs, saved.waiting, saved.running, saved.starts, saved.counts) == (
                made.jobs, made.waiting, made.running, made.starts, made.counts
            )  # fmt: skip
        assert len(made.waiting) + len(made.running) == made.counts["queued"] + made.counts["running"]
    assert made.live == 0
    for job in made.jobs.values():
        assert job.starts <= 2
        if job.state == "cancelled":
            assert any(made.jobs[dep].state != "done" for dep in job.depends_on)
