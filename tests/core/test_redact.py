"""Secrets are masked before anything is written: however the stream is cut, in linear time, and nothing else is changed."""

from __future__ import annotations

import base64
import itertools
import json
import random
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.redact import Fragment, Line, Masker, find_secrets, mask

TAIL = "Ab1" * 14
SAMPLES = {
    "aws_key_id": "AKIA" + "Q2" * 8,
    "github": "ghp_" + TAIL,
    "github_pat": "github_pat_" + TAIL,
    "gitlab": "glpat-" + TAIL,
    "anthropic": "sk-ant-api03-" + TAIL,
    "openai": "sk-proj-" + TAIL,
    "slack": "xoxb-" + "1234567890-ab",
    "jwt": "eyJ" + TAIL + ".eyJ" + TAIL + "." + TAIL,
    "google_api": "AIza" + "Sy0" * 11 + "xy",
    "npm": "npm_" + TAIL,
    "pypi": "pypi-" + TAIL * 2,
    "stripe": "sk_live_" + TAIL,
    "huggingface": "hf_" + TAIL[:36],
}
KNOWN = b'quote"back\\slash-and-\xc3\xa4'
PEM = (
    b"-----BEGIN RSA PRIVATE KEY-----\n"
    + b"\n".join([b"MIIEpAIBAAKCAQEA7b" * 3] * 8)
    + b"\n-----END RSA PRIVATE KEY-----"
)


def stream(
    data: bytes, cuts: list[int], *, known: tuple[bytes, ...] = (), max_line: int = 1 << 20
) -> tuple[bytes, Masker]:
    """The masked bytes of a stream that comes in these pieces."""
    masker = Masker(known, max_line=max_line)
    places = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    pieces: list[Line | Fragment] = []
    for start, end in itertools.pairwise(places):
        if start < end:
            pieces += masker.feed(data[start:end])
    pieces += masker.flush()
    out = [piece.masked + (b"\n" if isinstance(piece, Line) or piece.last else b"") for piece in pieces]
    return b"".join(out), masker


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_each_kind_of_token_is_masked_and_named(kind: str) -> None:
    secret = SAMPLES[kind].encode()
    masked, counts = mask(b"before " + secret + b" after")
    assert masked == b"before [MASKED:" + kind.encode() + b"] after"
    assert counts == {kind: 1}
    assert [span[2] for span in find_secrets(b'{"text": "' + secret + b'"}')] == [kind]


@pytest.mark.parametrize(
    ("text", "hidden", "kind"),
    [
        ("postgres://app:hunter2!x@db/x", "hunter2!x", "url_password"),
        ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789abcdef", "bearer"),
        ('api_key="A1b2C3d4E5f6G7h8"', "A1b2C3d4E5f6G7h8", "assignment"),
        ("export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY1", "wJalrXUtnFEMI", "assignment"),
        ('{\\"password\\": \\"abc123def456ghi789\\"}', "abc123def456ghi789", "assignment"),
    ],
)
def test_values_that_their_names_give_away_are_masked_without_their_names(text: str, hidden: str, kind: str) -> None:
    masked, counts = mask(text.encode())
    assert hidden.encode() not in masked
    assert counts == {kind: 1}
    assert text[:5].encode() in masked


@pytest.mark.parametrize(
    "text",
    [
        "internationalizationSettings.configuration", "com.example.service.UserAccountManagerFactoryBean", "input_tokens: 123456789012345678",
        '"apiKeySource": "none"', "sk-learn is a library", "task-scheduler-with-a-long-name", "0123456789abcdef0123456789abcdef01234567",
        "the password is stored elsewhere", "https://example.org/a:b@c", "AKIA", "eyJ.eyJ.x",
        "token budget exceeded: 12 of 10", "-----BEGIN PUBLIC KEY-----", '"max_output_tokens": 4096',
    ],
)  # fmt: skip
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert mask(text.encode()) == (text.encode(), {})


# ---------------------------------------------------------------- literal secrets of the environment


def test_a_known_secret_is_masked_as_it_is_and_as_json_writes_it() -> None:
    text = KNOWN.decode()
    for form in (KNOWN, json.dumps(text)[1:-1].encode(), json.dumps(text, ensure_ascii=False)[1:-1].encode()):
        masked, counts = mask(b"x " + form + b" y", [KNOWN])
        assert masked == b"x [MASKED:known] y"
        assert counts == {"known": 1}


def test_a_short_value_is_no_known_secret() -> None:
    assert mask(b"true or 1234567", [b"true", b"1234567"])[1] == {}


# ---------------------------------------------------------------- pieces


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.lists(st.integers(0, 400), max_size=8))
def test_a_secret_split_over_reads_is_masked_all_the_same(kind: str, cuts: list[int]) -> None:
    data = f"one\nsay {SAMPLES[kind]} now\nthree".encode()
    masked, masker = stream(data, cuts)
    assert masked == f"one\nsay [MASKED:{kind}] now\nthree\n".encode()
    assert masker.counts == {kind: 1}


words = st.one_of(
    st.sampled_from([value.encode() for value in SAMPLES.values()]),
    st.sampled_from(
        [KNOWN, PEM, b"\n", b"\n", b" ", b'"', b"\\", "äöü€😀".encode(), b"password=", b"token: ", b"\xff\xfe"]
    ),
    st.binary(max_size=12),
    st.text(alphabet="abcAB12 _-.=:\"'\\", max_size=20).map(str.encode),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(words, max_size=14).map(b"".join), st.lists(st.integers(0, 4_000), max_size=10))
