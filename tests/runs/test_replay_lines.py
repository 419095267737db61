"""A replay cuts lines where the live stream cut them."""

from __future__ import annotations

from cc_orchestrator.adapters.fake import FakeAdapter
from cc_orchestrator.runs.replay import replay_bytes
from kit.transcripts import request_in


def replay(data: bytes) -> dict[str, object]:
    state, _facts, _ending = replay_bytes(FakeAdapter(), request_in("/nowhere"), data, 0, None)
    return state


def test_a_carriage_return_inside_a_line_does_not_end_it() -> None:
    state = replay(b'{"event":"say","text":"one"}\r{"event":"say","text":"two"}\n{"event":"say","text":"three"}\n')
    assert (state["messages"], state["unparsed"]) == (1, 1)


def test_a_line_over_the_cap_is_not_parsed_in_a_replay_either() -> None:
    long = b'{"event":"say","text":"' + b"x" * (1 << 21) + b'"}\n'
    assert replay(long + b'{"event":"say","text":"after"}\n')["messages"] == 1
