"""Imports every module that registers operations; importing this one is having them all."""

from __future__ import annotations

from cc_orchestrator.operations import (
    approving,
    attention,
    budgeting,
    canary,
    counsel,
    delivering,
    digests,
    explaining,
    fixing,
    health,
    inspections,
    judging,
    launches,
    ledgers,
    meta,
    open_items,
    overview,
    policing,
    proving,
    questioning,
    queueing,
    reviewing,
    scoring,
    steering,
    trusting,
    watching,
    workspaces,
    worktrees,
)
from cc_orchestrator.operations.registry import Operation
from cc_orchestrator.operations.registry import operations as _registered

#: Modules with operations, kept so that a linter does not take the imports for unused.
MODULES = (
    launches,
    watching,
    overview,
    attention,
    explaining,
    digests,
    steering,
    questioning,
    approving,
    trusting,
    policing,
    judging,
    proving,
    ledgers,
    open_items,
    scoring,
    budgeting,
    delivering,
    reviewing,
    fixing,
    queueing,
    counsel,
    health,
    canary,
    inspections,
    workspaces,
    worktrees,
    meta,
)
TOOLSETS = ("core", "queue", "review", "workspace")


def operations() -> tuple[Operation, ...]:
    """All operations, in the order of registration."""
    return tuple(_registered())


def listed(toolsets: frozenset[str]) -> list[Operation]:
    """What a door lists: the default operations, or all of the named toolsets (`all` for every one)."""
    if not toolsets:
        return [op for op in operations() if op.default_on]
    return [op for op in operations() if "all" in toolsets or op.toolset in toolsets or op.default_on]
