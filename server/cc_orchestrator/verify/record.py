"""What a verification leaves: `verify/<run_id>/<n>.json`, written once, its receipt, and its end in the journal of its job.

Also closes a verification whose job died: with its result recorded it is completed, otherwise it is lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, cast

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, Corrupt
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.tree import end_helpers, kill_remains
from cc_orchestrator.runs.anchoring import anchor_ledger
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic, jobdir, ledger, lock
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.diff import sealed_git
from cc_orchestrator.verify.ground import remove_disposable
from cc_orchestrator.verify.job import JobState, read_job
from cc_orchestrator.verify.rulekey import rules_key
from cc_orchestrator.verify.verdict import is_current

KILL_SECONDS = 4.0
Result = dict[str, Any]


def verifications(workspace: Workspace, run_id: str) -> list[JobDir]:
    """All verifications of a run, the latest first."""
    folder = workspace.verification(run_id)
    try:
        names = [name for name in os.listdir(folder) if is_id(name, "ver")]
    except OSError:
        return []
    return [JobDir(os.path.join(folder, name)) for name in sorted(names, reverse=True)]


def publish(folder: str, result: Result) -> int:
    """Write the result under the next free number and return that. Once, whole, durable. Raises OSError."""
    temp = os.path.join(folder, f".{result['verify_id']}.json")
    number = 1 + max((int(name[:-5]) for name in os.listdir(folder) if name[:-5].isdigit()), default=0)
    while True:
        atomic.write_json(temp, {**result, "n": number})
        try:
            os.link(temp, os.path.join(folder, f"{number}.json"))
        except FileExistsError:
            number += 1
            continue
        finally:
            os.unlink(temp)
        atomic.sync_folder(folder)
        return number


def read_result(job: JobDir, state: JobState) -> Result | None:
    """The result of a verification that has one; Corrupt when its file is gone or not the one that was recorded."""
    if state.result is None or state.status != "succeeded":
        return None
    path = os.path.join(os.path.dirname(job.path), f"{int(state.result['n'])}.json")
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        raise Corrupt(f"{path}, the result of {job.job_id}, is missing", hint="verify again") from error
    if hashlib.sha256(data).hexdigest() != state.result.get("sha256"):
        raise Corrupt(f"{path} is not what {job.job_id} wrote", hint="cc_receipts; verify again")
    return cast("Result", json.loads(data))


def record_result(job: JobDir, journal: Journal, result: Result) -> JobState:
    """Publish, then record the step that decides."""
    folder = os.path.dirname(job.path)
    number = publish(folder, result)
    with open(os.path.join(folder, f"{number}.json"), "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    step = {
        "step": "result", "n": number, "sha256": digest, "verdict": result["verdict"], "commit": result["commit"],
        "tree": result["tree"], "rules": result["rules"],
        "checks": {check["check"]: check["outcome"] for check in result["checks"]}, "risk": result["risk"]["risk"],
    }  # fmt: skip
    journal.append([Fact(ev.JOB_STEP, step)])
    journal.sync()
    return read_job(job)


def record_end(workspace: Workspace, job: JobDir, journal: Journal, status: str, reason: str, clock: Clock) -> None:
    """Receipt, final event, and no longer under way. Only the holder of the job's lock may."""
    state = read_job(job)
    request = atomic.read_json(job.request) or {}
    facts = state.result or {}
    observed: dict[str, Any] = {"status": status, "reason": reason or None}
    observed.update({key: facts.get(key) for key in ("verdict", "commit", "tree", "rules", "checks", "n", "sha256")})
    observed["commands"] = request.get("commands") or None
    written = ledger.append(workspace.ledger, {
        "kind": "verification", "ts": clock.now(), "actor": request.get("actor"), "channel": request.get("channel"),
        "subject": {"verify_id": job.job_id, "run_id": request.get("run_id", ""), "task_id": request.get("task_id", "")},
        "observed": {key: value for key, value in observed.items() if value is not None}, "claimed": {},
    }, once=True)  # fmt: skip
    anchor_ledger(workspace, clock)
    end = {
        "status": status, "reason": reason, "verdict": facts.get("verdict"),
        "receipt": {"n": written["n"], "hash": written["hash"]},
    }  # fmt: skip
    journal.append([Fact(ev.JOB_FINISHED, {key: value for key, value in end.items() if value})])
    journal.sync()
    jobdir.retire(workspace, job.job_id)


def settle_verification(workspace: Workspace, job: JobDir, clock: Clock) -> bool:
    """Close a verification whose process is gone; whether it was ours to close. Raises OSError, CcError."""
    held = lock.take(job.lock)
    if held is None:
        return False
    try:
        # The journal first: it closes off a torn line, which may turn out to be the end.
        journal = Journal(job.journal, job.job_id, clock)
        try:
            return _settle(workspace, job, journal, clock)
        finally:
            journal.close()
    finally:
        os.close(held)


def _settle(workspace: Workspace, job: JobDir, journal: Journal, clock: Clock) -> bool:
    state = read_job(job)
    started = state.started
    recorded = [(int(started["pid"]), str(started["pid_start"]))] if started.get("pid") else []
    end_helpers(job.job_id)
    kill_remains(job.job_id, recorded, deadline_s=KILL_SECONDS)
    remove_disposable(workspace.repository, job.at("tree"))
    bells.remove_dead(job.bell)
    if state.told:
        jobdir.retire(workspace, job.job_id)
        return False
    status = "succeeded" if state.result is not None else "lost"
    record_end(workspace, job, journal, status, "" if state.result is not None else "job_died", clock)
    return True


def current_result(spec: RunSpec, state: dict[str, Any]) -> tuple[str | None, str | None]:
    """`(commit, tree)` that the run's ref names now; `(None, None)` for a run without a result. Raises Corrupt."""
    snapshot = state["snapshot"]
    if not snapshot or spec.repository is None:
        return None, None
    git: Git = sealed_git(spec.repository)
    try:
        commit = git.text("rev-parse", "--verify", f"{snapshot['ref']}^{{commit}}")
        return commit, git.text("rev-parse", "--verify", f"{commit}^{{tree}}")
    except (GitError, CcError) as error:
        raise Corrupt(
            f"the result of {spec.run_id} cannot be found under {snapshot['ref']}: {error}", hint="cc_recover"
        ) from error


def speaks_of_now(result: Result, spec: RunSpec, state: dict[str, Any]) -> bool:
    """Whether a result is about what the run's ref names now, by today's rules. Raises Corrupt."""
    commit, tree = current_result(spec, state)
    asked = cast("dict[str, Any]", result.get("key") or {}).get("asked")
    key = rules_key(Workspace(spec.workspace_root, spec.repository), asked)
    return is_current(result, commit=commit, tree=tree, scope=spec.scope._asdict(), key=key)
