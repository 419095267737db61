"""Receipts: one line for every finished thing, hash chained, append only, in `receipts-<yyyymm>.ndjson`.

A line is `{v, n, ts, kind, subject, actor, channel, observed, claimed, prev, hash}`: `n` counts from 1 over all files, `prev`
is the SHA-256 of the bytes of the line before (64 zeros at first), `hash` that of the line's own bytes without its last
field (and closed with a brace). `head.json` names the last line, so that a cut-off tail is found too.
It finds what was changed, removed, inserted, reordered or cut off. It cannot find a ledger that was rewritten whole, head
included, by somebody who may write the folder: that needs an anchor elsewhere.
A line torn by a crash stays: it is closed off, and the next record, of kind `torn`, says what was found there.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store import atomic
from cc_orchestrator.store.lock import Exclusive

VERSION = 1
ZERO = "0" * 64
TORN = "torn"  # observed {bytes, sha256}: the line before this one is what a crash left
REHEADED = "reheaded"  # observed {}: the head was missing or unreadable and was made from the last line
KINDS = (
    "run", "verification", "review", "fix_loop", "counsel", "finding", "acceptance", "delivery", "approval", TORN, REHEADED,
)  # fmt: skip
_SUFFIX = len(',"hash":""}') + 64
#: Records that a crash may leave beyond the head: a `torn` one and the one after it.
AHEAD = 2
LOCK_SECONDS = 30.0
Record = dict[str, Any]


class Head(NamedTuple):
    """The last record: its number, hash, SHA-256 of its whole line, its file and that file's length after it."""

    n: int
    hash: str
    line: str
    file: str
    bytes: int


