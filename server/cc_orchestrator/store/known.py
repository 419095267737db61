"""The per-user list of workspaces, so that an id of another project is found. A cache: losing it loses no run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from cc_orchestrator.store import atomic
from cc_orchestrator.store.paths import state_home

_MOST = 200


def _path(env: Mapping[str, str]) -> str:
    return os.path.join(state_home(env), "workspaces.json")


def known_roots(env: Mapping[str, str]) -> list[str]:
    """Workspace roots, the latest first."""
    try:
        with open(_path(env), encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError):
        return []
    return [root for root in value if isinstance(root, str)] if isinstance(value, list) else []  # type: ignore[reportUnknownVariableType]


def remember_root(env: Mapping[str, str], root: str) -> None:
    """Put a root first. Failures are ignored: it is a convenience."""
    roots = known_roots(env)
    if roots[:1] == [root]:
        return
    try:
        os.makedirs(state_home(env), exist_ok=True)
        atomic.write_json(_path(env), [root, *[entry for entry in roots if entry != root]][:_MOST], durable=False)
    except OSError:
        pass
