"""Fifty workers at fifty events a second each for a minute: is an event lost, and does the door still answer?"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench import history
from bench.door import Door
from bench.live import NO_BUDGETS
from bench.place import environment
from bench.table import Row, counted, timed
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.store.journal import read_page
from cc_orchestrator.store.rundir import RunDir

WORKERS, RATE, SECONDS = 50, 50, 60


def fifty_workers(folder: Path, quick: bool) -> list[Row]:
    """Start all, poll one after the other while they talk, wait for all, count."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    seconds = 10 if quick else SECONDS
    lines = RATE * seconds
    script = {"steps": [{"flood": {"lines": lines, "size": 120, "rate": RATE}}, {"result": {"text": "done"}}]}
    samples: list[float] = []
    with Door(workspace.root, env) as door:
        door.greet()
        begun = time.monotonic()
        ids = [
            door.call("cc_run_streaming", task="Talk.", adapter="fake", script=script, **NO_BUDGETS)["run_id"]
            for _ in range(WORKERS)
        ]
        started = time.monotonic() - begun
        until = time.monotonic() + seconds - started
        while time.monotonic() < until:
            for run_id in ids:
                at = time.perf_counter()
                door.call("cc_poll", run_id=run_id)
                samples.append((time.perf_counter() - at) * 1000)
                time.sleep(0.05)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and door.call("cc_wait", ids=ids, until="all", timeout_seconds=60)["pending"]:
            pass
    runs = [RunDir(workspace.run(run_id)) for run_id in ids]
    told = [
        sum(event["type"] == ev.RUN_MESSAGE for event in read_page(run.journal, max_bytes=1 << 28).events)
        for run in runs
    ]
    live = sum(read_run(run).state["status"] in LIVE for run in runs)
    lost = WORKERS * lines - sum(told)
    name = f"{WORKERS} workers x {RATE} events/s x {seconds} s"
    note = f"all started in {started:.1f} s; p99 {statistics.quantiles(samples, n=100)[98]:.1f} ms"
    return [
        counted(
            f"{name}: events lost",
            "0",
            "-",
            f"{lost} of {WORKERS * lines:,}; {live} not ended",
            lost == 0 and live == 0,
        ),
        timed(f"{name}: cc_poll meanwhile", 100, "-", samples, note=note),
    ]
