"""The engine: serves the queue of one workspace until nothing is left, then ends. It holds the engine's lock for its life.

What to start is decided by the pure `schedule` from the journal alone; a start is recorded before it is made; each start is one
durable workflow (`durable`) whose steps attach or spawn. So a kill at any point loses nothing and starts nothing twice: the next
engine reads the journal, asks for the workflow of every start that has no end yet, and goes on.

DBOS's own queues are not used: they know one concurrency and one rate for each queue, while a job falls under its queue, its
profile and its account at once, and waits for others; and a queued workflow is picked up by polling.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line
from cc_orchestrator.runs.control import append_control, poke
from cc_orchestrator.runs.requests import claimed_run
from cc_orchestrator.runs.sweep import forget_unborn, sweep
from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, remove_unborn
from cc_orchestrator.tasks.attending import SLICE_SECONDS, Doorbell, await_end, wait_set
from cc_orchestrator.tasks.board import Job
from cc_orchestrator.tasks.durable import Durable
from cc_orchestrator.tasks.queue import LOCK_SECONDS, QueueReader, append_events, read_policy, rouse_engine
from cc_orchestrator.tasks.schedule import QueuePolicy, after_end, schedule
from cc_orchestrator.tasks.watching import request_id

#: An engine with nothing to do waits so long for more: starting one costs a second.
IDLE_SECONDS = 3.0
#: Ended starts are removed from the database in batches.
_BATCH = 64
#: So many events may lie after the saved fold before it is saved again.
_SAVED_EVERY = 600
#: Starts a job's run and returns its id; the same pair twice is the same run. Raises CcError, OSError.
Begin = Callable[[str, int], str]


class Engine:
    """One engine at work. `held` is the descriptor of the engine's lock."""

    def __init__(self, workspace: Workspace, begin: Begin, env: Mapping[str, str], clock: Clock, held: int) -> None:
        self._workspace = workspace
        self._begin = begin
        self._env = env
        self._clock = clock
        self._held = held
        self._queue = QueueReader(workspace)
        self._board = self._queue.board
        self._news = asyncio.Event()
        self._policy = QueuePolicy()
        self._told: set[tuple[str, int]] = set()
        self._ended: list[tuple[str, int]] = []
        self._unwritten: list[tuple[str, int, dict[str, Any], asyncio.Future[None]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._sweeping = asyncio.Lock()
        self._saved_seq = 0

    async def serve(self) -> None:
        """Until the queue has nothing left to do."""
        self._bell = Doorbell(self._workspace, self._news)
        self._durable = Durable(self._workspace.engine("state.sqlite"), self._carry)
        try:
            await asyncio.to_thread(self._clean_up)
            # The bell first, the journal after it: nothing can slip between.
            self._queue.read()
            for task_id in list(self._board.running):
                self._ensure(self._board.jobs[task_id])
            while await self._turn():
                pass
            await asyncio.gather(*self._under_way)
            if self._ended:
                await self._durable.forget(self._ended)
        finally:
            await self._durable.close()
            self._bell.close()
        self._retire()

    def _clean_up(self) -> None:
        """What an engine that was killed left: lost runs, and launches that died before anything was visible."""
        sweep(self._workspace, self._clock)
        try:
            remove_unborn(self._workspace.runs, forget_unborn)
        except (OSError, CcError):
            # The next one tries again.
            pass

    async def _turn(self) -> bool:
        """Everything that can be done now, then a sleep; false when it was idle long enough."""
        self._news.clear()
        self._queue.read()
        if self._unwritten:
            await self._write_ends()
        await self._cancel_running()
        now = self._clock.now()
        plan = schedule(self._board, self._read_policy(), now)
        if plan.starts or plan.drops:
            await self._start_and_drop(plan.starts, plan.drops)
            return True
        self._save()
        if len(self._ended) >= _BATCH:
            ended, self._ended = self._ended, []
            await self._durable.forget(ended)
        idle = not self._board.live
        await wait_set(self._news, self._pause(plan.wake_at, now, idle))
        return self._news.is_set() or not idle

    def _save(self, least: int = _SAVED_EVERY) -> None:
        if self._queue.seq - self._saved_seq < least:
            return
        try:
            self._queue.save(self._workspace)
            self._saved_seq = self._queue.seq
        except OSError:
            # A cache: without it doors read more.
            pass

    def _pause(self, wake_at: float | None, now: float, idle: bool) -> float | None:
        if idle:
            return IDLE_SECONDS
        # Bounded: a wall clock that is set must not make it miss a time.
        bounds = [60.0 if self._bell.works else SLICE_SECONDS]
        if wake_at is not None:
            bounds.append(max(wake_at - now, 0.01))
        return min(bounds)

    def _read_policy(self) -> QueuePolicy:
        try:
            self._policy = read_policy(self._workspace)
        except CcError:
            # A broken file must not stop the queue, nor lift its limits: what it said before holds.
            pass
        return self._policy

    async def _start_and_drop(self, starts: tuple[str, ...], drops: tuple[tuple[str, str], ...]) -> None:
        jobs = self._board.jobs
        facts = [
            Fact(ev.TASK_ENDED, {"task_id": task_id, "start": jobs[task_id].starts, "state": "cancelled", "reason": reason})
            for task_id, reason in drops
        ]  # fmt: skip
        facts += [Fact(ev.TASK_STARTED, {"task_id": task_id, "start": jobs[task_id].starts + 1}) for task_id in starts]
        await asyncio.to_thread(append_events, self._workspace, facts, self._clock)
        self._queue.read()
        self._bell.ring()
        for task_id in starts:
            self._ensure(jobs[task_id])

    # ---------------------------------------------------------------- one start

    def _ensure(self, job: Job) -> None:
        task = asyncio.create_task(self._see_to(job.task_id, job.starts))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _see_to(self, task_id: str, start: int) -> None:
        if not await self._durable.run(task_id, start):
            # Its workflow broke (its end could not be written, say), and it will not go on: so we do what it would have done.
            while not await self._carried(task_id, start):
                await wait_set(asyncio.Event(), SLICE_SECONDS)
        self._ended.append((task_id, start))

    async def _carried(self, task_id: str, start: int) -> bool:
        (problem,) = await asyncio.gather(self._carry(task_id, start), return_exceptions=True)
        if isinstance(problem, OSError | CcError):
            return False
        if problem is not None:
            sys.excepthook(type(problem), problem, problem.__traceback__)
            await self._record(task_id, start, {"status": "failed", "reason": line(f"internal: {problem!r}", 300)})
        return True

    async def _carry(self, task_id: str, start: int) -> None:
        end = await self._begin_step(task_id, start)
        if end.get("run_id"):
            end = await self._attend(task_id, start, end)
        await self._record(task_id, start, end)

    async def _begin_step(self, task_id: str, start: int) -> dict[str, Any]:
        known = claimed_run(self._workspace, request_id(task_id, start))
        if known is not None:
            return {"run_id": known}
        if self._board.jobs[task_id].cancel_asked:
            return {"status": "stopped", "reason": "cancelled before it started"}
        return await _never_raising(asyncio.to_thread(self._spawn, task_id, start))

    def _spawn(self, task_id: str, start: int) -> dict[str, Any]:
        return {"run_id": self._begin(task_id, start)}

    async def _attend(self, task_id: str, start: int, begun: dict[str, Any]) -> dict[str, Any]:
        self._news.set()
        run = RunDir(self._workspace.run(str(begun["run_id"])))
        state = (await await_end(run)).state
        if state["status"] == "lost":
            async with self._sweeping:
                await asyncio.to_thread(sweep, self._workspace, self._clock)
            state = (await await_end(run)).state
        return {"run_id": run.run_id, "status": state["status"], "reason": state["reason"], "failure": state["failure"]}

    async def _record(self, task_id: str, start: int, end: dict[str, Any]) -> None:
        """Returns when the end is on disk: the next turn writes all that came together. Raises OSError, CcError."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._unwritten.append((task_id, start, end, written))
        self._news.set()
        await written

    async def _write_ends(self) -> None:
        ends, self._unwritten = self._unwritten, []
        now = self._clock.now()
        jobs = [(self._board.jobs[task_id], start, end) for task_id, start, end, _written in ends]
        facts = [
            Fact(ev.TASK_ENDED, after_end(job, end, now))
            for job, start, end in jobs
            if job.starts == start and job.state == "running"
        ]
        try:
            await asyncio.to_thread(append_events, self._workspace, facts, self._clock)
        except (OSError, CcError) as error:
            for _task_id, _start, _end, written in ends:
                written.set_exception(error)
            return
        self._queue.read()
        for task_id, start, _end, written in ends:
            self._told.discard((task_id, start))
            if not written.done():
                written.set_result(None)
        self._bell.ring()

    async def _cancel_running(self) -> None:
        for task_id in list(self._board.running):
            job = self._board.jobs[task_id]
            if not job.cancel_asked or (task_id, job.starts) in self._told:
                continue
            run_id = claimed_run(self._workspace, request_id(task_id, job.starts))
            # Without a run it has not begun yet: then it is looked at again when it has.
            if run_id is not None:
                self._told.add((task_id, job.starts))
                await asyncio.to_thread(self._stop, RunDir(self._workspace.run(run_id)))

    def _stop(self, run: RunDir) -> None:
        append_control(run, "stop", self._clock, reason="its job was cancelled", actor="engine", channel="engine")
        poke(run)

    # ---------------------------------------------------------------- the end

    def _retire(self) -> None:
        """Free the engine's lock, unless something came meanwhile: then a fresh engine takes over."""
        # Whoever submits holds the same lock: nothing can come between the last look and the release.
        with lock.Exclusive(self._workspace.queue_lock, timeout=LOCK_SECONDS):
            self._queue.read()
            done = not self._board.live
            self._save(1)
            if done:
                try:
                    os.unlink(self._workspace.queue_pending)
                except FileNotFoundError:
                    pass
            os.close(self._held)
        if not done:
            rouse_engine(self._workspace, self._env)


async def _never_raising(action: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What came of it; or, as a failed end, why nothing came of it."""
    (result,) = await asyncio.gather(action, return_exceptions=True)
    if isinstance(result, BaseException):
        code = result.code if isinstance(result, CcError) else "internal"
        return {"status": "failed", "reason": line(f"{code}: {result}", 300)}
    return result
