"""What needs a person or a controller now, collected from runs, verifications, acceptances, deliveries, fix loops,
open items and approvals. Reads only.

Of each task only the latest run counts: what was gone on with is somebody's business already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import Busy, CcError, VerifyFailed
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import check_accepted, explain, next_after
from cc_orchestrator.insight.escalation import Code, Item
from cc_orchestrator.insight.pending import Decided, open_approvals, open_blockers, read_decided
from cc_orchestrator.policy.answering import Reach, may_answer, read_reach
from cc_orchestrator.runs.fold import State, part
from cc_orchestrator.runs.liveness import judge
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.summary import next_call
from cc_orchestrator.store import atomic, index, ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, later_runs
from cc_orchestrator.tasks.record import read_task
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import read_result, speaks_of_now, verifications

#: What ended longer ago is history: `cc_receipts` has it.
WINDOW_SECONDS = 7 * 86_400.0
_MOST_LIVE, _MOST_ENDED, _MOST_RECEIPTS = 40, 100, 60
Row = dict[str, Any]
#: Classes of failures that call for more than a look.
_CLASSES: dict[str, Code] = {
    "provider_auth": "login_needed", "budget_exceeded": "over_budget", "spec": "spec_needed", "lost": "lost",
}  # fmt: skip


def collect(workspace: Workspace, now: float) -> tuple[list[Item], list[str]]:
    """All items, unranked; and which sources could not be read: what cannot be read is told, never taken for quiet."""
    found: list[Item] = []
    degraded: list[str] = []
    loops: set[str] = set()
    try:
        decided = read_decided(workspace, now - WINDOW_SECONDS)
    except OSError as error:
        decided = Decided({}, frozenset(), [])
        degraded.append(line(f"decisions: {error}", 160))
    _take(found, degraded, "fix loops", lambda: _loops(workspace, now, loops, decided))
    _take(found, degraded, "live runs", lambda: _live(workspace, now, degraded))
    _take(found, degraded, "ended runs", lambda: _ended(workspace, now, loops, degraded, decided))
    _take(found, degraded, "deliveries", lambda: _deliveries(decided))
    _take(found, degraded, "open items", lambda: open_blockers(workspace))
    _take(found, degraded, "approvals", lambda: open_approvals(workspace, now))
    return found, degraded


def _take(found: list[Item], degraded: list[str], name: str, source: Callable[[], Iterator[Item]]) -> None:
    try:
        found.extend(source())
    except (CcError, OSError) as error:
        degraded.append(line(f"{name}: {error}", 160))


# ---------------------------------------------------------------- live


def _live(workspace: Workspace, now: float, degraded: list[str]) -> Iterator[Item]:
    reach = _read_reach(workspace, degraded)
    for row in index.select(workspace.index, "finished_at is null", limit=_MOST_LIVE):
        state = read_run(RunDir(workspace.run(str(row["run_id"])))).state
        if state["status"] in LIVE:
            yield from _live_items(state, now, reach)


def _read_reach(workspace: Workspace, degraded: list[str]) -> Reach:
    """Who may answer what; where that cannot be read, the controller may say yes to the least only."""
    try:
        return read_reach(atomic.read_json(workspace.reach))
    except (ValueError, CcError, OSError) as error:
        degraded.append(line(f"{workspace.reach}: {error}", 160))
        return Reach("low", "low")


def _live_items(state: State, now: float, reach: Reach) -> Iterator[Item]:
    """What a live run waits for, or does not get on with. Pure."""
    run_id = str(state["run_id"])
    for question_id, entry in state["questions"].items():
        if entry.get("decision") is None:
            since = float(entry.get("asked_at") or state["last_ts"] or now)
            risk = str(entry.get("risk") or "medium")
            channels = may_answer(risk, reach)
            until = f", until {iso(entry['deadline'])}" if entry.get("deadline") else ""
            shown = entry.get("target") or entry.get("text") or ""
            what = f"{run_id} asks ({entry.get('kind')}, risk {risk}; yes by {'/'.join(channels)}{until})"
            call = f'cc_answer {{"run_id":"{run_id}","question_id":"{question_id}","decision":"allow|deny"}}'
            mine = "controller" in channels
            call = (
                call if mine else f"a person: cc-orchestrator answer {run_id} --question-id {question_id} --decision …"
            )
            yield Item("question" if mine else "person_asked", str(question_id), since, what, call, str(shown))
    found = judge(state, now)
    since = float(found.since or state["acted_at"] or now)
    if found.liveness == "suspected_stall":
        what = f"seems to hang ({found.code})" if found.code else "seems to hang"
        yield Item("suspected_stall", run_id, since, what, f'cc_poll {{"run_id":"{run_id}"}}; or cc_stop', found.why)
    elif found.code == "prompt":
        what = "asks on stderr, where nobody can answer"
        yield Item("unseen_prompt", run_id, since, what, f'cc_stop {{"run_id":"{run_id}"}}', found.why)
    elif found.liveness in ("provider_down", "rate_limited"):
        until = f"; until {iso(found.until)}" if found.until else ""
        what = f"{found.liveness}{until}"
        yield Item("provider_trouble", run_id, since, what, f'cc_wait {{"ids":["{run_id}"]}}', found.why)
    if state["violations"]:
        yield _violation(state, now)


def _violation(state: State, now: float) -> Item:
    denials: list[dict[str, Any]] = state["denials"]
    last: dict[str, Any] = denials[-1] if denials else {}
    text = f"{state['violations']} times it tried what is denied at every trust level"
    since = float(state["finished_at"] or state["acted_at"] or now)
    return Item(
        "violation", str(state["run_id"]), since, text, _explain(str(state["run_id"])), str(last.get("target") or "")
    )


def _explain(name: str) -> str:
    return f'cc_read {{"name":"cc_explain","arguments":{{"id":"{name}"}}}}'


# ---------------------------------------------------------------- ended


def _ended(workspace: Workspace, now: float, loops: set[str], degraded: list[str], decided: Decided) -> Iterator[Item]:
    tasks = {str(row["task_id"]) for row in index.select(workspace.index, "finished_at is null", limit=_MOST_LIVE)}
    later = frozenset(later_runs(workspace.runs))
    where = (now - WINDOW_SECONDS,)
    for row in index.select(workspace.index, "finished_at > ?", where, limit=_MOST_ENDED):
        run_id, task_id = str(row["run_id"]), str(row["task_id"])
        if task_id in tasks:
            continue
        tasks.add(task_id)
        try:
            yield from _ended_items(workspace, run_id, task_id, now, loops, decided, run_id in later)
        except Busy:
            # Somebody is at it.
            continue
        except (CcError, OSError) as error:
            degraded.append(line(f"{run_id}: {error}", 160))


def _ended_items(
    workspace: Workspace, run_id: str, task_id: str, now: float, loops: set[str], decided: Decided, goes_on: bool
) -> Iterator[Item]:
    run = RunDir(workspace.run(run_id))
    state = read_run(run).state
    word = decided.words.get(run_id, ("", 0.0))[0]
    if word in ("reject", "abandon") or state["status"] in LIVE:
        return
    if state["violations"]:
        yield _violation(state, now)
    if state["status"] == "succeeded":
        over = run_id in loops or (word == "accept" and run_id in decided.delivered)
        if not over and _is_work(workspace, task_id) and part(state, "snapshot").get("file_count"):
            yield from _result_items(workspace, run, state, word, now)
    elif state["status"] != "stopped":
        yield from _failure_items(state, now, goes_on)


def _is_work(workspace: Workspace, task_id: str) -> bool:
    """Whether the task makes something: a reviewer's result is its words."""
    try:
        return read_task(workspace, task_id).get("purpose") != "review"
    except CcError:
        return True


