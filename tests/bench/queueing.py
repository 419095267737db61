"""Figures of the queue: what the engine itself costs a job, and how it keeps up with workers that really run.

    python tests/bench/queueing.py [JOBS]        default 5,000 instant jobs, then real ones beside bare runs

An instant job's run is a folder whose journal already holds its end: what is measured is the queue, its journal and the durable
execution, not supervisors. Limits are checked on the way: never more at once than allowed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from bench.door import memory_mb
from bench.table import Row, calibrate, counted, render
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.engine import Engine
from cc_orchestrator.tasks.queue import append_events, read_queue
from cc_orchestrator.tasks.watching import request_id
from kit.queueing import QueueDoor

AT_ONCE = 8
_CLOCK = SystemClock()
_SCRIPT: dict[str, Any] = {"steps": [{"result": {"text": "ok"}}]}


def _fill(workspace: Workspace, jobs: int) -> None:
    for folder in (workspace.queue, workspace.engine(), workspace.runs, os.path.dirname(workspace.claim("x"))):
        os.makedirs(folder, exist_ok=True)
    facts = {"queue": "default", "max_retries": 1, "profile": "fake", "allow_write": False, "title": "an instant job"}
    events = [Fact(ev.TASK_SUBMITTED, {"task_id": new_id("task"), "priority": n % 7, **facts}) for n in range(jobs)]
    append_events(workspace, events, _CLOCK)


def _instant(workspace: Workspace, task_id: str, start: int) -> str:
    run_id = new_id("run")
    os.mkdir(workspace.run(run_id))
    journal = Journal(os.path.join(workspace.run(run_id), "events.ndjson"), run_id, _CLOCK)
    journal.append([Fact(ev.RUN_FINISHED, {"status": "succeeded", "reason": "completed"})])
    journal.close()
    atomic.write_json(workspace.claim(request_id(task_id, start)), {"run_id": run_id, "digest": ""}, durable=False)
    return run_id


def instant(folder: Path, jobs: int) -> list[Row]:
    """Jobs a second, memory from the 100th to the last, the most at once."""
    door = QueueDoor(folder)
    door.policy(max_concurrent=AT_ONCE)
    workspace = door.workspace
    _fill(workspace, jobs)
    held = lock.take(workspace.engine("lock"))
    assert held is not None
    memories: list[float] = []
    done = 0

    def begin(task_id: str, start: int) -> str:
        nonlocal done
        done += 1
        if done == 100 or (done > 100 and done % 250 == 0):
            memories.append(memory_mb(os.getpid()))
        return _instant(workspace, task_id, start)

    async def serve() -> None:
        await Engine(workspace, begin, dict(os.environ), _CLOCK, held).serve()

    cpu = time.process_time()
    asyncio.run(serve())
    cpu = (time.process_time() - cpu) * 1000 / jobs
    board = read_queue(workspace)
    moments = sorted(
        [(job.started_at or 0.0, 1) for job in board.jobs.values()]
        + [(job.ended_at or 0.0, -1) for job in board.jobs.values()]
    )
    most = now = 0
    for _ts, step in moments:
        now += step
        most = max(most, now)
    rate = jobs / (moments[-1][0] - moments[0][0])
    growth = (memories[-1] / memories[0] - 1) * 100 if memories else 0.0
    begun = time.perf_counter()
    read_queue(workspace)
    reading = (time.perf_counter() - begun) * 1000
    return [
        counted(f"queue: {jobs:,} instant jobs, {AT_ONCE} at once", ">= 20 a second", "-", f"{rate:.1f} a second", rate >= 20),
        counted("queue: engine's processor time a job", "< 50 ms", "-", f"{cpu:.1f} ms", cpu < 50),
        counted("queue: memory, 100th to last", "<= +20 %", "-", f"{growth:+.1f} % ({memories[-1]:.0f} MB with the bench)", growth <= 20),
        counted("queue: most at once", f"<= {AT_ONCE}", "-", str(most), most <= AT_ONCE and board.counts["done"] == jobs),
        counted("queue: a door reads the whole journal", "-", "-", f"{reading:.0f} ms", None),
    ]  # fmt: skip


def real(folder: Path, jobs: int) -> list[Row]:
    """Supervised workers through the queue, and as many started by hand by as many threads."""
    door = QueueDoor(folder)
    door.policy(max_concurrent=AT_ONCE)
    submits: list[float] = []
    # They wait for their time, so that submitting and serving do not compete.
    when = _CLOCK.now() + 4.0 + jobs * 0.06
    for number in range(jobs):
        begun = time.perf_counter()
        door.call("cc_queue_submit", task=f"job {number}", adapter="fake", script=_SCRIPT, not_before=when)
        submits.append((time.perf_counter() - begun) * 1000)
    ids = list(door.board.jobs)
    while door.board.live:
        door.call("cc_wait", ids=ids[:200], until="all", timeout_seconds=20)
    rows = door.board.jobs.values()
    rate = jobs / (max(job.ended_at or 0 for job in rows) - min(job.started_at or 0 for job in rows))
    bare = max(AT_ONCE, jobs // 3)
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _n: door.wait(door.start_fake(script=_SCRIPT)), range(bare)))
    bare_rate = bare / (time.perf_counter() - begun)
    return [
        counted("queue: a submission", "-", "71 ms (tick)", f"{statistics.median(submits):.1f} ms", None),
        counted(f"queue: {jobs} supervised workers", "-", "-", f"{rate:.1f} a second; started by hand: {bare_rate:.1f}", None),
    ]  # fmt: skip


def queue(folder: Path, quick: bool) -> list[Row]:
    """Both."""
    return [*instant(folder / "instant", 500 if quick else 5_000), *real(folder / "real", 20 if quick else 60)]


def main(argv: list[str]) -> int:
    """Measure and print."""
    jobs = int(argv[0]) if argv else 5_000
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as base:
        os.environ.update(HOME=base, XDG_STATE_HOME=base, XDG_RUNTIME_DIR=base)
        rows = [*instant(Path(base, "instant"), jobs), *real(Path(base, "real"), 60)]
    print(f"calibration loop {calibrate():.1f} ms; load {os.getloadavg()[0]:.1f}\n")
    print(render(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
