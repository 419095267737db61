"""The quality history, `.agent-workspace/quality/`: a ledger of scores of its own, append only. This room alone writes it.

A score is made from receipts, verifications and the run's own events; what a caller says is kept apart as `given`.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import cut
from cc_orchestrator.delivery.acceptance import last_decision
from cc_orchestrator.insight.score import Facts, Score, Standing, observe, score_run, stand
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.risk import SEVERITY, find_flags
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import ledger
from cc_orchestrator.store.audit import check_ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import read_result, speaks_of_now, verifications

_ALL = 1 << 40
Record = dict[str, Any]


class Graded(NamedTuple):
    """A run's score, its facts, and which of them the caller gave; `verify_id` is the verification that they rest on."""

    score: Score
    facts: Facts
    given: tuple[str, ...]
    verify_id: str | None
    observed: Record


class Kept(NamedTuple):
    """A score in the history, and whether it was there before."""

    record: Record
    repeated: bool


def grade(workspace: Workspace, spec: RunSpec, given: dict[str, bool], clock: Clock) -> Graded:
    """The score of an ended run. `given` overrides what was observed: solved, hallucination, needs_rework."""
    state = read_run(RunDir(workspace.run(spec.run_id))).state
    flags = [flag.code for flag in find_flags(state, clock.now()) if flag.blocking or SEVERITY[flag.severity] > 1]
    results = _results(workspace, spec, state)
    decision = last_decision(workspace, spec.run_id)
    facts = observe(state, flags, results, decision["observed"].get("decision") if decision is not None else None)
    seen = {name: getattr(facts, name) for name in given}
    facts = facts._replace(**given)
    if "solved" in given and "needs_rework" not in given:
        facts = facts._replace(needs_rework=not given["solved"])
    score = score_run(facts)
    verify_id = results[0]["verify_id"] if results else None
    observed: Record = {
        "quality_score": score.points, "deductions": [[row.why, row.points] for row in score.deductions],
        **facts._asdict(), "failure_flags": list(facts.failure_flags), "unknown": list(score.unknown), "status": state["status"],
        "adapter": spec.adapter, "role": spec.role, "profile": spec.profile, "declared_model": state["model"],
        "actual_model": state["actual_model"] or "unknown", "verify_id": verify_id, "seen": seen or None,
    }  # fmt: skip
    return Graded(score, facts, tuple(sorted(given)), verify_id, {k: v for k, v in observed.items() if v is not None})


def _results(workspace: Workspace, spec: RunSpec, state: Record) -> list[Record]:
    """Results of the run's verifications, the latest first; none when the latest does not speak of the result as it is now."""
    found: list[Record] = []
    for job in verifications(workspace, spec.run_id):
        try:
            result = read_result(job, read_job(job))
            if result is None:
                continue
            if not found and not speaks_of_now(result, spec, state):
                return []
        except CcError:
            if not found:
                return []
            continue
        found.append(result)
    return found


def keep(workspace: Workspace, spec: RunSpec, graded: Graded, notes: str, *, channel: str, clock: Clock) -> Kept:
    """Append the score, unless it is the run's latest already. Raises OSError, Busy."""
    folder = workspace.quality
    os.makedirs(folder, mode=0o700, exist_ok=True)
    said = cut(mask_text(notes), 4_000)
    claimed = {"given": list(graded.given), "notes": said} if said or graded.given else {}
    subject = {"run_id": spec.run_id, "task_id": spec.task_id}
    record = {
        "kind": "score", "ts": clock.now(), "subject": subject, "actor": "controller", "channel": channel,
        "observed": graded.observed, "claimed": claimed,
    }  # fmt: skip
    with ledger.locked(folder):
        for old in ledger.receipts(folder, subject, kind="score", limit=1, exact=True):
            if (old["observed"], old["claimed"]) == (graded.observed, claimed):
                return Kept(old, True)
        return Kept(ledger.append_locked(folder, record), False)


class History(NamedTuple):
    """Whether the quality history is as it was written, and how the model stands in the role."""

    ok: bool
    standing: Standing


def read_history(workspace: Workspace, model: str, role: str) -> History:
    """Raises Busy, OSError."""
    sound = check_ledger(workspace.quality).ok
    records = ledger.receipts(workspace.quality, kind="score", limit=_ALL)
    return History(sound, stand(reversed(records), model, role))
