"""What a worker says of limits is no limit: every recorded stream again, with its prose, tool output and stderr full of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cc_orchestrator.adapters import catalog
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from kit import transcripts
from kit.transcripts import Transcript

WORDS = "429 Too Many Requests: rate limit exceeded, at capacity, overloaded; usage limit reached, try again in 5 hours"
#: Where the CLIs put what a model said and what its tools gave.
PROSE = frozenset(
    {"text", "result", "delta", "content", "aggregated_output", "aggregatedOutput", "thinking", "summary"}
)
RECORDED = [(adapter, name) for adapter in catalog.names() for name in transcripts.names_of(adapter)]


def spoil(value: Any) -> Any:
    """The same value with all prose replaced."""
    if isinstance(value, dict):
        return {key: WORDS if key in PROSE and isinstance(entry, str) else spoil(entry) for key, entry in value.items()}
    return [spoil(entry) for entry in value] if isinstance(value, list) else value


def spoiled(line: bytes) -> bytes:
    try:
        return json.dumps(spoil(json.loads(line))).encode()
    except ValueError:
        return line


def limits(facts: list[Fact]) -> list[Fact]:
    told = [fact for fact in facts if fact.type in (ev.RUN_RETRYING, ev.RUN_WAITING)]
    return [fact for fact in told if fact.type == ev.RUN_WAITING or fact.data.get("cause") == "rate_limited"]


@pytest.mark.parametrize(("adapter", "name"), RECORDED)
def test_prose_makes_no_limit_and_changes_no_reason(adapter: str, name: str) -> None:
    plain = transcripts.read(adapter, name)
    stdout = b"\n".join(spoiled(line) for line in plain.stdout.split(b"\n"))
    loud = Transcript(adapter, name, stdout, {**plain.meta, "stderr": [WORDS, *plain.meta.get("stderr", ())]})
    before, after = transcripts.replay(plain), transcripts.replay(loud)
    assert after.ending.reason == before.ending.reason
    assert limits(after.facts) == limits(before.facts)
    assert after.state["limit_reset"] == before.state["limit_reset"]


def test_what_is_replaced_is_what_workers_say() -> None:
    for adapter in catalog.names():
        names = transcripts.names_of(adapter)
        loud = [name for name in names if WORDS.encode() in spoiled_all(transcripts.read(adapter, name))]
        assert loud, f"no stream of {adapter} holds prose"


def spoiled_all(transcript: Transcript) -> bytes:
    return b"\n".join(spoiled(line) for line in transcript.stdout.split(b"\n"))
