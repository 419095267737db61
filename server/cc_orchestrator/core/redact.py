"""Masks secrets in worker output before it is written: linear time on any input, also when one is split over two reads.

Each kind has literals that must be there before its pattern is tried, edges that let a match begin only where a token begins,
and bounded repeats: so no input makes it slow. A mask is `[MASKED:<kind>]`, which is safe inside JSON. Patterns never cross a
quote, a backslash or a newline, except that a PEM block may hold newlines, real or as `\\n`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

_T = rb"(?<![A-Za-z0-9_-])"
#: `token` is common in usage figures; only where a value may follow is it worth a look.
_TOKEN = tuple(word + end for word in (b"oken", b"OKEN") for end in (b'"', b"'", b":", b"=", b" ", b"\\"))
#: kind -> (literals of which one must be present, pattern). The mask replaces group `s` where there is one, else all of it.
_RULES: dict[str, tuple[tuple[bytes, ...], bytes]] = {
    "aws_key_id": ((b"AKIA", b"ASIA", b"ABIA", b"ACCA"), _T + rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])"),
    "github": ((b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_"), _T + rb"gh[pousr]_[A-Za-z0-9]{20,255}"),
    "github_pat": ((b"github_pat_",), _T + rb"github_pat_[A-Za-z0-9_]{20,255}"),
    "gitlab": ((b"glpat-",), _T + rb"glpat-[A-Za-z0-9_-]{20,255}"),
    "anthropic": ((b"sk-ant-",), _T + rb"sk-ant-[A-Za-z0-9_-]{20,300}"),
    "openai": ((b"sk-",), _T + rb"sk-(?!ant-)(?:proj-|svcacct-|admin-)?(?=[A-Za-z0-9_-]{0,60}[0-9])[A-Za-z0-9_-]{20,300}"),
    "slack": ((b"xox",), _T + rb"xox[abeoprs]-[A-Za-z0-9-]{10,255}"),
    "jwt": ((b"eyJ",), _T + rb"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000}"),
    "google_api": ((b"AIza",), _T + rb"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"),
    "npm": ((b"npm_",), _T + rb"npm_[A-Za-z0-9]{20,100}"),
    "pypi": ((b"pypi-",), _T + rb"pypi-[A-Za-z0-9_-]{50,1000}"),
    "stripe": ((b"k_live_", b"k_test_"), _T + rb"[srp]k_(?:live|test)_[A-Za-z0-9]{16,255}"),
    "huggingface": ((b"hf_",), _T + rb"hf_[A-Za-z0-9]{30,60}(?![A-Za-z0-9])"),
    "url_password": ((b"://",), rb"(?<![A-Za-z0-9+.-])[a-zA-Z][a-zA-Z0-9+.-]{1,20}://[^\s/:@\"'\\]{1,64}:(?P<s>[^\s/@\"'\\]{3,128})@"),
    "bearer": ((b"earer", b"EARER", b"asic "), rb"(?i:(?<![a-z])(?:bearer|authorization:\s{0,3}basic)\s{1,4})(?P<s>[A-Za-z0-9._~+/=-]{16,4000})"),
    "assignment": (
        (b"ecret", b"ECRET", *_TOKEN, b"assw", b"ASSW", b"pi_key", b"pi-key", b"PI_KEY", b"piKey", b"PI-KEY", b"ccess_key", b"CCESS_KEY"),
        rb"(?i:(?:api[_-]?key|access[_-]?key|secret(?:[_-]?(?:access[_-]?)?key)?|auth[_-]?token|access[_-]?token|token|passw(?:or)?d))"
        rb"\\?[\"']?\s{0,4}(?:=|:)\s{0,4}\\?[\"']?(?P<s>(?=[A-Za-z0-9+/_.~-]{0,120}[0-9])(?=[A-Za-z0-9+/_.~-]{0,120}[A-Za-z])[A-Za-z0-9+/_.~-]{16,512}={0,2})",
    ),
}  # fmt: skip
_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----")
_PEM_MOST = 32_768
SECRET_KINDS = (*_RULES, "pem", "known")

#: A match that begins in the last bytes of a piece may still grow: they stay back until more has come.
_OVERLAP = 16_384
#: A line over the cap goes out in pieces of about this size, so that it is not held several times over.
_PIECE = 1 << 17
_MIN_KNOWN = 8
_compiled: dict[str, re.Pattern[bytes]] = {}


#: A longer line comes in fragments and is not read as a message.
MAX_LINE = 1 << 20


class Line(NamedTuple):
    """One whole line without its newline."""

    masked: bytes
    original: bytes


class Fragment(NamedTuple):
    """A piece of a line over the cap; `total` counts the line's bytes so far."""

    masked: bytes
    last: bool
    total: int


