"""Recorded bytes through today's adapter and fold, compared with what was recorded. Reads only; starts nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.adapters.base import Adapter, WorkerRequest
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.redact import MAX_LINE
from cc_orchestrator.runs.fold import State, apply, new_state, part
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.spec import worker_request
from cc_orchestrator.store.rundir import RunDir

#: What must come out the same. Times and what the supervisor did itself are not in the bytes.
COMPARED = ("session_id", "actual_model", "usage", "turns", "messages", "results", "tool_count", "tool_errors", "tools")


class Replayed(NamedTuple):
    """`differences`: field -> (recorded, replayed). `ending` is what the adapter makes of the end."""

    facts: int
    lines: int
    differences: dict[str, tuple[Any, Any]]
    ending: str


def replay_run(run: RunDir) -> Replayed:
    """Replay a run's `stdout.raw`. Raises Unavailable when there is none (final_only, or deleted)."""
    spec = read_spec(run.spec)
    recorded = read_run(run).state
    try:
        with open(run.at("stdout.raw"), "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise Unavailable(f"{run.run_id} has no stdout.raw", hint="cc_poll shows its events") from error
    exited = part(recorded, "exit")
    if exited.get("dropped_bytes") or exited.get("dropped_events"):
        raise Unavailable(
            f"{run.run_id} did not keep all of its output (final_only or a byte budget)",
            hint="cc_poll shows its events",
        )
    request = worker_request(spec, prompt="", cwd=spec.cwd, env={}, run_dir=run.path, outbox=run.outbox)
    state, facts, ending = replay_bytes(
        find_adapter(spec.adapter), request, data, exited.get("exit"), exited.get("signal")
    )
    before, after = _comparable(recorded), _comparable(state)
    differences = {name: (before[name], after[name]) for name in COMPARED if before[name] != after[name]}
    return Replayed(facts, data.count(b"\n"), differences, ending)


def _comparable(state: State) -> State:
    """Tools by their counts: places in the journal are the recording's own."""
    return {**state, "tools": {name: entry["count"] for name, entry in state["tools"].items()}}


def replay_bytes(
    adapter: Adapter, request: WorkerRequest, data: bytes, exit_code: int | None, signal: int | None
) -> tuple[State, int, str]:
    """The fold, the number of facts and the ending's reason that these bytes give."""
    session = adapter.session(request)
    state = new_state()
    seq = 0
    session.begin()
    for line in data.split(b"\n"):
        if len(line) > MAX_LINE:
            # Live, such a line was kept raw and not read.
            continue
        for effect in session.on_line(line, line):
            if isinstance(effect, Fact):
                seq += 1
                apply(state, {"seq": seq, "ts": 0.0, "type": effect.type, "data": effect.data})
    return state, seq, session.ending(exit_code, signal).reason
