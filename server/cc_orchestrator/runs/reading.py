"""What is true of a run now, for readers: the saved fold plus the journal's tail. Never writes, never repairs.

A live status without a live owner is shown as `lost`; the sweep is what records it.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import Corrupt, InvalidRequest
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.runs.failures import describe_failure
from cc_orchestrator.runs.fold import VERSION, State, fold, new_state
from cc_orchestrator.runs.spec import RunSpec, from_json
from cc_orchestrator.store.atomic import read_json
from cc_orchestrator.store.journal import START, Cursor, read_page
from cc_orchestrator.store.rundir import RunDir

_PAGE = 1 << 22


class Reading(NamedTuple):
    """The state, and the cursor up to which the journal was read."""

    state: State
    cursor: Cursor


def read_run(run: RunDir, known: Reading | None = None) -> Reading:
    """The run's state. `known` (an earlier reading) makes it cheaper. Raises OSError only for an unreadable folder."""
    try:
        reading = _read_on(run, known or _saved(run))
    except InvalidRequest:
        # The cursor stands on no event: the cache is of another journal. The journal is the truth.
        reading = _read_on(run, Reading(new_state(), START))
    if reading.state["status"] in LIVE and not run.is_owned():
        # The owner may have finished between the two looks.
        reading = _read_on(run, reading)
        if reading.state["status"] in LIVE:
            return Reading(_as_lost(run, reading.state), reading.cursor)
    return reading


def _read_on(run: RunDir, reading: Reading) -> Reading:
    state, cursor = reading
    while True:
        page = read_page(run.journal, cursor, _PAGE)
        state = fold(page.events, state)
        cursor = page.cursor
        if not page.more or not page.events:
            return Reading(state, cursor)


def _as_lost(run: RunDir, state: State) -> State:
    started = state["pid"] is not None or run.may_have_started
    reason = "supervisor_died" if started else "never_started"
    return {
        **state, "status": "lost", "reason": reason, "waiting": None, "open_tools": {},
        "failure": describe_failure(reason, now=0.0, seed=run.run_id),
        "detail": "the supervisor is gone and left no final event", "finished_at": state["last_ts"],
    }  # fmt: skip


def _saved(run: RunDir) -> Reading:
    """The saved fold, or the beginning: a missing, torn or foreign cache only costs time."""
    try:
        with open(run.fold, "rb") as file:
            raw: Any = json.loads(file.read())
        state, offset = raw["state"], raw["offset"]
        size = os.stat(run.journal).st_size
        if state["v"] == VERSION and isinstance(offset, int) and offset <= size and set(new_state()) <= set(state):
            return Reading(state, Cursor(offset, state["seq"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return Reading(new_state(), START)


def read_spec(path: str) -> RunSpec:
    """The spec in a file; Corrupt when it is missing or is no spec."""
    raw = read_json(path)
    if raw is None:
        raise Corrupt(f"{path} is missing", hint="cc_recover closes runs that cannot be read")
    try:
        return from_json(raw)
    except (TypeError, AttributeError) as error:
        raise Corrupt(f"{path} is no run spec: {error}", hint="cc_recover closes runs that cannot be read") from error
