"""Registers this installation with Codex and Claude Code, and takes it out again. `install.sh` runs it; it needs no node.

    python install/register.py [--client codex] [--client claude] [--dry-run] [--yes] [--uninstall] [--copy-skill]

It shows what it would change, asks, keeps a copy of each file beside it (`*.before-cc-orchestrator`), and touches nothing but our
entries: `[mcp_servers.cc-orchestrator]` in Codex's config.toml, `mcpServers.cc-orchestrator` in Claude Code's .claude.json (user
scope: what `claude mcp add -s user` writes), and a folder `cc-orchestrator` in the skills folder of each.
Exit status: 0 done or nothing to do, 1 not done, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import difflib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import skills
import tomlkit
from edits import EditError, cut_json, cut_toml, put_json, put_toml, same_but_for

from cc_orchestrator.adapters.catalog import adapter, names
from cc_orchestrator.host.env import ESSENTIALS
from cc_orchestrator.store.assets import asset_folder

SERVER = "cc-orchestrator"
CLIENTS = ("codex", "claude")
TOML_KEY = ("mcp_servers", SERVER)
JSON_KEY = ("mcpServers", SERVER)
SAVED = ".before-cc-orchestrator"
#: Codex hands these five on by itself.
_GIVEN = frozenset({"HOME", "LANG", "PATH", "TERM", "TMPDIR"})
#: The marker of a worker is among them: without it a worker's own Codex would open a door that takes it for a controller.
_OURS = (
    "CC_RUN_ID", "CC_ORCHESTRATOR_WORKSPACE_ROOT", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
    "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "LC_ALL", "CODEX_HOME", "CLAUDE_CONFIG_DIR",
)  # fmt: skip
_WINDOWS = frozenset({
    "APPDATA", "LOCALAPPDATA", "USERPROFILE", "PROGRAMDATA", "ProgramFiles", "HOMEDRIVE", "HOMEPATH", "SystemRoot", "SYSTEMROOT",
    "WINDIR", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "TEMP", "TMP",
})  # fmt: skip

#: Codex takes names only, so the groups that adapters allow are spelled out: the documented ones, and those set right now.
_GROUPS: dict[str, tuple[str, ...]] = {
    "ANTHROPIC_*": (
        "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_BETAS", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_SMALL_FAST_MODEL",
        "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_VERTEX_BASE_URL", "ANTHROPIC_VERTEX_PROJECT_ID",
    ),
    "AWS_*": (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_BEARER_TOKEN_BEDROCK", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
    ),
}  # fmt: skip


class Change(NamedTuple):
    """One file before and after; None where there is none."""

    path: str
    old: str | None
    new: str | None
    #: Whether `new` is the saved copy, which is then of no more use.
    restored: bool = False


def main(argv: Sequence[str]) -> int:
    """The whole of it."""
    given = _parser().parse_args(argv)
    clients = tuple(dict.fromkeys(given.client)) or found_clients(os.environ)
    if not clients:
        return _fail(
            "neither Codex nor Claude Code was found for this user; name one: --client codex or --client claude"
        )
    try:
        changes = [_plan(client, given, os.environ) for client in clients]
        moves = [
            skills.plan(_skill_target(client, os.environ), asset_folder("skill"), given.uninstall) for client in clients
        ]
    except (EditError, OSError, skills.SkillError) as error:
        return _fail(f"{error}; nothing was changed")
    changes = [change for change in changes if change.old != change.new]
    moves = [move for move in moves if move.what != "nothing"]
    if not changes and not moves:
        _say(
            f"nothing to do: {SERVER} is {'not registered' if given.uninstall else 'registered'} ({', '.join(clients)})"
        )
        return 0
    for change in changes:
        _show(change)
    for move in moves:
        _say(str(move))
    if given.dry_run:
        _say("dry run: nothing was changed")
        return 0
    if not given.yes and not _agreed():
        return _fail("nothing was changed")
    return _carry_out(changes, moves, given)


def _carry_out(changes: Sequence[Change], moves: Sequence[skills.Move], given: argparse.Namespace) -> int:
    try:
        for change in changes:
            _write(change, given.uninstall)
        for move in moves:
            skills.do(move, copy=given.copy_skill)
    except (OSError, EditError, skills.SkillError) as error:
        return _fail(f"stopped half way: {error}; run the command again")
    _say("done" if given.uninstall else "done; restart the client, then ask it to call cc_doctor")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="install.sh", description="Register cc-orchestrator with Codex and Claude Code."
    )
    parser.add_argument(
        "--client", action="append", choices=CLIENTS, default=[], help="default: those found for this user"
    )
    parser.add_argument("--dry-run", action="store_true", help="show the changes, make none")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--uninstall", action="store_true", help="take the entries and skills out again")
    parser.add_argument("--copy-skill", action="store_true", help="copy the skill instead of linking it")
    parser.add_argument(
        "--codex-approval", choices=("auto", "prompt", "writes", "approve"), default="approve",
        help="Codex's approval mode for our tools; `codex exec` refuses most of them in any mode but approve",
    )  # fmt: skip
    return parser


# ---------------------------------------------------------------- where clients keep things


def found_clients(env: Mapping[str, str]) -> tuple[str, ...]:
    """The clients that this user has: on PATH, or with settings of theirs."""
    seen = {
        "codex": os.path.isdir(codex_home(env)),
        "claude": os.path.exists(claude_file(env)) or os.path.isdir(claude_home(env)),
    }
    return tuple(name for name in CLIENTS if seen[name] or shutil.which(name, path=env.get("PATH")))


def codex_home(env: Mapping[str, str]) -> str:
    """Codex's folder."""
    return env.get("CODEX_HOME") or os.path.join(os.path.expanduser("~"), ".codex")


