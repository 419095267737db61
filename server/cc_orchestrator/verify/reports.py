"""Files that the test commands are to write: found by globs in the tree where they ran, told apart from those that lay there before."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast
from xml.etree import ElementTree

from cc_orchestrator.policy.globs import matches_any

MAX_REPORT = 32_000_000
MAX_REPORTS = 200
Stamps = dict[str, tuple[int, int, int]]


class Report(NamedTuple):
    """One file; `fresh` when it was written while the commands ran. Paths are relative to the tree."""

    path: str
    data: bytes
    fresh: bool


def stamp_reports(root: str, globs: Sequence[str]) -> Stamps:
    """`{path: (inode, ctime, size)}` of the files that match now. A worker cannot set the time of inode change."""
    found: Stamps = {}
    if not globs:
        return found
    for here, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "node_modules")]
        for name in files:
            path = os.path.relpath(os.path.join(here, name), root).replace(os.sep, "/")
            if matches_any(path, globs):
                try:
                    info = os.lstat(os.path.join(here, name))
                except OSError:
                    continue
                if stat.S_ISREG(info.st_mode):
                    found[path] = (info.st_ino, info.st_ctime_ns, info.st_size)
    return found


def read_reports(root: str, globs: Sequence[str], before: Mapping[str, tuple[int, int, int]]) -> list[Report]:
    """The files that match now. One that cannot be read is left out; one that is too big is empty."""
    now = stamp_reports(root, globs)
    fresh = {path for path, mark in now.items() if before.get(path) != mark}
    # What was rewritten counts; old ones beside it are old only if nothing was written at all.
    found: list[Report] = []
    for path in sorted(fresh or now)[:MAX_REPORTS]:
        try:
            fd = os.open(os.path.join(root, path), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            with os.fdopen(fd, "rb") as file:
                data = file.read(MAX_REPORT + 1)
        except OSError:
            continue
        found.append(Report(path, data if len(data) <= MAX_REPORT else b"", path in fresh))
    return found


def read_xml(data: bytes) -> ElementTree.Element:
    """The root of an XML report. Raises ValueError for what is no XML, or declares entities of its own."""
    if b"<!ENTITY" in data:
        raise ValueError("it declares entities")
    parser = cast("Any", ElementTree).XMLPullParser(("start",))
    try:
        parser.feed(data)
        parser.close()
        events = cast("list[tuple[str, ElementTree.Element]]", list(parser.read_events()))
    except ElementTree.ParseError as error:
        raise ValueError(f"no XML: {error}") from None
    if not events:
        raise ValueError("no XML: it is empty")
    return events[0][1]
