"""Lines of JSON that carry their own digest: `{…,"hash":"<sha256 of the line without that field>"}`. A changed byte is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from cc_orchestrator.core.digest import sha256

Record = dict[str, Any]
_SUFFIX = len(',"hash":""}') + 64
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def seal(body: Mapping[str, Any]) -> bytes:
    """The line, without a newline. `body` has one field at least and none named `hash`. Raises ValueError (no JSON)."""
    raw = _encode(body).encode("utf-8", "replace")
    return raw[:-1] + b',"hash":"' + sha256(raw).hexdigest().encode() + b'"}'


def unseal(line: bytes) -> Record | None:
    """What a line holds, `hash` included; None for any line that `seal` did not make so."""
    if len(line) < _SUFFIX or not line.endswith(b'"}'):
        return None
    body, suffix = line[:-_SUFFIX] + b"}", line[-_SUFFIX:]
    if suffix != b',"hash":"' + sha256(body).hexdigest().encode() + b'"}':
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("Record", record) if isinstance(record, dict) else None


def reseal(record: Record) -> bytes:
    """The line that `unseal` made this of. ValueError when the record is not as it was then."""
    line = seal({key: value for key, value in record.items() if key != "hash"})
    if unseal(line) != record:
        raise ValueError("the record was changed since it was read")
    return line
