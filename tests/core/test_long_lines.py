"""A line over the cap is masked in pieces: nothing is lost or doubled, no secret slips through an edge."""

from __future__ import annotations

import random

import pytest

from cc_orchestrator.core.redact import Fragment, Line, Masker, mask

SECRET = b"ghp_" + b"a1B2" * 9


def play(masker: Masker, data: bytes, size: int) -> list[Line | Fragment]:
    out: list[Line | Fragment] = []
    for place in range(0, len(data), size):
        out += masker.feed(data[place : place + size])
    return out + masker.flush()


def text(pieces: list[Line | Fragment]) -> bytes:
    return b"".join(piece.masked + (b"\n" if isinstance(piece, Line) or piece.last else b"") for piece in pieces)


@pytest.mark.parametrize("seed", range(6))
def test_a_long_line_comes_out_whole_and_masked_wherever_its_secrets_lie(seed: int) -> None:
    chance = random.Random(seed)
    parts: list[bytes] = []
    for _ in range(40):
        parts.append("lorem ipsüm ".encode() * chance.randrange(100, 6_000))
        parts.append(b" " + SECRET + b" ")
    line = b"".join(parts)
    pieces = play(Masker(max_line=1 << 20), b"before\n" + line + b"\nafter\n", chance.choice((1_000, 65_536, 1 << 20)))
    assert text(pieces) == b"before\n" + mask(line)[0] + b"\nafter\n"
    assert sum(isinstance(piece, Fragment) and piece.last for piece in pieces) == 1
    assert SECRET not in text(pieces)


def test_a_long_line_is_never_held_much_beyond_the_cap() -> None:
    masker = Masker(max_line=1 << 20)
    largest = 0
    for _ in range(200):
        for piece in masker.feed(b"x" * 65_536):
            assert isinstance(piece, Fragment)
            largest = max(largest, len(piece.masked))
    assert largest <= 1 << 18, "pieces are small, so that no copy of the whole line is made"