def _failure_items(state: State, now: float, goes_on: bool) -> Iterator[Item]:
    """A bad end, by its class. Pure."""
    run_id, failure = str(state["run_id"]), part(state, "failure")
    since = float(state["finished_at"] or now)
    told, said = str(state["reason"]), str(state["detail"] or "")
    name, at = str(failure.get("class") or ""), failure.get("not_before")
    if name in ("provider_limit", "provider_down") and at is not None:
        if goes_on:
            call = f'cc_stop {{"run_id":"{run_id}"}} calls it off'
            yield Item("goes_on", run_id, since, f"{told}; goes on by itself at {iso(at)}", call, said)
        elif at > now:
            yield Item("provider_trouble", run_id, since, f"{told}; may go on after {iso(at)}", next_call(state), said)
        else:
            yield Item("resumable", run_id, float(at), f"{told}; it can go on", next_call(state), said)
        return
    yield Item(_CLASSES.get(name, "failed"), run_id, since, told, next_call(state), said)


def _result_items(workspace: Workspace, run: RunDir, state: State, word: str, now: float) -> Iterator[Item]:
    """What is missing between a result and its delivery."""
    run_id, spec = run.run_id, read_spec(run.spec)
    ended = float(state["finished_at"] or now)
    again = f'cc_verify {{"run_id":"{run_id}","test_commands":["…"]}}'
    if word == "accept":
        try:
            check_accepted(workspace, spec, state, now)
        except VerifyFailed as error:
            yield Item("acceptance_expired", run_id, ended, line(error.message, 120), error.hint or again)
            return
        yield Item("not_delivered", run_id, ended, "accepted, not delivered", f'cc_deliver {{"run_id":"{run_id}"}}')
        return
    job = next(iter(verifications(workspace, run_id)), None)
    found = read_job(job) if job is not None else None
    if found is not None and found.status == "running":
        return
    result = read_result(job, found) if job is not None and found is not None else None
    if result is None:
        files = part(state, "snapshot").get("file_count")
        why = "never verified" if job is None else "its verification was lost"
        yield Item("unverified", run_id, ended, f"{files} files changed, {why}", again)
        return
    assert found is not None, "a result stands in a job"
    since = float((found.end or {}).get("ts") or ended)
    if not speaks_of_now(result, spec, state):
        yield Item("unverified", run_id, since, f"the verdict of {result['verify_id']} has expired", again)
    elif result["verdict"] == "APPROVE":
        yield Item("not_accepted", run_id, since, "APPROVE, and nobody decided", next_after(result))
    else:
        code: Code = "held" if result["verdict"] == "HOLD" else "escalated"
        yield Item(
            code, run_id, since, f"{result['verdict']} by {result['verify_id']}", next_after(result), explain(result)
        )


