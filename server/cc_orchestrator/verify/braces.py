"""Reads source of the brace languages roughly: comments and texts blanked, blocks matched, functions and titled blocks found. Pure.

No parser: what it cannot match it leaves out, so whoever judges by it must treat what is missing as unknown, never as bad.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

EXTENSIONS = frozenset({
    "js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "go", "rs", "java", "kt", "cs", "scala", "swift", "php", "c", "cc", "cpp", "dart",
})  # fmt: skip
_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`", re.DOTALL)
_FUNCTION = re.compile(
    r"(?:\bfunction\s*\*?\s*(?P<js>\w+)\s*(?:<[^>(]*>)?\s*\((?P<jsp>[^()]*(?:\([^()]*\)[^()]*)*)\)"
    r"|\bfunc\s+(?:\([^()]*\)\s*)?(?P<go>\w+)\s*\((?P<gop>[^()]*(?:\([^()]*\)[^()]*)*)\)"
    r"|\b(?:fn|fun|def)\s+(?P<rs>\w+)\s*(?:<[^>(]*>)?\s*\((?P<rsp>[^()]*(?:\([^()]*\)[^()]*)*)\)"
    r"|\b(?:const|let|var)\s+(?P<arrow>\w+)\s*=\s*(?:async\s*)?\((?P<arrowp>[^()]*)\)\s*(?::\s*[\w<>\[\]| ]+)?\s*=>"
    r"|^[ \t]*(?:[\w<>\[\],.?@]+[ \t]+)*(?P<m>[A-Za-z_]\w*)[ \t]*\((?P<mp>[^()]*)\))"
    r"(?P<after>[^{};=\n]*)\{",
    re.MULTILINE,
)
_WORDS = frozenset(
    {"if", "for", "while", "switch", "catch", "return", "match", "with", "else", "do", "synchronized", "using", "lock"}
)


class Function(NamedTuple):
    """`params` are the names that it gives to what it takes; `body` is as written; `head` its own line before the name."""

    name: str
    params: tuple[str, ...]
    body: str
    head: str
    line: int


def extension_of(path: str) -> str:
    """The part after the last point, in small letters."""
    return path.rpartition(".")[2].lower()


def decode(text: bytes | None) -> str:
    """Text of a file that may be missing."""
    return (text or b"").decode("utf-8", "replace")


def blank(source: str, *, texts: bool = True) -> str:
    """The source at the same length, comments (and with `texts` what stands in quotes) made blank."""

    def replace(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith(("//", "/*")):
            return re.sub(r"[^\n]", " ", token)
        return token if not texts else token[0] + re.sub(r"[^\n]", " ", token[1:-1]) + token[-1]

    return _TOKEN.sub(replace, source)


def close_of(blanked: str, start: int) -> int:
    """Index of the brace that closes the one at `start`; -1 when none does."""
    depth = 0
    for at in range(start, len(blanked)):
        depth += (blanked[at] == "{") - (blanked[at] == "}")
        if depth == 0:
            return at
    return -1


def find_functions(source: str) -> Iterator[Function]:
    """Every function with a body in braces."""
    blanked = blank(source)
    for match in _FUNCTION.finditer(blanked):
        names = {key: match[key] for key in ("js", "go", "rs", "arrow", "m") if match[key]}
        kind, name = next(iter(names.items()))
        if name in _WORDS or (kind == "m" and re.search(r"\b(?:return|new|await|throw|else)\b", match[0])):
            continue
        start = match.end() - 1
        end = close_of(blanked, start)
        if end < 0:
            continue
        head = source[source.rfind("\n", 0, match.start(kind)) + 1 : match.start(kind)]
        yield Function(
            name,
            tuple(_params(match[f"{kind}p"], kind)),
            source[start + 1 : end],
            head,
            source.count("\n", 0, start) + 1,
        )


def _params(text: str, kind: str) -> Iterator[str]:
    for part in text.split(","):
        words = re.findall(r"[A-Za-z_$][\w$]*", part.split("=", 1)[0])
        words = [
            word
            for word in words
            if word not in ("mut", "ref", "final", "const", "in", "out", "readonly", "private", "public", "this")
        ]
        if not words or words[0] == "self":
            continue
        if kind == "m" and ":" not in part and len(words) > 1:
            yield words[-1]
        elif kind == "go" and len(words) < 2:
            continue
        else:
            yield words[0]
