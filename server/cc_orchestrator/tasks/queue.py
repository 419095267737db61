"""The queue of a workspace on disk: submissions, journal, policy. What a door does; the engine reads the same files.

A submission is durable before anybody acts on it: the task's record and its submission first, then one line in the journal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import CcError, Corrupt, NotFound
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import check_id
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.detach import detach
from cc_orchestrator.runs.requests import claim_request
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.journal import START, Cursor, Journal, read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.board import Board, Job, load_board
from cc_orchestrator.tasks.record import create_task, drop_task
from cc_orchestrator.tasks.schedule import Account, Cap, QueuePolicy

#: The module whose `main` is the engine's process.
ENGINE = "cc_orchestrator.operations.engine"
LOCK_SECONDS = 30.0
_PAGE = 1 << 22
_MARKERS = ("CC_RUN_ID",)


class Submission(NamedTuple):
    """One task for the queue. `start` is what its run is started with, `facts` what the scheduler has to know of it."""

    task: str
    start: dict[str, Any]
    facts: dict[str, Any]
    scope: dict[str, Any]
    channel: str
    risk: str | None = None
    client_request_id: str | None = None


class QueueReader:
    """The queue's journal, read on from where the last reading ended, at first from where the engine's saved fold does."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.queue_journal
        self.board, self._cursor = _saved(workspace)

    def save(self, workspace: Workspace) -> None:
        """Save the fold up to here, that others need not read what lies before. For the engine alone. Raises OSError."""
        told = {**self.board.dump(), "offset": self._cursor.offset, "seq": self._cursor.seq}
        atomic.write_json(workspace.queue_fold, told, durable=False, indent=None)

    @property
    def seq(self) -> int:
        """How many events were read."""
        return self._cursor.seq

    def read(self) -> Board:
        """The board now, which is the same object each time. Raises OSError, Corrupt."""
        while True:
            page = read_page(self._path, self._cursor, _PAGE)
            try:
                self.board.apply(page.events)
            except (KeyError, TypeError, ValueError) as error:
                raise Corrupt(f"{self._path} cannot be read: {error!r}", hint="a person looks at it") from error
            self._cursor = page.cursor
            if not page.more or not page.events:
                return self.board


def _saved(workspace: Workspace) -> tuple[Board, Cursor]:
    """The saved fold, or the beginning: a missing or foreign cache only costs time."""
    try:
        raw = atomic.read_json(workspace.queue_fold)
        if raw is not None:
            cursor = Cursor(raw["offset"], raw["seq"])
            # Raises when it does not stand on an event of this journal.
            read_page(workspace.queue_journal, cursor, 1)
            return load_board(raw), cursor
    except (OSError, CcError, KeyError, TypeError, ValueError, AttributeError):
        pass
    return Board(), START


def read_queue(workspace: Workspace) -> Board:
    """The queue now. Raises OSError, Corrupt."""
    return QueueReader(workspace).read()


def append_events(workspace: Workspace, facts: list[Fact], clock: Clock, actor: str = "engine") -> None:
    """Record facts durably. Raises Busy, OSError."""
    with lock.Exclusive(workspace.queue_lock, timeout=LOCK_SECONDS):
        append_locked(workspace, facts, clock, actor)


def append_locked(workspace: Workspace, facts: list[Fact], clock: Clock, actor: str) -> None:
    """As `append_events`, by the holder of the queue's lock."""
    journal = Journal(workspace.queue_journal, "queue", clock)
    try:
        journal.append(facts, actor=actor)
        journal.sync()
    finally:
        journal.close()


def submit(workspace: Workspace, submission: Submission, clock: Clock) -> tuple[str, bool]:
    """The task's id, and whether this call made it. Raises Conflict (same request id, other parameters), NotFound, Busy, OSError."""
    os.makedirs(workspace.queue, mode=0o700, exist_ok=True)
    digest = sha256(
        repr(sorted({**submission.start, **submission.facts}.items())).encode("utf-8", "replace")
    ).hexdigest()
    with claim_request(workspace, submission.client_request_id, f"queue {digest}") as claim:
        if claim.run_id is not None and claim.run_id in read_queue(workspace).jobs:
            return claim.run_id, False
        _check_dependencies(workspace, submission.facts.get("depends_on") or [])
        task_id = create_task(
            workspace, submission.task, scope=submission.scope, channel=submission.channel, clock=clock, risk=submission.risk
        )  # fmt: skip
        claim.settle(task_id)
        try:
            atomic.write_json(workspace.submission(task_id), {"channel": submission.channel, "start": submission.start})
            with lock.Exclusive(workspace.queue_lock, timeout=LOCK_SECONDS):
                atomic.write_text(workspace.queue_pending, "", durable=True)
                fact = Fact(ev.TASK_SUBMITTED, {"task_id": task_id, **submission.facts})
                append_locked(workspace, [fact], clock, submission.channel)
        except (OSError, CcError):
            claim.withdraw()
            _forget(workspace, task_id)
            raise
    return task_id, True


