"""A run's report for people: Markdown from the fold, the snapshot, verifications and receipts. Writes only under reports/."""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.core.clock import Clock, iso
from cc_orchestrator.core.text import clean, cut, line
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
    atomic.write_text(path, render_report(spec, read_run(run).state, receipts, clock.now()))
    return path


def render_report(spec: RunSpec, state: dict[str, Any], receipts: list[dict[str, Any]], now: float) -> str:
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


def _fenced(text: str) -> str:
    return clean(cut(text, 20_000)).replace("~~~~", "~~~ ") or "(nothing)"