def test_the_pieces_in_which_a_stream_comes_do_not_matter(data: bytes, cuts: list[int]) -> None:
    whole, one = stream(data, [], known=(KNOWN,))
    pieces, many = stream(data, cuts, known=(KNOWN,))
    assert set(one.counts) == set(many.counts)
    # A PEM block over several lines becomes one mask in one read and one mask a line in many; nothing else may differ.
    squeeze = lambda text: text.replace(b"[MASKED:pem]\n", b"").replace(b"[MASKED:pem]", b"")  # noqa: E731
    assert squeeze(whole) == squeeze(pieces)


@settings(max_examples=60, deadline=None)
@given(st.lists(words, max_size=14).map(b" ".join), st.lists(st.integers(0, 4_000), max_size=10))
def test_no_byte_of_a_secret_survives(data: bytes, cuts: list[int]) -> None:
    masked, _masker = stream(data, cuts, known=(KNOWN,))
    for secret in (KNOWN, b"MIIEpAIBAAKCAQEA", *(value.encode() for value in SAMPLES.values())):
        assert secret not in masked


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 200_000), st.sampled_from(sorted(SAMPLES)), st.integers(1, 65_536))
def test_a_secret_anywhere_in_a_line_over_the_cap_is_masked(place: int, kind: str, size: int) -> None:
    secret = SAMPLES[kind].encode()
    filler = b"x" * place + b" " + secret + b" " + b"y" * (200_000 - place)
    cuts = list(range(0, len(filler), max(size, 4_000)))
    masked, masker = stream(filler, cuts, max_line=65_536)
    assert masked == b"x" * place + b" [MASKED:" + kind.encode() + b"] " + b"y" * (200_000 - place) + b"\n"
    assert masker.counts == {kind: 1}


def test_a_line_over_the_cap_comes_in_fragments_that_end_with_the_last() -> None:
    masker = Masker(max_line=65_536)
    pieces: list[Line | Fragment] = []
    for _ in range(10):
        pieces += masker.feed(b"z" * 50_000)
    pieces += masker.feed(b"end\nnext\n")
    fragments = [piece for piece in pieces if isinstance(piece, Fragment)]
    assert [piece.last for piece in fragments] == [False] * (len(fragments) - 1) + [True]
    assert fragments[-1].total == 500_003
    assert pieces[-1] == Line(b"next", b"next")


def test_fragments_split_no_character() -> None:
    masker = Masker(max_line=65_536)
    text = ("€" * 100_000).encode()
    pieces = [piece for start in range(0, len(text), 7_777) for piece in masker.feed(text[start : start + 7_777])]
    pieces += masker.flush()
    for piece in pieces:
        piece.masked.decode("utf-8")


# ---------------------------------------------------------------- key blocks


def test_a_key_block_over_several_lines_is_masked_line_by_line() -> None:
    masker = Masker()
    lines = [piece for row in (b"a\n" + PEM + b"\nb\n").splitlines(keepends=True) for piece in masker.feed(row)]
    assert [piece.masked for piece in lines] == [b"a", *[b"[MASKED:pem]"] * 10, b"b"]


def test_a_key_block_within_one_read_leaves_nothing() -> None:
    masked, masker = stream(b"a\n" + PEM + b"\nb\n", [])
    assert b"MIIE" not in masked
    assert masked.startswith(b"a\n")
    assert masked.endswith(b"b\n")
    assert set(masker.counts) == {"pem"}


def test_a_key_block_as_a_json_string_is_masked_in_its_line() -> None:
    row = json.dumps({"event": "say", "text": "key: " + PEM.decode() + " end"}).encode()
    masked, counts = mask(row)
    assert json.loads(masked)["text"] == "key: [MASKED:pem] end"
    assert counts == {"pem": 1}


def test_after_a_key_block_without_an_end_the_stream_goes_on() -> None:
    data = b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 60 + b"\n" + b"plain words again\n" * 4_000
    masked, _masker = stream(data, list(range(0, len(data), 5_000)))
    assert b"A" * 60 not in masked
    assert masked.endswith(b"plain words again\n")


# ---------------------------------------------------------------- cost


def seconds(data: bytes) -> float:
    """Processor time, so that a busy machine changes little."""
    best = 9.0
    for _ in range(3):
        begun = time.process_time()
        mask(data)
        best = min(best, time.process_time() - begun)
    return best


@pytest.mark.parametrize(
    "unit",
    [
        base64.b64encode(random.Random(1).randbytes(3_000)), b"a", b"token=", b"eyJ", b"sk-", b"://a:", b"Bearer ", b"secret_key: ",
        b"-----BEGIN PRIVATE KEY-----", b"-----BEGIN ", b"xox", b'password":"', b"AKIA", b"A1",
    ],
    ids=["base64", "a", "token", "jwt", "sk", "url", "bearer", "assignment", "pem", "begin", "xox", "password", "akia", "a1"],
)  # fmt: skip
def test_sixteen_times_the_bytes_take_about_sixteen_times_the_time(unit: bytes) -> None:
    small = (unit * (40_000 // len(unit) + 1))[:40_000]
    large = (unit * (640_000 // len(unit) + 1))[:640_000]
    # Quadratic would be 256.
    assert seconds(large) < 64 * max(seconds(small), 0.000_5)


def test_a_line_of_fifty_megabytes_needs_a_few() -> None:
    masker = Masker()
    chunk = b"q" * 65_536
    tracemalloc.start()
    try:
        for _ in range(800):
            masker.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000
