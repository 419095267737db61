"""Receipts for other tools: the lines as they are (NDJSON), or in-toto Statements v1, one a line. Writes only under reports/.

A statement's subject is the result that the receipt speaks of, as git names it (`gitCommit`, `gitTree`); a receipt about no
result is its own subject (`sha256` of its line). The predicate is `{receipt, line_sha256, signed: false}`, of type
`urn:cc-orchestrator:receipt:v1`: the record as the ledger has it. Nothing is signed: a statement proves no more than the ledger does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from cc_orchestrator.core.digest import sha256
from cc_orchestrator.store import atomic
from cc_orchestrator.store.ledger import Record
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.sealed import reseal

Form = Literal["ndjson", "in-toto"]
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:cc-orchestrator:receipt:v1"
#: Names of observed fields that hold a commit; the first one that is there is the result.
_COMMITS = ("after", "commit", "result")


class Exported(NamedTuple):
    """A written file: its path, how many receipts are in it, its size in bytes and SHA-256."""

    path: str
    receipts: int
    bytes: int
    sha256: str


def write_export(workspace: Workspace, receipts: Sequence[Record], form: Form) -> Exported:
    """Write the receipts, in the order of the ledger, and say where. The same receipts make the same file. Raises OSError."""
    ordered = sorted(receipts, key=lambda record: record["n"])
    rows = [reseal(record) if form == "ndjson" else encode_statement(record) for record in ordered]
    data = b"".join(row + b"\n" for row in rows)
    digest = sha256(data).hexdigest()
    folder = workspace.at("reports")
    os.makedirs(folder, exist_ok=True)
    span = f"{ordered[0]['n']}-{ordered[-1]['n']}" if ordered else "none"
    name = f"ledger-{span}-{digest[:8]}.{'ndjson' if form == 'ndjson' else 'intoto.jsonl'}"
    path = os.path.join(folder, name)
    atomic.write_bytes(path, data)
    return Exported(path, len(rows), len(data), digest)


def encode_statement(record: Record) -> bytes:
    """One receipt as one line of JSON."""
    return json.dumps(make_statement(record), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def make_statement(record: Record) -> dict[str, Any]:
    """The statement over one receipt."""
    digest = sha256(reseal(record)).hexdigest()
    return {
        "_type": STATEMENT,
        "subject": _subjects(record) or [{"name": f"receipt-{record['n']}", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE,
        "predicate": {"receipt": record, "line_sha256": digest, "signed": False},
    }


def _subjects(record: Record) -> list[dict[str, Any]]:
    observed = record["observed"]
    about = str(record["subject"].get("run_id") or f"receipt-{record['n']}")
    commit = next((observed[key] for key in _COMMITS if _is_object(observed.get(key))), None)
    found: list[dict[str, Any]] = []
    if commit is not None:
        found.append({"name": about, "digest": {"gitCommit": commit}})
    if _is_object(observed.get("tree")):
        found.append({"name": f"{about} tree", "digest": {"gitTree": observed["tree"]}})
    return found


def _is_object(value: Any) -> bool:
    return isinstance(value, str) and len(value) in (40, 64) and all(digit in "0123456789abcdef" for digit in value)
