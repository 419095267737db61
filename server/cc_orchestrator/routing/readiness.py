"""What keeps a CLI from its first turn: no login, a broken configuration. Pure; measured with Claude Code 2.1.329, Codex 0.169.0.

Headless CLIs show no first-run dialog; some states still end every run, and one (Codex without a login, at its built-in provider)
keeps retrying without a word for minutes. A gate that is `sure` is one at which the CLI itself gives up or hangs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.late import load

Table = dict[str, Any]

_CLAUDE_LOGINS = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_MANTLE", "CLAUDE_CODE_USE_ANTHROPIC_AWS", "CLAUDE_CODE_USE_GATEWAY",
    "ANTHROPIC_CUSTOM_HEADERS",
)  # fmt: skip
_CODEX_LOGINS = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "OPENAI_API_KEY", "OPENAI_IDENTITY_TOKEN_FILE")


class CliFiles(NamedTuple):
    """A CLI's own files as they are now: None where there is none. `home_missing`: a variable names a folder that is not there."""

    config: str | None
    login: str | None
    home_missing: str = ""


class Gate(NamedTuple):
    """One obstacle. `sure` ones make a start pointless; the others may be wrong (a keychain, a managed login)."""

    code: str
    text: str
    fix: str
    sure: bool


def find_gates(adapter: str, env: Mapping[str, str], files: CliFiles) -> list[Gate]:
    """The obstacles of one adapter; none for those that have no first run."""
    if adapter == "claude":
        return _claude(env, files)
    return _codex(env, files) if adapter in ("codex", "codex-exec") else []


def _claude(env: Mapping[str, str], files: CliFiles) -> list[Gate]:
    found: list[Gate] = []
    if files.config is not None and files.config.strip() and not _is_json(files.config):
        text = "its .claude.json is no JSON, and Claude Code starts with none that is broken"
        found.append(Gate("config_broken", text, "mend the file or move it aside", True))
    has_login = any(env.get(name) for name in _CLAUDE_LOGINS) or (files.login is not None and _is_json(files.login))
    if not has_login:
        text = "no key in this environment and no login file: a login in a keychain is not seen from here"
        found.append(
            Gate("login_needed", text, "claude (then /login), or set ANTHROPIC_API_KEY for this server", False)
        )
    return found


def _codex(env: Mapping[str, str], files: CliFiles) -> list[Gate]:
    if files.home_missing:
        text = f"CODEX_HOME names {files.home_missing}, which is not there"
        return [Gate("home_missing", text, "make it, or unset CODEX_HOME", True)]
    config = _toml(files.config or "")
    if config is None:
        return [Gate("config_broken", "its config.toml is no TOML", "codex names the line: codex --version", True)]
    chosen = config.get("model_provider")
    provider = _table(_table(config.get("model_providers")).get(chosen)) if isinstance(chosen, str) else {}
    key = provider.get("env_key")
    if isinstance(key, str) and key and not env.get(key):
        text = f"its provider {chosen} takes its key from {key}, which is not set here"
        return [Gate("login_needed", text, f"set {key} for this server", True)]
    if provider or (isinstance(chosen, str) and chosen != "openai"):
        return []
    # A keyring can hold the login only where the configuration says so.
    in_file = config.get("cli_auth_credentials_store") in (None, "file")
    if in_file and files.login is None and not any(env.get(name) for name in _CODEX_LOGINS):
        text = "no login: without one it retries for minutes and says nothing"
        return [Gate("login_needed", text, "codex login, or set OPENAI_API_KEY for this server", True)]
    return []


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _toml(text: str) -> Table | None:
    tomlkit = load("tomlkit")
    try:
        return cast("Table", tomlkit.parse(text).unwrap())
    except tomlkit.exceptions.TOMLKitError:
        return None


def _table(value: Any) -> Table:
    return cast("Table", value) if isinstance(value, dict) else {}
