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
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.head import START, Head, Pending, read_head, read_pending, write_head
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.sealed import Record, seal, unseal

VERSION = 1
#: observed {file, start, bytes, sha256, announced}: what lies there is no record; `announced`: a crash of ours left it.
TORN = "torn"
REHEADED = "reheaded"  # observed {}: the head was missing or unreadable and was made from the last line
#: The things that have receipts. `opened`, `closed` are of open items and `score` is of the quality history, in ledgers of their own.
KINDS = (
    "run",
    "verification",
    "review",
    "acceptance",
    "delivery",
    "approval",
    "opened",
    "closed",
    "score",
    TORN,
    REHEADED,
)
LOCK_SECONDS = 30.0
_SHAPE = (
    ("n", int), ("ts", (int, float)), ("kind", str), ("subject", dict), ("actor", str), ("observed", dict), ("claimed", dict),
    ("prev", str),
)  # fmt: skip


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
    name = last if ragged else max(last, head.file, _file_of(float(record["ts"])))
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


def make_line(record: Mapping[str, Any], n: int, prev: str) -> tuple[Record, bytes]:
    """The record as it is written, and its line without the newline."""
    line = seal({
        "v": VERSION, "n": n, "ts": round(float(record["ts"]), 3), "kind": record["kind"],
        "subject": record.get("subject") or {}, "actor": record.get("actor") or "unknown",
        "channel": record.get("channel") or "unknown", "observed": record.get("observed") or {},
        "claimed": record.get("claimed") or {}, "prev": prev,
    })  # fmt: skip
    made = unseal(line)
    assert made is not None, "a line that was just made"
    return made, line


def parse_line(line: bytes) -> Record | None:
    """The record of a line (without newline) whose own hash is right, else None."""
    record = unseal(line)
    return record if record is not None and all(isinstance(record.get(key), kind) for key, kind in _SHAPE) else None


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


def _file_of(ts: float) -> str:
    return time.strftime("receipts-%Y%m.ndjson", time.gmtime(ts))


def ledger_files(folder: str) -> list[str]:
    """Names of the ledger's files, oldest first."""
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith("receipts-") and name.endswith(".ndjson"))
    except FileNotFoundError:
        return []


def _ends_whole(path: str) -> bool:
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


# ---------------------------------------------------------------- where the chain goes on


class Region(NamedTuple):
    """Bytes of one file, and their digest."""

    file: str
    start: int
    bytes: int
    sha256: str


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


# ---------------------------------------------------------------- reading


def receipts(
    folder: str, subject: Mapping[str, str] | None = None, *, kind: str | None = None, limit: int = 50,
    exact: bool = False, actor: str | None = None, since: float | None = None, until: float | None = None,
    before: int | None = None,
) -> list[Record]:  # fmt: skip
    """The newest receipts first: those whose subject holds all ids of `subject` (`exact`: holds nothing else), of `kind`, by
    `actor`, with `since <= ts < until` (epoch seconds) and `n < before`.

    Lines that are no sound record are skipped here; `check_ledger` names them.
    """
    wanted = dict(subject or {})
    found: list[Record] = []
    for line in _newest_first(folder, [value.encode() for value in wanted.values()]):
        record = parse_line(line)
        if record is None or (kind is not None and record["kind"] != kind):
            continue
        about = record["subject"]
        same = (about == wanted) if exact else all(about.get(key) == value for key, value in wanted.items())
        if same and (actor is None or record["actor"] == actor) and _within(record, since, until, before):
            found.append(record)
            if len(found) >= limit:
                break
    return found


def _within(record: Record, since: float | None, until: float | None, before: int | None) -> bool:
    return (
        (since is None or record["ts"] >= since)
        and (until is None or record["ts"] < until)
        and (before is None or record["n"] < before)
    )


def _newest_first(folder: str, needles: list[bytes]) -> Iterator[bytes]:
    """Lines that hold all needles; a long ledger is searched by its bytes, not parsed."""
    told: list[Region] = []
    for name in reversed(ledger_files(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        told += _told(data)
        spans = [(region.start, region.start + region.bytes) for region in told if region.file == name]
        for start, stop in _lines_backwards(data, needles):
            # What a crash left may be a sound line that was never acknowledged.
            if not any(first <= start < last for first, last in spans):
                yield data[start:stop]


def _told(data: bytes) -> list[Region]:
    found: list[Region] = []
    for start, stop in _lines_backwards(data, [b'"kind":"torn"']):
        record = parse_line(data[start:stop])
        if record is not None and record["kind"] == TORN:
            region = torn_region(record)
            found += [region] if region is not None else []
    return found


def torn_region(record: Record) -> Region | None:
    """What a record of kind `torn` tells of; None when it does not say where."""
    told = record["observed"]
    try:
        return Region(os.path.basename(str(told["file"])), int(told["start"]), int(told["bytes"]), str(told["sha256"]))
    except (KeyError, TypeError, ValueError):
        return None


def _lines_backwards(data: bytes, needles: list[bytes]) -> Iterator[tuple[int, int]]:
    """`(start, stop)` of each line that holds all needles, the last first; newlines are left out."""
    end = len(data)
    while end > 0:
        if needles:
            hit = data.rfind(needles[0], 0, end)
            if hit < 0:
                return
            newline = data.find(b"\n", hit, end)
            stop = newline if newline >= 0 else end
        else:
            stop = end - 1 if data[end - 1] == 0x0A else end
        start = data.rfind(b"\n", 0, stop) + 1
        if all(data.find(needle, start, stop) >= 0 for needle in needles):
            yield start, stop
        end = start
