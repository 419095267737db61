"""The process of one review: a checkout of the result, a read-only worker for each reviewer, one repair turn, the record.

Holds the review's lock for its life: killed, the review is lost and never counts; its workers are ended by whoever closes it.
"""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.host.detach import take_stdin
from cc_orchestrator.runs.fold import claimed
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.detached import Owned, own_job
from cc_orchestrator.verify.findings import Finding, list_news, list_open
from cc_orchestrator.verify.ground import Ground, GroundError, compare_ground, make_disposable, remove_disposable
from cc_orchestrator.verify.opinion import Opinion, OpinionError, Step, number_steps, read_opinion
from cc_orchestrator.verify.reviews import add_findings, read_findings, record_close, record_outcome
from cc_orchestrator.workflow.review_pack import collect_pack, render_checks, render_files, render_findings
from cc_orchestrator.workflow.templates import read_asset, read_template, render
from cc_orchestrator.workflow.workers import Caller, Reader, await_runs, continue_run, inside_job, start_reader

#: Beyond a reviewer's own time: start and end.
SLACK_SECONDS = 60.0
PATCH_BYTES = 120_000


class _Seat:
    """One reviewer: its runs, and what came of it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.runs: list[str] = []
        self.outcome = "unavailable"
        self.problems: list[str] = []
        self.opinion: Opinion | None = None
        self.actual_model: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the record."""
        out: dict[str, Any] = {
            "adapter": self.reader.adapter, "model": self.reader.model, "actual_model": self.actual_model, "role": self.reader.role,
            "run_id": self.runs[-1] if self.runs else None, "runs": self.runs, "outcome": self.outcome,
            "problems": [line(problem, 300) for problem in self.problems[:8]], "repaired": len(self.runs) > 1,
        }  # fmt: skip
        if self.opinion is not None:
            out["steps"] = [
                {"step": row.step.id, "verdict": "PASS" if row.passed else "FAIL", "evidence": row.evidence}
                for row in self.opinion.rulings
            ]
            out["findings"] = [remark._asdict() for remark in self.opinion.remarks]
            out["summary"] = self.opinion.summary
        return out


def main(args: list[str]) -> int:
    """`args`: job folder, lock descriptor (or -1: take it), bell descriptor (or -1: none)."""
    owned = own_job(args)
    if owned is None:
        return 1
    try:
        status, reason = "failed", f"internal: see {owned.job.log}"
        try:
            take_stdin()
            status, reason = _review(owned)
        finally:
            # Whatever went wrong, the end is told; the traceback goes to the log.
            remove_disposable(owned.workspace.repository, owned.job.at("tree"))
            record_close(owned, "review", status, reason)
    finally:
        owned.close()
    return 0


def _review(owned: Owned) -> tuple[str, str]:
    request = owned.request
    commit, tree = str(request["commit"]), str(request["tree"])
    try:
        ground = make_disposable(str(owned.workspace.repository), commit, tree, owned.job.path, "a review")
        known = list_open(read_findings(owned.workspace, str(request["task_id"])), owned.clock.now())
        seats = _hear_all(owned, ground, known)
        _look_after(owned, ground, seats)
        result = _conclude(owned, seats)
    except GroundError as error:
        return "failed", f"the result could not be checked out: {line(str(error), 200)}"
    except CcError as error:
        return "failed", line(f"{error.code}: {error.message}", 300)
    record_outcome(
        owned, result, verdict=result["verdict"], commit=commit, tree=tree,
        votes=[{key: row[key] for key in ("adapter", "actual_model", "run_id", "outcome")} for row in result["reviewers"]],
    )  # fmt: skip
    return "succeeded", ""


def _hear_all(owned: Owned, ground: Ground, known: list[Finding]) -> list[_Seat]:
    """Start them all, wait for all, ask once more those who could not be understood."""
    steps = number_steps(owned.request["steps"])
    caller = inside_job(owned)
    seconds = float(owned.request["seconds"])
    seats = [_Seat(Reader(**raw)) for raw in owned.request["reviewers"]]
    values = _collect_values(owned, steps, known)
    for number, seat in enumerate(seats, 1):
        prompt = render(read_template("review"), {**values, "focus": seat.reader.role}, _nonce())
        try:
            launched = start_reader(
                owned.workspace, seat.reader, prompt, caller, task_id=str(owned.request["review_task_id"]), cwd=ground.root,
                seconds=seconds, request_id=f"{owned.job.job_id}/{number}",
            )  # fmt: skip
        except CcError as error:
            seat.problems.append(f"{error.code}: {error.message}")
            continue
        seat.runs.append(launched.spec.run_id)
        owned.step("reviewer", number=number, run_id=launched.spec.run_id, adapter=seat.reader.adapter)
    await_runs(owned.workspace, [run for seat in seats for run in seat.runs], seconds + SLACK_SECONDS, owned.clock)
    names = [finding.id for finding in known]
    for seat in seats:
        _hear(owned, seat, steps, names)
    again = [seat for seat in seats if seat.outcome == "invalid" and _ask_again(owned, seat, steps, caller)]
    await_runs(owned.workspace, [seat.runs[-1] for seat in again], seconds + SLACK_SECONDS, owned.clock)
    for seat in again:
        _hear(owned, seat, steps, names)
    return seats


