"""What a run may do, and where its paths lead: every path is made real first, then named by the place it lies in. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from cc_orchestrator.policy.globs import matches_any

Place = Literal[
    "tree", "outbox", "git", "records", "policies", "secret", "checkout", "null", "tmp", "system", "outside", "unknown"
]
#: What a change of a file in the tree reaches beyond it.
Touch = Literal["", "ci", "dependencies", "migration", "agent"]


class Posture(NamedTuple):
    """One run's bounds. `cwd` is the root of its tree; `outbox` its own folder for the controller; `trust` T0 to T3.

    `records` is the workspace's own folder, `checkout` the user's own tree, `state` our per-user folder, `home` the user's.
    `commands`: beginnings of command lines that were declared; empty means those of the tree.
    """

    allow_write: bool
    cwd: str
    outbox: str
    scope_allow: tuple[str, ...] = ()
    scope_deny: tuple[str, ...] = ()
    trust: int = 1
    role: str = "implementation"
    sandbox: str = "none"
    commands: tuple[str, ...] = ()
    records: str = ""
    checkout: str = ""
    state: str = ""
    home: str = ""


class Spot(NamedTuple):
    """Where a path really leads. `inner` is it relative to the tree, "" elsewhere."""

    place: Place
    real: str = ""
    inner: str = ""
    in_scope: bool = True
    scope_denied: bool = False
    touches: Touch = ""
    declared: bool = False


Resolve = Callable[[str], str]

_SECRET = re.compile(
    r"(?:^|/)(?:\.ssh|\.aws|\.gnupg|\.kube|\.docker|\.netrc|\.npmrc|\.pypirc|\.git-credentials|\.env(?:\.[\w.-]+)?|\.config/gcloud"
    r"|\.config/gh|\.azure|\.password-store|\.vault-token|\.pgpass|\.mozilla|\.config/google-chrome|Keychains|id_(?:rsa|dsa|ecdsa|ed25519)"
    r"|\.credentials\.json|\.codex/auth\.json)(?:/|$)|^/etc/(?:shadow|gshadow|sudoers)|^/proc/[^/]+/(?:environ|mem)$"
)
_PLAIN_ENV = re.compile(r"\.env\.(?:example|sample|template|dist)$")
_TOUCHES: tuple[tuple[Touch, re.Pattern[str]], ...] = (
    ("ci", re.compile(r"^(?:\.github/|\.gitlab-ci|\.circleci/|\.buildkite/|Jenkinsfile|azure-pipelines|\.travis|\.drone|bitbucket-pipelines|\.ci/)")),
    ("agent", re.compile(r"^(?:\.claude/|\.codex/|\.gemini/|\.cursor/|\.opencode/|\.mcp\.json$)|(?:^|/)(?:CLAUDE|AGENTS|GEMINI)\.md$")),
    ("migration", re.compile(r"(?:^|/)(?:migrations?|alembic/versions|db/migrate)/[^/]")),
    ("dependencies", re.compile(
        r"(?:^|/)(?:package(?:-lock)?\.json|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|requirements[\w.-]*\.txt|poetry\.lock|uv\.lock|Pipfile(?:\.lock)?"
        r"|Cargo\.(?:toml|lock)|go\.(?:mod|sum)|Gemfile(?:\.lock)?|composer\.(?:json|lock)|pom\.xml|build\.gradle(?:\.kts)?)$"
    )),
)  # fmt: skip
_SYSTEM = (
    "/etc",
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/boot",
    "/dev",
    "/proc",
    "/sys",
    "/var",
    "/run",
    "/opt",
    "/root",
)
_NULL = frozenset(
    {"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/stdin", "/dev/tty", "/dev/zero", "/dev/urandom", "/dev/random"}
)
_TMP = ("/tmp", "/var/tmp", "/private/tmp")  # noqa: S108 - the system's scratch


def locate(path: str, posture: Posture, resolve: Resolve, base: str | None = None) -> Spot:
    """The place of a path; a relative one counts from `base` (default: the tree's root)."""
    if "\0" in path:
        return Spot("unknown")
    if path in _NULL or path.startswith("/dev/fd/"):
        return Spot("null", path)
    full = path if os.path.isabs(path) else os.path.join(base or posture.cwd, path)
    # The name that was given counts beside what it leads to: a link that is called .ssh is one, whatever is behind it.
    real = resolve(full)
    root = resolve(posture.cwd)
    if is_inside(real, resolve(posture.outbox)):
        return Spot("outbox", real)
    if is_inside(real, root):
        return _in_tree(real, root, posture)
    return Spot(_outside(real, full, posture, resolve), real)


def _outside(real: str, full: str, posture: Posture, resolve: Resolve) -> Place:
    records = resolve(posture.records) if posture.records else ""
    if records and is_inside(real, records):
        return "policies" if is_inside(real, os.path.join(records, "policies")) else "records"
    if posture.state and is_inside(real, resolve(posture.state)):
        return "records"
    if is_secret(real) or is_secret(full):
        return "secret"
    if f"{os.sep}.git{os.sep}" in real + os.sep:
        return "git"
    if posture.checkout and is_inside(real, resolve(posture.checkout)):
        return "checkout"
    if any(is_inside(real, folder) for folder in _TMP):
        return "tmp"
    at_home = bool(posture.home) and is_inside(real, resolve(posture.home))
    return "system" if not at_home and any(is_inside(real, folder) for folder in _SYSTEM) else "outside"


def _in_tree(real: str, root: str, posture: Posture) -> Spot:
    inner = os.path.relpath(real, root).replace(os.sep, "/")
    if inner == ".git" or "/.git/" in f"/{inner}/":
        return Spot("git", real, inner)
    denied = matches_any(inner, posture.scope_deny)
    declared = bool(posture.scope_allow) and matches_any(inner, posture.scope_allow)
    if is_secret(inner):
        return Spot("secret", real, inner, declared or not posture.scope_allow, denied, declared=declared)
    touches = _touches(inner)
    return Spot("tree", real, inner, declared or not posture.scope_allow, denied, touches, declared)


def _touches(inner: str) -> Touch:
    for touch, pattern in _TOUCHES:
        if pattern.search(inner):
            return touch
    return ""


def is_secret(path: str) -> bool:
    """Whether files of this name hold secrets by habit."""
    return _SECRET.search(path) is not None and _PLAIN_ENV.search(path) is None


def is_inside(path: str, root: str) -> bool:
    """Whether a real path is `root` or below it."""
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
