"""The controller's files of a run, written from the fold: caches that may be deleted and made again at any time.

`progress_summary.json`, `status.json`, `usage.json`, `risk_flags.json`, `changed_files.json`, `latest_decision.md`,
`tool_timeline.md`, `checkpoints/checkpoint-NNN.md` (rolling).
"""

from __future__ import annotations

import os
from typing import Any

from cc_orchestrator.core.clock import Clock, iso
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.core.text import line
from cc_orchestrator.runs import summary
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.risk import Flag, find_flags, summarize_flags
from cc_orchestrator.store import atomic
from cc_orchestrator.store.rundir import RunDir

CHECKPOINT_EVENTS = 50
CHECKPOINT_SECONDS = 60.0
KEEP_CHECKPOINTS = 20
State = dict[str, Any]


class Artifacts:
    """Writes one run's files; remembers what the last checkpoint held."""

    def __init__(self, run: RunDir, clock: Clock) -> None:
        self._run = run
        self._clock = clock
        self._number = _last_number(run.at("checkpoints"))
        self._seq = 0
        self._at = 0.0

    def write(self, state: State) -> None:
        """All files. Raises OSError."""
        now = self._clock.now()
        flags = find_flags(state, now)
        files = _files(state, flags, now)
        for name, value in files.items():
            path = self._run.at(name)
            if isinstance(value, str):
                atomic.write_text(path, value)
            else:
                atomic.write_json(path, value, durable=False)
        self._checkpoint(state, flags, now)

    def _checkpoint(self, state: State, flags: list[Flag], now: float) -> None:
        ended = state["status"] in ENDS
        due = state["seq"] - self._seq >= CHECKPOINT_EVENTS or (
            now - self._at >= CHECKPOINT_SECONDS and state["seq"] > self._seq
        )
        if not due and not ended:
            return
        folder = self._run.at("checkpoints")
        os.makedirs(folder, exist_ok=True)
        self._number, self._seq, self._at = self._number + 1, state["seq"], now
        atomic.write_text(
            os.path.join(folder, f"checkpoint-{self._number:03d}.md"), _checkpoint_text(state, flags, now)
        )
        old = os.path.join(folder, f"checkpoint-{self._number - KEEP_CHECKPOINTS:03d}.md")
        if os.path.exists(old):
            os.unlink(old)


def write_all(run: RunDir, state: State, clock: Clock) -> None:
    """Make every file anew, for a run whose caches were deleted. Raises OSError."""
    Artifacts(run, clock).write(state)


def _last_number(folder: str) -> int:
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    numbers = [int(name[11:-3]) for name in names if name.startswith("checkpoint-") and name[11:-3].isdigit()]
    return max(numbers, default=0)


def _files(state: State, flags: list[Flag], now: float) -> dict[str, Any]:
    head = {
        "run_id": state["run_id"],
        "status": state["status"],
        "reason": state["reason"],
        "as_of": iso(now),
        "seq": state["seq"],
    }
    recommended = summary.recommend(state, flags)
    tools = [
        {"name": name, "count": entry["count"], "first_seq": entry["first"], "last_seq": entry["last"]}
        for name, entry in sorted(state["tools"].items(), key=lambda item: -item[1]["count"])
    ]
    snapshot = part(state, "snapshot")
    return {
        "status.json": {**head, "task_id": state["task_id"], **summary.summarize(state, now)},
        "progress_summary.json": {
            **head, **summary.summarize(state, now, said=500), "tool_call_count": state["tool_count"], "tool_call_summary": tools[:20],
            "recent_tools": state["recent_tools"], "needs_controller_attention": bool(flags), "recommended_action": recommended,
        },
        "usage.json": {
            **head, "declared_model": state["model"], "actual_model": state["actual_model"] or "unknown", "models": state["models"],
            "usage": summary.usage(state), "turns": state["turns"],
        },
        "risk_flags.json": {**head, **summarize_flags(flags)},
        "changed_files.json": {
            **head, "source": "result" if snapshot else "tool calls",
            "files": snapshot.get("files") or [{"path": path, "edits": count} for path, count in state["files"].items()],
            "ignored_present": snapshot.get("ignored") or [],
        },
        "latest_decision.md": _decision_text(state, flags, recommended, now),
        "tool_timeline.md": _timeline_text(state),
    }  # fmt: skip


def _decision_text(state: State, flags: list[Flag], recommended: str, now: float) -> str:
    rows = [
        f"# {state['run_id']}", "", f"- as of: {iso(now)}", f"- status: {state['status']}" + (f" ({state['reason']})" if state["reason"] else ""),
        f"- liveness: {summary.liveness(state, now)}", f"- recommended action: {recommended}", f"- next call: {summary.next_call(state)}",
        f"- last words (untrusted): {line(state['last_text'], 400) or 'none'}", "", "## Flags", "",
    ]  # fmt: skip
    rows += [f"- {flag.severity} {flag.code}: {line(flag.message, 300)}" for flag in flags] or ["- none"]
    return "\n".join(rows) + "\n"


def _timeline_text(state: State) -> str:
    rows = [f"# Tools of {state['run_id']}", ""]
    for first, _last, tool, count, target in state["timeline"]:
        name = f"{line(tool, 60)} x{count}" if count > 1 else line(tool, 60)
        clock = iso(first)[11:19] if first else "--:--:--"
        rows.append(f"- {clock} {name}" + (f" `{line(target, 160)}`" if target else ""))
    return "\n".join(rows) + "\n"


def _checkpoint_text(state: State, flags: list[Flag], now: float) -> str:
    rows = [
        f"# Checkpoint of {state['run_id']} at event {state['seq']}", "", f"- {iso(now)}, {state['status']}, {summary.liveness(state, now)}",
        f"- turns {state['turns']}, tools {state['tool_count']} ({summary.name_tools(state) or 'none'}), errors {state['tool_errors']}", "",
        "## Said (untrusted)", "", line(state["last_text"], 800) or "nothing yet", "", "## Touched", "",
    ]  # fmt: skip
    rows += [f"- {line(path, 200)} x{count}" for path, count in list(state["files"].items())[:30]] or [
        "- nothing by tool calls"
    ]
    rows += ["", "## Flags", ""]
    rows += [f"- {flag.severity} {flag.code}: {line(flag.message, 200)}" for flag in flags] or ["- none"]
    return "\n".join(rows) + "\n"
