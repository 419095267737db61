"""Figures that must not grow: starting, polling and listing against the number of old runs and events."""

from __future__ import annotations

import time
from pathlib import Path

from bench import history
from bench.door import Door, size
from bench.place import environment
from bench.table import Row, counted, ms, timed
from cc_orchestrator.store.paths import Workspace

_START_SEED = {10: "136 ms", 1_000: "8,034 ms"}
_POLL_SEED = {100: "174 ms", 100_000: "46,390 ms", 1_000_000: "-"}


def starts(folder: Path, quick: bool) -> list[Row]:
    """cc_run_streaming until its answer; and the lists, which need the same past."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 2_000 if quick else 10_000)
    rows: list[Row] = []
    made = 0
    for count in (10, 100) if quick else (10, 1_000):
        while made < count:
            history.add_run(workspace, 60)
            made += 1
        with Door(workspace.root, env) as door:
            door.greet()
            rows += [_start_row(door, count, write, 3 if quick else 9) for write in (False, True)]
            rows += _list_rows(door, workspace, count, quick)
    return rows


def _start_row(door: Door, count: int, write: bool, times: int) -> Row:
    samples: list[float] = []
    for number in range(times + 1):
        begun = time.perf_counter()
        answer = door.call("cc_run_streaming", task="Look.", adapter="fake", allow_write=write)
        taken = (time.perf_counter() - begun) * 1000
        door.call("cc_wait", ids=[answer["run_id"]], timeout_seconds=120)
        if number:
            samples.append(taken)
    kind = "write" if write else "read-only"
    return timed(f"cc_run_streaming ({kind}), {count:,} old runs", 250, _START_SEED.get(count, "-"), samples)


def _list_rows(door: Door, workspace: Workspace, count: int, quick: bool) -> list[Row]:
    times = 5 if quick else 21
    calls = (("active runs", "cc_read", {"name": "cc_run_status", "arguments": {}}, 20, "6,968 ms, 280 B"),
             ("status with cost", "cc_status", {}, 50, "53,279 ms, 2.9 MB"))  # fmt: skip
    rows: list[Row] = []
    for name, tool, arguments, goal, seed in calls:
        answer = door.call(tool, **arguments)
        samples = [ms(lambda: door.call(tool, **arguments)) for _ in range(times)]  # noqa: B023
        figure = f"{name} ({tool}) at {count:,} runs"
        row = timed(
            figure,
            goal,
            seed if count == 1_000 else "-",
            samples,
            goal=f"< {goal} ms, <= 4 KB",
            note=f"{size(answer)} B",
        )
        rows.append(row._replace(ok=bool(row.ok) and size(answer) <= 4096))
    return rows


def polls(folder: Path, quick: bool) -> list[Row]:
    """cc_poll of a finished run against the length of its journal: without a cursor, and with the cursor of the last answer."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    rows: list[Row] = []
    largest = again = 0
    with Door(workspace.root, env) as door:
        door.greet()
        for events in (100, 10_000) if quick else (100, 100_000, 1_000_000):
            run_id = history.add_run(workspace, events).run_id
            answer = door.call("cc_poll", run_id=run_id)
            samples = [ms(lambda: door.call("cc_poll", run_id=run_id)) for _ in range(5 if quick else 31)]  # noqa: B023
            rows.append(timed(f"cc_poll, {events:,} events", 10, _POLL_SEED.get(events, "-"), samples))
            largest = max(largest, size(answer))
            again = max(again, size(door.call("cc_poll", run_id=run_id, cursor=answer["cursor"])))
    text = f"{largest} B; {again} B with the last cursor"
    return [*rows, counted("cc_poll: its reply", "<= 1.5 KB", "33 KB, twice", text, largest <= 1536 and again <= 1536)]
