"""Where Claude Code and Codex keep configuration and login, and whether they are there. Reads only; never shows a login's content."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cc_orchestrator.host.codex_files import codex_home

_MOST_BYTES = 4_000_000


def claude_texts(env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Claude Code's `.claude.json` and its login file; None where there is none."""
    own = env.get("CLAUDE_CONFIG_DIR")
    home = env.get("HOME") or os.path.expanduser("~")
    return _read(os.path.join(own or home, ".claude.json")), _read(
        os.path.join(own or os.path.join(home, ".claude"), ".credentials.json")
    )


def codex_texts(env: Mapping[str, str]) -> tuple[str | None, str | None, str]:
    """Codex's `config.toml`, its login file, and the folder that CODEX_HOME names in vain ("" when it is there)."""
    home = codex_home(env)
    missing = home if env.get("CODEX_HOME") and not os.path.isdir(home) else ""
    return _read(os.path.join(home, "config.toml")), _read(os.path.join(home, "auth.json")), missing


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