def _pattern(kind: str) -> re.Pattern[bytes]:
    found = _compiled.get(kind)
    if found is None:
        found = _compiled[kind] = re.compile(_RULES[kind][1])
    return found


def _spans(data: bytes, known: Iterable[bytes]) -> list[tuple[int, int, str]]:
    """`(start, end, kind)` of all secrets, sorted, none inside another."""
    found: list[tuple[int, int, str]] = []
    for value in known:
        start = data.find(value)
        while start >= 0:
            found.append((start, start + len(value), "known"))
            start = data.find(value, start + len(value))
    if b"PRIVATE KEY-----" in data:
        found += _pem_spans(data)
    for kind, (literals, _) in _RULES.items():
        if any(literal in data for literal in literals):
            for match in _pattern(kind).finditer(data):
                start, end = match.span("s") if "s" in _pattern(kind).groupindex else match.span()
                found.append((start, end, kind))
    found.sort(key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int, str]] = []
    for span in found:
        if not kept or span[0] >= kept[-1][1]:
            kept.append(span)
        elif span[1] > kept[-1][1]:
            kept[-1] = (kept[-1][0], span[1], kept[-1][2])
    return kept


def _pem_spans(data: bytes) -> list[tuple[int, int, str]]:
    """Each BEGIN up to its END, or up to the bound where the END is missing."""
    found: list[tuple[int, int, str]] = []
    place = 0
    while (begin := _BEGIN.search(data, place)) is not None:
        end = _END.search(data, begin.end(), begin.end() + _PEM_MOST)
        place = end.end() if end is not None else min(len(data), begin.end() + _PEM_MOST)
        found.append((begin.start(), place, "pem"))
    return found


def _apply(data: bytes, spans: list[tuple[int, int, str]], count: Callable[[str], None]) -> bytes:
    if not spans:
        return data
    parts: list[bytes] = []
    place = 0
    for start, end, kind in spans:
        parts += (data[place:start], b"[MASKED:" + kind.encode() + b"]")
        place = end
        count(kind)
    parts.append(data[place:])
    return b"".join(parts)


def mask(data: bytes, known: Iterable[bytes] = ()) -> tuple[bytes, dict[str, int]]:
    """`data` with its secrets masked, and how many of each kind."""
    counts: dict[str, int] = {}

    def count(kind: str) -> None:
        counts[kind] = counts.get(kind, 0) + 1

    return _apply(data, _spans(data, _variants(known)), count), counts


def mask_text(text: str) -> str:
    """`text` with its secrets masked, for files, lists and errors; halves of surrogate pairs as `?`."""
    return mask(text.encode("utf-8", "replace"))[0].decode("utf-8", "replace")


def find_secrets(data: bytes) -> list[tuple[int, int, str]]:
    """`(start, end, kind)` of the secrets in `data`, sorted, none inside another: for gates that judge before they mask."""
    return _spans(data, ())


def _variants(known: Iterable[bytes]) -> tuple[bytes, ...]:
    """Literal secrets, longest first, also as JSON writes them."""
    found: set[bytes] = set()
    for value in known:
        if len(value) >= _MIN_KNOWN:
            found.add(value)
            found.add(json.dumps(value.decode("utf-8", "surrogateescape"))[1:-1].encode("utf-8", "surrogateescape"))
            found.add(json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)[1:-1].encode("utf-8", "replace"))
    return tuple(sorted(found, key=len, reverse=True))


