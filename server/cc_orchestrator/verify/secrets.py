"""Secrets in what would be delivered: every line added between base and result, and in every commit between them.

Says where and which kind, never the value. A value that is plainly an example (`AKIA…EXAMPLE`, `xxxx`) is a placeholder; the
words around a value excuse nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cc_orchestrator.core.redact import mask
from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.diff import Change

_MARK = re.compile(rb"\[MASKED:([a-z0-9_-]{1,40})\]")
_PLACEHOLDER = re.compile(
    rb"example|placeholder|dummy|fake|change.?me|your[-_ ]|xxxx|redacted|sample|not[-_ ]?a[-_ ]?(?:real|secret)|<[^>]*>|\$\{",
    re.IGNORECASE,
)


class Finding(NamedTuple):
    """`place` is `path:line` or a commit; `real` false for a placeholder."""

    place: str
    kind: str
    real: bool


def _values(text: bytes) -> Iterator[tuple[int, str, bytes]]:
    """`(offset, kind, value)` of each secret, found by laying the masked text beside the text."""
    parts = _MARK.split(mask(text)[0])
    at = len(parts[0])
    for index in range(1, len(parts), 2):
        kind, after = parts[index].decode(), parts[index + 1]
        last = index + 2 >= len(parts)
        end = len(text) - len(after) if last else text.find(after, at) if after else at
        end = max(at, end)
        yield at, kind, text[at:end]
        at = end + len(after)


def is_placeholder(value: bytes) -> bool:
    """Whether a value cannot be a secret: it says so, or it is one character over and over."""
    return bool(_PLACEHOLDER.search(value)) or (len(value) > 0 and len(set(value[-16:])) <= 2)


def find_secrets(changes: Sequence[Change], history: Sequence[tuple[str, bytes]]) -> list[Finding]:
    """Findings in the added lines of the result, then those that only its history holds."""
    found: list[Finding] = []
    seen: set[bytes] = set()
    for change in changes:
        text = b"\n".join(content for _number, content in change.lines)
        for offset, kind, value in _values(text):
            if _MARK.fullmatch(value):
                continue
            seen.add(value)
            index = text.count(b"\n", 0, offset)
            number = change.lines[index][0] if index < len(change.lines) else 0
            found.append(Finding(f"{line(change.path, 80)}:{number}", kind, not is_placeholder(value)))
    for commit, text in history:
        for _offset, kind, value in _values(text):
            if value not in seen and not _MARK.fullmatch(value):
                seen.add(value)
                found.append(Finding(f"commit {commit[:10]}", kind, not is_placeholder(value)))
    return found


def check_secrets(findings: Sequence[Finding]) -> Check:
    """Fails on a real one; placeholders are counted."""
    real = [finding for finding in findings if finding.real]
    measured = {"real": len(real), "placeholder": len(findings) - len(real)}
    if not real:
        return Check("secrets", "pass", measured)
    where = ", ".join(f"{finding.kind} at {finding.place}" for finding in real[:5])
    more = f" and {len(real) - 5} more" if len(real) > 5 else ""
    return Check("secrets", "fail", measured, {"real": 0}, f"{where}{more}; remove it from the branch's history too")


def check_stream(masked: dict[str, int]) -> Check:
    """What was masked in the worker's own output: a warning, because it is not part of the result."""
    total = sum(masked.values())
    if not total:
        return Check("stream_secrets", "pass", required=False)
    kinds = ", ".join(f"{kind} x{count}" for kind, count in sorted(masked.items()))
    return Check("stream_secrets", "fail", total, 0, f"masked in the worker's output: {kinds}", required=False)
