"""What both ways to Codex share: what it may see, what is wrong with a request, and the settings that go over the user's.

Its sandbox is spelt out in full and no setting of the user's or of the project can widen it: network off, /tmp closed, a scratch
folder of the run's own as TMPDIR. Measured with 0.169.0:

- a resume id that is no UUID is taken for a thread's name and silently starts a new conversation, so it is refused here;
- `mcp_servers.X.enabled=false` for an X that no configuration has is an error ("invalid transport"), so ours is switched off as
  a whole entry, which is right whether it is there or not;
- MCP servers get HOME, LANG, PATH, TERM and TMPDIR only: our marker is put into every server that the user's configuration
  names, so that a door which hides behind a wrapper still knows whose child it is;
- commands see variables such as the provider's key unless `ignore_default_excludes` is false.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, cast

from cc_orchestrator.adapters.base import Footprint, WorkerRequest, host_of
from cc_orchestrator.core.text import line

#: The name under which the installer registers our server with Codex.
OWN_SERVER = "cc-orchestrator"
#: Characters of one input, by Codex's own refusal ("input_too_large").
MAX_PROMPT = 1_048_576
EXECUTABLES: tuple[str, ...] = ("codex",)
EXECUTABLE_ENV = "CODEX_BIN"
ENV_ALLOW: tuple[str, ...] = (
    "CODEX_HOME", "CODEX_SQLITE_HOME", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "CODEX_CA_CERTIFICATE", "OPENAI_API_KEY",
    "OPENAI_BASE_URL", "OPENAI_ORGANIZATION", "OPENAI_PROJECT", "OPENAI_FEDERATION_RULE_ID", "OPENAI_IDENTITY_TOKEN_FILE",
)  # fmt: skip
SECRET_ENV: tuple[str, ...] = ("CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "OPENAI_API_KEY")
_OPTIONS = frozenset({"hooks", "plugins", "web_search"})
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NOWHERE = {"url": "http://127.0.0.1:9/"}


def check_request(request: WorkerRequest) -> list[str]:
    """What Codex would misunderstand."""
    problems: list[str] = []
    if len(request.prompt) > MAX_PROMPT:
        problems.append(f"the prompt has {len(request.prompt)} characters, and codex takes at most {MAX_PROMPT}")
    if request.resume is not None and not _UUID.fullmatch(request.resume):
        problems.append(f"{line(request.resume, 60)!a} is no id of a Codex conversation (a UUID is expected)")
    if request.fork and request.resume is None:
        problems.append("a fork needs the id of the conversation to fork")
    if request.model is not None and request.model.startswith("-"):
        problems.append(f"{line(request.model, 60)!a} is no model name")
    unknown = sorted(set(request.options) - _OPTIONS)
    if unknown:
        problems.append(f"it has no options {line(', '.join(unknown), 100)}; known: {', '.join(sorted(_OPTIONS))}")
    return problems


def footprint_of(env: Mapping[str, str], route: Mapping[str, Any]) -> Footprint:
    """`~/.codex` (or CODEX_HOME): its configuration can be read, its login is the user's; its own sandbox goes inside ours."""
    hosts = [host_of(env.get("OPENAI_BASE_URL", "")), host_of(str(route.get("base_url") or ""))]
    named = tuple(host for host in hosts if host is not None)
    return Footprint(
        home=env.get("CODEX_HOME") or os.path.join(env.get("HOME", ""), ".codex"), variable="CODEX_HOME", shared=("auth.json",),
        readable=("config.toml", "AGENTS.md"), hosts=named or ("api.openai.com:443", "chatgpt.com:443", "auth.openai.com:443"),
        nests=True,
    )  # fmt: skip


def scratch_of(request: WorkerRequest) -> str:
    """The folder that a writer has as TMPDIR."""
    return os.path.join(request.run_dir, "scratch")


def writable_roots(request: WorkerRequest) -> tuple[str, ...]:
    """What a writer may write beside its working directory."""
    tree = (request.tree,) if request.tree is not None and request.tree != request.cwd else ()
    return (request.outbox, scratch_of(request), *tree)


def settings_of(request: WorkerRequest, servers: tuple[str, ...] = ()) -> list[str]:
    """Settings that go over the user's and the project's, as `key=TOML`. `servers` are more entries for `mcp_servers`."""
    settings = [
        "shell_environment_policy.ignore_default_excludes=false",
        f"shell_environment_policy.set.CC_RUN_ID={toml(request.run_id)}",
        "notify=[]",
        f"mcp_servers={{{','.join((*_servers(request), *servers))}}}",
    ]
    if request.options.get("plugins") is not True:
        settings.append("features.plugins=false")
    if request.options.get("web_search") is not True:
        settings.append('web_search="disabled"')
    if request.allow_write:
        settings += [
            "sandbox_workspace_write.network_access=false",
            "sandbox_workspace_write.exclude_slash_tmp=true",
            "sandbox_workspace_write.exclude_tmpdir_env_var=true",
        ]
    return settings


def _servers(request: WorkerRequest) -> list[str]:
    """Ours off, whatever it is called; our marker in the others. Entries are merged into those of the configuration."""
    own = {OWN_SERVER: "command", **_texts(request.route.get("own_servers"))}
    entries = [
        f"{toml(name)}={{{'url' if kind == 'url' else 'command'}={toml(_NOWHERE.get(kind, OWN_SERVER))},enabled=false}}"
        for name, kind in own.items()
    ]
    found = request.route.get("servers")
    others = [name for name in cast("list[Any]", found) if isinstance(name, str)] if isinstance(found, list) else []
    return entries + [
        f"{toml(name)}={{env={{CC_RUN_ID={toml(request.run_id)}}}}}" for name in others if name not in own
    ]


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {str(key): str(kind) for key, kind in cast("dict[Any, Any]", value).items()}


def toml(text: str) -> str:
    """A TOML basic string. JSON's is one too, but for DEL and for surrogate pairs, which raw UTF-8 avoids."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
