"""Recorded streams of the CLIs, and their replay through today's adapter and fold.

`tests/adapters/transcripts/<adapter>/<name>.stdout` (or `.jsonl`, where paths were shortened afterwards) holds a worker's stdout;
`<name>.json` beside it:

    {"about": one sentence, "cli": what wrote it, "exit": 0, "signal": null, "stderr": [lines],
     "request": {fields of WorkerRequest that differ from the default},
     "expected": {"reason", "text", "facts": {type: count}, "asks": count, "state": {fields of the fold}}}

`PYTHONPATH=tests python -m kit.record ADAPTER [NAME ...]` records them again; what then differs is reviewed like code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cc_orchestrator.adapters.base import Effect, Ending, WorkerRequest
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Ask
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.redact import Line, Masker
from cc_orchestrator.runs.fold import apply, new_state
from kit.pipes import Driven

FOLDER = Path(__file__).resolve().parent.parent / "adapters" / "transcripts"
#: Fields of the fold that a replay must give again. Times are not in the bytes.
STATE = (
    "session_id", "actual_model", "usage", "session_totals", "turns", "messages", "results", "tool_count", "tool_errors", "tools",
    "files", "unparsed", "oversized",
)  # fmt: skip


class Transcript(NamedTuple):
    """One recorded worker."""

    adapter: str
    name: str
    stdout: bytes
    meta: dict[str, Any]

    @property
    def request(self) -> WorkerRequest:
        """What it was asked to do, in a place that does not exist."""
        return request_in("/nowhere", **self.meta.get("request", {}))


class Replayed(NamedTuple):
    """What a stream comes to."""

    facts: list[Fact]
    asks: list[Ask]
    state: dict[str, Any]
    ending: Ending

    def summary(self) -> dict[str, Any]:
        """As transcripts expect it."""
        return {
            "reason": self.ending.reason, "text": self.ending.text,
            "facts": dict(sorted(Counter(fact.type for fact in self.facts).items())), "asks": len(self.asks),
            "state": {key: self.state[key] for key in STATE},
        }  # fmt: skip


def request_in(folder: str, **changes: Any) -> WorkerRequest:
    """A request whose paths lie in a folder."""
    values: dict[str, Any] = {
        "run_id": "run_01k3000000abcdefghjk", "prompt": "look at it", "cwd": f"{folder}/work", "allow_write": False,
        "executable": f"{folder}/bin/cli", "env": {}, "run_dir": f"{folder}/run", "outbox": f"{folder}/run/outbox",
    }  # fmt: skip
    return WorkerRequest(**{**values, **changes})


def names_of(adapter: str) -> list[str]:
    """The transcripts of an adapter, sorted."""
    return sorted(path.stem for path in (FOLDER / adapter).glob("*.json"))


def read(adapter: str, name: str) -> Transcript:
    """One transcript."""
    base = FOLDER / adapter / name
    meta = json.loads(base.with_suffix(".json").read_text(encoding="utf-8"))
    (stdout,) = [path for path in (base.with_suffix(".stdout"), base.with_suffix(".jsonl")) if path.exists()]
    return Transcript(adapter, name, stdout.read_bytes(), meta)


def chunks(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces of these sizes, over and over."""
    wanted = list(sizes) or [len(data) or 1]
    at = number = 0
    while at < len(data):
        size = max(1, wanted[number % len(wanted)])
        yield data[at : at + size]
        at, number = at + size, number + 1


def replay(transcript: Transcript, sizes: Iterable[int] = ()) -> Replayed:
    """Feed it to a fresh session as a supervisor would: pieces through the masker, then stderr, then the exit."""
    session = find_adapter(transcript.adapter).session(transcript.request)
    effects: list[Effect] = [*session.begin()]
    masker = Masker()
    pieces = [piece for chunk in chunks(transcript.stdout, sizes) for piece in masker.feed(chunk)]
    for piece in (*pieces, *masker.flush()):
        if isinstance(piece, Line):
            effects += session.on_line(piece.masked, piece.original)
        elif piece.last:
            effects.append(Fact(ev.SYSTEM_OVERSIZED, {"stream": "stdout", "bytes": piece.total}))
    for line in transcript.meta.get("stderr", ()):
        effects += session.on_stderr(line.encode())
    facts = [effect for effect in effects if isinstance(effect, Fact)]
    state = new_state()
    for number, fact in enumerate(facts, 1):
        apply(state, {"seq": number, "ts": 0.0, "type": fact.type, "data": fact.data})
    asks = [effect for effect in effects if isinstance(effect, Ask)]
    return Replayed(facts, asks, state, session.ending(transcript.meta["exit"], transcript.meta["signal"]))


def save(
    adapter: str, name: str, driven: Driven, *, about: str, cli: str, request: dict[str, Any] | None = None
) -> Transcript:
    """Write a transcript of a process that `kit.pipes.drive` saw, with what it comes to today."""
    meta: dict[str, Any] = {
        "about": about, "cli": cli, "exit": driven.exit_code, "signal": driven.signal,
        "stderr": [line.decode("utf-8", "replace") for line in driven.stderr], "request": request or {},
    }  # fmt: skip
    made = Transcript(adapter, name, bytes(driven.raw), meta)
    meta["expected"] = replay(made).summary()
    folder = FOLDER / adapter
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.stdout").write_bytes(made.stdout)
    text = json.dumps(meta, ensure_ascii=False, indent=1, sort_keys=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return made
