"""SHA-256 without OpenSSL, whose loading costs a supervisor four megabytes.

The interpreter's own small module is private, and its name changes between versions; the standard library's `random` takes
its hash from there for the same reason. Where there is none, it is hashlib's.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol, cast


class Digest(Protocol):
    """A running SHA-256."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""
        ...

    def hexdigest(self) -> str:
        """64 hexadecimal digits of what was taken in so far."""
        ...


def _find() -> Callable[..., Digest]:
    for name in ("_sha2", "_sha256"):
        try:
            return cast("Callable[..., Digest]", import_module(name).sha256)
        except (ImportError, AttributeError):
            continue
    return cast("Callable[..., Digest]", import_module("hashlib").sha256)


_new = _find()


def sha256(data: bytes = b"") -> Digest:
    """A digest that has taken in `data`."""
    return _new(data)
