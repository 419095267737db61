"""kill -9 of the engine at any moment: the same end, each worker started once (it counts itself), nobody left behind."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos import truth
from kit.queueing import QueueDoor
from kit.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.process, pytest.mark.timeout(180)]

KILLS = 4


def listed(path: str, prefix: str) -> int:
    try:
        return sum(name.startswith(prefix) for name in os.listdir(path))
    except OSError:
        return 0


def told(door: QueueDoor, kind: str) -> int:
    try:
        return Path(door.workspace.queue_journal).read_bytes().count(f'"{kind}"'.encode())
    except OSError:
        return 0


#: What is seen from outside: how often it is to be seen is drawn by lot.
MOMENTS: dict[str, Callable[[QueueDoor], int]] = {
    "alive": lambda door: int(door.engine_pid() is not None),
    "database": lambda door: int(os.path.exists(door.workspace.engine("state.sqlite-wal"))),
    "decided": lambda door: told(door, "task.started"),
    "claimed": lambda door: listed(door.workspace.at("runs", ".requests"), ""),
    "unborn": lambda door: listed(door.workspace.runs, ".new-"),
    "visible": lambda door: listed(door.workspace.runs, "run_"),
    "counted": lambda door: len(list(door.marks.iterdir())),
    "ended": lambda door: told(door, "task.ended"),
}


def kill_somewhere(door: QueueDoor, lot: random.Random) -> str:
    """One kill: a moment, once more than it is seen now, and a little chance after it."""
    name = lot.choice(list(MOMENTS))
    seen = MOMENTS[name](door)
    deadline = time.monotonic() + 4.0
    while time.monotonic() < deadline and MOMENTS[name](door) <= seen and door.board.live:
        time.sleep(0.0005)
    time.sleep(lot.uniform(0, 0.05))
    return f"{name}>{seen}: {'killed' if door.kill_engine() else 'nobody'}"


@pytest.mark.parametrize("seed", range(8))
def test_an_engine_killed_at_random_moments_starts_each_worker_once_and_comes_to_the_same_end(
    seed: int, tmp_path: Path
) -> None:
    lot = random.Random(seed)
    door = QueueDoor(tmp_path)
    door.policy(max_concurrent=2)
    first = door.submit("first", {"sleep": {"seconds": 0.1}})
    middle = [door.submit(f"middle{n}", {"sleep": {"seconds": 0.1}}, depends_on=[first]) for n in range(3)]
    writer = door.submit("writer", {"write": {"path": "made.txt", "text": "x"}}, allow_write=True)
    last = door.submit("last", depends_on=middle)
    story: list[str] = []
    for _ in range(KILLS):
        story.append(kill_somewhere(door, lot))
        door.call("cc_queue_status")
    jobs = [first, *middle, writer, last]
    assert door.ended(*jobs, seconds=60) == ["done"] * len(jobs), story
    names = ["first", "middle0", "middle1", "middle2", "writer", "last"]
    assert {name: door.starts(name) for name in names} == dict.fromkeys(names, 1), story
    until(lambda: not door.has_engine() and door.engine_pid() is None, 20.0, what="the end of the engine")
    assert truth.marked(door.workspace) == []
    door.call("cc_status")
    assert listed(door.workspace.runs, ".new-") == 0
    assert listed(door.workspace.at("runs", ".open"), "run_") == 0, story
