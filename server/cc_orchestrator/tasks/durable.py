"""The one module of this room that knows DBOS: one durable workflow for each start of a job, on SQLite in the engine's folder.

A workflow has one step, which attaches to the run or spawns it, attends it and records its end: repeating it after a kill costs
nothing, and each checkpoint more would cost five milliseconds. The workflow's id is `task/start`, so asking twice is asking once;
a killed engine's workflows go on when the next one opens the same file.
One process at a time may have it open: the engine's lock sees to that, so one executor id is right.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing

from dbos import DBOS, SetWorkflowID

from cc_orchestrator.core.late import load

#: Changes only when workflows that are under way could not be gone on with; the name of the program's version does not count.
APPLICATION_VERSION = "queue-1"
EXECUTOR = "engine"


#: Carries one start of a task to its recorded end. Repeated after a kill, so it must be safe to repeat.
Carry = Callable[[str, int], Awaitable[None]]


class Durable:
    """Open from its making until `close`. To be made inside the event loop that shall run the workflows."""

    def __init__(self, path: str, carry: Carry) -> None:
        _prepare(path)
        DBOS(
            config={
                "name": "cc-orchestrator", "system_database_url": f"sqlite:///{path}", "application_version": APPLICATION_VERSION,
                "executor_id": EXECUTOR, "log_level": "ERROR",
            }
        )  # fmt: skip

        @DBOS.step(name="carry", preemptible=True)
        async def step(task_id: str, start: int) -> None:
            await carry(task_id, start)

        @DBOS.workflow(name="start", max_recovery_attempts=None)
        async def workflow(task_id: str, start: int) -> None:
            await step(task_id, start)

        self._workflow = workflow
        DBOS.launch()

    async def run(self, task_id: str, start: int) -> bool:
        """Make this start, or go on with it, or find it done; returns at its end. False: its workflow broke and will not go on."""
        with SetWorkflowID(f"{task_id}/{start}"):
            handle = await DBOS.start_workflow_async(self._workflow, task_id, start)
        (outcome,) = await asyncio.gather(handle.get_result(), return_exceptions=True)
        return outcome is None

    async def forget(self, starts: Sequence[tuple[str, int]]) -> None:
        """Remove what is kept of ended starts."""
        await DBOS.delete_workflows_async([f"{task_id}/{start}" for task_id, start in starts])

    async def close(self) -> None:
        """Stop its threads."""
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)


def _prepare(path: str) -> None:
    """A database in WAL mode: twice as fast, and DBOS does not set it. Raises OSError."""
    fresh = not os.path.exists(path)
    if fresh:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with closing(load("sqlite3").connect(path)) as db:
        db.execute("pragma journal_mode=wal")
