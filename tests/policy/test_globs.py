"""Globs of a scope cover what they say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.policy.globs import matches, matches_any


@pytest.mark.parametrize(
    ("path", "pattern", "covered"),
    [
        ("src/a.py", "src", True), ("src/a.py", "src/", True), ("src2/a.py", "src", False), ("deep/src/a.py", "src", True),
        ("deep/src/a.py", "/src", False),
        ("a.md", "*.md", True), ("docs/a.md", "*.md", True), ("docs/a.md", "docs/*.md", True), ("docs/x/a.md", "docs/*.md", False),
        ("docs/x/a.md", "docs/**/*.md", True), ("docs/a.md", "docs/**/*.md", True), ("docs/a.md", "docs/**", True), (".env", ".env*", True),
        ("x/.env.local", ".env*", True), ("a", "?", True), ("ab", "?", False), ("a/b", "a?b", False), ("a+b", "a+b", True), ("aab", "a+b", False),
        ("src/a", "./src", True),
    ],
)  # fmt: skip
def test_globs_cover_what_they_say(path: str, pattern: str, covered: bool) -> None:
    assert matches(path, pattern) is covered


names = st.text(alphabet="abc.-_[](){}+*?^$|", min_size=1, max_size=6)


@settings(max_examples=100, deadline=None)
@given(st.lists(names, min_size=1, max_size=4))
def test_a_plain_path_covers_itself_and_what_is_below(parts: list[str]) -> None:
    plain = [part.replace("*", "x").replace("?", "x") for part in parts]
    path = "/".join(plain)
    assert matches(path, "/" + path)
    assert matches(path + "/below", "/" + path)
    assert matches_any(path, ("nothing-like-it", "**"))
    assert not matches_any(path, ())
