"""Isolated homes for the real CLIs: dummy keys, the stub as their model service, nothing that looks beyond loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path

from kit import clis
from kit.model_stub import ModelStub

CODEX_MODEL = "gpt-5.5"
CLAUDE_MODEL = "claude-sonnet-4-5"
DUMMY_KEY = "dummy-key-for-the-stub"


def base_env(home: Path) -> dict[str, str]:
    """PATH with the pinned CLIs, HOME, XDG folders and TMPDIR below `home`; nothing else of the caller's."""
    tmp = home / "tmp"
    tmp.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": clis.path_with_node(),
        "HOME": str(home),
        "TMPDIR": str(tmp),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local" / "share"),
        "XDG_STATE_HOME": str(home / ".local" / "state"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "npm_config_registry": "http://127.0.0.1:9/",
    }


def claude_variables(stub: ModelStub) -> dict[str, str]:
    """What makes Claude Code talk to the stub and to nobody else."""
    return {
        "ANTHROPIC_BASE_URL": stub.url,
        "ANTHROPIC_API_KEY": DUMMY_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }


def claude_home(tmp_path: Path, stub: ModelStub) -> dict[str, str]:
    """The environment for `claude`, with a HOME of its own below `tmp_path`."""
    home = tmp_path / "claude-home"
    return {**base_env(home), **claude_variables(stub)}


def codex_home(tmp_path: Path, stub: ModelStub, trusted: tuple[Path, ...] = (), extra: str = "") -> dict[str, str]:
    """The environment for `codex`, with CODEX_HOME/config.toml: provider stub, everything that phones home off.

    `extra` is TOML that goes to the end (tables such as `[mcp_servers.cc]`).
    """
    home = tmp_path / "codex-home"
    env = {**base_env(home), "CODEX_HOME": str(home / ".codex"), "STUB_API_KEY": DUMMY_KEY}
    folder = Path(env["CODEX_HOME"])
    folder.mkdir(parents=True, exist_ok=True)
    text = codex_config(stub, trusted) + extra
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return env


def codex_config(stub: ModelStub, trusted: tuple[Path, ...] = ()) -> str:
    """config.toml of a Codex whose only model service is the stub."""
    projects = "".join(
        f'[projects.{json.dumps(os.path.realpath(path))}]\ntrust_level = "trusted"\n\n' for path in trusted
    )
    return f"""model = "{CODEX_MODEL}"
model_provider = "stub"
check_for_update_on_startup = false

[model_providers.stub]
name = "stub"
base_url = "{stub.url}/v1"
env_key = "STUB_API_KEY"
wire_api = "responses"

[features]
plugins = false

[analytics]
enabled = false

[otel]
exporter = "none"
trace_exporter = "none"
metrics_exporter = "none"

{projects}"""