def _nonce() -> str:
    return os.urandom(12).hex()


def _collect_values(owned: Owned, steps: tuple[Step, ...], known: list[Finding]) -> dict[str, str]:
    pack, patch = collect_pack(owned.workspace, str(owned.request["run_id"]), owned.clock.now())
    shown = cut(patch, PATCH_BYTES)
    note = "" if shown == patch else "\n(The patch is cut here. Read the rest in the files.)"
    return {
        "goal": str(pack["task"]["goal"]), "base": str(pack["head"]["base"]), "commit": str(owned.request["commit"]),
        "steps": _list_steps(steps), "schema": read_asset("review-verdict.json").strip(),
        "known": render_findings(known),
        "verification": render_checks(pack["observed"]["verification"]),
        "diff": f"{render_files(pack['change'])}\n\n{shown}{note}", "claimed": str(pack["claimed"]["untrusted_text"]),
    }  # fmt: skip


def _list_steps(steps: tuple[Step, ...]) -> str:
    return "\n".join(f"- {step.id}: {step.text}" for step in steps)


def _hear(owned: Owned, seat: _Seat, steps: tuple[Step, ...], known: list[str]) -> None:
    """Read the answer of the seat's last run."""
    if not seat.runs:
        return
    state = read_run(RunDir(owned.workspace.run(seat.runs[-1]))).state
    seat.actual_model = state["actual_model"] or state["model"]
    seat.problems = []
    if state["status"] != "succeeded":
        seat.outcome = str(state["status"])
        seat.problems.append(f"its run ended as {state['status']}: {state['reason']}")
        return
    try:
        seat.opinion = read_opinion(str(claimed(state).get("text", "")), steps, known)
        seat.outcome = "passed" if seat.opinion.passed else "failed"
    except OpinionError as error:
        seat.outcome = "invalid"
        seat.problems += error.problems


def _ask_again(owned: Owned, seat: _Seat, steps: tuple[Step, ...], caller: Caller) -> bool:
    """One repair turn in the same conversation, where the CLI can resume one."""
    run = RunDir(owned.workspace.run(seat.runs[-1]))
    if not find_adapter(seat.reader.adapter).capabilities.resume or not read_run(run).state["session_id"]:
        return False
    values = {
        "problems": "\n".join(seat.problems), "steps": _list_steps(steps), "schema": read_asset("review-verdict.json").strip()
    }  # fmt: skip
    prompt = render(read_template("review-repair"), values, _nonce())
    request_id = f"{owned.job.job_id}/{run.run_id}/again"
    try:
        launched = continue_run(owned.workspace, run, prompt, caller, request_id=request_id)
    except CcError as error:
        seat.problems.append(f"it could not be asked again: {error.code}: {error.message}")
        return False
    seat.runs.append(launched.spec.run_id)
    owned.step("repair", run_id=launched.spec.run_id, problems=[line(problem, 200) for problem in seat.problems[:3]])
    return True


def _look_after(owned: Owned, ground: Ground, seats: list[_Seat]) -> None:
    """A reviewer that changed what it judges judged something else; whose hand it was cannot be told."""
    changed = compare_ground(ground, owned.job.path).changed
    if changed:
        for seat in seats:
            seat.outcome, seat.opinion = "tampered", None
            seat.problems.append(f"the files under review were changed: {', '.join(line(p, 80) for p in changed[:5])}")


def _conclude(owned: Owned, seats: list[_Seat]) -> dict[str, Any]:
    request = owned.request
    opinions = [seat.opinion for seat in seats if seat.opinion is not None]
    findings, news = add_findings(
        owned.workspace, str(request["task_id"]),
        lambda known: list_news(known, opinions, review_id=owned.job.job_id, head=str(request["commit"]), now=owned.clock.now()),
    )  # fmt: skip
    outcomes = {seat.outcome for seat in seats}
    verdict = "failed" if "failed" in outcomes else "passed" if outcomes == {"passed"} else "incomplete"
    return {
        "v": 1, "review_id": owned.job.job_id, "run_id": request["run_id"], "task_id": request["task_id"], "commit": request["commit"],
        "tree": request["tree"], "verdict": verdict, "steps": [step._asdict() for step in number_steps(request["steps"])],
        "reviewers": [seat.to_json() for seat in seats], "declared": request["declared"],
        "findings": {kind: [event["finding_id"] for event in news if event["kind"] == kind] for kind in ("reported", "fixed")},
        "open": [row.id for row in list_open(findings, owned.clock.now())],
        "oscillating": [row.id for row in findings.values() if row.oscillates],
        "started_at": request["created_at"], "finished_at": owned.clock.now(),
    }  # fmt: skip
