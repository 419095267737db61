"""Where a benchmark happens: a temporary folder with a home of its own, and the environment that doors get there."""

from __future__ import annotations

import os
from pathlib import Path

_FOREIGN = ("CC_", "ANTHROPIC_", "OPENAI_", "CLAUDE", "CODEX", "GEMINI", "GIT_", "MCP_", "OTEL_", "PYTHON")


def environment(folder: str | Path) -> dict[str, str]:
    """This process's environment without settings and keys, with HOME, XDG folders and TMPDIR below `folder`."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
    for name, part in {"HOME": "home", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run", "TMPDIR": "tmp"}.items():
        path = Path(folder) / part
        path.mkdir(mode=0o700, exist_ok=True)
        env[name] = str(path)
    return {**env, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
