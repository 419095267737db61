"""What of a ledger is noted outside of it (a git ref), and what of that is remembered beside it, in `anchored.json`.

Pure but for that one file: who writes the ref is `runs.anchoring`.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store import atomic
from cc_orchestrator.store.sealed import seal, unseal

VERSION = 1
NAME = "anchored.json"


class Anchor(NamedTuple):
    """Record `n` of the ledger, the SHA-256 of its line, and the commit of the ref that says so."""

    n: int
    line: str
    commit: str


class Anchors(NamedTuple):
    """All anchors that the ref `ref` holds, the newest first, and the one that was remembered before they were read.

    `problems` are `(where, what)` of what could not be read.
    """

    ref: str
    found: tuple[Anchor, ...] = ()
    whole: bool = True  # all of the ref's history was read
    recalled: Anchor | None = None
    problems: tuple[tuple[str, str], ...] = ()


def make_note(n: int, line: str, ts: float) -> str:
    """The text that an anchor's commit carries."""
    return (
        f"cc-orchestrator ledger: record {n}\n\n" + seal({"v": VERSION, "n": n, "line": line, "ts": ts}).decode() + "\n"
    )


def read_note(commit: str, text: str) -> Anchor | None:
    """The anchor of a commit with that text; None when it is none of ours."""
    for row in text.splitlines():
        raw = unseal(row.encode("utf-8", "replace"))
        if raw is not None and isinstance(raw.get("n"), int):
            return Anchor(raw["n"], str(raw.get("line")), commit)
    return None


def remember(folder: str, anchor: Anchor) -> None:
    """Replace `anchored.json`. Raises OSError."""
    atomic.write_bytes(os.path.join(folder, NAME), seal({"v": VERSION, **anchor._asdict()}) + b"\n")


def recall(folder: str) -> Anchor | None:
    """The last anchor that was written from here; None when there is none. Raises Corrupt."""
    path = os.path.join(folder, NAME)
    try:
        with open(path, "rb") as file:
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    raw = unseal(data[:-1]) if data.endswith(b"\n") else None
    try:
        if raw is None:
            raise ValueError("not sealed")
        return Anchor(int(raw["n"]), str(raw["line"]), str(raw["commit"]))
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"{path} was changed", hint="cc_ledger checks the ledger") from error
