"""The state of a tree as a commit, without touching its index, branch or files; and a digest to tell whether a tree changed.

A private copy of the index takes everything in (`add -A`), so an index lock left by a killed git does no harm, and flags by which
git is told not to look at a file (`indexflags`) hide nothing. The commit is kept by a ref under `refs/cc/`. What the worker
committed and what it left uncommitted stay told apart.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.late import load
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.indexflags import Veil, leave_out, lift_veil
from cc_orchestrator.host.lending import find_committed
from cc_orchestrator.host.scratch import ScratchFolder

_SECONDS = 120.0


class ChangedFile(NamedTuple):
    """One file between base and result. `status` is A, M, D, R or T; counts are None for binary files; `mode` is octal."""

    path: str
    status: str
    old_path: str | None
    added: int | None
    deleted: int | None
    mode: str


class Snapshot(NamedTuple):
    """A result: `head` is the worker's last commit, `commit` the result (the same when nothing was left uncommitted).

    `incomplete` says in git's words which files could not be taken (unreadable, a repository without a commit); else None.
    `hidden` are changed files that flags in the index kept from git's eyes: they are in the result. `absent` counts the files
    that a sparse checkout leaves out: they stay as they were.
    """

    base: str
    head: str
    committed: int
    commit: str
    tree: str
    uncommitted: bool
    files: list[ChangedFile]
    ignored: list[str]
    incomplete: str | None
    hidden: Sequence[str] = ()
    absent: int = 0


def snapshot(
    worktree: str, *, base: str, ref: str, message: str, commit_on_branch: bool, exclude: Sequence[str] = ()
) -> Snapshot:
    """Take it; `exclude` (paths) is not the worker's and never part of it. Raises GitError, Unavailable, OSError.

    `commit_on_branch` also moves the worktree's branch and index onto it.
    """
    git = Git(worktree, as_orchestrator=True)
    head = git.text("rev-parse", "--verify", "HEAD^{commit}")
    tree, incomplete, veil = _write_tree(git, exclude)
    uncommitted = tree != git.text("rev-parse", f"{head}^{{tree}}")
    commit = git.text("commit-tree", tree, "-p", head, "-m", message) if uncommitted else head
    git.run("update-ref", "-m", "cc-orchestrator: result", ref, commit)
    if commit_on_branch and uncommitted:
        _move_branch(git, head, commit, veil.absent)
    committed = int(git.text("rev-list", "--count", f"{base}..{head}"))
    taken = find_committed(git, base, head, exclude)
    if taken:
        incomplete = f"the worker committed what was only lent to it: {', '.join(taken[:5])}" + (
            f"; {incomplete}" if incomplete else ""
        )
    return Snapshot(
        base,
        head,
        committed,
        commit,
        tree,
        uncommitted,
        changed_files(git, base, commit),
        ignored_files(git),
        incomplete,
        veil.hidden,
        len(veil.absent),
    )


def _write_tree(git: Git, exclude: Sequence[str]) -> tuple[str, str | None, Veil]:
    index = git.text("rev-parse", "--path-format=absolute", "--git-path", "index")
    # Beside the real one: what a kill leaves there goes with the worktree.
    with ScratchFolder(os.path.dirname(index), "cc-index-") as folder:
        private = os.path.join(folder, "index")
        if os.path.exists(index):
            # With its time: git reads a file again only if it is not older than the index. A copy with a time of its own
            # would hide a change of the same size made within the second of the checkout.
            load("shutil").copy2(index, private)
        env = {"GIT_INDEX_FILE": private}
        veil = lift_veil(git, env)
        # advice.addEmbeddedRepo: a repository that the worker made inside becomes a gitlink, silently.
        # One file that cannot be taken must not cost all the others.
        add = ("-c", "advice.addEmbeddedRepo=false", "add", "-A", "--sparse", "--ignore-errors", "--", ".")
        status, _out, err = git.try_run(*add, timeout=_SECONDS, env=env)
        if status > 1:
            raise GitError(add, status, err)
        if exclude:
            # Ignored as it is, it may have been forced into the index, or its rule undone. Not by an exclude pathspec of `add`:
            # git takes that for a request to add what is ignored, and fails.
            names = b"\0".join(path.encode("utf-8", "surrogateescape") for path in exclude) + b"\0"
            git.run("rm", "-r", "-q", "--cached", "--ignore-unmatch", "--pathspec-from-file=-", "--pathspec-file-nul",
                    input=names, env={**env, "GIT_LITERAL_PATHSPECS": "1"}, timeout=_SECONDS)  # fmt: skip
        return git.text("write-tree", env=env, timeout=_SECONDS), err.strip()[:500] if status else None, veil


def _move_branch(git: Git, head: str, commit: str, absent: list[bytes]) -> None:
    """Branch and index go to the snapshot; files already are as it says. A detached HEAD moves alone."""
    name = git.try_run("symbolic-ref", "-q", "HEAD")[1].decode("utf-8", "replace").strip() or "HEAD"
    git.run("update-ref", "-m", "cc-orchestrator: snapshot", name, commit, head)
    git.run("read-tree", commit, timeout=_SECONDS)
    leave_out(git, absent)


def changed_files(git: Git, base: str, commit: str) -> list[ChangedFile]:
    """Files that differ between two commits, renames found."""
    raw = git.run("diff-tree", "-r", "-M", "-z", "--raw", "--no-abbrev", base, commit, timeout=_SECONDS)
    counts = _counts(git.run("diff-tree", "-r", "-M", "-z", "--numstat", base, commit, timeout=_SECONDS))
    fields = raw.decode("utf-8", "surrogateescape").split("\0")
    found: list[ChangedFile] = []
    position = 0
    while position < len(fields) and fields[position]:
        _old_mode, mode, _old, _new, status = fields[position].lstrip(":").split(" ")
        old_path = None
        path = fields[position + 1]
        position += 2
        if status[0] in "RC":
            old_path, path = path, fields[position]
            position += 1
        added, deleted = counts.get(path, (0, 0))
        found.append(ChangedFile(_utf8(path), status[0], _utf8(old_path) if old_path else None, added, deleted, mode))
    return found


def _utf8(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _counts(raw: bytes) -> dict[str, tuple[int | None, int | None]]:
    fields = raw.decode("utf-8", "surrogateescape").split("\0")
    found: dict[str, tuple[int | None, int | None]] = {}
    position = 0
    while position < len(fields) and fields[position]:
        added, deleted, path = fields[position].split("\t", 2)
        position += 1
        if not path:
            path = fields[position + 1]
            position += 2
        found[path] = (None, None) if added == "-" else (int(added), int(deleted))
    return found


def ignored_files(git: Git) -> list[str]:
    """Ignored files and folders that are there; in a fresh worktree the worker or its commands made them."""
    raw = git.run("ls-files", "-o", "-i", "--exclude-standard", "--directory", "-z", timeout=_SECONDS)
    return [name for name in raw.decode("utf-8", "replace").split("\0") if name][:1000]


class Fence(NamedTuple):
    """Digests of a checkout: where HEAD is, what is staged, and changed and untracked files. Equal means untouched."""

    head: str
    staged: str
    files: str


def fence(root: str) -> Fence:
    """The fence of a checkout now. Raises Unavailable."""
    git = Git(root)
    head = sha256()
    for args in (("rev-parse", "--verify", "-q", "HEAD"), ("symbolic-ref", "-q", "HEAD")):
        head.update(git.try_run(*args)[1] + b"\0")
    args = ("status", "--porcelain=v2", "-z", "--untracked-files=all", "--", ".", ":(exclude).agent-workspace")
    code, status, _err = git.try_run(*args, timeout=60.0)
    status = status if code == 0 else b"?"
    staged, files = sha256(), sha256()
    for row in status.split(b"\0"):
        if not row:
            continue
        # `1 XY …`: X is the index against HEAD, Y the file against the index.
        if row[:1] in b"12u" and row[2:3] != b".":
            staged.update(row + b"\0")
        if row[:1] not in b"12" or row[3:4] != b".":
            files.update(row + b"\0")
    # Porcelain says that a file differs, not how: size and time of each changed file complete it.
    for name in _changed_names(status):
        try:
            found = os.lstat(os.path.join(root, name))
            files.update(f"{name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        except OSError:
            files.update(f"{name}\0gone\n".encode("utf-8", "surrogateescape"))
    return Fence(head.hexdigest(), staged.hexdigest(), files.hexdigest())


def _changed_names(status: bytes) -> list[str]:
    names: list[str] = []
    for row in status.decode("utf-8", "surrogateescape").split("\0"):
        kind = row[:1]
        if kind == "?":
            names.append(row[2:])
        elif kind == "1":
            names.append(row.split(" ", 8)[-1])
        elif kind == "2":
            names.append(row.split(" ", 9)[-1])
        elif kind == "u":
            names.append(row.split(" ", 10)[-1])
    return names[:2000]
