"""What a fresh worktree lacks of the user's checkout, and what is lent to it: ignored files by `.worktreeinclude`, links to folders.

Nothing that is lent can become part of a result: git ignores it in the worktree, or it is not lent. Standard library only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.late import load
from cc_orchestrator.core.secretfiles import is_secret_file
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.worktree import OURS, Repo, exclude

INCLUDE = ".worktreeinclude"
MAX_FILES = 2_000
MAX_BYTES = 200_000_000
_SECONDS = 20.0


class Refused(NamedTuple):
    """One path that was asked for and is not lent."""

    path: str
    why: str


class Lent(NamedTuple):
    """Paths relative to the tree's root."""

    copied: list[str]
    linked: list[str]
    refused: list[Refused]

    @property
    def paths(self) -> list[str]:
        """Everything that lies in the worktree and is not the worker's."""
        return [*self.copied, *self.linked]


def find_missing(checkout: str) -> list[str]:
    """`path (modified | deleted | untracked | ignored)` of what a commit's tree does not hold. Raises GitError, Unavailable."""
    out = Git(checkout).run(
        "status", "--porcelain", "-z", "--ignored=traditional", "--untracked-files=normal", "--ignore-submodules=dirty", "--", ".",
        f":(exclude){OURS}", timeout=_SECONDS,
    )  # fmt: skip
    fields = iter(out.decode("utf-8", "replace").split("\0"))
    found: list[str] = []
    for row in fields:
        if len(row) < 4:
            continue
        code, path = row[:2], row[3:]
        if "R" in code or "C" in code:
            next(fields, None)
        if path.rstrip("/") == OURS:
            continue
        word = {"??": "untracked", "!!": "ignored"}.get(code) or ("deleted" if "D" in code else "modified")
        found.append(f"{path} ({word})")
    return found


def find_included(checkout: str, grants: Sequence[str]) -> tuple[list[str], list[Refused]]:
    """Ignored files that the checkout's `.worktreeinclude` (gitignore syntax) names; secrets only by a grant of their path.

    Raises GitError, Unavailable.
    """
    rules = os.path.join(checkout, INCLUDE)
    if not os.path.isfile(rules) or os.path.islink(rules):
        return [], []
    git = Git(checkout)
    raw = git.run("ls-files", "-o", "-i", f"--exclude-from={rules}", "-z", timeout=_SECONDS)
    named = [
        name for name in raw.decode("utf-8", "surrogateescape").split("\0") if name and not name.startswith(f"{OURS}/")
    ]
    ignored = find_ignored(git, named[: 10 * MAX_FILES])
    found: list[str] = []
    refused: list[Refused] = []
    if len(named) > 10 * MAX_FILES:
        refused.append(Refused(INCLUDE, f"it names {len(named)} files; only the first {10 * MAX_FILES} were looked at"))
    room = MAX_BYTES
    for name in named:
        if name not in ignored:
            continue
        why, size = _judge(checkout, name, grants)
        room -= size
        if not why and (len(found) >= MAX_FILES or room < 0):
            why = f"over the bound of {MAX_FILES} files and {MAX_BYTES} bytes"
        if why:
            refused.append(Refused(name, why))
        else:
            found.append(name)
    return found, refused


def _judge(checkout: str, name: str, grants: Sequence[str]) -> tuple[str, int]:
    """`(why not, bytes)`."""
    full = os.path.join(checkout, name)
    if is_secret_file(name) and name not in grants:
        return "it holds secrets by its name: a grant of this path is needed", 0
    try:
        info = os.lstat(full)
    except OSError as error:
        return f"it cannot be read: {error.strerror}", 0
    if not stat.S_ISREG(info.st_mode) or not _lies_in(checkout, full):
        return "it is no regular file of this checkout", 0
    return "", info.st_size


