"""One `client_request_id`, one run: claimed by a file under a kernel lock, so that two doors at once make one run."""

from __future__ import annotations

import os
from types import TracebackType

from cc_orchestrator.core.errors import Conflict, Corrupt, InvalidRequest
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.store import atomic
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import Workspace

MAX_LENGTH = 200


class Claim:
    """Held while a run is being made. `run_id` is set when the request already has one."""

    def __init__(self, path: str | None, digest: str) -> None:
        self._path = path
        self._digest = digest
        self._lock: Exclusive | None = None
        self.run_id: str | None = None

    def __enter__(self) -> Claim:
        if self._path is None:
            return self
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._lock = Exclusive(self._path + ".lock", timeout=20.0)
        self._lock.__enter__()
        try:
            self.run_id = self._known()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _known(self) -> str | None:
        assert self._path is not None
        try:
            record = atomic.read_json(self._path)
        except Corrupt:
            # Torn claims cannot be (they are written atomically); a foreign file is no claim.
            record = None
        if record is None:
            return None
        if record.get("digest") != self._digest:
            raise Conflict(
                f"this client_request_id already belongs to {record.get('run_id')}, which was asked for with other parameters",
                hint="use a new client_request_id, or repeat the same parameters",
            )
        return str(record["run_id"])

    def settle(self, run_id: str) -> None:
        """Bind the request to a run, before the run becomes visible."""
        if self._path is not None:
            atomic.write_json(self._path, {"run_id": run_id, "digest": self._digest})

    def withdraw(self) -> None:
        """The run was not made after all."""
        if self._path is not None:
            try:
                os.unlink(self._path)
            except FileNotFoundError:
                pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.__exit__(kind, error, trace)
            self._lock = None


def claim_request(workspace: Workspace, client_request_id: str | None, digest: str) -> Claim:
    """A claim to be entered; one without an id claims nothing. Entering raises Conflict, Busy."""
    if client_request_id is None:
        return Claim(None, digest)
    if not client_request_id.strip() or len(client_request_id) > MAX_LENGTH:
        raise InvalidRequest(f"client_request_id must have 1 to {MAX_LENGTH} characters")
    return Claim(workspace.claim(client_request_id), digest)


def claimed_run(workspace: Workspace, client_request_id: str) -> str | None:
    """The run that a request made, when its folder is there; None when a start with this id would make one."""
    try:
        record = atomic.read_json(workspace.claim(client_request_id))
    except Corrupt:
        return None
    run_id = str((record or {}).get("run_id", ""))
    return run_id if is_id(run_id, "run") and os.path.isdir(workspace.run(run_id)) else None
