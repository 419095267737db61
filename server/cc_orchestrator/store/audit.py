"""Reads the whole ledger and names what is wrong with it: changed, removed, inserted, reordered or cut-off records.

Compares it with its head and, when they are given, with the anchors that git holds. Writes nothing and repairs nothing.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.anchor import Anchors
from cc_orchestrator.store.head import START, Head, read_head
from cc_orchestrator.store.ledger import adopt, is_announced, lacks_newline, locked, regions_beyond
from cc_orchestrator.store.records import REHEADED, TORN, Region, ledger_files, parse_line, torn_region
from cc_orchestrator.store.sealed import Record


class Problem(NamedTuple):
    """`where` is `<file>:<line number>`, `head.json`, `anchored.json` or the ref."""

    where: str
    what: str


class LedgerReport:
    """`count` whole records, the last of them `last`; `notes` are crashes that were survived and hide nothing.

    `anchored` is the newest record that git holds and that is the same here, 0 without one. No dataclass: a supervisor
    loads this, and dataclasses alone would cost each of them a megabyte.
    """

    def __init__(self, count: int, problems: list[Problem], notes: list[str], last: int = 0, anchored: int = 0) -> None:
        self.ok = not problems
        self.count = count
        self.problems = problems
        self.notes = notes
        self.last = last
        self.anchored = anchored

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LedgerReport) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"LedgerReport({vars(self)})"


class _Brief(NamedTuple):
    """What is kept of a record; `told` and `announced` are of a torn one."""

    n: int
    prev: str
    kind: str
    told: Region | None
    announced: bool


class _Line(NamedTuple):
    """One line of a file. `record` is None for what is no sound record."""

    file: str
    number: int
    start: int
    end: int
    digest: str
    record: _Brief | None

    @property
    def where(self) -> str:
        """As a problem names it."""
        return f"{self.file}:{self.number}"

    @property
    def n(self) -> int:
        """The record's number, 0 for none."""
        return self.record.n if self.record is not None else 0


class _Span(NamedTuple):
    """Bytes of a file that are no part of the chain."""

    file: str
    start: int
    end: int


class _Found:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []

    def add(self, where: str, what: str) -> None:
        self.problems.append(Problem(where, what))


def check_ledger(folder: str, anchors: Anchors | None = None) -> LedgerReport:
    """Read the whole chain under the lock. Raises Busy, OSError."""
    found = _Found()
    if not os.path.isdir(folder):
        if anchors is not None:
            _compare_anchors([], anchors, found)
        return LedgerReport(0, found.problems, [])
    with locked(folder):
        head = _read_head(folder, found)
        reached = adopt(folder, head) if head is not None else None
        open_ended = reached.file if reached is not None and reached != head and lacks_newline(folder, reached) else ""
        lines = [line for name in ledger_files(folder) for line in _read(folder, name, name == open_ended)]
        beyond = _beyond(folder, head, reached, found) if head is not None and reached is not None else []
        lines = [line for line in lines if not _within(line, beyond)]
        told = _told_regions(folder, lines, found)
        chain = _walk([line for line in lines if not _within(line, told)], found)
        if reached is not None:
            _compare_end(chain, reached, found)
        agreed = _compare_anchors(chain, anchors, found) if anchors is not None else 0
    last = chain[-1].n if chain else 0
    return LedgerReport(len(chain), found.problems, found.notes, last, agreed)


def _read(folder: str, name: str, open_ended: bool) -> list[_Line]:
    """All lines. `open_ended`: the last may lack its newline and still be a record."""
    lines: list[_Line] = []
    end = 0
    with open(os.path.join(folder, name), "rb") as file:
        for number, raw in enumerate(file, 1):
            start, end = end, end + len(raw)
            whole = raw.endswith(b"\n")
            line = raw[:-1] if whole else raw
            record = parse_line(line) if whole or open_ended else None
            end += not whole and open_ended
            lines.append(_Line(name, number, start, end, sha256(line).hexdigest(), _brief(record)))
    return lines


def _brief(record: Record | None) -> _Brief | None:
    if record is None:
        return None
    torn = record["kind"] == TORN
    return _Brief(
        record["n"], record["prev"], record["kind"], torn_region(record) if torn else None,
        torn and record["observed"].get("announced") is True,
    )  # fmt: skip


# ---------------------------------------------------------------- what torn records tell of


def _told_regions(folder: str, lines: list[_Line], found: _Found) -> list[_Span]:
    """All bytes that a later record tells of, and whether they are still what it says."""
    regions: list[_Span] = []
    for line in lines:
        if line.record is None or line.record.kind != TORN:
            continue
        region, n = line.record.told, line.n
        if region is None:
            found.add(line.where, f"record {n} tells of a torn line, but not of where")
            continue
        where = f"{region.file}, byte {region.start}"
        if _digest_of(os.path.join(folder, region.file), region.start, region.bytes) != region.sha256:
            found.add(where, f"the {region.bytes} bytes that record {n} tells of are gone or changed")
            continue
        regions.append(_Span(region.file, region.start, region.start + region.bytes))
        if line.record.announced:
            found.notes.append(f"{where}: {region.bytes} bytes torn by a crash, told by record {n}")
        else:
            found.add(where, f"{region.bytes} bytes were inserted by somebody else, told by record {n}")
    return regions


