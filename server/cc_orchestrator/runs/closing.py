"""The end of a run, told once: result, final event, caches, index, receipt. Every step may fail without taking the next with it."""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.adapters.base import Ending
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.runs.accounts import settle_run
from cc_orchestrator.runs.anchoring import anchor_ledger
from cc_orchestrator.runs.approvals import record_approvals
from cc_orchestrator.runs.failures import describe_failure
from cc_orchestrator.runs.fold import claimed, part
from cc_orchestrator.runs.outcome import Outcome, Stop, decide_outcome
from cc_orchestrator.runs.recorder import Recorder, release_ballast
from cc_orchestrator.runs.renewal import tries_of
from cc_orchestrator.runs.risk import find_flags
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import Place, TreeError, compare_fence, take_result
from cc_orchestrator.store import index, ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

State = dict[str, Any]
FINAL_BYTES = 80_000


def close_run(
    run: RunDir, spec: RunSpec, recorder: Recorder, clock: Clock, *, stop: Stop | None, place: Place | None = None,
    ending: Ending | None = None, exited: dict[str, Any] | None = None, commits: bool = True,
) -> bool:  # fmt: skip
    """Record the end; whether nothing is left for a sweep to do. `ending` and `exited` are None when no worker ever ran."""
    if ending is None:
        ending = Ending(stop.reason if stop is not None else "internal", "", stop.detail if stop is not None else "")
    if exited is not None:
        recorder.record([Fact(ev.RUN_EXITED, exited)])
    missing = _record_result(spec, recorder, commits=commits) if spec.allow_write and place is not None else ""
    if spec.allow_write and recorder.state["snapshot"] is None:
        # What counts is what the journal holds: a snapshot that a full disk did not take is none.
        missing = missing or "no snapshot of its tree is on record"
    if stop is None and recorder.disk_full:
        # The worker came to its own end, but not all of it could be recorded: that is no success.
        stop = Stop("disk_full", "supervisor", f"the disk is full: {recorder.dropped} events could not be recorded")
    outcome = decide_outcome(ending, stop, missing)
    failure = describe_failure(
        outcome.reason, now=clock.now(), seed=spec.run_id, reset=recorder.state["limit_reset"],
        delay=recorder.state["limit_delay"], tries=tries_of(spec),
    )  # fmt: skip
    data = _final(run, spec, recorder.state, outcome, ending, recorder.state["snapshot"], exited)
    data["failure"] = failure
    if place is not None:
        data["checkout"] = compare_fence(spec, place.fence)
    told = recorder.record_end(
        [Fact(ev.RUN_FINISHED, {key: value for key, value in data.items() if value is not None})]
    )
    release_ballast(run)
    recorder.refresh(force=True)
    # An end that could not be written is no end: the freed lock tells it, and a sweep writes it.
    return told and settle(spec, recorder.state, clock)


def _record_result(spec: RunSpec, recorder: Recorder, *, commits: bool) -> str:
    """Take the result and tell it; why there is none, "" when it was taken."""
    if spec.worktree is None:
        return ""
    try:
        recorder.record([Fact(ev.RUN_SNAPSHOT, take_result(spec, commits=commits))])
    except TreeError as error:
        why = line(str(error), 300)
        recorder.record([Fact(ev.SYSTEM_NOTICE, {"code": "no_result", "text": why})])
        return why
    return ""


def _final(
    run: RunDir, spec: RunSpec, state: State, outcome: Outcome, ending: Ending, snapshot: dict[str, Any] | None,
    exited: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    said: dict[str, Any] = {"text": cut_final(ending.text, spec.limits.final_max_chars)}
    outbox = list_outbox(run.outbox)
    if outbox:
        said["outbox"] = outbox
    observed: dict[str, Any] = {
        "results": state["results"],
        "tool_calls": state["tool_count"],
        "denied": state["denied"],
    }
    if snapshot is not None:
        observed.update(
            {key: snapshot[key] for key in ("file_count", "added", "deleted", "committed", "uncommitted", "commit")}
        )
    return {
        "status": outcome.status, "reason": outcome.reason, "detail": cut(outcome.detail, 500) or None,
        "exit": (exited or {}).get("exit"), "signal": (exited or {}).get("signal"),
        "usage": state["usage"], "declared_model": state["model"], "actual_model": state["actual_model"],
        "completion": {"claimed": said, "observed": observed},
    }  # fmt: skip


def cut_final(text: str, most: int) -> str:
    """The worker's final text, at most `most` characters (and 80 kB), marked when something was cut off."""
    return cut(text if len(text) <= most else text[: most - 1] + "…", FINAL_BYTES)


def list_outbox(path: str) -> list[dict[str, Any]]:
    """`{name, bytes}` of up to 50 regular files in the outbox; links are named as links and never followed."""
    found: list[dict[str, Any]] = []
    try:
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda item: item.name)[:50]:
                if entry.is_symlink():
                    found.append({"name": line(entry.name, 200), "link": True})
                elif entry.is_file(follow_symlinks=False):
                    found.append({"name": line(entry.name, 200), "bytes": entry.stat(follow_symlinks=False).st_size})
    except OSError:
        pass
    return found