class Masker:
    """A stream: bytes in, masked lines out. `known` are literal secrets of this run's environment.

    `counts` tells what was masked. A line over `max_line` bytes comes in fragments, so memory stays near `max_line`.
    """

    def __init__(self, known: Iterable[bytes] = (), *, max_line: int = MAX_LINE) -> None:
        self._known = _variants(known)
        self._max = max(max_line, 4 * _OVERLAP)
        self._piece = min(_PIECE, self._max)
        self._parts: list[bytes] = []
        self._size = 0
        self._long = 0  # bytes of the current oversized line that have gone out
        self._in_pem = 0  # bytes of an open PEM block on earlier lines
        self.counts: dict[str, int] = {}

    def feed(self, chunk: bytes) -> list[Line | Fragment]:
        """Whole lines that this chunk completes, and fragments of a line that is too long."""
        newline = chunk.rfind(b"\n")
        if newline < 0:
            self._parts.append(chunk)
            self._size += len(chunk)
            return self._spill()
        data = b"".join((*self._parts, chunk[: newline + 1]))
        rest = chunk[newline + 1 :]
        self._parts, self._size = ([rest] if rest else []), len(rest)
        out: list[Line | Fragment] = []
        lines = data[:-1].split(b"\n")
        if self._long or len(lines[0]) > self._max:
            out += self._end_long(lines.pop(0))
        out += self._lines(lines)
        return out + self._spill()

    def flush(self) -> list[Line | Fragment]:
        """The torn last line, at the end of the stream."""
        data = b"".join(self._parts)
        self._parts, self._size = [], 0
        if self._long:
            return self._end_long(data)
        return self._lines([data]) if data else []

    def unfinished(self, most: int = 400) -> bytes:
        """The line that has not ended, masked, where it is as short as a prompt; else empty. It stays where it is."""
        if not 0 < self._size <= most or self._in_pem or self._long:
            return b""
        data = b"".join(self._parts)
        return _apply(data, _spans(data, self._known), _ignore)

    def _count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def _lines(self, lines: list[bytes]) -> list[Line | Fragment]:
        """Mask whole lines. One look over the joined block tells whether any of them needs more."""
        if len(lines) > 1 and not self._in_pem:
            block = b"\n".join(lines)
            if not _spans(block, self._known):
                return [Line(line, line) if len(line) <= self._max else self._whole_long(line) for line in lines]
        return [self._line(line) for line in lines]

    def _line(self, line: bytes) -> Line | Fragment:
        if self._in_pem:
            return self._pem_line(line)
        begin = _BEGIN.search(line) if b"PRIVATE KEY-----" in line else None
        masked = _apply(line, _spans(line, self._known), self._count)
        if begin is not None and _END.search(line, begin.end()) is None and line.rstrip().endswith(b"-----"):
            # A block over several lines: its header stands alone on this one.
            self._in_pem = 1
        return Line(masked, line) if len(line) <= self._max else Fragment(masked, True, len(line))

    def _pem_line(self, line: bytes) -> Line:
        """Inside a block over several lines: all of it is masked, up to the END line or the bound."""
        end = _END.search(line)
        self._in_pem += len(line)
        if end is not None or self._in_pem > _PEM_MOST:
            self._in_pem = 0
            # Another block may begin behind the end of this one.
            rest = self._line(line[end.end() :]).masked if end is not None else b""
            return Line(b"[MASKED:pem]" + rest, line)
        return Line(b"[MASKED:pem]", line)

    def _whole_long(self, line: bytes) -> Fragment:
        return Fragment(_apply(line, _spans(line, self._known), self._count), True, len(line))

    def _spill(self) -> list[Line | Fragment]:
        """Send out the front of a line that outgrew the cap, up to a place that no secret spans."""
        out: list[Line | Fragment] = []
        limit = self._piece if self._long else self._max
        while self._size > limit:
            limit = self._piece
            data = self._take(self._piece)
            spans = _spans(data, self._known)
            cut = _whole_character(data, len(data) - _OVERLAP)
            for start, end, _kind in spans:
                if start < cut < end:
                    cut = start if start else end
            front, rest = data[:cut], data[cut:]
            self._long += len(front)
            out.append(
                Fragment(_apply(front, [span for span in spans if span[1] <= cut], self._count), False, self._long)
            )
            self._parts.insert(0, rest)
            self._size += len(rest)
        return out

    def _take(self, least: int) -> bytes:
        """The front of what waits, at least so many bytes: never all of a long line at once."""
        count = taken = 0
        while taken < least and count < len(self._parts):
            taken += len(self._parts[count])
            count += 1
        data = b"".join(self._parts[:count])
        del self._parts[:count]
        self._size -= taken
        return data

    def _end_long(self, data: bytes) -> list[Line | Fragment]:
        total = self._long + len(data)
        self._long = 0
        return [Fragment(_apply(data, _spans(data, self._known), self._count), True, total)]


def _ignore(_kind: str) -> None:
    return None


def _whole_character(data: bytes, place: int) -> int:
    """`place`, moved back so that it splits no UTF-8 sequence."""
    for back in range(4):
        if place - back > 0 and data[place - back] & 0xC0 != 0x80:
            return place - back
    return place
