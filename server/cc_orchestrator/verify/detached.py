"""A job's process: its folder with lock, bell and journal, made before it is visible; then a detached process that owns them.

Whoever holds the lock, and nobody else, writes the journal. A process that is killed frees the lock: the job is lost, and told so.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.core.errors import CcError, Unavailable
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import line
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.bell import Bell
from cc_orchestrator.host.detach import detach
from cc_orchestrator.host.process import identify
from cc_orchestrator.host.tree import HELPER
from cc_orchestrator.store import atomic, jobdir, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace


def start_detached(
    workspace: Workspace, path: str, request: dict[str, Any], *, module: str, stdin: bytes, clock: Clock,
    env: Mapping[str, str] | None = None,
) -> JobDir:  # fmt: skip
    """Make the job's folder `path` and start `module.main([folder, lock fd, bell fd])`, which reads `stdin`.

    `stdin` is for what must stand in no file and no argv; `env` None is our own environment. Raises Unavailable; then the job is told as failed.
    """
    job = JobDir(path)
    hidden = JobDir(os.path.join(os.path.dirname(path), f".new-{job.job_id}"))
    with ExitStack() as undo:
        os.mkdir(hidden.path, 0o700)
        undo.callback(shutil.rmtree, hidden.path, ignore_errors=True)
        held = lock.take(hidden.lock)
        assert held is not None, "nobody knows this folder yet"
        undo.callback(os.close, held)
        atomic.write_json(hidden.request, request)
        bell = _make_bell(hidden, job.job_id)
        if bell is not None:
            undo.callback(bell.close)
        undo.callback(jobdir.retire, workspace, job.job_id)
        jobdir.announce(workspace, job)
        os.rename(hidden.path, path)
        undo.pop_all()
    if sys.platform == "win32":
        os.close(held)
        held = -1
    _detach(workspace, job, module, stdin, held, bell, clock, env)
    return job


def _make_bell(hidden: JobDir, name: str) -> Bell | None:
    try:
        path = bells.new_path(name)
        # The name first: whoever cleans up after a launch that died here finds the socket by it.
        atomic.write_text(hidden.bell, path)
        return Bell.create(path)
    except OSError:
        # Without sockets waiters look once a slice.
        return None


def _detach(
    workspace: Workspace, job: JobDir, module: str, stdin: bytes, held: int, bell: Bell | None, clock: Clock,
    env: Mapping[str, str] | None,
) -> None:  # fmt: skip
    bell_fd = bell.fileno() if bell is not None else -1
    try:
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.flush()
            file.seek(0)
            # cwd is ours: a project's own modules must not be found in place of the library's.
            detach(
                module, [job.path, str(held), str(bell_fd)], cwd=job.path, stdin_fd=file.fileno(),
                pass_fds=[fd for fd in (held, bell_fd) if fd >= 0], stderr_path=job.log, env=env,
            )  # fmt: skip
    except (OSError, CcError) as error:
        journal = Journal(job.journal, job.job_id, clock)
        try:
            journal.append(
                [Fact(ev.JOB_FINISHED, {"status": "failed", "reason": f"spawn_failed: {line(str(error), 200)}"})]
            )
            journal.sync()
        finally:
            journal.close()
        jobdir.retire(workspace, job.job_id)
        raise Unavailable(f"{job.job_id} could not be started: {error}", hint="cc_doctor") from error
    finally:
        if held >= 0:
            os.close(held)
        if bell is not None:
            bell.release()


# ---------------------------------------------------------------- inside the process


class Owned(NamedTuple):
    """A job in the hands of its process."""

    workspace: Workspace
    job: JobDir
    journal: Journal
    clock: Clock
    request: dict[str, Any]
    bell: Bell | None

    def step(self, name: str, **data: Any) -> None:
        """Tell one step."""
        self.journal.append([Fact(ev.JOB_STEP, {"step": name, **data})])

    def close(self) -> None:
        """The last act: waiters are woken."""
        self.journal.close()
        if self.bell is not None:
            self.bell.ring()
            self.bell.close()


def own_job(args: list[str]) -> Owned | None:
    """Take up the job that `start_detached` made; None when somebody else holds it. Writes the event of its start."""
    job = JobDir(args[0])
    held: int | None = int(args[1])
    if held == -1:
        held = lock.take(job.lock)
    if held is None:
        return None
    os.set_inheritable(held, False)
    bell = Bell.inherit(int(args[2]), job.bell)
    clock = SystemClock()
    # What we start for ourselves (git) is found and ended when we die in the middle of it.
    os.environ[HELPER] = job.job_id
    request = atomic.read_json(job.request) or {}
    journal = Journal(job.journal, job.job_id, clock)
    pid = os.getpid()
    begun = {"pid": pid, "pid_start": identify(pid), "run_id": request.get("run_id")}
    journal.append([Fact(ev.JOB_STARTED, begun)])
    journal.sync()
    return Owned(
        Workspace(str(request["workspace_root"]), request.get("repository")), job, journal, clock, request, bell
    )
