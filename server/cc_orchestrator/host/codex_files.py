"""Where Codex keeps its configuration, and its text. Reads only; what cannot be read is empty."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_MOST_BYTES = 1_000_000
_FILE = "config.toml"
_SYSTEM = "/etc/codex"


class CodexFiles(NamedTuple):
    """The user's config.toml, and those of the system, the folder and all folders above it."""

    user: str
    others: tuple[str, ...]


def codex_home(env: Mapping[str, str]) -> str:
    """Codex's own folder for this environment."""
    return env.get("CODEX_HOME") or os.path.join(env.get("HOME") or os.path.expanduser("~"), ".codex")


def read_codex_files(env: Mapping[str, str], cwd: str) -> CodexFiles:
    """The texts as they are now."""
    others = (text for text in map(_read, _other_places(cwd)) if text)
    return CodexFiles(_read(os.path.join(codex_home(env), _FILE)), tuple(others))


def _other_places(cwd: str) -> Iterator[str]:
    yield os.path.join(_SYSTEM, _FILE)
    folder = os.path.realpath(cwd)
    while True:
        yield os.path.join(folder, ".codex", _FILE)
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
