"""What the user's Codex configuration says that a run must know beforehand: names only, never a secret. Pure.

That is: the variables from which the user's provider takes its key (`env_key`, `env_http_headers`), and the MCP servers, so
that ours can be kept from starting inside a worker whatever it is called. Keys' names come from the user's own file alone: a
project's file may name MCP servers, but must not choose which variables a worker gets to see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from cc_orchestrator.core.late import load

Table = dict[str, Any]

_MOST_SERVERS = 100
_OURS = re.compile(r"cc[-_]orchestrator", re.IGNORECASE)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
#: Codex's built-in provider that takes credentials as the AWS tools do.
_BEDROCK = ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_BEDROCK_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")


def codex_route(user_text: str, other_texts: Iterable[str] = ()) -> Table:
    """`{env_names, secret_names: [...], own_servers: {name: "command" | "url"}, servers: [...], base_url}` of the user's config.toml.

    Workers get the variables of both lists; the values of `secret_names` are masked wherever they show up. `servers` are stdio
    servers of the user's own file that are not ours. Text that is no TOML counts as empty: Codex itself will say what is wrong.
    """
    user = _parse(user_text)
    own: dict[str, str] = {}
    for found in (user, *map(_parse, other_texts)):
        own.update({name: kind for name, kind, ours in _servers(found) if ours})
    others = [name for name, kind, ours in _servers(user) if not ours and kind == "command" and name not in own]
    bedrock = user.get("model_provider") == "amazon-bedrock"
    return {
        "env_names": list(_BEDROCK) if bedrock else [],
        "secret_names": [*_key_names(user), *(_BEDROCK_SECRETS if bedrock else ())],
        "own_servers": own,
        "servers": others,
        "base_url": _base_url(user),
    }


def _parse(text: str) -> Table:
    if not text.strip():
        return {}
    tomlkit = load("tomlkit")
    try:
        return tomlkit.parse(text).unwrap()
    except tomlkit.exceptions.TOMLKitError:
        return {}


def _table(value: Any) -> Table:
    return cast("Table", value) if isinstance(value, dict) else {}


def _key_names(config: Table) -> list[str]:
    """The variables with which the chosen provider makes itself known."""
    chosen = config.get("model_provider")
    if not isinstance(chosen, str):
        return []
    provider = _table(_table(config.get("model_providers")).get(chosen))
    named = [provider.get("env_key"), *_table(provider.get("env_http_headers")).values()]
    return [name for name in named if isinstance(name, str) and _VARIABLE.fullmatch(name)]


def _base_url(config: Table) -> str | None:
    """Where the chosen provider is; None for a built-in one."""
    chosen = config.get("model_provider")
    provider = _table(_table(config.get("model_providers")).get(chosen)) if isinstance(chosen, str) else {}
    url = provider.get("base_url")
    return url if isinstance(url, str) and "@" not in url else None


def _servers(config: Table) -> list[tuple[str, str, bool]]:
    """`(name, command or url, whether it is ours)` of the MCP servers."""
    found: list[tuple[str, str, bool]] = []
    for name, entry in list(_table(config.get("mcp_servers")).items())[:_MOST_SERVERS]:
        server = _table(entry)
        kind = "url" if "url" in server else "command"
        args = server.get("args")
        words = [name, server.get("command"), *(cast("list[Any]", args) if isinstance(args, list) else [])]
        found.append((name, kind, any(isinstance(word, str) and _OURS.search(word) for word in words)))
    return found
