"""cc_wait: sleeps until something is worth knowing, woken by events and by nothing else."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.operations.context import Cancellation
from cc_orchestrator.operations.registry import find, invoke
from cc_orchestrator.runs import wait
from kit.door import Door
from kit.waiting import until, until_gone

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
Calls = dict[str, Any]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


@pytest.fixture
def by_events_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look of its own for a minute: what returns earlier was woken."""
    monkeypatch.setattr(wait, "SLICE_SECONDS", 55.0)


class Waiting:
    """A cc_wait in a thread."""

    def __init__(self, door: Door, **arguments: Any) -> None:
        self.gone = Cancellation()
        self.answer: Calls = {}
        self._context = replace(door.context, cancelled=self.gone)
        self._arguments = {"timeout_seconds": 50, **arguments}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.answer = invoke(find("cc_wait"), self._context, self._arguments)

    def result(self, seconds: float = 40.0) -> Calls:
        """The answer, once it is there."""
        self.thread.join(seconds)
        if self.thread.is_alive():
            self.gone.set()
            self.thread.join()
            raise AssertionError("the wait slept on")
        return self.answer


@pytest.fixture
def held(door: Door, tmp_path: Path) -> Iterator[Any]:
    """Starts runs that go on when their flag is raised; ends those that are left."""
    started: list[str] = []

    def hold(name: str, *then: Calls) -> tuple[str, Path]:
        flag = tmp_path / name
        run_id = door.start_fake({"barrier": {"path": str(flag)}}, *then)
        door.until_event(run_id, "run.started")
        started.append(run_id)
        return run_id, flag

    yield hold
    for run_id in started:
        door.call("cc_stop", run_id=run_id, force=True)
        door.finish(run_id)


@pytest.mark.usefixtures("by_events_only")
def test_the_first_of_several_runs_wakes_any(door: Door, held: Any) -> None:
    (first, flag), (second, _) = held("one"), held("two")
    waiting = Waiting(door, ids=[second, first])
    flag.touch()
    answer = waiting.result()
    assert [row["id"] for row in answer["woke"]] == [first]
    assert [row["id"] for row in answer["pending"]] == [second]
    assert answer["done"] is False
    assert answer["woke"][0]["status"] == "succeeded"


@pytest.mark.usefixtures("by_events_only")
def test_all_sleeps_until_the_last(door: Door, held: Any) -> None:
    (first, one), (second, two) = held("one"), held("two")
    waiting = Waiting(door, ids=[first, second], until="all")
    one.touch()
    door.finish(first)
    assert waiting.thread.is_alive()
    two.touch()
    answer = waiting.result()
    assert {row["id"] for row in answer["woke"]} == {first, second}
    assert answer["done"] is True


@pytest.mark.usefixtures("by_events_only")
def test_a_question_wakes_and_the_next_call_answers_it(door: Door, held: Any) -> None:
    run_id, flag = held("one", {"ask": {"kind": "clarification", "text": "which one?"}}, {"result": "done"})
    waiting = Waiting(door, ids=[run_id])
    flag.touch()
    answer = waiting.result()
    (row,) = answer["woke"]
    assert row["woke_by"] == "question"
    assert row["summary"]["question"]["text"] == "which one?"
    assert answer["next"].startswith("cc_answer")
    assert row["summary"]["question"]["question_id"] in answer["next"]


@pytest.mark.usefixtures("by_events_only")
def test_progress_wakes_only_those_who_want_it(door: Door, held: Any, tmp_path: Path) -> None:
    second = tmp_path / "second"
    run_id, flag = held("one", {"say": "news"}, {"barrier": {"path": str(second)}})
    curious, patient = Waiting(door, ids=[run_id], wake=["progress"]), Waiting(door, ids=[run_id])
    flag.touch()
    assert curious.result()["woke"][0]["woke_by"] == "progress"
    assert patient.thread.is_alive()
    second.touch()
    assert patient.result()["woke"][0]["woke_by"] == "finished"


@pytest.mark.usefixtures("by_events_only")
def test_a_run_that_asks_already_wakes_at_once(door: Door) -> None:
    run_id = door.start_fake({"ask": {"kind": "clarification", "text": "which?"}})
    door.until_event(run_id, "question.asked")
    assert Waiting(door, ids=[run_id]).result()["woke"][0]["woke_by"] == "question"
    door.call("cc_stop", run_id=run_id, force=True)
    door.finish(run_id)


@pytest.mark.usefixtures("by_events_only")
def test_a_killed_supervisor_wakes_with_lost_and_the_worker_is_gone(door: Door) -> None:
    run_id = door.start_fake({"hang": {}})
    started = door.until_event(run_id, "run.started")
    waiting = Waiting(door, ids=[run_id])
    os.kill(started["supervisor_pid"], signal.SIGKILL)
    (row,) = waiting.result()["woke"]
    assert (row["status"], row["reason"]) == ("lost", "supervisor_died")
    until_gone(started["pid"])


@pytest.mark.usefixtures("by_events_only")
def test_a_cancelled_wait_ends_at_once(door: Door, held: Any) -> None:
    run_id, _ = held("one")
    waiting = Waiting(door, ids=[run_id])
    waiting.gone.set()
    answer = waiting.result()
    assert answer["woke"] == []
    assert answer["pending"][0]["id"] == run_id


def test_a_wait_ends_at_its_timeout_and_names_the_next_wait(door: Door, held: Any) -> None:
    run_id, _ = held("one")
    answer = Waiting(door, ids=[run_id], timeout_seconds=0.2).result()
    assert answer["woke"] == []
    assert answer["pending"] == [{"id": run_id, "status": "running", "liveness": answer["pending"][0]["liveness"]}]
    assert answer["next"] == f'cc_wait {{"ids":["{run_id}"]}}'
    assert door.call("cc_wait", ids=[run_id], timeout_seconds=0)["pending"]


def test_an_ended_run_answers_without_sleeping(door: Door) -> None:
    run_id = door.start_fake({"result": "done"})
    door.finish(run_id)
    answer = door.call("cc_wait", ids=[run_id, run_id], until="all", timeout_seconds=0)
    assert len(answer["woke"]) == 1
    assert answer["next"].startswith("cc_verify")


@pytest.mark.parametrize(
    "arguments",
    [{"ids": []}, {"ids": ["run_x"]}, {"ids": ["task_01k3000000abcdefghjk"]}, {"ids": "run"}, {"ids": ["run_01k3000000abcdefghjk"]},
     {"ids": ["x"] * 500}, {"ids": ["run_01k3000000abcdefghjk"], "timeout_seconds": 301},
     {"ids": ["run_01k3000000abcdefghjk"], "wake": ["noise"]}],
)  # fmt: skip
def test_what_cannot_be_waited_for_is_refused(door: Door, arguments: Calls) -> None:
    with pytest.raises(CcError) as caught:
        door.call("cc_wait", **arguments)
    assert caught.value.code in ("invalid_request", "not_found")


def test_a_cancellation_that_came_first_wakes_a_later_listener() -> None:
    gone = Cancellation()
    gone.set()
    with gone.listening() as ear:
        assert until(lambda: ear.recv(1), 5.0, wake_fd=ear.fileno()) == b"\n"
    with gone.listening() as ear:
        assert ear.recv(1) == b"\n"
