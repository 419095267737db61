"""A job's folder (verification, review, fix loop, delivery): the names of its files, how it is found by id, and which jobs are under way.

`jobs/<id>` holds the folder's place, for good; `jobs/live/<id>` is there from before the job begins until its end is told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from cc_orchestrator.core.ids import is_id
from cc_orchestrator.store import atomic, lock
from cc_orchestrator.store.paths import Workspace

KINDS = ("ver", "rev", "fix", "dlv")


@dataclass(frozen=True)
class JobDir:
    """Paths of one job's files. Nothing is opened here."""

    path: str

    def at(self, *parts: str) -> str:
        """A path below the job's folder."""
        return os.path.join(self.path, *parts)

    @property
    def job_id(self) -> str:
        """The folder's name."""
        return os.path.basename(self.path)

    @property
    def request(self) -> str:
        """Written once, before the job begins."""
        return self.at("request.json")

    @property
    def journal(self) -> str:
        """The truth of the job."""
        return self.at("events.ndjson")

    @property
    def lock(self) -> str:
        """Held for the job's life."""
        return self.at("lock")

    @property
    def bell(self) -> str:
        """Holds the path of the job's socket."""
        return self.at("bell")

    @property
    def log(self) -> str:
        """stderr of the job itself."""
        return self.at("job.log")

    def is_owned(self) -> bool:
        """Whether a live process holds the job."""
        return lock.is_held(self.lock)


def announce(workspace: Workspace, job: JobDir) -> None:
    """Make a job findable by its id and known as under way, before it begins. Raises OSError."""
    os.makedirs(workspace.at("jobs", "live"), mode=0o700, exist_ok=True)
    place = os.path.relpath(job.path, workspace.folder)
    atomic.write_text(workspace.at("jobs", job.job_id), place, durable=True)
    atomic.write_text(workspace.at("jobs", "live", job.job_id), place, durable=True)


def retire(workspace: Workspace, job_id: str) -> None:
    """Its end is told: nobody needs to look after it any more."""
    try:
        os.unlink(workspace.at("jobs", "live", job_id))
    except OSError:
        pass


def find_job(workspace: Workspace, job_id: str) -> JobDir | None:
    """The folder of a well-formed id, or None when this workspace does not know it."""
    try:
        with open(workspace.at("jobs", job_id), encoding="utf-8") as file:
            place = file.read(500)
    except OSError:
        return None
    path = os.path.normpath(os.path.join(workspace.folder, place))
    if not path.startswith(workspace.folder + os.sep) or os.path.basename(path) != job_id or not os.path.isdir(path):
        return None
    return JobDir(path)


def live_jobs(workspace: Workspace, *kinds: str) -> list[JobDir]:
    """Jobs of these kinds (of all kinds) whose end is not told yet, oldest first."""
    try:
        names = sorted(os.listdir(workspace.at("jobs", "live")))
    except OSError:
        return []
    found = [find_job(workspace, name) for name in names if any(is_id(name, kind) for kind in kinds or KINDS)]
    return [job for job in found if job is not None]