def claude_home(env: Mapping[str, str]) -> str:
    """Claude Code's folder."""
    return env.get("CLAUDE_CONFIG_DIR") or os.path.join(os.path.expanduser("~"), ".claude")


def claude_file(env: Mapping[str, str]) -> str:
    """The file that holds Claude Code's servers of user scope."""
    return os.path.join(env.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~"), ".claude.json")


def _skill_target(client: str, env: Mapping[str, str]) -> str:
    return os.path.join(codex_home(env) if client == "codex" else claude_home(env), "skills", SERVER)


# ---------------------------------------------------------------- what shall stand there


def _plan(client: str, given: argparse.Namespace, env: Mapping[str, str]) -> Change:
    path = os.path.join(codex_home(env), "config.toml") if client == "codex" else claude_file(env)
    old = _read(path)
    try:
        if given.uninstall:
            return _taken_out(client, path, old)
        if client == "codex":
            return Change(path, old, put_toml(old or "", *TOML_KEY, codex_lines(given.codex_approval, env)))
        return Change(path, old, put_json(old or "", JSON_KEY, claude_entry()))
    except EditError as error:
        raise EditError(f"{path}: {error}") from error


def _taken_out(client: str, path: str, old: str | None) -> Change:
    saved = _read(path + SAVED)
    if old is None:
        return Change(path, None, None)
    if client == "codex":
        new = cut_toml(old, *TOML_KEY)
        return Change(path, old, None if not new and saved is None else new, restored=new == saved)
    new = cut_json(old, JSON_KEY)
    if new == old:
        return Change(path, old, old)
    if saved is not None and same_but_for(new, saved, JSON_KEY):
        return Change(path, old, saved, restored=True)
    if saved is None and same_but_for(new, "{}", JSON_KEY):
        return Change(path, old, None)
    return Change(path, old, new)


def server_argv() -> list[str]:
    """This interpreter, blind to the project's own files and to PYTHON* variables, with our door."""
    return [os.path.abspath(sys.executable), "-I", "-m", "cc_orchestrator", "mcp"]


def claude_entry() -> dict[str, Any]:
    """What `claude mcp add -s user` writes, and `alwaysLoad`.

    Without it Claude Code 2.1 builds the first prompt before our server has answered: a `claude -p` session starts without these
    tools. With it, it waits up to five seconds (MCP_CONNECT_TIMEOUT_MS) and never hides them behind its tool search.
    """
    command, *args = server_argv()
    return {"type": "stdio", "command": command, "args": args, "env": {}, "alwaysLoad": True}


def codex_lines(approval: str, env: Mapping[str, str]) -> list[str]:
    """The lines of our table in Codex's config.toml."""
    command, *args = server_argv()
    shown = {name: tomlkit.item(value).as_string() for name, value in (("command", command), ("args", args))}
    return [
        f"command = {shown['command']}",
        f"args = {shown['args']}",
        "# Without `required` Codex goes on without these tools, in silence, when they take more than about a second.",
        "required = true",
        "startup_timeout_sec = 30",
        "tool_timeout_sec = 300",
        f'default_tools_approval_mode = "{approval}"',
        "# Codex hands a server five variables only; these are the ones that workers need, if they are set.",
        "env_vars = [",
        *(f'  "{name}",' for name in passed_on(env)),
        "]",
    ]


def passed_on(env: Mapping[str, str]) -> list[str]:
    """Names of the variables that Codex shall hand to our door, so that workers get theirs."""
    wanted = set(_OURS) | (ESSENTIALS if os.name == "nt" else ESSENTIALS - _WINDOWS)
    for name in names():
        known = adapter(name)
        if not known.executables:
            continue  # the bundled worker needs nothing
        for entry in (*known.env_allow, *known.secret_env, known.executable_env):
            if entry.endswith("*"):
                wanted |= {*_GROUPS.get(entry, ()), *(given for given in env if given.startswith(entry[:-1]))}
            elif entry:
                wanted.add(entry)
    return sorted(wanted - _GIVEN)


# ---------------------------------------------------------------- doing


def _show(change: Change) -> None:
    """The difference without context: the lines around ours may hold other people's secrets."""
    old, new = (change.old or "").splitlines(), (change.new or "").splitlines()
    after = "(removed)" if change.new is None else change.path
    for line in difflib.unified_diff(
        old, new, change.path if change.old is not None else "(new file)", after, lineterm="", n=0
    ):
        _say(line)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        sys.stderr.write("error: this is no terminal, so nobody can agree; add --yes\n")
        return False
    sys.stdout.write("Make these changes? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _write(change: Change, uninstall: bool) -> None:
    path = os.path.realpath(change.path)
    if _read(path) != change.old:
        raise EditError(f"{change.path} was changed by somebody else just now")
    saved = change.path + SAVED
    if change.new is None:
        os.unlink(path)
        return
    if change.old is not None and not uninstall and not _holds_ours(change):
        shutil.copy2(path, saved)
    _replace(path, change.new)
    if change.restored and os.path.exists(saved):
        os.unlink(saved)
    elif uninstall and os.path.exists(saved):
        _say(f"kept: {saved} (other settings were changed since)")


def _holds_ours(change: Change) -> bool:
    old = change.old or ""
    return cut_toml(old, *TOML_KEY) != old if change.path.endswith(".toml") else cut_json(old, JSON_KEY) != old


def _replace(path: str, text: str) -> None:
    """Atomically, with the mode that the file had (0600 for a new one)."""
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".cc-orchestrator-")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise EditError(f"{path} is no UTF-8 text") from error


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _fail(text: str) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"error: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