def find_ignored(git: Git, names: Sequence[str]) -> set[str]:
    """Those of some paths that git ignores there. Raises GitError, Unavailable."""
    if not names:
        return set()
    data = b"\0".join(name.encode("utf-8", "surrogateescape") for name in names) + b"\0"
    args = ("check-ignore", "-z", "--stdin")
    status, out, err = git.try_run(*args, input=data, timeout=_SECONDS)
    if status > 1:
        raise GitError(args, status, err)
    return {name for name in out.decode("utf-8", "surrogateescape").split("\0") if name}


def _lies_in(root: str, full: str) -> bool:
    """Whether the folder of a path is below `root`, links resolved."""
    return (os.path.realpath(os.path.dirname(full)) + os.sep).startswith(os.path.realpath(root) + os.sep)


def lend(repo: Repo, checkout: str, worktree: str, *, links: Sequence[str], grants: Sequence[str]) -> Lent:
    """Copy and link. What cannot be lent is named with its reason. Raises GitError, CcError, OSError."""
    included, refused = find_included(checkout, grants)
    here = Git(worktree)
    ignored = find_ignored(here, included)
    copied: list[str] = []
    for name in included:
        why = (
            "git does not ignore it in the worktree: it would become part of the result" if name not in ignored else ""
        )
        why = why or _copy(checkout, worktree, name)
        if why:
            refused.append(Refused(name, why))
        else:
            copied.append(name)
    linked: list[str] = []
    for name in links:
        why = _link(repo, checkout, here, name)
        if why:
            refused.append(Refused(name, why))
        else:
            linked.append(name.strip("/"))
    return Lent(copied, linked, refused)


def _copy(checkout: str, worktree: str, name: str) -> str:
    target = os.path.join(worktree, name)
    if os.path.lexists(target):
        return "the tree has one of its own"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not _lies_in(worktree, target):
            return "its folder is a link in the tree"
        load("shutil").copy2(os.path.join(checkout, name), target, follow_symlinks=False)
    except OSError as error:
        return f"it cannot be copied: {error.strerror}"
    return ""


def _link(repo: Repo, checkout: str, here: Git, name: str) -> str:
    path = name.strip("/")
    parts = path.split("/")
    if not path or os.path.isabs(name) or ".." in parts or parts[0] in (".git", OURS):
        return "a relative path below the checkout is expected"
    source, target = os.path.join(checkout, path), os.path.join(here.cwd, path)
    if not os.path.exists(source):
        return "the checkout has none"
    if path not in find_ignored(Git(checkout), [path]):
        return "git does not ignore it in the checkout: what belongs to the project is in the tree already"
    if os.path.lexists(target):
        return "the tree has one of its own"
    # A rule such as `node_modules/` covers a folder and not a link: without one of our own `git add` would take the link.
    exclude(repo, f"/{path}")
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not _lies_in(here.cwd, target):
        return "its folder is a link in the tree"
    os.symlink(os.path.abspath(source), target)
    try:
        kept = path in find_ignored(here, [path])
    except (GitError, CcError):
        kept = False
    if not kept:
        os.unlink(target)
        return "git would not ignore the link in the worktree"
    return ""


def find_committed(git: Git, base: str, head: str, paths: Sequence[str]) -> list[str]:
    """Those of some paths that a commit between `base` and `head` touches. Raises GitError, Unavailable."""
    if not paths:
        return []
    wanted = set(paths)
    found: set[str] = set()
    for start in range(0, len(paths), 200):
        chunk = [f":(literal){path}" for path in paths[start : start + 200]]
        raw = git.run(
            "log",
            "--format=",
            "--name-only",
            "-z",
            "-m",
            "--no-renames",
            f"{base}..{head}",
            "--",
            *chunk,
            timeout=_SECONDS,
        )
        found |= {name.strip("\n") for name in raw.decode("utf-8", "surrogateescape").split("\0")}
    return sorted(name for name in found if name in wanted or any(name.startswith(f"{path}/") for path in wanted))
