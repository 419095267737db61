"""How long a wait sleeps when nobody says: as long as the client is known to bear, and never longer than it once bore."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from mcp_types import Implementation

from cc_orchestrator.operations.context import Cancellation
from cc_orchestrator.operations.patience import BORNE, FIRST_SECONDS, LEAST_SECONDS, Patience
from cc_orchestrator.operations.registry import find, invoke
from kit.door import Door
from kit.memory import memory_client


def test_a_client_that_nobody_knows_is_never_made_to_wait_longer_than_the_first_time() -> None:
    patience = Patience()
    for _ in range(5):
        assert patience.seconds("somebody") == FIRST_SECONDS
        patience.came_back_empty("somebody", FIRST_SECONDS)


def test_a_client_that_bears_more_waits_longer_each_time_that_nothing_came() -> None:
    patience = Patience()
    slept: list[float] = []
    for _ in range(4):
        slept.append(patience.seconds("claude-code"))
        patience.came_back_empty("claude-code", slept[-1])
    assert slept == [45, 90, 180, BORNE["claude-code"]]
    assert patience.seconds("codex-mcp-client") == 45


def test_a_client_that_gave_up_is_not_made_to_wait_that_long_again() -> None:
    patience = Patience()
    patience.gave_up("somebody", 30.0)
    assert patience.seconds("somebody") == 24
    patience.came_back_empty("somebody", 24.0)
    assert patience.seconds("somebody") == 24
    patience.gave_up("somebody", 22.0)
    assert patience.seconds("somebody") == LEAST_SECONDS


def test_a_call_that_was_given_up_soon_teaches_nothing() -> None:
    patience = Patience()
    patience.gave_up("claude-code", 3.0)
    assert patience.seconds("claude-code") == FIRST_SECONDS


@pytest.mark.process
def test_a_wait_without_a_timeout_sleeps_as_long_as_the_door_has_learned(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    patience = Patience(first=0.1, borne={"patient": 10.0})
    door.context = replace(door.context, client="patient", patience=patience)
    assert door.call("cc_wait", ids=[run_id])["pending"]
    assert 0.2 <= patience.seconds("patient") < 10
    before = patience.seconds("patient")
    door.call("cc_wait", ids=[run_id], timeout_seconds=0)
    assert patience.seconds("patient") == before, "a time that the caller chose teaches nothing"
    door.call("cc_stop", run_id=run_id, force=True)


@pytest.mark.process
def test_a_cancelled_wait_teaches_what_the_client_bears(tmp_path: Path) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    gone = Cancellation()
    taught: list[float] = []

    class Listening(Patience):
        def gave_up(self, client: str, slept: float) -> None:
            taught.append(slept)

    context = replace(door.context, cancelled=gone, patience=Listening())
    waiting = threading.Thread(target=invoke, args=(find("cc_wait"), context, {"ids": [run_id]}))
    waiting.start()
    gone.set()
    waiting.join(20)
    assert len(taught) == 1
    door.call("cc_stop", run_id=run_id, force=True)


@pytest.mark.process
@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_door_knows_its_client_by_name_in_both_eras(tmp_path: Path, mode: str) -> None:
    asked: list[str] = []

    class Listening(Patience):
        def seconds(self, client: str) -> float:
            asked.append(client)
            return 0.0

    door = Door(tmp_path)
    run_id = door.start_fake({"hang": {}})
    door.context = replace(door.context, patience=Listening())
    async with memory_client(door, mode=mode, client_info=Implementation(name="claude-code", version="2")) as client:
        await client.call_tool("cc_wait", {"ids": [run_id]})
    assert asked == ["claude-code"]
    door.call("cc_stop", run_id=run_id, force=True)
