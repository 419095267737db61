"""Ids are typed, sortable and safe as names; events are lines that any reader survives."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.digest import uuid_of
from cc_orchestrator.core.errors import CcError, Conflict, InvalidRequest
from cc_orchestrator.core.events import decode, encode
from cc_orchestrator.core.ids import PREFIXES, check_id, is_id, new_id
from cc_orchestrator.core.states import ENDS, LIVE, REASONS, status_of


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(PREFIXES), st.floats(0, 4e9))
def test_a_new_id_is_of_its_kind_and_of_no_other(prefix: str, now: float) -> None:
    made = new_id(prefix, now=now)
    assert is_id(made, prefix)
    assert not any(is_id(made, other) for other in PREFIXES if other != prefix)
    assert made.isascii()


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_ids_sort_by_their_time(one: float, two: float) -> None:
    if int(one * 1000) < int(two * 1000):
        assert new_id("run", now=one) < new_id("run", now=two)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_a_text_that_is_no_id_is_refused_without_repeating_dangerous_bytes(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_id(text, "run")
    assert caught.value.message.isascii()
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "bad", ["", "run_", "../run_01k30000000000000000", "run_01k3/../../etc/passwd0", "run_01k3000000000000000\0", "run_01k300000000000000000\n",
            "RUN_01k30000000000000000", "run_01k3000000000000000u", "task_01k30000000000000000"],
)  # fmt: skip
def test_paths_and_other_kinds_are_no_run_ids(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        check_id(bad, "run")


def test_thousand_ids_at_the_same_time_differ() -> None:
    assert len({new_id("run", now=1.0) for _ in range(1_000)}) == 1_000


data = st.dictionaries(
    st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(max_size=30), st.booleans()), max_size=5
)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10**9), data)
def test_an_event_survives_its_line(seq: int, payload: dict[str, object]) -> None:
    raw = encode(seq, 12.34567, "run_x", "run.message", payload, actor="sweep", causation_id=None)
    assert raw.count(b"\n") == 1
    event = decode(raw)
    assert event is not None
    assert (event["seq"], event["ts"], event["actor"]) == (seq, 12.3457, "sweep")
    assert "causation_id" not in event
    surrogates = any("\ud800" <= c <= "\udfff" for c in repr(payload))
    if not surrogates and "\\ud" not in repr(payload):
        assert event["data"] == payload


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60))
def test_any_other_line_is_no_event_and_no_error(raw: bytes) -> None:
    found = decode(raw)
    assert found is None or isinstance(found["type"], str)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type": 1, "seq": 1}',
        b'{"type": "x", "seq": "1"}',
        b"null",
        b'{"type":"x"',
    ],
)
def test_lines_that_are_made_to_hurt_are_no_events(raw: bytes) -> None:
    assert decode(raw) is None


def test_an_event_without_an_object_as_data_has_empty_data() -> None:
    event = decode(b'{"type": "x", "seq": 1, "data": [1]}')
    assert event is not None
    assert event["data"] == {}


def test_every_reason_belongs_to_an_end_and_an_unknown_one_is_a_failure() -> None:
    assert set(REASONS.values()) == ENDS
    assert not ENDS & LIVE
    assert status_of("never heard of") == "failed"


def test_an_error_stands_alone_with_its_code_and_a_next_call() -> None:
    error = Conflict("what, which", hint="cc_status", run_id="r", nothing=None)
    assert error.to_dict() == {
        "code": "conflict",
        "message": "what, which",
        "hint": "cc_status",
        "details": {"run_id": "r"},
    }
    codes = [kind.code for kind in CcError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert len({kind.exit_status for kind in CcError.__subclasses__()}) == len(codes)


def test_a_time_is_written_in_utc_with_milliseconds() -> None:
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_767_225_600.1239) == "2026-01-01T00:00:00.123Z"


@given(st.text(max_size=30).filter(lambda text: text.isascii()))
def test_an_id_made_of_a_name_is_a_uuid_of_version_five(name: str) -> None:
    namespace = "7b1f6c1e-3a55-4f0e-9d0a-5d3c8f6f2b11"
    assert uuid_of(namespace, name) == str(uuid.uuid5(uuid.UUID(namespace), name))