# ---------------------------------------------------------------- deliveries, fix loops


def _deliveries(decided: Decided) -> Iterator[Item]:
    """Of each run the latest delivery, when it failed."""
    seen: set[str] = set()
    for receipt in decided.deliveries[:_MOST_RECEIPTS]:
        subject, observed = receipt["subject"], receipt["observed"]
        run_id, since = str(subject.get("run_id")), float(receipt["ts"])
        if run_id in seen:
            continue
        seen.add(run_id)
        if observed.get("status") != "succeeded":
            code, said = observed.get("code"), str(observed.get("reason") or "")
            what = f"{run_id} was not delivered" + (f" ({code})" if code else "")
            name = str(subject.get("delivery_id"))
            yield Item("delivery_failed", name, since, what, _explain(name), said)


def _loops(workspace: Workspace, now: float, told: set[str], decided: Decided) -> Iterator[Item]:
    """Fix loops that gave up, where nobody went on or decided since. `told` takes the runs they are about."""
    seen: set[str] = set()
    for receipt in ledger.receipts(workspace.ledger, kind="fix_loop", since=now - WINDOW_SECONDS, limit=_MOST_RECEIPTS):
        subject, observed = receipt["subject"], receipt["observed"]
        task_id, run_id = str(subject.get("task_id")), str(observed.get("last_run") or subject.get("run_id"))
        if task_id in seen:
            continue
        seen.add(task_id)
        latest = index.select(workspace.index, "task_id = ?", (task_id,), limit=1)
        if observed.get("outcome") != "ESCALATE" or (latest and latest[0]["run_id"] != run_id):
            continue
        if decided.words.get(run_id, ("", 0.0))[1] >= float(receipt["ts"]):
            continue
        told.add(run_id)
        name = str(subject.get("fix_id"))
        what, said = f"the fix loop of {run_id} gave up", str(observed.get("reason") or "")
        yield Item("escalated", name, float(receipt["ts"]), what, _explain(name), said)
