"""A run's report for people: Markdown from the fold, the snapshot, verifications and receipts. Writes only under reports/."""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.core.clock import Clock, iso
from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.core.text import clean, cut, line
from cc_orchestrator.host.history import Commit, commits_between
from cc_orchestrator.runs.fold import claimed, part
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.risk import find_flags
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.summary import name_tools, usage
from cc_orchestrator.store import atomic, ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir


def write_report(workspace: Workspace, run: RunDir, spec: RunSpec, clock: Clock) -> str:
    """Write `reports/<run_id>.md` and return its path. Raises OSError."""
    folder = workspace.at("reports")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, f"{run.run_id}.md")
    receipts = ledger.receipts(workspace.ledger, {"run_id": run.run_id})
    state = read_run(run).state
    atomic.write_text(path, render_report(spec, state, receipts, _commits(workspace, state), clock.now()))
    return path


def _commits(workspace: Workspace, state: dict[str, Any]) -> list[Commit] | None:
    """What the worker committed itself; None when it cannot be told."""
    snapshot = part(state, "snapshot")
    if workspace.repository is None or not snapshot:
        return []
    try:
        return commits_between(workspace.repository, str(snapshot["base"]), str(snapshot["head"]))
    except Unavailable:
        return None


def render_report(
    spec: RunSpec, state: dict[str, Any], receipts: list[dict[str, Any]], commits: list[Commit] | None, now: float
) -> str:
    """The Markdown. Pure; worker text is fenced and marked."""
    said = claimed(state).get("text", "")
    snapshot = part(state, "snapshot")
    rows = [
        f"# Run {spec.run_id}", "", f"Written {iso(now)}.", "", "| | |", "| --- | --- |",
        f"| status | {state['status']} ({state['reason']}) |", f"| task | {line(spec.task, 300).replace('|', '/')} |",
        f"| adapter, role | {spec.adapter}, {spec.role} |",
        f"| model declared, actual | {state['model'] or 'CLI default'}, {state['actual_model'] or 'unknown'} |",
        f"| usage | {usage(state)} |", f"| turns, tools | {state['turns']}, {name_tools(state) or 'none'} |",
        f"| writes | {'yes, on ' + str(spec.branch) if spec.allow_write else 'no'} |",
        f"| result | {snapshot.get('commit', 'none')} on base {snapshot.get('base', 'none')} |", "", "## Flags", "",
    ]  # fmt: skip
    rows += [f"- {flag.severity} {flag.code}: {line(flag.message, 300)}" for flag in find_flags(state, now)] or [
        "- none"
    ]
    rows += ["", "## Changed files (observed)", ""]
    rows += [
        f"- {row.get('status')} `{line(str(row.get('path')), 200)}` +{row.get('added')} -{row.get('deleted')}"
        for row in snapshot.get("files", [])
    ] or ["- none"]
    rows += ["", "## Commits of the worker (observed; its words are untrusted)", ""]
    rows += _log(commits)
    rows += [
        "",
        "## Final answer of the worker (claimed, untrusted)",
        "",
        "~~~~text",
        _fenced(str(said)),
        "~~~~",
        "",
        "## Receipts",
        "",
    ]
    rows += [
        f"- {entry.get('n')} {iso(float(entry.get('ts', 0)))} {entry.get('kind')} by {entry.get('actor')} `{str(entry.get('hash'))[:16]}`"
        for entry in receipts
    ] or ["- none"]
    return "\n".join(rows) + "\n"


def _log(commits: list[Commit] | None) -> list[str]:
    if commits is None:
        return ["- unknown: the log cannot be read"]
    return [f"- `{entry.commit[:12]}` {iso(entry.when)} {entry.author}: {entry.subject}" for entry in commits] or [
        "- none"
    ]


def _fenced(text: str) -> str:
    return clean(cut(text, 20_000)).replace("~~~~", "~~~ ") or "(nothing)"
