"""Secrets that were turned, cut or coded so that no pattern sees them: what changed files hold once that is undone. Pure.

Looked for: texts put together from pieces, read backwards, rot13, escapes, percent signs, lists of numbers, base32, base64 within base64.
Only values whose own form tells a secret count here; the words around one prove nothing in decoded text.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

from cc_orchestrator.core.redact import find_secrets as find_spans
from cc_orchestrator.core.text import line
from cc_orchestrator.verify.constants import folded_texts
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.secrets import LOOSE, Finding, is_placeholder

_MOST = 500_000
_ESCAPES = re.compile(rb"(?:\\x[0-9a-fA-F]{2}|\\u00[0-9a-fA-F]{2}|\\[0-7]{3}){8,}")
_ESCAPE = re.compile(rb"\\x([0-9a-fA-F]{2})|\\u00([0-9a-fA-F]{2})|\\([0-7]{3})")
_PERCENT = re.compile(rb"(?:%[0-9A-Fa-f]{2}[\w.-]{0,3}){6,}")
_NUMBERS = re.compile(rb"(?:\b(?:0x[0-9a-fA-F]{2}|\d{2,3})\s*,\s*){15,}(?:0x[0-9a-fA-F]{2}|\d{2,3})\b")
_BASE32 = re.compile(rb"(?<![A-Z2-7])[A-Z2-7]{32,20000}={0,6}")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{32,200000}={0,2}")
_PIECES = re.compile(rb"[\"'`]\s*(?:\+|\.|\\\n|\n)\s*[\"'`]")
_LISTED = re.compile(rb"[\"'`]\s*,\s*[\"'`]")


def find_disguised(evidence: Evidence) -> list[Finding]:
    """Findings in changed files that are not there in plain."""
    found: list[Finding] = []
    for change in evidence.changes:
        rows = b"\n".join(row for _number, row in change.lines)
        if not rows or len(rows) > _MOST:
            continue
        plain = {rows[start:end] for start, end, _kind in find_spans(rows)}
        first = change.lines[0][0]
        pair = evidence.contents.texts.get(change.path)
        after = pair.after if pair is not None and change.path.endswith(".py") else None
        for number, inner in (*_undo(rows, first), *_fold(after)):
            for start, end, kind in find_spans(inner):
                value = inner[start:end]
                if kind not in LOOSE and value not in plain and not is_placeholder(value):
                    found.append(Finding(f"{line(change.path, 80)}:{number}", kind, "real", encoded=True))
                    plain.add(value)
    return found


def _fold(text: bytes | None) -> Iterator[tuple[int, bytes]]:
    try:
        for number, inner in folded_texts(text) if text is not None else ():
            data = inner.encode("latin-1", "replace")
            yield number, data
            if 20 <= len(data) <= 4_000:
                yield from ((number, deeper) for deeper in (data[::-1], _rot13(data), *_unpack(data)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _undo(rows: bytes, first: int) -> Iterator[tuple[int, bytes]]:
    """`(line, text)` of all that undoing gives; the line is that of the first added one where it cannot be told."""
    yield first, rows[::-1]
    yield first, _rot13(rows)
    for joined in (_PIECES.sub(b"", rows), _LISTED.sub(b"", rows)):
        if joined != rows:
            yield first, joined
    for match in _ESCAPES.finditer(rows):
        yield first, _ESCAPE.sub(_character, match[0])
    for match in _PERCENT.finditer(rows):
        yield first, unquote_to_bytes(match[0])
    for match in _NUMBERS.finditer(rows):
        numbers = [int(word, 0) for word in re.findall(rb"0x[0-9a-fA-F]{2}|\d+", match[0].replace(b" 0", b" "))]
        if all(9 <= number < 127 for number in numbers):
            yield first, bytes(numbers)
    yield from ((first, inner) for inner in _unpack(rows))


def _character(match: re.Match[bytes]) -> bytes:
    return bytes([int(match[1] or match[2], 16) if match[1] or match[2] else int(match[3], 8) & 255])


def _rot13(data: bytes) -> bytes:
    return codecs.encode(data.decode("latin-1"), "rot13").encode("latin-1")


def _unpack(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """What base32 and base64 runs hold, three deep; the first base64 level belongs to the plain scan too."""
    for pattern, decode in ((_BASE32, base64.b32decode), (_BASE64, base64.b64decode)):
        for match in pattern.finditer(data):
            raw = match[0].rstrip(b"=")
            unit = 8 if decode is base64.b32decode else 4
            try:
                inner = decode(raw + b"=" * (-len(raw) % unit))
            except (binascii.Error, ValueError):
                continue
            yield inner
            yield inner[::-1]
            if depth < 2:
                yield from _unpack(inner, depth + 1)
