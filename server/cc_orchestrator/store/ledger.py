"""Receipts: one line for every finished thing, hash chained, append only, in `receipts-<yyyymm>.ndjson`.

A line is `{v, n, ts, kind, subject, actor, channel, observed, claimed, prev, hash}`: `n` counts from 1 over all files, `prev`
is the SHA-256 of the bytes of the line before (64 zeros at first), `hash` that of the line's own bytes without its last
field (and closed with a brace). What guards what, from the inside out:

| guard | finds |
|---|---|
| `hash` | a changed byte in a line |
| `n` and `prev` | lines removed, inserted, repeated, reordered |
| `head.json` | a tail cut off, or added by somebody else; tells a torn tail (announced, never named) from a cut one (named, gone) |
| the git ref (`runs.anchoring`) | a ledger rewritten whole, head included, up to the anchored record; not one whose ref was rewritten as well |

The order of a write: the head announces the bytes, the bytes, the head names the record; each durable before the next.
What a crash leaves in between stays where it is: the next record, of kind `torn`, says what was found there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.head import START, Head, Pending, read_head, read_pending, write_head
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.records import (
    KINDS,
    REHEADED,
    TORN,
    Region,
    file_of,
    ledger_files,
    make_line,
    parse_line,
    receipts,
)
from cc_orchestrator.store.sealed import Record

LOCK_SECONDS = 30.0


def append(folder: str, record: Mapping[str, Any], *, once: bool = False) -> Record:
    """Add a receipt and return it as written. `record`: `{kind, ts, subject, actor, channel, observed, claimed}`.

    `once`: when a receipt of this kind about this subject exists, it is returned and nothing is written. Durable on
    return. Raises OSError, Busy (the lock), ValueError (a value that is not JSON or a kind that is not known).
    """
    if record.get("kind") not in KINDS:
        raise ValueError(f"unknown kind of receipt: {record.get('kind')!r}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with locked(folder):
        if once:
            for old in receipts(folder, record.get("subject") or {}, kind=record["kind"], limit=1, exact=True):
                return old
        return append_locked(folder, record)


def locked(folder: str) -> Exclusive:
    """The one lock of a ledger, for whoever has to read before it appends. Raises Busy."""
    return Exclusive(os.path.join(folder, "lock"), timeout=LOCK_SECONDS)


def append_locked(folder: str, record: Mapping[str, Any]) -> Record:
    """`append` for the holder of `locked(folder)`; the folder is there."""
    head, first = _find_head(folder, record)
    if lacks_newline(folder, head):
        path = os.path.join(folder, head.file)
        _write(path, b"\n", os.path.getsize(path))
    files = ledger_files(folder)
    last = files[-1] if files else ""
    ragged = bool(last) and not _ends_whole(os.path.join(folder, last))
    # A ragged end is closed where it is; the month may turn with the record after this one.
    name = last if ragged else max(last, head.file, file_of(float(record["ts"])))
    data = b"\n" if ragged else b""
    written: Record = {}
    after = head
    for entry in (*first, record):
        written, line = make_line(entry, after.n + 1, after.line)
        data += line + b"\n"
        after = Head(after.n + 1, sha256(line).hexdigest(), name, 0)
    path = os.path.join(folder, name)
    start = os.path.getsize(path) if name in files else 0
    write_head(folder, head._replace(pending=Pending(name, start, len(data), sha256(data).hexdigest())))
    _write(path, data, start)
    write_head(folder, after._replace(bytes=start + len(data)))
    return written


def _write(path: str, data: bytes, start: int) -> None:
    """Append in one write, durably, or leave the file as it was."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            # A full disk may have taken half a line; whoever comes next must find the end as it was.
            os.ftruncate(fd, start)
            raise
        os.fsync(fd)
    finally:
        os.close(fd)


def _ends_whole(path: str) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


# ---------------------------------------------------------------- where the chain goes on


def regions_beyond(folder: str, head: Head) -> list[Region]:
    """What lies after the head's record, in its file and in later ones."""
    found: list[Region] = []
    for name in ledger_files(folder):
        if name < head.file:
            continue
        start = head.bytes if name == head.file else 0
        with open(os.path.join(folder, name), "rb") as file:
            file.seek(max(0, start - 1))
            # Where the head's record does not end any more, bytes before it came or went: the chain shows that.
            data = file.read() if not start or file.read(1) == b"\n" else b""
        if data:
            found.append(Region(name, start, len(data), sha256(data).hexdigest()))
    return found


def is_announced(head: Head, region: Region) -> bool:
    """Whether what lies beyond the head is what a crash left of the write that it announces, or of one before that."""
    pending = head.pending
    return (
        pending is not None
        and region.file == pending.file
        and region.start + region.bytes < pending.start + pending.bytes
    )


def adopt(folder: str, head: Head) -> Head:
    """The head after the write that it announces, when that is there whole; else the head, its announcement kept."""
    data = read_pending(folder, head.pending)
    if data is None or head.pending is None:
        return head
    at = head
    for line in data.split(b"\n"):
        record = parse_line(line)
        if record is not None and record["n"] == at.n + 1 and record.get("prev") == at.line:
            at = Head(at.n + 1, sha256(line).hexdigest(), head.pending.file, head.pending.start + head.pending.bytes)
    return at


def lacks_newline(folder: str, head: Head) -> bool:
    """Whether an adopted write is there but for its last newline."""
    path = os.path.join(folder, head.file)
    return bool(head.n) and _size(path) == head.bytes - 1 and not _ends_whole(path)


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return -1


def _find_head(folder: str, record: Mapping[str, Any]) -> tuple[Head, list[Record]]:
    """Where the chain goes on, and the records that have to come first to say what was found."""
    told = {"ts": record["ts"], "actor": "ledger", "channel": record.get("channel")}
    try:
        head = read_head(folder)
        damaged = False
    except Corrupt:
        head, damaged = None, True
    first: list[Record] = []
    if head is None:
        head = _last_of(folder)
        if damaged or head.n:
            first.append({"kind": REHEADED, **told})
    head = adopt(folder, head)
    first += [
        {"kind": TORN, **told, "observed": {**region._asdict(), "announced": is_announced(head, region)}}
        for region in regions_beyond(folder, head)
    ]
    return head._replace(pending=None), first


def _last_of(folder: str) -> Head:
    """The head by the last sound line, when there is none to read."""
    for name in reversed(ledger_files(folder)):
        last: Head | None = None
        end = 0
        with open(os.path.join(folder, name), "rb") as file:
            for line in file:
                end += len(line)
                record = parse_line(line[:-1]) if line.endswith(b"\n") else None
                if record is not None:
                    last = Head(record["n"], sha256(line[:-1]).hexdigest(), name, end)
        if last is not None:
            return last
    return START
