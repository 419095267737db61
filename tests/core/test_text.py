"""Worker text made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.text import clean, cut, line, tail

anything = st.text(alphabet=st.characters(), max_size=300)


@settings(max_examples=50, deadline=None)
@given(anything, st.integers(3, 200))
def test_a_cut_text_fits_and_is_a_beginning_of_it(text: str, most: int) -> None:
    found = cut(text, most)
    data = found.encode("utf-8", "replace")
    if len(text.encode("utf-8", "replace")) <= most:
        assert found == text
    else:
        assert len(data) <= most
        assert found.endswith("…")
        assert text.encode("utf-8", "replace").decode().startswith(found[:-1])


@settings(max_examples=50, deadline=None)
@given(anything, st.integers(4, 200))
def test_a_tail_fits_and_is_an_end_of_it(text: str, most: int) -> None:
    found = tail(text, most)
    plain = text.encode("utf-8", "replace").decode()
    assert len(found.encode("utf-8", "replace")) <= max(most, 0) or found == text
    assert plain.endswith(found.removeprefix("…")) or found == text


@settings(max_examples=50, deadline=None)
@given(anything)
def test_clean_text_has_no_control_characters_but_tabs_and_newlines(text: str) -> None:
    found = clean(text)
    assert not any((ord(c) < 32 and c not in "\t\n") or 0x7F <= ord(c) <= 0x9F for c in found)
    assert not set(found) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f")
    assert clean(found) == found or "\x1b" not in found


@settings(max_examples=50, deadline=None)
@given(anything, st.integers(4, 100))
def test_a_line_is_one_line_that_fits(text: str, most: int) -> None:
    found = line(text, most)
    assert "\n" not in found
    assert len(found.encode("utf-8", "replace")) <= most


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"), ("\x1b]0;title\x07x", "x"), ("a\x1b]8;;http://x\x1b\\b", "ab"), ("\x1b[2J\x1b[Hgone", "gone"),
        ("a\x00b\x07c", "abc"), ("tab\tand\nline", "tab\tand\nline"), ("\u202eevil", "evil"), ("\x9b31mx", "31mx"),
    ],
)  # fmt: skip
def test_terminal_escapes_are_taken_out(text: str, plain: str) -> None:
    assert clean(text) == plain
