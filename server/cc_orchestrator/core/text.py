"""Worker-written text made safe to show: cut by bytes on UTF-8 edges, control bytes stripped, one line where one is wanted."""

from __future__ import annotations

import re

# C0 without tab and newline, DEL, C1, and the bidi controls that can reorder what a reader sees.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_ANSI = re.compile("\x1b(?:\\[[0-9;?]{0,32}[ -/]{0,4}[@-~]|\\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])")
_BLANKS = re.compile(r"\s+")


def clean(text: str) -> str:
    """`text` without terminal escapes, control and bidi characters; tabs and newlines stay."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub("", text)


def cut(text: str, max_bytes: int, mark: str = "…") -> str:
    """At most `max_bytes` of UTF-8, ending in `mark` when something was cut off."""
    if len(text) * 4 <= max_bytes:
        return text
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return text
    room = max(0, max_bytes - len(mark.encode()))
    return data[:room].decode("utf-8", "ignore") + mark


def tail(text: str, max_bytes: int, mark: str = "…") -> str:
    """The last `max_bytes` of UTF-8, beginning with `mark` when something was cut off."""
    data = text.encode("utf-8", "replace")
    if len(data) <= max_bytes:
        return text
    room = max(1, max_bytes - len(mark.encode()))
    return mark + data[-room:].decode("utf-8", "ignore")


def line(text: str, max_bytes: int = 240) -> str:
    """`text` cleaned, on one line, cut."""
    return cut(_BLANKS.sub(" ", clean(text[: max_bytes * 8])).strip(), max_bytes)
