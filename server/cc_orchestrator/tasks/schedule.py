"""What the queue does next, from its board, its policy and the time; and what follows the end of a run. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from cc_orchestrator.tasks.board import Board, Job, JobState

#: A start that never reached its worker is made again without using up a try, but not without end.
MOST_STARTS = 20
#: Seconds before a failed job is tried again, doubled with each failure; a provider's own time goes before it.
RETRY_PAUSE, LONGEST_RETRY_PAUSE = 1.0, 300.0
_STATE_OF: dict[str, JobState] = {"succeeded": "done", "timed_out": "timed_out", "stopped": "cancelled"}
Key = tuple[str, str]
#: The default of all that have none: shared, so never changed.
_NONE: dict[str, Any] = {}


class Cap(NamedTuple):
    """At most so many at once, and at most `starts` of them in any `seconds`. None: no such limit."""

    max_concurrent: int | None = None
    starts: int | None = None
    seconds: float = 60.0


class Account(NamedTuple):
    """Profiles (`adapter` or `adapter/profile`) that share a provider's account, and its cap."""

    profiles: frozenset[str]
    cap: Cap


class QueuePolicy(NamedTuple):
    """How many at once in all, by queue, by profile, by account; and the defaults of a submission.

    `write_overlap` is wait or allow: whether jobs that declared to write the same places run side by side.
    """

    max_concurrent: int = 3
    default_priority: int = 100
    default_timeout_seconds: float = 900.0
    retry_failed_read_only: int = 1
    retry_write_enabled: int = 0
    write_overlap: str = "wait"
    queues: dict[str, Cap] = _NONE
    profiles: dict[str, Cap] = _NONE
    accounts: dict[str, Account] = _NONE


class Plan(NamedTuple):
    """Ids to start now; ids that will never start, each with the reason; when to look again (None: at the next event);
    and why those that were looked at have to wait."""

    starts: tuple[str, ...]
    drops: tuple[tuple[str, str], ...]
    wake_at: float | None
    held: dict[str, str]


def schedule(board: Board, policy: QueuePolicy, now: float) -> Plan:
    """Starts in order of priority, then age, as far as every cap allows."""
    room = _Room(board, policy, now)
    starts: list[str] = []
    drops: list[tuple[str, str]] = []
    held: dict[str, str] = {}
    wake: list[float] = []
    for _rank, _age, task_id in board.waiting:
        job = board.jobs[task_id]
        dead = "cancelled" if job.cancel_asked else _dead_end(board, job)
        if dead is not None:
            drops.append((task_id, dead))
            continue
        if room.full:
            break
        why = _not_ready(board, job, now)
        if why is None:
            why = room.take(job)
            if why is None:
                starts.append(task_id)
                continue
        elif job.not_before is not None and job.not_before > now:
            wake.append(job.not_before)
        held[task_id] = why
    if room.wake_at is not None:
        wake.append(room.wake_at)
    return Plan(tuple(starts), tuple(drops), min(wake, default=None), held)


def _dead_end(board: Board, job: Job) -> str | None:
    for name in job.depends_on:
        other = board.jobs.get(name)
        if other is None or other.state in ("failed", "timed_out", "cancelled"):
            return f"{name}, on which it depends, {'is unknown' if other is None else 'is ' + other.state}"
    return None


def _not_ready(board: Board, job: Job, now: float) -> str | None:
    if job.not_before is not None and job.not_before > now:
        return "not_before"
    waits = [name for name in job.depends_on if board.jobs[name].state != "done"]
    return f"depends on {waits[0]}" if waits else None


