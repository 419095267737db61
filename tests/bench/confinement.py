"""What a sandbox adds to the start of a worker: from the launch to the worker's first word, with and without it."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench import history
from bench.door import Door
from bench.place import environment
from bench.table import Row, timed
from cc_orchestrator.core import events as ev
from cc_orchestrator.store.journal import read_page
from cc_orchestrator.store.rundir import RunDir

_LEVELS = ("worktree", "fs", "fs+net")


def confinement(folder: Path, quick: bool) -> list[Row]:
    """Write runs of the bundled worker, the levels by turns; the differences within a turn count."""
    workspace = history.make_workspace(folder / "repo", 50)
    turns: list[dict[str, float]] = []
    with Door(workspace.root, environment(folder)) as door:
        door.greet()
        for _ in range(3 if quick else 12):
            turn: dict[str, float] = {}
            for level in _LEVELS:
                answer = door.call(
                    "cc_run_streaming", task="Say it.", adapter="fake", script={"steps": [{"result": "done"}]}, allow_write=True,
                    sandbox=level,
                )  # fmt: skip
                door.call("cc_wait", ids=[answer["run_id"]], timeout_seconds=60)
                found = read_page(RunDir(workspace.run(answer["run_id"])).journal, max_bytes=1 << 24).events
                times = {event["type"]: event["ts"] for event in found}
                turn[level] = (times[ev.RUN_SESSION] - times[ev.RUN_CREATED]) * 1000
            turns.append(turn)
    base = statistics.median(turn["worktree"] for turn in turns)
    return [
        timed(
            f"sandbox {level}: added start time", 50, "-", [turn[level] - turn["worktree"] for turn in turns[1:]],
            note=f"without: {base:.0f} ms",
        )
        for level in _LEVELS[1:]
    ]  # fmt: skip
