"""The texts of changed files before and after, and what the result's tree holds: read from git's objects, never from a disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cc_orchestrator.host.git import Git
from cc_orchestrator.verify.diff import Change, DiffError

MAX_TEXT = 2_000_000
MAX_ALL = 64_000_000
MAX_TREE = 200_000
MAX_AROUND = 400
#: Files beside the change that say what is tested, and how.
_AROUND = re.compile(
    r"(?:^|/)(?:test[\w.-]*\.py|[\w.-]+_test\.py|conftest\.py|pytest\.ini|setup\.cfg|tox\.ini|pyproject\.toml)$|\.(?:test|spec)\.(?:[cm]?[jt]sx?)$"
)
_VENDORED = re.compile(r"(?:^|/)(?:node_modules|vendor|third_party|\.venv|venv|site-packages)/")
_REGULAR = ("100644", "100755")
_SECONDS = 120.0


class Pair(NamedTuple):
    """A file before and after; None where it is not there, is no regular file, or is too big to be read as a text."""

    before: bytes | None
    after: bytes | None


class Contents(NamedTuple):
    """`texts` by path after the change (before it for a deletion); `sizes` of all blobs after; `tree` is `{path: mode}` of the result.

    `around` holds tests and test settings that did not change, as many as are read: what changed is judged beside them.
    """

    texts: dict[str, Pair]
    sizes: dict[str, int]
    tree: dict[str, str]
    unread: tuple[str, ...]
    around: dict[str, bytes]


NOTHING = Contents({}, {}, {}, (), {})


def read_contents(git: Git, changes: Sequence[Change], commit: str) -> Contents:
    """Raises GitError, DiffError, Unavailable."""
    wanted = {change.old_blob for change in changes if change.old_mode in _REGULAR}
    wanted |= {change.blob for change in changes if change.mode in _REGULAR}
    sizes = _read_sizes(git, sorted(blob for blob in wanted if blob))
    small: list[str] = []
    room = MAX_ALL
    for blob, size in sizes.items():
        room -= size if size <= MAX_TEXT else 0
        if size <= MAX_TEXT and room >= 0:
            small.append(blob)
    texts = dict(read_blobs(git, small))
    pairs: dict[str, Pair] = {}
    unread: list[str] = []
    for change in changes:
        regular = change.mode in _REGULAR and change.status != "D"
        pairs[change.path] = Pair(
            texts.get(change.old_blob) if change.old_mode in _REGULAR else None,
            texts.get(change.blob) if regular else None,
        )
        if regular and change.blob not in texts:
            unread.append(change.path)
    blobs = {change.path: sizes.get(change.blob, 0) for change in changes if change.status != "D"}
    tree = read_tree(git, commit)
    return Contents(pairs, blobs, tree, tuple(unread), _read_around(git, commit, tree, pairs))


def _read_around(git: Git, commit: str, tree: dict[str, str], changed: dict[str, Pair]) -> dict[str, bytes]:
    wanted = [
        path for path, mode in tree.items()
        if mode in _REGULAR and path not in changed and _AROUND.search(path) and "\n" not in path and not _VENDORED.search(path)
    ][:MAX_AROUND]  # fmt: skip
    if not wanted:
        return {}
    names = "\n".join(f"{commit}:{path}" for path in wanted).encode("utf-8", "surrogateescape") + b"\n"
    rows = (
        git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", input=names)
        .decode("ascii", "replace")
        .splitlines()
    )
    blobs: dict[str, str] = {}
    room = MAX_TEXT
    for path, row in zip(wanted, rows, strict=False):
        blob, _space, size = row.partition(" ")
        if size.isdigit() and int(size) <= room:
            room -= int(size)
            blobs[path] = blob
    texts = dict(read_blobs(git, sorted(set(blobs.values()))))
    return {path: texts[blob] for path, blob in blobs.items()}


def _read_sizes(git: Git, blobs: Sequence[str]) -> dict[str, int]:
    if not blobs:
        return {}
    out = git.run("cat-file", "--batch-check=%(objectname) %(objectsize)", input="\n".join(blobs).encode() + b"\n")
    rows = [row.split() for row in out.decode("ascii", "replace").splitlines()]
    return {name: int(size) for name, size in rows if size.isdigit()}


def read_blobs(git: Git, blobs: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """`(id, content)` of each blob. Raises DiffError for one that is missing."""
    names = list(blobs)
    if not names:
        return
    out = git.run("cat-file", "--batch", input="\n".join(names).encode() + b"\n", timeout=_SECONDS)
    at = 0
    for name in names:
        end = out.find(b"\n", at)
        head = out[at:end].split()
        if end < 0 or len(head) != 3 or not head[2].isdigit():
            raise DiffError(f"object {name[:10]} cannot be read")
        size = int(head[2])
        yield name, out[end + 1 : end + 1 + size]
        at = end + size + 2


def read_tree(git: Git, commit: str) -> dict[str, str]:
    """`{path: mode}` of all files of a commit. Raises GitError, DiffError (too many)."""
    out = git.run("ls-tree", "-r", "-z", "--full-tree", commit, timeout=_SECONDS)
    rows = out.split(b"\0")
    if len(rows) > MAX_TREE:
        raise DiffError(f"the result holds more than {MAX_TREE} files")
    found: dict[str, str] = {}
    for row in rows:
        head, _tab, path = row.partition(b"\t")
        if path:
            found[path.decode("utf-8", "surrogateescape")] = head[:6].decode("ascii", "replace")
    return found


def read_file(git: Git, commit: str, path: str) -> bytes | None:
    """A file of a commit, None when it is not there or too big."""
    name = f"{commit}:{path}"
    if "\n" in path:
        return None
    status, out, _err = git.try_run("cat-file", "blob", name)
    return out if status == 0 and len(out) <= MAX_TEXT else None
