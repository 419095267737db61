"""Reads the whole ledger and names what is wrong with it: changed, removed, inserted, reordered or cut-off records.

Writes nothing and repairs nothing.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import NamedTuple

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.ledger import (
    AHEAD,
    LOCK_SECONDS,
    REHEADED,
    TORN,
    ZERO,
    Head,
    Record,
    ledger_files,
    parse_line,
    read_head,
)
from cc_orchestrator.store.lock import Exclusive


class Problem(NamedTuple):
    """`where` is `<file>:<line number>` or `head.json`."""

    where: str
    what: str


@dataclass(frozen=True)
class LedgerReport:
    """`count` whole records; `notes` are crashes that were survived and hide nothing."""

    ok: bool
    count: int
    problems: list[Problem]
    notes: list[str]


def check_ledger(folder: str) -> LedgerReport:
    """Read the whole chain under the lock. Raises Busy, OSError."""
    if not os.path.isdir(folder):
        return LedgerReport(True, 0, [], [])
    with Exclusive(os.path.join(folder, "lock"), timeout=LOCK_SECONDS):
        walk = _Walk()
        for name in ledger_files(folder):
            end = 0
            with open(os.path.join(folder, name), "rb") as file:
                for number, line in enumerate(file, 1):
                    end += len(line)
                    walk.take(line, name, number, end)
        walk.finish()
        try:
            walk.compare(read_head(folder))
        except Corrupt as error:
            walk.problems.append(Problem("head.json", error.message))
    return LedgerReport(not walk.problems, walk.count, walk.problems, walk.notes)


class _Walk:
    """One pass over all lines: what is expected next, and everything that was not so."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.count = 0
        self.last = Head(0, ZERO, ZERO, "", 0)
        self.recent: list[Head] = []
        self._fragment: tuple[bytes, str] | None = None

    def take(self, raw: bytes, name: str, number: int, end: int) -> None:
        """One line, newline included; `end` is the file's length after it."""
        where = f"{name}:{number}"
        line = raw[:-1] if raw.endswith(b"\n") else raw
        record = parse_line(line)
        if record is None:
            self._drop_fragment()
            self._fragment = (line, where)
            return
        self._settle_fragment(record)
        n = record["n"]
        if n != self.last.n + 1:
            self.problems.append(Problem(where, self._order(n)))
        elif record["prev"] != self.last.line:
            self.problems.append(Problem(where, f"record {n} does not continue the record before it"))
        if record["kind"] == REHEADED:
            self.problems.append(Problem(where, "the head was missing when this was written"))
        self.count += 1
        self.last = Head(n, record["hash"], hashlib.sha256(line).hexdigest(), name, end)
        self.recent = [*self.recent[-AHEAD:], self.last]

    def _order(self, n: int) -> str:
        last = self.last.n
        if n > last + 1:
            return f"record {n} follows {last}: records {last + 1} to {n - 1} are missing before it"
        return f"record {n} follows {last}: inserted again or out of order"

    def _settle_fragment(self, record: Record) -> None:
        if self._fragment is None:
            if record["kind"] == TORN:
                self.problems.append(Problem(f"record {record['n']}", "the torn line that it tells of is gone"))
            return
        line, where = self._fragment
        if record["kind"] == TORN and record["observed"].get("sha256") == hashlib.sha256(line).hexdigest():
            self.notes.append(f"{where}: {len(line)} bytes torn by a crash, told by record {record['n']}")
            self._fragment = None
        else:
            self._drop_fragment()

    def _drop_fragment(self) -> None:
        if self._fragment is None:
            return
        self.problems.append(Problem(self._fragment[1], "not a sound record: changed or inserted"))
        self._fragment = None

    def finish(self) -> None:
        if self._fragment is None:
            return
        line, where = self._fragment
        self._fragment = None
        # A prefix of a record at the very end is what a crash leaves; the head tells it from a cut.
        self.notes.append(f"{where}: {len(line)} bytes of a record that a crash cut short; the next record will tell")

    def compare(self, head: Head | None) -> None:
        if head is None:
            if self.count > AHEAD:
                self.problems.append(Problem("head.json", f"missing, though there are {self.count} records"))
            return
        ahead = self.last.n - head.n
        what = None
        if ahead < 0:
            what = f"records {self.last.n + 1} to {head.n} are cut off: the head is record {head.n}"
        elif ahead > AHEAD:
            what = f"{ahead} records lie beyond the head {head.n}"
        elif head not in self.recent:
            what = f"record {head.n} is not the one that the head names"
        if what is not None:
            self.problems.append(Problem("head.json", what))
        elif ahead:
            self.notes.append(f"the head is {ahead} behind: a crash; the next record catches up")
