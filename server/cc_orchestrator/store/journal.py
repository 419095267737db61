"""Append-only NDJSON with one writer and any number of readers.

A cursor is `<byte offset>.<seq>` and always stands on a line boundary. A torn last line is normal: readers stop before it;
the next owner of the journal closes it off with a newline, and what it held is skipped as no event.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.events import Fact, decode, encode

_CHUNK = 1 << 16


class Cursor(NamedTuple):
    """A place in a journal: `offset` bytes and `seq` events lie before it."""

    offset: int
    seq: int

    def __str__(self) -> str:
        return f"{self.offset}.{self.seq}"


START = Cursor(0, 0)


def parse_cursor(text: str | None) -> Cursor:
    """From `"123.4"`; None and "" mean the beginning; InvalidRequest for anything else."""
    if not text:
        return START
    offset, _, seq = text.partition(".")
    if not (offset.isascii() and offset.isdigit() and seq.isascii() and seq.isdigit() and len(text) <= 40):
        raise InvalidRequest(f"cursor {text[:40]!a} is not one of ours", hint="pass the cursor of the last answer")
    return Cursor(int(offset), int(seq))


class Page(NamedTuple):
    """Events between two cursors, with the cursor after each; `more` when bytes remain after `cursor`."""

    events: list[dict[str, Any]]
    cursor: Cursor
    more: bool
    after: list[Cursor]


def read_page(path: str, cursor: Cursor = START, max_bytes: int = 1 << 20) -> Page:
    """Whole events after `cursor`, at most about `max_bytes` of them but at least one line when there is one.

    A cursor beyond the end or inside a line (a foreign or rewritten file) is InvalidRequest. A missing file is empty.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return Page([], cursor, False, [])
    try:
        size = os.fstat(fd).st_size
        _check_boundary(fd, cursor, size)
        data = _read_lines(fd, cursor.offset, max_bytes)
    finally:
        os.close(fd)
    events: list[dict[str, Any]] = []
    offset, seq = cursor
    ends: list[Cursor] = []
    for raw in data.split(b"\n")[:-1]:
        event = decode(raw)
        offset += len(raw) + 1
        if event is not None:
            seq = max(seq, event["seq"])
            events.append(event)
            ends.append(Cursor(offset, seq))
    after = Cursor(offset, seq)
    return Page(events, after, after.offset < size, ends)


def _check_boundary(fd: int, cursor: Cursor, size: int) -> None:
    if cursor.offset == 0:
        return
    beyond = cursor.offset > size
    if not beyond:
        os.lseek(fd, cursor.offset - 1, os.SEEK_SET)
    if beyond or os.read(fd, 1) != b"\n":
        raise InvalidRequest(
            f"cursor {cursor} does not stand on an event of this journal", hint="poll without a cursor"
        )


def _read_lines(fd: int, offset: int, max_bytes: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    data = b""
    while True:
        want = max_bytes - len(data) if len(data) < max_bytes else _CHUNK
        chunk = os.read(fd, max(want, 1))
        data += chunk
        end = data.rfind(b"\n") + 1
        if not chunk or (end and len(data) >= max_bytes):
            return data[:end]


class Journal:
    """The writer. Only the holder of the run's lock may have one.

    `append` makes one write per batch; nothing is buffered. `size` is the file's length after the last append.
    """

    def __init__(self, path: str, run_id: str, clock: Clock) -> None:
        self._run_id = run_id
        self._clock = clock
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        self.size, self.seq = self._close_torn_tail(path)

    def _close_torn_tail(self, path: str) -> tuple[int, int]:
        size = os.fstat(self._fd).st_size
        if not size:
            return 0, 0
        os.lseek(self._fd, size - 1, os.SEEK_SET)
        if os.read(self._fd, 1) != b"\n":
            size += os.write(self._fd, b"\n")
        return size, last_seq(path)

    def append(self, facts: Iterable[Fact], **extra: str | None) -> list[dict[str, Any]]:
        """Write the facts as events and return them (envelope included).

        Raises OSError when not all could be written; those that were written whole stay, because a reader may have seen
        them, and `seq` counts them.
        """
        # Rounded as it is written, so that a live fold and one of the file agree.
        now = round(self._clock.now(), 4)
        events: list[dict[str, Any]] = []
        parts: list[bytes] = []
        seq = self.seq
        for fact in facts:
            seq += 1
            parts.append(encode(seq, now, self._run_id, fact.type, fact.data, **extra))
            events.append({"seq": seq, "ts": now, "type": fact.type, "data": fact.data})
        data = b"".join(parts)
        if data:
            before = self.size
            try:
                self._write(data)
            except OSError:
                self.seq += data[: self.size - before].count(b"\n")
                raise
            self.seq = seq
        return events

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        start = self.size
        try:
            while view:
                done = os.write(self._fd, view)
                self.size += done
                view = view[done:]
        except OSError:
            # A full disk may have taken half a line. Give its space back, so that the journal ends on a boundary.
            whole = data.rfind(b"\n", 0, self.size - start) + 1
            os.ftruncate(self._fd, start + whole)
            self.size = start + whole
            raise

    def sync(self) -> None:
        """fsync: for state changes, never per event."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def last_seq(path: str) -> int:
    """The seq of the last whole event, 0 without one. Reads from the end."""
    for event in last_events(path, 1):
        return int(event["seq"])
    return 0


def last_events(path: str, count: int, *, window: int = 1 << 16) -> list[dict[str, Any]]:
    """Up to `count` whole events at the end of the journal, oldest first; the cost does not depend on its length."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return []
    try:
        size = os.fstat(fd).st_size
        while True:
            start = max(0, size - window)
            os.lseek(fd, start, os.SEEK_SET)
            data = os.read(fd, size - start)
            whole = data[: data.rfind(b"\n") + 1]
            lines = whole.splitlines()
            events = [event for event in map(decode, lines[0 if start == 0 else 1 :]) if event is not None]
            if len(events) >= count or start == 0:
                return events[-count:]
            window *= 4
    finally:
        os.close(fd)
