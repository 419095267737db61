"""How many bytes an answer costs its reader, and how one that costs too much is cut: never an error, never in silence."""

from __future__ import annotations

import json
from typing import Any, cast

from cc_orchestrator.core.text import cut

#: (bytes of a text, entries of a list), from mild to hard.
_STEPS = ((8_000, 200), (4_000, 100), (2_000, 50), (1_000, 25), (500, 12), (240, 8), (120, 5), (60, 3), (30, 1), (8, 1))
#: What the next call is made of is never cut; it is short by construction.
_WHOLE = frozenset({"id", "status", "reason", "cursor", "next", "code", "verdict", "as_of", "done"})
_MOST_WHOLE = 1_000


def size_of(value: Any) -> int:
    """Bytes of `value` as compact JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace"))


def drop_empty(value: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that say nothing."""
    return {key: entry for key, entry in value.items() if entry is not None and entry != [] and entry != {}}


def fit(answer: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """`answer` in at most `max_bytes` of JSON. What had to be cut is marked by `truncated: true`; ids and `next` stay whole."""
    if size_of(answer) <= max_bytes:
        return answer
    smaller = answer
    for text, entries in _STEPS:
        smaller = {**cast("dict[str, Any]", _cut(answer, text, entries)), "truncated": True}
        if size_of(smaller) <= max_bytes:
            return smaller
    return _only_what_fits(smaller, max_bytes)


def _is_whole(key: str, value: Any) -> bool:
    return (key in _WHOLE or key.endswith("_id")) and (not isinstance(value, str) or len(value) <= _MOST_WHOLE)


def _cut(value: Any, text: int, entries: int) -> Any:
    if isinstance(value, str):
        return cut(value, text)
    if isinstance(value, list):
        return [_cut(entry, text, entries) for entry in cast("list[Any]", value)[:entries]]
    if isinstance(value, dict):
        rows = list(cast("dict[str, Any]", value).items())
        return {
            key if len(key) <= 200 else cut(key, 200): entry if _is_whole(key, entry) else _cut(entry, text, entries)
            for key, entry in rows[: max(entries, 24)]
        }
    return value


def _only_what_fits(answer: dict[str, Any], max_bytes: int) -> dict[str, Any]:
    """The fields that say where to go on first, then the others while there is room."""
    out: dict[str, Any] = {"truncated": True}
    for key, value in sorted(answer.items(), key=lambda row: (not _is_whole(*row), size_of(row[1]))):
        if size_of({**out, key: value}) <= max_bytes:
            out[key] = value
    return out