def _forget(workspace: Workspace, task_id: str) -> None:
    try:
        os.unlink(workspace.submission(task_id))
    except OSError:
        pass
    drop_task(workspace, task_id)


def _check_dependencies(workspace: Workspace, names: list[str]) -> None:
    if names:
        board = read_queue(workspace)
        for name in names:
            find_job(workspace, board, name)


def find_job(workspace: Workspace, board: Board, job_id: str) -> Job:
    """The job of an id. Raises InvalidRequest, NotFound."""
    job = board.jobs.get(check_id(job_id, "task", hint="cc_queue_status lists jobs"))
    if job is None:
        raise NotFound(f"there is no job {job_id} in the queue of {workspace.root}", hint="cc_queue_status lists jobs")
    return job


def read_submission(workspace: Workspace, task_id: str) -> dict[str, Any]:
    """`{channel, start}` of a job. Raises Corrupt when it is missing."""
    record = atomic.read_json(workspace.submission(task_id))
    if record is None or not isinstance(record.get("start"), dict):
        raise Corrupt(f"the submission of {task_id} is missing or broken", hint="submit it again")
    return record


def ask_cancel(workspace: Workspace, task_id: str, by: str, clock: Clock) -> None:
    """Record that the job is to end. Raises Busy, OSError."""
    append_events(workspace, [Fact(ev.TASK_CANCEL, {"task_id": task_id, "by": by})], clock, by)


# ---------------------------------------------------------------- policy


def read_policy(workspace: Workspace) -> QueuePolicy:
    """The workspace's policy over the defaults; what a file does not say is the default. Raises Corrupt."""
    raw = atomic.read_json(workspace.queue_policy)
    if raw is None:
        return QueuePolicy()
    try:
        plain = {
            key: type(value)(raw[key])
            for key, value in QueuePolicy()._asdict().items()
            if key in raw and not isinstance(value, dict)
        }
        return QueuePolicy(**plain)._replace(
            queues=_caps(raw.get("queues")), profiles=_caps(raw.get("profiles")),
            accounts=_accounts(raw.get("accounts")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(
            f"{workspace.queue_policy} is no queue policy: {error!r}", hint="cc_queue_policy {} shows one"
        ) from error


def _caps(raw: dict[str, dict[str, Any]] | None) -> dict[str, Cap]:
    return {name: _cap(entry) for name, entry in (raw or {}).items()}


def _accounts(raw: dict[str, dict[str, Any]] | None) -> dict[str, Account]:
    return {name: Account(frozenset(entry["profiles"]), _cap(entry)) for name, entry in (raw or {}).items()}


def _cap(raw: Mapping[str, Any]) -> Cap:
    return Cap(raw.get("max_concurrent"), raw.get("starts"), float(raw.get("seconds") or 60.0))


# ---------------------------------------------------------------- the engine's process


def rouse_engine(workspace: Workspace, env: Mapping[str, str]) -> bool:
    """See to it that an engine serves the queue: wake the one that lives or start one (then true). Raises Unavailable, OSError."""
    os.makedirs(workspace.engine(), mode=0o700, exist_ok=True)
    held = lock.take(workspace.engine("lock"))
    if held is None:
        # Nobody hears it while it starts, when it reads the journal after it has its bell; nor without sockets: it looks by itself.
        bells.poke_named(workspace.engine("bell"))
        return False
    # The lock goes to the engine: however many doors call, one process is started.
    inherit = os.name == "posix"
    try:
        if not inherit:
            os.close(held)
        detach(
            ENGINE, [workspace.root, workspace.repository or "", str(held if inherit else -1)], cwd=workspace.engine(),
            stderr_path=workspace.engine("engine.log"), pass_fds=[held] if inherit else [],
            env={name: value for name, value in env.items() if name not in _MARKERS},
        )  # fmt: skip
    finally:
        if inherit:
            os.close(held)
    return True


def settle_queue(workspace: Workspace, env: Mapping[str, str]) -> bool:
    """Start an engine where the queue has something to do and nobody does it; whether one was started. Raises CcError, OSError."""
    if not os.path.exists(workspace.queue_pending) or lock.is_held(workspace.engine("lock")):
        return False
    return rouse_engine(workspace, env)
