"""`head.json` of a ledger: the last record, and the write that is under way, if one is. Sealed: a changed byte is found.

Before a record is written, the head announces its bytes; after it, the head names it. So a record beyond the head is known to
be ours by the announcement, a torn tail (announced, never named) is told from a cut one (named, not there), and what nobody
announced was put there by somebody else.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store import atomic
from cc_orchestrator.store.sealed import seal, unseal

VERSION = 2
ZERO = "0" * 64
NAME = "head.json"


class Pending(NamedTuple):
    """`bytes` with digest `sha256` that are about to be appended to `file`, which is `start` bytes long."""

    file: str
    start: int
    bytes: int
    sha256: str


class Head(NamedTuple):
    """The last record: its number, SHA-256 of its whole line, its file and that file's length after it."""

    n: int
    line: str
    file: str
    bytes: int
    pending: Pending | None = None


START = Head(0, ZERO, "", 0)


def read_head(folder: str) -> Head | None:
    """The head; None when there is none. Raises Corrupt."""
    try:
        with open(os.path.join(folder, NAME), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    try:
        raw = _parse(data)
        pending = raw.get("next")
        return Head(
            int(raw["n"]), str(raw["line"]), str(raw["file"]), int(raw["bytes"]),
            None if pending is None else Pending(**pending),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(
            f"{os.path.join(folder, NAME)} was changed or is no head of a ledger", hint="cc_ledger checks the ledger"
        ) from error


def _parse(data: bytes) -> dict[str, Any]:
    if not data.endswith(b"\n"):
        raise ValueError("torn")
    raw = unseal(data[:-1])
    if raw is not None:
        return raw
    # Before version 2 the head was not sealed; it held the record's own hash in this place.
    old = json.loads(data)
    if not isinstance(old, dict) or cast("dict[str, Any]", old).get("v") != 1:
        raise ValueError("not sealed")
    if json.dumps(old, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" != data:
        raise ValueError("changed")
    return cast("dict[str, Any]", old)


def write_head(folder: str, head: Head) -> None:
    """Replace the head, durably. Raises OSError."""
    body = {"v": VERSION, "n": head.n, "line": head.line, "file": head.file, "bytes": head.bytes}
    pending = None if head.pending is None else head.pending._asdict()
    atomic.write_bytes(os.path.join(folder, NAME), seal({**body, "next": pending}) + b"\n")


def read_pending(folder: str, pending: Pending | None) -> bytes | None:
    """The announced bytes, when they are there whole (but for the last newline) and end their file; else None."""
    if pending is None:
        return None
    try:
        with open(os.path.join(folder, os.path.basename(pending.file)), "rb") as file:
            file.seek(pending.start)
            data = file.read(pending.bytes + 1)
    except FileNotFoundError:
        return None
    whole = data + b"\n" if len(data) == pending.bytes - 1 else data
    return data if len(whole) == pending.bytes and sha256(whole).hexdigest() == pending.sha256 else None
