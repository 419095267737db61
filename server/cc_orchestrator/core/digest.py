"""SHA-256, and ids made of names, without OpenSSL, whose loading costs a supervisor four megabytes.

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


def _find(kind: str, *modules: str) -> Callable[..., Digest]:
    for name in modules:
        try:
            return cast("Callable[..., Digest]", getattr(import_module(name), kind))
        except (ImportError, AttributeError):
            continue
    return cast("Callable[..., Digest]", getattr(import_module("hashlib"), kind))


_new = _find("sha256", "_sha2", "_sha256")


def sha256(data: bytes = b"") -> Digest:
    """A digest that has taken in `data`."""
    return _new(data)


def uuid_of(namespace: str, name: str) -> str:
    """The name-based UUID (version 5) of RFC 9562. `namespace` is a UUID; the module `uuid` would cost half a megabyte."""
    digest = _find("sha1", "_sha1")(
        bytes.fromhex(namespace.replace("-", "")) + name.encode("utf-8", "replace")
    ).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
