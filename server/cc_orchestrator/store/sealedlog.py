"""A small append-only file of sealed lines: one writer at a time, durable, and a changed byte is found when it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.atomic import sync_folder
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.sealed import Record, seal, unseal


def append_sealed(path: str, row: Mapping[str, Any]) -> None:
    """Add one line, closing off a torn one first. Raises OSError, Busy."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with Exclusive(path + ".lock"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        try:
            size = os.lseek(fd, 0, os.SEEK_END)
            torn = False
            if size:
                os.lseek(fd, size - 1, os.SEEK_SET)
                torn = os.read(fd, 1) != b"\n"
            # A writer that died in the middle of its line has told nobody: the half line is taken off.
            if torn:
                _drop_torn(fd, size)
            os.write(fd, seal(row) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
    sync_folder(os.path.dirname(path))


def _drop_torn(fd: int, size: int) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    data = os.read(fd, size)
    os.ftruncate(fd, data.rfind(b"\n") + 1)


def read_sealed(path: str) -> list[Record]:
    """All whole lines, oldest first; [] without a file. Corrupt when one is not what was written."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    rows: list[Record] = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), 1):
        record = unseal(line)
        if record is None:
            raise Corrupt(
                f"line {number} of {path} is not what was written", hint="look who wrote it, then move the file away"
            )
        rows.append(record)
    return rows
