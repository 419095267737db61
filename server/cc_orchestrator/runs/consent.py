"""A person's consent to several acts of a run (chain approval), used up step by step, durably, before each act."""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.core.asking import Ruling, ToolCall
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.policy.approvals import Approval, match_chain, read_approvals
from cc_orchestrator.policy.posture import is_inside
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.approvalfile import change
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import Record


class Consents:
    """The chains that cover calls of one run. The file is read again only when it has changed."""

    def __init__(self, spec: RunSpec, clock: Clock) -> None:
        self._workspace = Workspace(spec.workspace_root, spec.repository)
        self._spec = spec
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._any = False

    def covers(self, call: ToolCall, ruling: Ruling, cost: float | None) -> str | None:
        """The id of the chain that covers a call that would ask, one step of it used; None when none does, or it cannot be known."""
        if not self._has_any():
            return None
        call = call._replace(paths=tuple(self._place(path) for path in call.paths))
        found: list[Approval] = []

        def use(rows: list[Record]) -> dict[str, Any] | None:
            now = self._clock.now()
            chain = match_chain(
                call,
                ruling.risk,
                read_approvals(rows).values(),
                run_id=self._spec.run_id,
                task_id=self._spec.task_id,
                now=now,
                cost=cost,
            )
            if chain is None:
                return None
            found.append(chain)
            return {"approval_id": chain.approval_id, "used": True, "ts": now, "run_id": self._spec.run_id}

        try:
            change(self._workspace, use)
        except (OSError, CcError):
            # What cannot be recorded as used is not used: then somebody is asked.
            return None
        return found[0].approval_id if found else None

    def _place(self, path: str) -> str:
        """Where a path really lies, past `..` and links: relative in the run's tree, absolute outside."""
        tree = os.path.realpath(self._spec.worktree or self._spec.cwd)
        real = os.path.realpath(os.path.join(tree, path))
        return (os.path.relpath(real, tree) if is_inside(real, tree) else real).replace(os.sep, "/")

    def _has_any(self) -> bool:
        try:
            info = os.stat(self._workspace.approvals)
        except OSError:
            return False
        seen = (info.st_mtime_ns, info.st_size)
        if seen != self._seen:
            self._seen = seen
            self._any = info.st_size > 0
        return self._any
