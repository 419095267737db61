"""Who reviews: somebody else than the maker, of another vendor when one is there. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

#: Whose models a CLI speaks to.
VENDORS = {"claude": "anthropic", "codex": "openai", "fake": "none"}
#: Second ways to the same CLI: they review when they are named, and are of its vendor.
_SAME = {"codex-exec": "codex"}


class Choice(NamedTuple):
    """The reviewers' CLIs, and what could not be had, as sentences."""

    adapters: tuple[str, ...]
    declared: tuple[str, ...]


def choose_reviewers(maker: str, installed: Collection[str], count: int) -> Choice:
    """`count` reviewers for a maker's work: the CLIs of other vendors first, then the maker's own in a conversation of its own."""
    others = [name for name in VENDORS if VENDORS[name] not in (_vendor(maker), "none") and name in installed]
    same = [name for name in VENDORS if _vendor(name) == _vendor(maker) and name in installed]
    ranked = others + same
    if not ranked:
        return Choice((), (f"none of {', '.join(VENDORS)} is installed",))
    chosen = tuple(ranked[number % len(ranked)] for number in range(count))
    return Choice(chosen, tuple(declare(maker, chosen)))


def declare(maker: str, chosen: Collection[str]) -> list[str]:
    """What is not as independent as it should be."""
    same = [name for name in chosen if _vendor(name) == _vendor(maker)]
    return [f"{name} reviews the work of {maker}: the same vendor's models" for name in dict.fromkeys(same)]


def _vendor(adapter: str) -> str:
    return VENDORS.get(_SAME.get(adapter, adapter), adapter)