_START = Head(0, ZERO, ZERO, "", 0)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def append(folder: str, record: Mapping[str, Any], *, once: bool = False) -> Record:
    """Add a receipt and return it as written. `record`: `{kind, ts, subject, actor, channel, observed, claimed}`.

    `once`: when a receipt of this kind about this subject exists, it is returned and nothing is written. Durable on
    return. Raises OSError, Busy (the lock), ValueError (a value that is not JSON or a kind that is not known).
    """
    if record.get("kind") not in KINDS:
        raise ValueError(f"unknown kind of receipt: {record.get('kind')!r}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with Exclusive(os.path.join(folder, "lock"), timeout=LOCK_SECONDS):
        if once:
            for old in receipts(folder, record.get("subject") or {}, kind=record["kind"], limit=1, exact=True):
                return old
        return _append(folder, record)


def _append(folder: str, record: Mapping[str, Any]) -> Record:
    head, first = _find_head(folder, float(record["ts"]))
    name = max(head.file, _file_of(float(record["ts"])))
    head, data = _close_torn_tail(folder, name, head, record, first)
    written: Record = {}
    for entry in (*first, record):
        written, line = seal(entry, head.n + 1, head.line)
        data += line + b"\n"
        head = Head(head.n + 1, str(written["hash"]), sha256(line).hexdigest(), name, 0)
    size = _write(os.path.join(folder, name), data)
    atomic.write_bytes(os.path.join(folder, "head.json"), _head_bytes(head._replace(bytes=size)))
    return written


def _close_torn_tail(
    folder: str, name: str, head: Head, record: Mapping[str, Any], first: list[Record]
) -> tuple[Head, bytes]:
    """What a crash left after the last newline gets its newline; unless it is a whole record, a note in `first` tells of it."""
    files = ledger_files(folder)
    torn = _torn_tail(os.path.join(folder, files[-1])) if files else b""
    if not torn:
        return head, b""
    data = b"\n"
    if files[-1] != name:
        _write(os.path.join(folder, files[-1]), data)
        data = b""
    adopted = _continue(head, torn, name, 0)
    if adopted is None and sha256(torn).hexdigest() != head.line:
        observed = {"bytes": len(torn), "sha256": sha256(torn).hexdigest()}
        first.append(
            {
                "kind": TORN,
                "ts": record["ts"],
                "actor": "ledger",
                "channel": record.get("channel"),
                "observed": observed,
            }
        )
    return adopted or head, data


def seal(record: Mapping[str, Any], n: int, prev: str) -> tuple[Record, bytes]:
    """The record as it is written, and its line without the newline."""
    body: Record = {
        "v": VERSION, "n": n, "ts": round(float(record["ts"]), 3), "kind": record["kind"],
        "subject": record.get("subject") or {}, "actor": record.get("actor") or "unknown",
        "channel": record.get("channel") or "unknown", "observed": record.get("observed") or {},
        "claimed": record.get("claimed") or {}, "prev": prev,
    }  # fmt: skip
    raw = _encode(body).encode("utf-8", "replace")
    digest = sha256(raw).hexdigest()
    line = raw[:-1] + b',"hash":"' + digest.encode() + b'"}'
    return cast("Record", json.loads(line)), line


def _write(path: str, data: bytes) -> int:
    """Append in one write, durably; the file's length after it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    try:
        start = os.fstat(fd).st_size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            # A full disk may have taken half a line; whoever comes next must find the end as it was.
            os.ftruncate(fd, start)
            raise
        os.fsync(fd)
        return start + len(data)
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


def _torn_tail(path: str) -> bytes:
    """What follows the last newline of the file."""
    tail = b""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        while size > len(tail):
            start = max(0, size - max(4096, 2 * len(tail)))
            file.seek(start)
            tail = file.read()
            newline = tail.rfind(b"\n")
            if newline >= 0:
                return tail[newline + 1 :]
    return tail


# ---------------------------------------------------------------- head


def read_head(folder: str) -> Head | None:
    """The head; None when there is none. Raises Corrupt."""
    try:
        with open(os.path.join(folder, "head.json"), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    try:
        raw = json.loads(data)
        head = Head(int(raw["n"]), str(raw["hash"]), str(raw["line"]), str(raw["file"]), int(raw["bytes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"{folder}/head.json is no head of a ledger", hint="cc_receipts checks the ledger") from error
    if _head_bytes(head) != data:
        raise Corrupt(f"{folder}/head.json was changed", hint="cc_receipts checks the ledger")
    return head


def _head_bytes(head: Head) -> bytes:
    return _encode({"v": VERSION, **head._asdict()}).encode() + b"\n"


def _find_head(folder: str, ts: float) -> tuple[Head, list[Record]]:
    """Where the chain goes on, and the records that have to come first to say what was found."""
    try:
        head = read_head(folder)
    except Corrupt:
        head = None
    files = ledger_files(folder)
    if head is None:
        last = _last_of(folder, files)
        # A crash in the very first append leaves a record or two and no head yet.
        return last, [{"kind": REHEADED, "ts": ts, "actor": "ledger"}] if last.n > AHEAD else []
    # A crash between the line and the head leaves whole records beyond it: they count when they continue the chain.
    for name in files:
        if name >= head.file:
            head = _walk_on(folder, name, head)
    return head, []


def _walk_on(folder: str, name: str, head: Head) -> Head:
    path = os.path.join(folder, name)
    start = head.bytes if name == head.file else 0
    if os.path.getsize(path) <= start:
        return head
    with open(path, "rb") as file:
        file.seek(start)
        for line in file:
            start += len(line)
            if line.endswith(b"\n"):
                head = _continue(head, line[:-1], name, start) or head
    return head


def _continue(head: Head, line: bytes, name: str, end: int) -> Head | None:
    """The head after `line`, or None when it does not continue the chain."""
    record = parse_line(line)
    if record is None or record["n"] != head.n + 1 or record["prev"] != head.line:
        return None
    return Head(record["n"], record["hash"], sha256(line).hexdigest(), name, end)


def _last_of(folder: str, files: list[str]) -> Head:
    for name in reversed(files):
        last: Head | None = None
        with open(os.path.join(folder, name), "rb") as file:
            for line in file:
                record = parse_line(line.rstrip(b"\n"))
                if record is not None and line.endswith(b"\n"):
                    last = Head(record["n"], record["hash"], sha256(line[:-1]).hexdigest(), name, 0)
        if last is not None:
            return last
    return _START._replace(file=files[-1] if files else "")


def parse_line(line: bytes) -> Record | None:
    """The record of a line (without newline) whose own hash is right, else None."""
    if len(line) < _SUFFIX or not line.endswith(b'"}'):
        return None
    body, suffix = line[:-_SUFFIX] + b"}", line[-_SUFFIX:]
    if suffix != b',"hash":"' + sha256(body).hexdigest().encode() + b'"}':
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(record, dict) and isinstance(cast("Record", record).get("n"), int):
        return cast("Record", record)
    return None


# ---------------------------------------------------------------- reading


def receipts(
    folder: str,
    subject: Mapping[str, str] | None = None,
    *,
    kind: str | None = None,
    limit: int = 50,
    exact: bool = False,
) -> list[Record]:
    """The newest receipts first: those whose subject holds all ids of `subject` (`exact`: holds nothing else), of `kind`.

    Lines that are no sound record are skipped here; `check_ledger` names them.
    """
    wanted = dict(subject or {})
    found: list[Record] = []
    for line in _newest_first(folder):
        if any(value.encode() not in line for value in wanted.values()):
            continue
        record = parse_line(line)
        if record is None or (kind is not None and record["kind"] != kind):
            continue
        about = record["subject"]
        if (about == wanted) if exact else all(about.get(key) == value for key, value in wanted.items()):
            found.append(record)
            if len(found) >= limit:
                break
    return found


def _newest_first(folder: str) -> Iterator[bytes]:
    for name in reversed(ledger_files(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            yield from reversed(file.read().splitlines())
