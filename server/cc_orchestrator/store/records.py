"""Receipts as lines and as values: how one is written, how one is read, and how the newest that match are found.

What guards them is `ledger`; that they are what they were is `audit`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

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
    "fix_loop",
    "counsel",
    "trust",
    "grant",
    "finding",
    "acceptance",
    "delivery",
    "approval",
    "budget",
    "opened",
    "closed",
    "score",
    TORN,
    REHEADED,
)
_BLOCK = 1 << 20
_TS = re.compile(rb'\{"v":\d{1,9},"n":\d{1,18},"ts":(\d{1,12}(?:\.\d{1,6})?),')
_SHAPE = (
    ("n", int), ("ts", (int, float)), ("kind", str), ("subject", dict), ("actor", str), ("observed", dict), ("claimed", dict),
    ("prev", str),
)  # fmt: skip


class Region(NamedTuple):
    """Bytes of one file, and their digest."""

    file: str
    start: int
    bytes: int
    sha256: str


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


def ledger_files(folder: str) -> list[str]:
    """Names of the ledger's files, oldest first."""
    try:
        return sorted(name for name in os.listdir(folder) if name.startswith("receipts-") and name.endswith(".ndjson"))
    except FileNotFoundError:
        return []


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
    needles = [value.encode() for value in wanted.values()]
    if kind is not None:
        needles.append(b'"kind":"' + kind.encode() + b'"')
    for line in _newest_first(folder, needles, "" if since is None else file_of(since)):
        if since is not None and _is_before(line, since):
            continue
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


def _is_before(line: bytes, since: float) -> bool:
    """Whether a line as we write it is of an earlier time, told without parsing it; one of another shape is not."""
    found = _TS.match(line)
    return found is not None and float(found[1]) < since


def _within(record: Record, since: float | None, until: float | None, before: int | None) -> bool:
    return (
        (since is None or record["ts"] >= since)
        and (until is None or record["ts"] < until)
        and (before is None or record["n"] < before)
    )


def file_of(ts: float) -> str:
    """The file that a record of this time (epoch seconds) goes to, or a later one: never an earlier."""
    return time.strftime("receipts-%Y%m.ndjson", time.gmtime(max(0.0, ts)))


def _newest_first(folder: str, needles: list[bytes], oldest: str) -> Iterator[bytes]:
    """Lines that hold all needles, of the files from `oldest` on. Read from the end, searched by bytes before it is parsed."""
    told: list[Region] = []
    for name in reversed([name for name in ledger_files(folder) if name >= oldest]):
        for base, block in _blocks_backwards(os.path.join(folder, name)):
            # A torn record comes after what it tells of, so it is seen before that is.
            told += _told(block)
            spans = [
                (region.start - base, region.start + region.bytes - base) for region in told if region.file == name
            ]
            for start, stop in reversed(_find_lines(block, needles)):
                # What a crash left may be a sound line that was never acknowledged.
                if not any(first <= start < last for first, last in spans):
                    yield block[start:stop]


def _blocks_backwards(path: str) -> Iterator[tuple[int, bytes]]:
    """`(offset, bytes)` of blocks of whole lines, the last first."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        size = _BLOCK
        while end > 0:
            start = max(0, end - size)
            file.seek(start)
            block = file.read(end - start)
            # All but what belongs to a line that begins before the block.
            first = block.find(b"\n", 0, len(block) - 1) + 1 if start else 0
            if start and not first:
                size *= 2
                continue
            yield start + first, block[first:]
            end, size = start + first, _BLOCK


def _told(block: bytes) -> list[Region]:
    records = [parse_line(block[start:stop]) for start, stop in _find_lines(block, [b'"kind":"torn"'])]
    regions = [torn_region(record) for record in records if record is not None and record["kind"] == TORN]
    return [region for region in regions if region is not None]


def torn_region(record: Record) -> Region | None:
    """What a record of kind `torn` tells of; None when it does not say where."""
    told = record["observed"]
    try:
        return Region(os.path.basename(str(told["file"])), int(told["start"]), int(told["bytes"]), str(told["sha256"]))
    except (KeyError, TypeError, ValueError):
        return None


def _find_lines(block: bytes, needles: list[bytes]) -> list[tuple[int, int]]:
    """`(start, stop)` of each line that holds all needles, in the order of the block; newlines are left out."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < len(block):
        hit = block.find(needles[0], at) if needles else at
        if hit < 0:
            break
        start = block.rfind(b"\n", at, hit) + 1 if hit > at else at
        start = max(start, at)
        stop = block.find(b"\n", hit)
        stop = stop if stop >= 0 else len(block)
        if all(block.find(needle, start, stop) >= 0 for needle in needles):
            found.append((start, stop))
        at = stop + 1
    return found