def settle(spec: RunSpec, state: State, clock: Clock, *, again: bool = False) -> bool:
    """Receipts and index row of an ended run; whether all are written. A sweep makes good what failed.

    `again`: somebody may have died in the middle of this, so a receipt that is there already is the receipt.
    """
    workspace = Workspace(spec.workspace_root, spec.repository)
    try:
        # Before the run's own: that one says that nothing is left to do.
        record_approvals(workspace, spec, state, clock)
        settle_run(workspace, spec, state)
        ledger.append(workspace.ledger, receipt(spec, state, clock), once=again)
        index.put(workspace.index, [index_row(spec, state)])
    except (OSError, CcError):
        return False
    if spec.allow_write:
        anchor_ledger(workspace, clock)
    return True


def index_row(spec: RunSpec, state: State) -> dict[str, Any]:
    """The index's view of a run."""
    usage = state["usage"]
    return {
        "run_id": spec.run_id, "task_id": spec.task_id, "status": state["status"], "reason": state["reason"],
        "adapter": spec.adapter, "role": spec.role, "model": spec.model, "actual_model": state["actual_model"],
        "allow_write": int(spec.allow_write), "created_at": spec.created_at, "finished_at": state["finished_at"],
        "input_tokens": usage.get("input_tokens"), "output_tokens": usage.get("output_tokens"),
        "cost_usd": usage.get("cost_usd"), "parent_run_id": spec.parent_run_id,
    }  # fmt: skip


def bare_row(run: RunDir, state: State) -> dict[str, Any]:
    """The index's view of a run whose spec cannot be read: what the journal alone says."""
    usage = state["usage"]
    row = {name: state.get(name) for name in index.COLUMNS}
    row.update(
        run_id=run.run_id, allow_write=int(bool(state["allow_write"])), input_tokens=usage.get("input_tokens"),
        output_tokens=usage.get("output_tokens"), cost_usd=usage.get("cost_usd"), created_at=state["created_at"] or 0.0,
        finished_at=state["finished_at"] or (0.0 if state["status"] in ENDS else None),
    )  # fmt: skip
    return row


def receipt(spec: RunSpec, state: State, clock: Clock) -> dict[str, Any]:
    """The fact of a finished run: what was observed stands apart from what the worker claimed."""
    said = claimed(state)
    snapshot = part(state, "snapshot")
    observed = {
        "status": state["status"], "reason": state["reason"], "adapter": spec.adapter, "declared_model": state["model"],
        "actual_model": state["actual_model"] or "unknown", "usage": state["usage"] or "unknown", "cost_source": state["cost_source"],
        "result": snapshot.get("commit"), "tree": snapshot.get("tree"), "base": snapshot.get("base"),
        "files": snapshot.get("file_count"), "exit": state["exit"], "masked": state["masked"],
        "blocking_flags": [flag.code for flag in find_flags(state, clock.now()) if flag.blocking],
        "prompt_sha256": spec.prompt_sha256, "sandbox": spec.sandbox, "sandbox_backend": spec.sandbox_backend,
    }  # fmt: skip
    return {
        "kind": "run", "ts": clock.now(), "subject": {"run_id": spec.run_id, "task_id": spec.task_id},
        "actor": spec.actor, "channel": spec.channel,
        "observed": {key: value for key, value in observed.items() if value is not None},
        "claimed": {"text": cut(str(said.get("text", "")), 400), "outbox": said.get("outbox") or []},
    }  # fmt: skip
