"""Path globs for scopes: relative to the repository, `/` between parts, `*` within one, `**` over many. Pure.

A bare name such as `src` or `src/` covers the folder and everything below it. `.env*` matches at any depth, as in gitignore:
a pattern without a slash names files anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_compiled: dict[str, re.Pattern[str]] = {}


def matches(path: str, pattern: str) -> bool:
    """Whether a relative path is covered by one glob."""
    found = _compiled.get(pattern)
    if found is None:
        found = _compiled[pattern] = re.compile(_translate(pattern))
    return found.fullmatch(path) is not None


def matches_any(path: str, patterns: Iterable[str]) -> bool:
    """Whether a relative path is covered by any of the globs."""
    return any(matches(path, pattern) for pattern in patterns)


def _translate(pattern: str) -> str:
    anchored = "/" in pattern.rstrip("/")
    text = pattern.strip().removeprefix("./").strip("/")
    out = "" if anchored or pattern.startswith("/") else "(?:.*/)?"
    position = 0
    while position < len(text):
        if text.startswith("**/", position):
            out += "(?:.*/)?"
            position += 3
        elif text.startswith("**", position):
            out += ".*"
            position += 2
        elif text[position] == "*":
            out += "[^/]*"
            position += 1
        elif text[position] == "?":
            out += "[^/]"
            position += 1
        else:
            out += re.escape(text[position])
            position += 1
    # A folder covers what is below it.
    return out + "(?:/.*)?"
