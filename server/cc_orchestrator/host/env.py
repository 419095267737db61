"""The environment of a worker, by allow-list: system essentials, what its adapter documents, our marker. Pure.

Never another adapter's keys, never the controller's session markers, never our own switches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ESSENTIALS = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "TMPDIR", "TEMP", "TMP",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO",
    "SSH_AUTH_SOCK", "JAVA_HOME", "GOPATH", "GOROOT", "CARGO_HOME", "RUSTUP_HOME", "NVM_DIR", "PYENV_ROOT", "VIRTUAL_ENV",
    "SystemRoot", "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "APPDATA", "LOCALAPPDATA", "USERPROFILE", "PROGRAMDATA",
    "ProgramFiles", "HOMEDRIVE", "HOMEPATH", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE",
})  # fmt: skip
_PREFIXES = ("LC_", "XDG_")
#: Names that say in whose session a process runs: a worker is in nobody's.
MARKERS = frozenset({
    "CLAUDECODE", "CLAUDE_CODE_SESSION_ID", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT", "CLAUDE_PROJECT_DIR",
    "CLAUDE_CODE_CHILD_SESSION", "CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED", "CODEX_THREAD_ID", "CODEX_SESSION_ID",
    "XDG_SESSION_ID", "ANTHROPIC_SESSION_ID", "ANTHROPIC_WORK_ID",
})  # fmt: skip


def worker_env(parent: Mapping[str, str], allow: Sequence[str], extra: Mapping[str, str]) -> dict[str, str]:
    """`parent` filtered by the essentials and `allow` (names, or `PREFIX_*`), with `extra` put over it."""
    exact = {name for name in allow if not name.endswith("*")}
    prefixes = _PREFIXES + tuple(name[:-1] for name in allow if name.endswith("*"))
    kept = {
        name: value
        for name, value in parent.items()
        if (name in ESSENTIALS or name in exact or name.startswith(prefixes)) and name not in MARKERS
    }
    kept = {name: value for name, value in kept.items() if not name.startswith("CC_ORCHESTRATOR_")}
    return {**kept, **extra}
