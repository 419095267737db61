"""Sortable, typed ids that are safe as path names: `run_01k3…` = prefix + 10 digits of time (ms) + 10 random digits, base 32."""

from __future__ import annotations

import os
import re

from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.errors import InvalidRequest

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PREFIXES = ("run", "task", "wf", "ver", "rev", "fix", "dlv", "oi", "q", "apr", "grt", "team")
_ID = re.compile("(" + "|".join(PREFIXES) + ")_[0-9a-hjkmnp-tv-z]{20}")


def _base32(value: int, digits: int) -> str:
    out: list[str] = []
    for _ in range(digits):
        value, digit = divmod(value, 32)
        out.append(_ALPHABET[digit])
    return "".join(reversed(out))


def new_id(prefix: str, *, now: float | None = None) -> str:
    """A fresh id such as `run_01k3…`. `now` is epoch seconds and only sets the sortable part."""
    if prefix not in PREFIXES:
        raise ValueError(prefix)
    stamp = int((SystemClock().now() if now is None else now) * 1000)
    return f"{prefix}_{_base32(stamp, 10)}{_base32(int.from_bytes(os.urandom(8), 'big'), 10)}"


def is_id(text: str, prefix: str | None = None) -> bool:
    """Whether `text` is a well-formed id (of that kind)."""
    match = _ID.fullmatch(text)
    return match is not None and (prefix is None or match.group(1) == prefix)


def check_id(text: str, prefix: str, *, hint: str = "") -> str:
    """`text`, or InvalidRequest that says what an id of this kind looks like."""
    if not is_id(text, prefix):
        shown = ascii(text[:60])
        raise InvalidRequest(
            f"{shown} is not a {prefix} id: expected {prefix}_ and 20 characters of 0-9a-z",
            hint=hint or "cc_status lists ids",
        )
    return text
