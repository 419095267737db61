"""What a worker's tool call may do, before the full policy engine: pure, one published rule per decision.

Read-only runs may read; write runs may edit inside their worktree and run commands there; everything else asks. What is
denied is what no answer could make right: git's own files, a denied scope, our own command line.
A command that cannot be told apart (substitutions, here-documents) counts as what it might be.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from typing import NamedTuple

from cc_orchestrator.core.asking import Ruling, ToolCall
from cc_orchestrator.policy.globs import matches_any


class Posture(NamedTuple):
    """What this run may do. `cwd` is the root of its tree; `outbox` is its own folder for the controller."""

    allow_write: bool
    cwd: str
    outbox: str
    scope_allow: tuple[str, ...] = ()
    scope_deny: tuple[str, ...] = ()


_SECRET_PLACES = re.compile(
    r"(?:^|/)(?:\.ssh|\.aws|\.gnupg|\.kube|\.docker|\.netrc|\.npmrc|\.pypirc|\.git-credentials|\.env(?:\.[\w.-]+)?)(?:/|$)"
)
_PLAIN_ENV = re.compile(r"\.env\.(?:example|sample|template|dist)$")
_OWN_COMMAND = re.compile(r"(?:^|[\s/;&|(])(?:cc-orchestrator|cc_orchestrator)(?:[\s;&|)]|$)")
#: Programs that only read, whatever their arguments (arguments that break this are named below).
_READERS = frozenset({
    "cat", "head", "tail", "wc", "ls", "pwd", "grep", "egrep", "fgrep", "rg", "find", "file", "stat", "du", "tree", "diff", "cmp",
    "sort", "uniq", "cut", "tr", "nl", "basename", "dirname", "realpath", "readlink", "echo", "printf", "true", "which", "type", "date",
    "jq", "sha256sum", "md5sum", "fd",
})  # fmt: skip
_GIT_READERS = frozenset({
    "status", "log", "diff", "show", "ls-files", "ls-tree", "rev-parse", "blame", "grep", "describe", "shortlog", "cat-file", "rev-list",
    "merge-base", "name-rev", "show-ref", "for-each-ref", "whatchanged", "count-objects",
})  # fmt: skip
_WRITING_WORDS = re.compile(
    r"^(?:-exec(?:dir)?|-ok(?:dir)?|-delete|-fprint\w*|-fls|--output(?:=.*)?|-o|--in-place(?:=.*)?|--ext-diff|--textconv|--pre(?:=.*)?"
    r"|--hostname-bin(?:=.*)?|--open-files-in-pager(?:=.*)?|-O.*|-x|-X|--exec(?:-batch)?(?:=.*)?|--compress-program(?:=.*)?|-z|--files0-from(?:=.*)?)$"
)
_SHELL = re.compile(r"[`$<>(){}\\\n\r]|&(?!&)|(?<!\|)\|\|?(?!\|)?(?=$)")
#: Commands whose effect leaves the tree or the machine: they ask even in a write run.
_OUTWARD = re.compile(
    r"(?:^|[\s;&|(])(?:sudo|doas|su|ssh|scp|sftp|rsync|curl|wget|nc|ncat|telnet|ftp|docker|podman|kubectl|helm|terraform|aws|gcloud|az|gh|"
    r"systemctl|service|launchctl|crontab|mount|umount|mkfs\S*|dd|shutdown|reboot|npm\s+publish|twine|git\s+(?:[^;&|]*\s)?(?:push|remote|fetch|pull|clone|config\s+--global|"
    r"stash|worktree|submodule|update-ref|gc|filter-branch))(?:[\s;&|)]|$)"
)
_WRITE_TO = re.compile(
    r">{1,2}\s*([^\s;&|<>()]+)|(?:^|[\s;&|])(?:tee|cp|mv|rm|rmdir|mkdir|touch|ln|install|chmod|chown|truncate)\s+([^;&|]*)"
)


def decide(call: ToolCall, posture: Posture, resolve: Callable[[str], str] = os.path.realpath) -> Ruling:
    """Allow, ask or deny. `resolve` makes a path real (links, `..`); it is given only so that this stays pure in tests."""
    if call.kind == "command":
        return _command(call.command or call.target, posture, resolve)
    if call.kind == "edit":
        return _edit(call, posture, resolve)
    if call.kind == "read":
        return _read(call, resolve)
    if call.kind == "delegate":
        return Ruling("allow", "delegate.same-worker", "its own calls are judged one by one")
    if call.kind == "ask":
        return Ruling("allow", "ask.question", "a question harms nothing")
    return Ruling("ask", f"{call.kind}.asks", f"{call.tool} is neither a read nor an edit or command in the tree")


def _read(call: ToolCall, resolve: Callable[[str], str]) -> Ruling:
    for path in call.paths:
        real = resolve(path)
        if _SECRET_PLACES.search(real) and not _PLAIN_ENV.search(real):
            return Ruling("ask", "read.secret-place", f"{path} may hold secrets")
    return Ruling("allow", "read.anywhere", "reading is allowed")


def _edit(call: ToolCall, posture: Posture, resolve: Callable[[str], str]) -> Ruling:
    if not call.paths:
        return Ruling("ask", "edit.no-path", f"{call.tool} names no file")
    rulings = [_edit_path(path, posture, resolve) for path in call.paths]
    return next((ruling for ruling in rulings if ruling.decision != "allow"), rulings[-1])


def _edit_path(path: str, posture: Posture, resolve: Callable[[str], str]) -> Ruling:
    root, outbox = resolve(posture.cwd), resolve(posture.outbox)
    real = resolve(path if os.path.isabs(path) else os.path.join(posture.cwd, path))
    if _inside(real, outbox):
        return Ruling("allow", "edit.outbox", "the run's own outbox")
    if not posture.allow_write:
        return Ruling("ask", "edit.read-only-run", f"this run is read-only; it wants to change {path}")
    if not _inside(real, root):
        return Ruling("ask", "edit.outside", f"{path} lies outside the run's tree")
    inner = os.path.relpath(real, root).replace(os.sep, "/")
    if inner == ".git" or inner.startswith(".git/") or "/.git/" in f"/{inner}/":
        return Ruling("deny", "edit.git-files", f"{path} belongs to git itself")
    if matches_any(inner, posture.scope_deny):
        return Ruling("deny", "edit.scope-deny", f"{inner} is denied by this run's scope")
    if posture.scope_allow and not matches_any(inner, posture.scope_allow):
        return Ruling(
            "deny", "edit.scope-allow", f"{inner} is not in this run's scope ({', '.join(posture.scope_allow[:8])})"
        )
    return Ruling("allow", "edit.own-tree", "inside the run's own tree")


def _inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _command(command: str, posture: Posture, resolve: Callable[[str], str]) -> Ruling:
    if _OWN_COMMAND.search(command):
        return Ruling("deny", "command.orchestrator", "a worker starts, answers and accepts nothing")
    if reads_only(command):
        return _command_reads(command, posture, resolve)
    if not posture.allow_write:
        return Ruling("ask", "command.read-only-run", "this run is read-only; the command may change something")
    if _OUTWARD.search(command):
        return Ruling("ask", "command.outward", "its effect leaves the run's tree")
    outside = _writes_outside(command, posture, resolve)
    if outside:
        return Ruling("ask", "command.outside", f"it names {outside}, outside the run's tree")
    return Ruling("allow", "command.own-tree", "runs in the run's own tree")


def _command_reads(command: str, posture: Posture, resolve: Callable[[str], str]) -> Ruling:
    for word in command.replace(";", " ").replace("|", " ").replace("&", " ").split():
        bare = word.strip("'\"")
        if _SECRET_PLACES.search(bare) and not _PLAIN_ENV.search(bare):
            return Ruling("ask", "command.secret-place", f"{bare} may hold secrets")
    return Ruling("allow", "command.reads", "only reads")


def reads_only(command: str) -> bool:
    """Whether every part of a command line is a known reader with harmless arguments, and the shell adds nothing."""
    if _SHELL.search(command.replace("2>&1", " ").replace("2>/dev/null", " ").replace("&&", ";").replace("||", ";")):
        return False
    cleaned = (
        command.replace("2>&1", " ").replace("2>/dev/null", " ").replace("&&", ";").replace("||", ";").replace("|", ";")
    )
    parts = [part.strip() for part in _split(cleaned)]
    return bool(parts) and all(_part_reads(part) for part in parts if part) and any(parts)


def _split(command: str) -> list[str]:
    """Parts between semicolons outside quotes."""
    parts: list[str] = []
    part = quote = ""
    for char in command:
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == ";":
            parts.append(part)
            part = ""
            continue
        part += char
    return [*parts, part]


def _part_reads(part: str) -> bool:
    try:
        words = shlex.split(part)
    except ValueError:
        return False
    if not words or "=" in words[0]:
        return False
    program = words[0]
    if program == "cd":
        return len(words) <= 2
    if program == "git":
        return _git_reads(words[1:])
    if program not in _READERS or (program == "sort" and any(word.startswith("-o") for word in words)):
        return False
    return not any(_WRITING_WORDS.match(word) for word in words[1:])


def _git_reads(words: list[str]) -> bool:
    while words and words[0] in ("--no-pager", "-P"):
        words = words[1:]
    if len(words) >= 2 and words[0] == "-C":
        words = words[2:]
    if not words or words[0] not in _GIT_READERS:
        return words[:1] == ["branch"] and all(
            word in ("-a", "-r", "-v", "-vv", "--list", "--show-current") for word in words[1:]
        )
    return not any(_WRITING_WORDS.match(word) for word in words[1:])


def _writes_outside(command: str, posture: Posture, resolve: Callable[[str], str]) -> str:
    """A path that a command plainly writes to outside the tree; "" when none is seen. A sandbox is what really holds."""
    root, outbox = resolve(posture.cwd), resolve(posture.outbox)
    for match in _WRITE_TO.finditer(command):
        for word in (match.group(1) or match.group(2) or "").split():
            name = word.strip("'\"")
            if name.startswith(("-", "&")) or name in ("/dev/null", "/dev/stdout", "/dev/stderr"):
                continue
            if not (name.startswith(("/", "~")) or ".." in name.split("/")):
                continue
            real = resolve(os.path.expanduser(name) if name.startswith("~") else os.path.join(posture.cwd, name))
            if not (_inside(real, root) or _inside(real, outbox) or _inside(real, "/tmp")):  # noqa: S108 - the system's scratch
                return name
    return ""
