"""A queue in a scratch project: jobs of the bundled worker that count their own starts, and the engine's process to kill."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace, find_workspace
from cc_orchestrator.tasks.board import Board
from cc_orchestrator.tasks.queue import read_queue
from kit.door import Answer, Door
from kit.waiting import until


class QueueDoor(Door):
    """A door whose jobs leave a line in `marks/<name>` each time their worker starts."""

    def __init__(self, base: Path, **more: Any) -> None:
        super().__init__(base, **more)
        self.marks = base / "marks"
        self.marks.mkdir(exist_ok=True)

    def script(self, name: str, *steps: Answer) -> Answer:
        """Steps that begin by leaving the mark."""
        mark = {"run": {"argv": ["sh", "-c", f"echo started >> {self.marks / name}"]}}
        return {"steps": [mark, *steps]}

    def submit(self, name: str, *steps: Answer, **more: Any) -> str:
        """Queue a job; its id."""
        answer = self.call(
            "cc_queue_submit", task=f"do {name}", adapter="fake", script=self.script(name, *steps), **more
        )
        return str(answer["job_id"])

    def starts(self, name: str) -> int:
        """How often the job's worker began."""
        path = self.marks / name
        return path.read_text().count("started") if path.exists() else 0

    @property
    def workspace(self) -> Workspace:
        """Where it all is."""
        return find_workspace(str(self.cwd), self.env)

    @property
    def board(self) -> Board:
        """The queue as its journal tells it."""
        return read_queue(self.workspace)

    def policy(self, **config: Any) -> None:
        """Set the queue's policy."""
        self.call("cc_queue_policy", config=config, apply=True)

    def ended(self, *job_ids: str, seconds: float = 30.0) -> list[str]:
        """Wait for the end of jobs; their states in that order."""
        answer = self.call("cc_wait", ids=list(job_ids), until="all", wake=["finished"], timeout_seconds=seconds)
        assert answer["done"], answer["pending"]
        states = {row["id"]: row["status"] for row in answer["woke"]}
        return [states[name] for name in job_ids]

    def until_running(self, job_id: str) -> str:
        """Wait until a job's run is on its way; the run's id."""

        def found() -> str | None:
            row = next(row for row in self.call("cc_queue_status", limit=500)["jobs"] if row["job_id"] == job_id)
            return row.get("run_id")

        return until(found, 20.0, what=f"a run of {job_id}") or ""

    def has_engine(self) -> bool:
        """Whether an engine serves the queue."""
        return lock.is_held(self.workspace.engine("lock"))

    def engine_pid(self) -> int | None:
        """The process that serves the queue, if one does."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    argv = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if b"cc_orchestrator.operations.engine" in argv and self.workspace.root.encode() in argv:
                    return int(name)
        return None

    def kill_engine(self) -> bool:
        """kill -9 of the engine, and wait until it is gone, and its lock free; false when there was none."""
        pid = self.engine_pid()
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        # The first thread is gone before the last, which frees the lock; meanwhile somebody may have started another.
        until(lambda: not self.has_engine() or self.engine_pid() not in (None, pid), 10.0, what="the end of the engine")
        return True
