"""The texts of the policies: those that ship with the package, and `policies/*.cedar` of a workspace."""

from __future__ import annotations

import os
from typing import NamedTuple

from cc_orchestrator.store.paths import Workspace

_SHIPPED = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "policy", "defaults")
_MOST_FILES = 50
_MOST_BYTES = 500_000


class PolicyText(NamedTuple):
    """One file: its name, its text, and whether it ships."""

    name: str
    text: str
    shipped: bool


def shipped_schema() -> str:
    """The schema. Raises OSError."""
    return _read(os.path.join(_SHIPPED, "schema.cedarschema"))


def shipped_policies() -> list[PolicyText]:
    """The defaults of every trust level. Raises OSError."""
    return [
        PolicyText(name, _read(os.path.join(_SHIPPED, name)), True) for name in ("workers.cedar", "operations.cedar")
    ]


def workspace_policies(workspace: Workspace) -> list[PolicyText]:
    """The workspace's own, by name; [] when it has none. Raises OSError: a file that cannot be read is none that may be left out."""
    folder = workspace.policies
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".cedar"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    if len(names) > _MOST_FILES:
        raise OSError(f"{folder} holds more than {_MOST_FILES} policy files")
    return [PolicyText(name, _read(os.path.join(folder, name)), False) for name in names]


def _read(path: str) -> str:
    with open(path, "rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise OSError(f"{path} has more than {_MOST_BYTES} bytes")
    return data.decode("utf-8")
