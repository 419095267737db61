"""What lies between two commits, by plumbing on trees: files, modes, line counts, added lines.

Nothing in the repository can change what is seen: no textconv, no external diff, no attribute that calls a text binary, no
replaced or grafted objects. Counts come from the patch itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cc_orchestrator.host.git import Git

MAX_PATCH_BYTES = 64_000_000
MAX_COMMITS = 500
LINK = "120000"
GITLINK = "160000"
_OPTIONS = ("-r", "-M", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none", "--no-color", "--no-relative")
_HUNK = re.compile(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_PATCH_SECONDS = 120.0


class DiffError(Exception):
    """The difference cannot be told; the text says why."""


@dataclass
class Change:
    """One file. `blob` and `mode` are those after the change (mode before it for a deletion); `old_…` those before, "" for none."""

    path: str
    status: str
    mode: str
    blob: str
    old_path: str | None = None
    added: int = 0
    deleted: int = 0
    binary: bool = False
    lines: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    old_mode: str = ""
    old_blob: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that it touches."""
        return (self.path,) if self.old_path is None else (self.old_path, self.path)


class Section(NamedTuple):
    """One file's part of a patch: counts and added lines with their numbers."""

    added: int
    deleted: int
    binary: bool
    lines: list[tuple[int, bytes]]


def sealed_git(cwd: str, **env: str) -> Git:
    """A git that sees objects as they are."""
    return Git(cwd, env={"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": "/dev/null", **env})


def read_changes(git: Git, base: str, commit: str) -> list[Change]:
    """All files that differ between two commits, with their added lines. Raises GitError, DiffError (too large)."""
    changes = _raw(git.run("diff-tree", "--raw", "-z", "--no-abbrev", *_OPTIONS, base, commit))
    _check_size(git, [change.blob for change in changes if change.mode != GITLINK and change.blob])
    patch = git.run("diff-tree", "-p", "-U0", "--text", *_OPTIONS, base, commit, timeout=_PATCH_SECONDS)
    sections = read_patch(patch)
    for change in changes:
        # A change of type is shown as a deletion and a new file.
        for _ in range(2 if change.status == "T" else 1):
            section = next(sections, None)
            if section is None:
                raise DiffError(f"the patch of {base[:10]}..{commit[:10]} holds fewer files than their list")
            change.added += section.added
            change.deleted += section.deleted
            change.binary |= section.binary
            change.lines += section.lines
    if next(sections, None) is not None:
        raise DiffError(f"the patch of {base[:10]}..{commit[:10]} holds more files than their list")
    return changes


def read_history_lines(git: Git, base: str, commit: str) -> list[tuple[str, bytes]]:
    """`(commit, added lines and message)` of every commit between the two: what was added and taken back is delivered too."""
    commits = git.text("rev-list", f"--max-count={MAX_COMMITS + 1}", commit, f"^{base}").split()
    if len(commits) > MAX_COMMITS:
        raise DiffError(f"more than {MAX_COMMITS} commits lie between {base[:10]} and {commit[:10]}")
    found: list[tuple[str, bytes]] = []
    for name in commits:
        blobs = _raw(git.run("diff-tree", "--raw", "-z", "--no-abbrev", "--no-commit-id", "--root", *_OPTIONS, name))
        _check_size(git, [change.blob for change in blobs if change.mode != GITLINK and change.blob])
        patch = git.run(
            "diff-tree",
            "-p",
            "-U0",
            "--text",
            "-m",
            "--root",
            "--no-commit-id",
            *_OPTIONS,
            name,
            timeout=_PATCH_SECONDS,
        )
        lines = [text for section in read_patch(patch) for _number, text in section.lines]
        message = git.run("cat-file", "commit", name).partition(b"\n\n")[2]
        found.append((name, b"\n".join([*lines, message])))
    return found


def _check_size(git: Git, blobs: list[str]) -> None:
    if not blobs:
        return
    out = git.run("cat-file", "--batch-check=%(objectsize)", input="\n".join(blobs).encode() + b"\n")
    total = sum(int(size) for size in out.split() if size.isdigit())
    if total > MAX_PATCH_BYTES:
        raise DiffError(f"the changed files hold {total} bytes, more than the {MAX_PATCH_BYTES} that are read")


def _is_null(name: str) -> bool:
    return not name.strip("0")


def _raw(data: bytes) -> list[Change]:
    fields = data.split(b"\0")
    changes: list[Change] = []
    at = 0
    while at < len(fields) and fields[at].startswith(b":"):
        old_mode, mode, old, blob, status = fields[at][1:].decode("ascii").split(" ")
        first = fields[at + 1].decode("utf-8", "surrogateescape")
        at += 2
        old_path = None
        if status[0] in "RC":
            old_path, first = first, fields[at].decode("utf-8", "surrogateescape")
            at += 1
        change = Change(first, status[0], old_mode if status == "D" else mode, "" if _is_null(blob) else blob, old_path)
        change.old_mode, change.old_blob = ("", "") if _is_null(old) else (old_mode, old)
        changes.append(change)
    return changes


def read_patch(patch: bytes) -> Iterator[Section]:
    """The sections of a `-U0` patch, in order. Content lines are counted by hunk, so that none can pose as a header."""
    rows = iter(patch.split(b"\n"))
    added = deleted = 0
    binary = False
    lines: list[tuple[int, bytes]] = []
    begun = False
    for row in rows:
        if row.startswith(b"diff --git "):
            if begun:
                yield Section(added, deleted, binary, lines)
            begun, added, deleted, binary, lines = True, 0, 0, False, []
            continue
        hunk = _HUNK.match(row) if row.startswith(b"@@ ") else None
        if hunk is None:
            continue
        minus, start, plus = int(hunk[1] or 1), int(hunk[2]), int(hunk[3] or 1)
        deleted += minus
        added += plus
        left = minus + plus
        while left:
            text = next(rows, None)
            if text is None:
                raise DiffError("the patch ends within a hunk")
            if text.startswith(b"\\"):
                continue
            left -= 1
            binary = binary or b"\0" in text
            if text.startswith(b"+"):
                lines.append((start, text[1:]))
                start += 1
    if begun:
        yield Section(added, deleted, binary, lines)
