"""The error tree, cut by what the caller can do next.

    CcError
    ├── fix the request   InvalidRequest  NotFound  Conflict
    ├── ask or stop       PolicyDenied  ApprovalRequired  LimitReached
    ├── wait              Busy  Unavailable
    ├── look              WorkerFailed  VerifyFailed  Corrupt
    └── report us         Internal

Every error has a stable `code`, a message that stands alone (what, which id, what was expected) and a `hint` that is the
next call to make. Messages never hold secrets.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CcError(Exception):
    """Base of all errors that reach a caller."""

    code: ClassVar[str] = "internal"
    exit_status: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = {key: value for key, value in details.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """`{code, message, hint?, details?}`: the shape every surface shows."""
        out: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            out["hint"] = self.hint
        if self.details:
            out["details"] = self.details
        return out


class InvalidRequest(CcError):
    """The request is malformed; nothing was done."""

    code = "invalid_request"
    exit_status = 2


class NotFound(CcError):
    """An id or a path names nothing."""

    code = "not_found"
    exit_status = 3


class Conflict(CcError):
    """The request contradicts what is already recorded."""

    code = "conflict"
    exit_status = 4


class PolicyDenied(CcError):
    """A rule forbids it."""

    code = "policy_denied"
    exit_status = 5


class ApprovalRequired(CcError):
    """A person has to decide first."""

    code = "approval_required"
    exit_status = 6


class LimitReached(CcError):
    """A budget or a capacity is used up."""

    code = "limit_reached"
    exit_status = 7


class Busy(CcError):
    """Somebody else holds what is needed; try again."""

    code = "busy"
    exit_status = 8


class Unavailable(CcError):
    """A program, file system or service that is needed cannot be used now."""

    code = "unavailable"
    exit_status = 9


class WorkerFailed(CcError):
    """A worker could not be started or ended badly."""

    code = "worker_failed"
    exit_status = 10


class VerifyFailed(CcError):
    """A verification does not allow what was asked."""

    code = "verify_failed"
    exit_status = 11


class Corrupt(CcError):
    """A file of ours cannot be read as what it must be."""

    code = "corrupt"
    exit_status = 12


class Internal(CcError):
    """A defect of cc-orchestrator itself."""

    code = "internal"
    exit_status = 70
