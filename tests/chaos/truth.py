"""What must be true of a workspace after a kill, once another door has opened. Each function tells its problems as sentences."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cc_orchestrator.core.states import ENDS
from cc_orchestrator.host import cgroup
from cc_orchestrator.store import audit, index, ledger
from cc_orchestrator.store.paths import Workspace

Event = dict[str, Any]
_END_TYPES = ("run.finished", "run.lost")


def journal_of(workspace: Workspace, run_id: str) -> tuple[list[Event], int]:
    """All whole events of a run, and how many lines are none."""
    events: list[Event] = []
    torn = 0
    for line in Path(workspace.run(run_id), "events.ndjson").read_bytes().split(b"\n")[:-1]:
        try:
            events.append(json.loads(line))
        except ValueError:
            torn += 1
    return events, torn


def check_journal(workspace: Workspace, run_id: str, seen: dict[int, str], steps: int) -> list[str]:
    """One true end, no gap, nothing missing that an answer showed (`seen`: seq → type); `steps` is what the script says."""
    events, torn = journal_of(workspace, run_id)
    problems = [f"{torn} torn lines"] if torn > 1 else []
    seqs = [event["seq"] for event in events]
    if seqs != list(range(1, len(seqs) + 1)):
        problems.append(f"seqs are not contiguous: {seqs[:5]}…{seqs[-5:]}")
    kinds = {event["seq"]: event["type"] for event in events}
    missing = {seq: kind for seq, kind in seen.items() if kinds.get(seq) != kind}
    if missing:
        problems.append(f"events that an answer showed are missing: {missing}")
    ends = [event for event in events if event["type"] in _END_TYPES]
    if len(ends) != 1 or events[-1] is not ends[0]:
        return [*problems, f"{len(ends)} ends, the last event is {events[-1]['type']}"]
    return problems + _check_end(events, ends[0]["data"], steps)


def _check_end(events: list[Event], end: Event, steps: int) -> list[str]:
    problems: list[str] = []
    said = [event["data"]["text"] for event in events if event["type"] == "run.message"]
    if said != [str(number) for number in range(1, len(said) + 1)]:
        problems.append(f"what the worker said has a gap: {said}")
    status, reason = end["status"], end["reason"]
    if status not in ENDS or not reason:
        problems.append(f"ended as {status} ({reason})")
    result = [event for event in events if event["type"] == "run.result"]
    exited = [event["data"] for event in events if event["type"] == "run.exited"]
    whole = bool(result) and len(said) == steps and bool(exited) and exited[0]["exit"] == 0
    if status == "succeeded" and not whole:
        problems.append(f"succeeded with {len(said)} of {steps} said, exit {exited}, {len(result)} results")
    if status == "lost" and reason == "never_started" and any(event["type"] == "run.started" for event in events):
        problems.append("never_started, and yet it had started")
    return [f"{status}/{reason}: {problem}" for problem in problems]


def check_receipts(workspace: Workspace, run_ids: list[str]) -> list[str]:
    """The chain holds, and each run has one receipt that says what its journal says."""
    report = audit.check_ledger(workspace.ledger)
    problems = [] if report.ok else [f"the ledger is broken: {report.problems}"]
    found = ledger.receipts(workspace.ledger, kind="run", limit=10_000)
    for run_id in run_ids:
        mine = [record for record in found if record["subject"].get("run_id") == run_id]
        end = journal_of(workspace, run_id)[0][-1]["data"]
        told = [(record["observed"].get("status"), record["observed"].get("reason")) for record in mine]
        if told != [(end.get("status"), end.get("reason"))]:
            problems.append(f"{run_id}: receipts say {told}, the journal {end.get('status')} ({end.get('reason')})")
    return problems


def check_index(workspace: Workspace, run_ids: list[str]) -> list[str]:
    """The index has these runs and says of them what their journals say."""
    rows = {str(row["run_id"]): row for row in index.select(workspace.index, limit=10_000)}
    problems = [] if set(rows) == set(run_ids) else [f"index rows {sorted(rows)}, runs {sorted(run_ids)}"]
    for run_id in run_ids:
        end = journal_of(workspace, run_id)[0][-1]["data"]
        row = rows.get(run_id, {})
        if row.get("status") != end.get("status") or row.get("finished_at") is None:
            problems.append(f"{run_id}: the index says {row.get('status')}, the journal {end.get('status')}")
    return problems


def check_leaks(workspace: Workspace, run_ids: list[str], sockets: Path) -> list[str]:
    """No hidden folder, temporary file, open mark, held lock, socket, cgroup or git lock is left."""
    problems: list[str] = []
    runs = Path(workspace.runs)
    left = [path.name for path in runs.iterdir() if path.name.startswith(".new-")]
    left += [str(path.relative_to(runs)) for path in runs.rglob(".*.tmp")]
    left += [f"open mark of {path.name}" for path in (runs / ".open").iterdir()]
    left += [f"socket {path.name}" for path in sockets.iterdir()] if sockets.is_dir() else []
    left += [f"cgroup of {run_id}" for run_id in run_ids if cgroup.find(run_id)]
    git = Path(workspace.root, ".git")
    left += [f"git lock {path.relative_to(git)}" for path in git.rglob("*.lock")]
    left += [f"locked worktree {path.parent.name}" for path in git.glob("worktrees/*/locked")]
    left += [f"private index {path.relative_to(git)}" for path in git.rglob("cc-index-*") if not run_ids]
    if left:
        problems.append(f"left behind: {', '.join(left)}")
    return problems


def marked(workspace: Workspace) -> list[int]:
    """Living processes that carry the marker of a run of this workspace: workers and whatever they started."""
    try:
        names = set(os.listdir(workspace.runs))
    except OSError:
        return []
    return [pid for pid, run_id in carriers("CC_RUN_ID=") if run_id in names]


def supervisors(workspace: Workspace) -> list[int]:
    """Living supervisors of this workspace."""
    found: list[int] = []
    for pid in _pids():
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"cc_orchestrator.runs.supervisor" in argv and any(
            part.startswith(workspace.runs.encode()) for part in argv
        ):
            found.append(pid)
    return found


def carriers(prefix: str) -> list[tuple[int, str]]:
    """`(pid, value)` of living processes whose environment holds a variable."""
    found: list[tuple[int, str]] = []
    for pid in _pids():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            dead = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"Z", b"X")
        except OSError:
            continue
        values = [entry.decode(errors="replace") for entry in environ if entry.startswith(prefix.encode())]
        if values and not dead:
            found.append((pid, values[0].removeprefix(prefix)))
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def holders(folder: Path) -> list[int]:
    """Living processes of ours that were given this folder: the supervisor of a run, the process of a verification."""
    found: list[int] = []
    for pid in _pids():
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in argv and any(part.startswith(b"cc_orchestrator.") for part in argv):
            found.append(pid)
    return found
