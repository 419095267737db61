"""Secrets in what would be delivered: every line added between base and result, and in every commit between them.

Says where, which kind and which class, never the value. Encoded text (base64, hex) is decoded one level and looked into too.
Classes: `real` blocks; `placeholder` says of itself that it is none (`AKIA…EXAMPLE`, `xxxx`), the words around it excuse nothing;
`identifier` is a name in code; `config_key` names a setting; `unknown` is too plain to be told, and is shown as a warning.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple

from cc_orchestrator.core.redact import find_secrets as find_spans
from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.diff import Change

Class = Literal["real", "placeholder", "identifier", "config_key", "unknown"]
_MARK = re.compile(rb"\[MASKED:[a-z0-9_-]{1,40}\]")
_PLACEHOLDER = re.compile(
    rb"example|placeholder|dummy|fake|change.?me|your[-_ ]|xxxx|redacted|sample|not[-_ ]?a[-_ ]?(?:real|secret)|<[^>]*>|\$\{",
    re.IGNORECASE,
)
#: Kinds that are told by the words around a value, not by the value's own form.
LOOSE = frozenset({"assignment", "bearer", "url_password"})
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_SETTING = re.compile(rb"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[a-z][a-z0-9]*(?:[._-][a-z0-9]+){2,}")
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,200000}={0,2}")
_HEX = re.compile(rb"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{2}){20,4000}(?![0-9A-Za-z])")
_WRAPPED = re.compile(rb"(?<=[A-Za-z0-9+/]{40})[\"']?\\?\n[ \t+]*[\"']?(?=[A-Za-z0-9+/]{8})")
_ENTROPY = 3.0


class Finding(NamedTuple):
    """`place` is `path:line` or a commit; `by` whose rule found it; `encoded` when it was found in decoded text."""

    place: str
    kind: str
    grade: Class
    encoded: bool = False
    by: str = "own"

    @property
    def real(self) -> bool:
        """Whether it blocks."""
        return self.grade == "real"


#: A scanner beside our own: `(offset, kind, value, whether it was decoded)` of what it finds.
Scan = Callable[[bytes], list[tuple[int, str, bytes, bool]]]


def is_placeholder(value: bytes) -> bool:
    """Whether a value cannot be a secret: it says so, or it is one character over and over."""
    return bool(_PLACEHOLDER.search(value)) or (len(value) > 0 and len(set(value[-16:])) <= 2)


def classify(kind: str, value: bytes, before: bytes) -> Class:
    """`before` is what stands right before the value on its line."""
    if is_placeholder(value):
        return "placeholder"
    if kind not in LOOSE:
        return "real"
    quoted = before[-1:] in (b'"', b"'", b"`")
    if kind == "assignment" and not quoted and _NAME.fullmatch(value) and b"=" not in value and _is_wordy(value):
        return "identifier"
    if _SETTING.fullmatch(value) and _is_wordy(value):
        return "config_key"
    return "real" if _entropy(value) >= _ENTROPY else "unknown"


def _is_wordy(value: bytes) -> bool:
    """Made of words: few digits, and short runs between the marks."""
    digits = sum(48 <= byte <= 57 for byte in value)
    return digits * 5 <= len(value) and all(len(part) <= 14 for part in re.split(rb"[._-]|(?<=[a-z])(?=[A-Z])", value))


def _entropy(value: bytes) -> float:
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values()) if value else 0.0


def scan_text(text: bytes, scan: Scan | None = None) -> Iterator[tuple[int, Finding, bytes]]:
    """`(offset, finding without a place, value)` of all secrets in a text."""
    seen: set[bytes] = set()
    for start, end, kind in find_spans(text):
        value = text[start:end]
        if not _MARK.fullmatch(value):
            seen.add(value)
            yield start, Finding("", kind, classify(kind, value, text[max(0, start - 40) : start])), value
    for start, inner in _decoded(text):
        for begin, end, kind in find_spans(inner):
            value = inner[begin:end]
            if kind not in LOOSE or kind == "assignment":
                seen.add(value)
                yield start, Finding("", kind, classify(kind, value, inner[max(0, begin - 40) : begin]), True), value
    for start, kind, value, encoded in scan(text) if scan is not None else ():
        if not any(value in known or known in value for known in seen) and not _MARK.search(value):
            yield (
                start,
                Finding("", kind, "placeholder" if is_placeholder(value) else "real", encoded, "kingfisher"),
                value,
            )


def _decoded(text: bytes) -> Iterator[tuple[int, bytes]]:
    """What encoded runs hold, where that is text. Lines of one wrapped run are joined first."""
    joined = _WRAPPED.sub(b"", text)
    for source in (text,) if joined == text else (text, joined):
        for match in _BASE64.finditer(source):
            raw = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
            try:
                inner = base64.b64decode(raw[: len(raw) - (len(raw) % 4 == 1)] + b"=" * (-len(raw) % 4))
            except (binascii.Error, ValueError):
                continue
            if _is_text(inner):
                yield min(match.start(), len(text)), inner
    for match in _HEX.finditer(text):
        inner = bytes.fromhex(match[0].decode("ascii"))
        if _is_text(inner):
            yield match.start(), inner


def _is_text(data: bytes) -> bool:
    head = data[:400]
    return sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in head) >= 0.9 * len(head)


def find_secrets(
    changes: Sequence[Change], history: Sequence[tuple[str, bytes]], scan: Scan | None = None
) -> list[Finding]:
    """Findings in the added lines of the result, then those that only its history holds."""
    found: list[Finding] = []
    seen: set[bytes] = set()
    for change in changes:
        text = b"\n".join(content for _number, content in change.lines)
        for offset, finding, value in scan_text(text, scan):
            seen.add(value)
            index = text.count(b"\n", 0, offset)
            number = change.lines[index][0] if index < len(change.lines) else 0
            found.append(finding._replace(place=f"{line(change.path, 80)}:{number}"))
    for commit, text in history:
        for _offset, finding, value in scan_text(text, scan):
            if value not in seen:
                seen.add(value)
                found.append(finding._replace(place=f"commit {commit[:10]}"))
    return found


def find_in_artifacts(artifacts: dict[str, bytes]) -> list[Finding]:
    """Findings in files beside the result, each named by its path."""
    found: list[Finding] = []
    for path, data in artifacts.items():
        for offset, finding, _value in scan_text(data):
            found.append(finding._replace(place=f"{line(path, 80)}:{data.count(bytes([10]), 0, offset) + 1}"))
    return found


def _counts(findings: Sequence[Finding]) -> dict[str, int]:
    counts = Counter(finding.grade for finding in findings)
    return {"real": counts.pop("real", 0), "placeholder": counts.pop("placeholder", 0), **counts}


def _places(findings: Sequence[Finding]) -> str:
    shown = ", ".join(
        f"{finding.kind}{' (encoded)' if finding.encoded else ''} at {finding.place}" for finding in findings[:5]
    )
    return f"{shown} and {len(findings) - 5} more" if len(findings) > 5 else shown


def check_secrets(findings: Sequence[Finding]) -> Check:
    """Fails on a real one; the others are counted."""
    real = [finding for finding in findings if finding.real]
    measured = _counts(findings)
    if real:
        return Check(
            "secrets", "fail", measured, {"real": 0}, f"{_places(real)}; remove it from the branch's history too"
        )
    unknown = [finding for finding in findings if finding.grade == "unknown"]
    return Check("secrets", "pass", measured, None, f"look at {_places(unknown)}" if unknown else "")


def check_artifacts(findings: Sequence[Finding]) -> Check:
    """What the worker handed over beside the result, and ignored files in its tree: not delivered, but lying there."""
    real = [finding for finding in findings if finding.real]
    text = f"{_places(real)}; take it away" if real else ""
    return Check("artifact_secrets", "fail" if real else "pass", _counts(findings), {"real": 0}, text, "local")


def check_scanner(version: str | None, wanted: str) -> Check:
    """Who looked: our own patterns always, kingfisher where it is installed. Its absence is declared, unless the rules say `own`."""
    if wanted == "own":
        return Check(
            "secret_scanner",
            "pass",
            "own patterns",
            None,
            "the rules say that our own patterns suffice",
            required=False,
        )
    if version is None:
        text = "kingfisher-secret-scanner is not installed (pip install 'cc-orchestrator[secrets]'); only our own patterns looked"
        return Check("secret_scanner", "unverified", "own patterns", "kingfisher", text, "blocked", fixable=False)
    return Check("secret_scanner", "pass", f"own patterns, kingfisher {version}", required=False)


def check_stream(masked: dict[str, int]) -> Check:
    """What was masked in the worker's own output: a warning, because it is not part of the result."""
    total = sum(masked.values())
    if not total:
        return Check("stream_secrets", "pass", required=False)
    kinds = ", ".join(f"{kind} x{count}" for kind, count in sorted(masked.items()))
    return Check("stream_secrets", "fail", total, 0, f"masked in the worker's output: {kinds}", required=False)