class _Room:
    """What is left of every cap."""

    def __init__(self, board: Board, policy: QueuePolicy, now: float) -> None:
        self._policy = policy
        self._now = now
        self._used: Counter[Key] = Counter()
        self._recent: dict[Key, list[float]] = {}
        self.wake_at: float | None = None
        self._known: dict[tuple[str, str], list[tuple[Key, Cap]]] = {}
        self._resources: dict[str, str] = {}
        self._writers: list[tuple[str, tuple[str, ...]]] = []
        for task_id in board.running:
            job = board.jobs[task_id]
            self._used.update(key for key, _cap in self._caps(job.queue, job.profile))
            self._occupy(job)
        self._remember(board)

    def _remember(self, board: Board) -> None:
        """The starts that rates still count, oldest first."""
        policy = self._policy
        caps = [
            *policy.queues.values(),
            *policy.profiles.values(),
            *(account.cap for account in policy.accounts.values()),
        ]
        longest = max((cap.seconds for cap in caps if cap.starts is not None), default=0.0)
        for start in reversed(board.starts):
            if start.ts <= self._now - longest:
                break
            for key, cap in self._caps(start.queue, start.profile):
                if cap.starts is not None and start.ts > self._now - cap.seconds:
                    self._recent.setdefault(key, []).insert(0, start.ts)

    @property
    def full(self) -> bool:
        """Whether nothing at all can be started."""
        return self._used[("all", "")] >= self._policy.max_concurrent

    def _caps(self, queue: str, profile: str) -> list[tuple[Key, Cap]]:
        found = self._known.get((queue, profile))
        if found is None:
            found = self._known[(queue, profile)] = list(_caps_of(self._policy, queue, profile))
        return found

    def take(self, job: Job) -> str | None:
        """Take what the job needs; or say which cap is used up, and then take nothing."""
        clash = self._clash(job)
        if clash is not None:
            return clash
        caps = self._caps(job.queue, job.profile)
        for key, cap in caps:
            if cap.max_concurrent is not None and self._used[key] >= cap.max_concurrent:
                return f"{' '.join(key).strip()} is full"
            recent = self._recent.get(key, [])
            if cap.starts is not None and len(recent) >= cap.starts:
                free_at = recent[-cap.starts] + cap.seconds
                self.wake_at = free_at if self.wake_at is None else min(self.wake_at, free_at)
                return f"rate of {' '.join(key).strip()}"
        for key, cap in caps:
            self._used[key] += 1
            if cap.starts is not None:
                self._recent.setdefault(key, []).append(self._now)
        self._occupy(job)
        return None

    def _occupy(self, job: Job) -> None:
        self._resources.update(dict.fromkeys(job.resources, job.task_id))
        if job.writes and self._policy.write_overlap == "wait":
            self._writers.append((job.task_id, job.writes))

    def _clash(self, job: Job) -> str | None:
        for name in job.resources:
            if name in self._resources:
                return f"resource {name}, which {self._resources[name]} has"
        for other, writes in self._writers if job.writes else ():
            if overlaps(job.writes, writes):
                return f"{other}, which writes the same places"
        return None


def _caps_of(policy: QueuePolicy, queue: str, profile: str) -> Iterator[tuple[Key, Cap]]:
    """All caps that a job of this queue and profile falls under."""
    names = {profile, profile.partition("/")[0]}
    yield ("all", ""), Cap(policy.max_concurrent)
    if queue in policy.queues:
        yield ("queue", queue), policy.queues[queue]
    for name in sorted(names & policy.profiles.keys()):
        yield ("profile", name), policy.profiles[name]
    for name, account in policy.accounts.items():
        if names & account.profiles:
            yield ("account", name), account.cap


def overlaps(one: Iterable[str], other: Iterable[str]) -> bool:
    """Whether globs of the two may mean the same file. Told by what stands before the first wildcard: it may say yes too often, never no."""
    mine, theirs = [_fixed(glob) for glob in one], [_fixed(glob) for glob in other]
    return any(_within(a, b) or _within(b, a) for a in mine for b in theirs)


def _fixed(glob: str) -> tuple[str, bool]:
    """The part before the first wildcard, and whether that is all of it."""
    text = glob.removeprefix("./").lstrip("/")
    place = next((at for at, char in enumerate(text) if char in "*?[{!"), None)
    return (text, True) if place is None else (text[:place], False)


def _within(inner: tuple[str, bool], outer: tuple[str, bool]) -> bool:
    """Whether what begins like `inner` may be what `outer` means: a whole path means itself and all below it."""
    path, whole = outer
    if not whole:
        return inner[0].startswith(path)
    folder = path.rstrip("/")
    return inner[0].rstrip("/") == folder or inner[0].startswith(f"{folder}/")


def after_end(job: Job, end: dict[str, Any], now: float) -> dict[str, Any]:
    """What to record of an ended start. `end`: {status, reason?, run_id?, failure?: of the run, started: bool}.

    Only failures are tried again: a run that ran out of time or budget, or that somebody stopped, is not.
    """
    status: str = end["status"]
    failure: dict[str, Any] = end.get("failure") or {}
    state: JobState = _STATE_OF.get(status, "failed")
    if job.cancel_asked and state != "done":
        state = "cancelled"
    out = {
        "task_id": job.task_id,
        "start": job.starts,
        "state": state,
        "reason": end.get("reason"),
        "run_id": end.get("run_id"),
    }
    if state == "failed" and status in ("failed", "lost"):
        free = end.get("reason") == "never_started" and job.starts < MOST_STARTS
        if free or (
            job.failures < job.max_retries and failure.get("mends") != "person" and failure.get("class") != "spec"
        ):
            pause = min(RETRY_PAUSE * 2.0**job.failures, LONGEST_RETRY_PAUSE)
            out.update(
                again=True,
                free=free or None,
                not_before=None if free else failure.get("not_before") or round(now + pause, 3),
            )
    return {key: value for key, value in out.items() if value is not None}
