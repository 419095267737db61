"""The list of modules in `server/README.md`: one line each, from the first sentence of its docstring."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def modules() -> str:
    """A section per room, in the order in which a reader should meet them; a row per module."""
    return "\n\n".join(_section(room) for room in _ROOMS)


_ROOMS = (
    "core", "store", "host", "adapters", "routing", "policy", "runs", "tasks", "verify", "delivery", "workflow", "insight",
    "operations", "surfaces",
)  # fmt: skip


def _section(room: str) -> str:
    folder = os.path.join(_PACKAGE, room)
    rows = [f"- `{name}` {sentence}" for name, sentence in _read(folder)]
    return "\n".join(
        [f"### `{room}`", "", _sentence(os.path.join(folder, "__init__.py")), "", *(rows or ["- nothing yet"])]
    )


def _read(folder: str) -> Iterator[tuple[str, str]]:
    for place, _folders, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.endswith(".py") and name != "__init__.py":
                path = os.path.join(place, name)
                yield os.path.relpath(path, folder).replace(os.sep, "/"), _sentence(path)


def _sentence(path: str) -> str:
    """The docstring up to the end of its first sentence or paragraph, on one line."""
    with open(path, encoding="utf-8") as file:
        text = ast.get_docstring(ast.parse(file.read())) or ""
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.?]) (?=[A-Z])", paragraph, maxsplit=1)[0]