def _digest_of(path: str, start: int, size: int) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return sha256(file.read(size)).hexdigest()
    except OSError:
        return ""


def _within(line: _Line, regions: list[_Span]) -> bool:
    # The newline that closed a torn line off lies behind its region.
    return any(line.file == name and start <= line.start < end and line.end <= end + 1 for name, start, end in regions)


# ---------------------------------------------------------------- the chain


def _walk(lines: list[_Line], found: _Found) -> list[_Line]:
    """The sound records in the order of the files, each held against the one before it."""
    chain: list[_Line] = []
    last, before = 0, START.line
    for line in lines:
        if line.record is None:
            found.add(line.where, "not a sound record: changed or inserted")
            continue
        n = line.record.n
        if n != last + 1:
            found.add(line.where, _order(n, last))
        elif line.record.prev != before:
            found.add(line.where, f"record {n} does not continue the record before it")
        if line.record.kind == REHEADED:
            found.add(line.where, "the head was missing or changed when this was written")
        chain.append(line)
        last, before = n, line.digest
    return chain


def _order(n: int, last: int) -> str:
    if n > last + 1:
        return f"record {n} follows {last}: records {last + 1} to {n - 1} are missing before it"
    return f"record {n} follows {last}: inserted again or out of order"


# ---------------------------------------------------------------- the head


def _read_head(folder: str, found: _Found) -> Head | None:
    try:
        head = read_head(folder)
    except Corrupt as error:
        found.add("head.json", error.message)
        return None
    if head is None and ledger_files(folder):
        found.add("head.json", "missing, though there are records")
    return head


def _beyond(folder: str, head: Head, reached: Head, found: _Found) -> list[_Span]:
    """What lies beyond the head, or beyond the write that it announces (`reached`) when that is there whole."""
    if reached.n > head.n:
        found.notes.append(f"the head is {reached.n - head.n} behind: a crash; the next record catches up")
    spans: list[_Span] = []
    for region in regions_beyond(folder, reached):
        where = f"{region.file}, byte {region.start}"
        if is_announced(reached, region):
            found.notes.append(f"{where}: {region.bytes} bytes that a crash cut short; the next record will tell")
        else:
            found.add(
                where, f"{region.bytes} bytes beyond the head, record {reached.n}, were inserted by somebody else"
            )
        spans.append(_Span(region.file, region.start, region.start + region.bytes))
    return spans


def _compare_end(chain: list[_Line], head: Head, found: _Found) -> None:
    last = chain[-1].n if chain else 0
    if last < head.n:
        found.add("head.json", f"records {last + 1} to {head.n} are cut off: the head is record {head.n}")
    elif chain and (last, chain[-1].digest, chain[-1].file, chain[-1].end) != (
        head.n,
        head.line,
        head.file,
        head.bytes,
    ):
        found.add("head.json", f"record {last} is not the one that the head names")


# ---------------------------------------------------------------- the anchors


def _compare_anchors(chain: list[_Line], anchors: Anchors, found: _Found) -> int:
    """The newest anchored record that is the same here; 0 without one."""
    found.problems += [Problem(where, what) for where, what in anchors.problems]
    if not any(where == anchors.ref for where, _what in anchors.problems):
        _compare_recalled(anchors, found)
    digests = {line.n: line.digest for line in chain}
    last = chain[-1].n if chain else 0
    agreed = max((anchor.n for anchor in anchors.found if digests.get(anchor.n) == anchor.line), default=0)
    cut = max((anchor for anchor in anchors.found if anchor.n > last), default=None)
    if cut is not None:
        text = f"records {last + 1} to {cut.n} are cut off: git holds record {cut.n} (commit {cut.commit[:12]})"
        found.add(anchors.ref, text)
    other = [anchor for anchor in anchors.found if anchor.n <= last and digests.get(anchor.n) != anchor.line]
    if other:
        first = min(other)
        kept = max((anchor.n for anchor in anchors.found if anchor.n < first.n), default=0)
        text = f"records from {kept + 1} on were rewritten: git holds another record {first.n} (commit {first.commit[:12]})"
        found.add(anchors.ref, text)
    return agreed


def _compare_recalled(anchors: Anchors, found: _Found) -> None:
    recalled = anchors.recalled
    if recalled is None or recalled in anchors.found:
        return
    if not anchors.found:
        found.add(anchors.ref, f"is gone: it held record {recalled.n} (commit {recalled.commit[:12]})")
    elif anchors.whole:
        found.add(anchors.ref, f"was rewritten: it no longer holds commit {recalled.commit[:12]}, record {recalled.n}")
