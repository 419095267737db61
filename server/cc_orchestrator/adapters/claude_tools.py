"""Claude Code's tools in the words that every adapter shares. Pure."""

from __future__ import annotations

import json
import os

from cc_orchestrator.adapters.lines import Object, number_at, text_at
from cc_orchestrator.core.asking import ToolCall, ToolKind
from cc_orchestrator.core.text import line

_TARGET = 300
#: What Bash gives a command that names no timeout.
DEFAULT_SECONDS = 120.0
KINDS: dict[str, ToolKind] = {
    "Read": "read", "NotebookRead": "read", "Glob": "read", "Grep": "read", "LS": "read", "LSP": "read",
    "Edit": "edit", "Write": "edit", "MultiEdit": "edit", "NotebookEdit": "edit",
    "Bash": "command", "PowerShell": "command", "Monitor": "command",
    "WebFetch": "network", "WebSearch": "network",
    "Agent": "delegate", "Task": "delegate", "SendMessage": "delegate",
    "AskUserQuestion": "ask",
}  # fmt: skip
#: The worker's own bookkeeping: its notes, its background tasks, its catalog of tools. They change nothing outside of it.
_BOOKKEEPING = frozenset({
    "TodoWrite", "TodoRead", "TaskCreate", "TaskGet", "TaskList", "TaskUpdate", "TaskStop", "TaskOutput", "BashOutput", "KillShell",
    "KillBash", "ToolSearch", "ListAgents", "ReportFindings", "StructuredOutput",
})  # fmt: skip
_SEARCHES = frozenset({"Glob", "Grep", "LS"})
_PATH_KEYS = ("file_path", "notebook_path", "path")


def kind_of(tool: str) -> ToolKind:
    """What kind of act a tool is; a tool that is not known, and any of an MCP server, is `other`."""
    return KINDS.get(tool, "read" if tool in _BOOKKEEPING else "other")


def tool_call(tool: str, given: Object, cwd: str) -> ToolCall:
    """One call. Relative paths are taken from `cwd`."""
    kind = kind_of(tool)
    path = next((text_at(given, key) for key in _PATH_KEYS if text_at(given, key)), "")
    if kind == "command":
        command = text_at(given, "command")
        return ToolCall(tool, kind, command, command=command)
    if kind in ("read", "edit") and tool not in _BOOKKEEPING:
        if not path and tool in _SEARCHES:
            path = cwd
        paths = (os.path.join(cwd, path),) if path else ()
        pattern = text_at(given, "pattern")
        return ToolCall(tool, kind, f"{pattern} in {path}" if pattern else path, paths)
    return ToolCall(tool, kind, _target(given))


def call_deadline(call: ToolCall, given: Object) -> float | None:
    """Seconds after which the CLI ends a command, or goes on without it."""
    if call.tool != "Bash":
        return None
    own = number_at(given, "timeout")
    return DEFAULT_SECONDS if own is None else own / 1000


def _target(given: Object) -> str:
    """What a person wants to see of the rest."""
    for key in ("url", "query", "description", "subject", "prompt", "skill", "message"):
        found = text_at(given, key)
        if found:
            return line(found, _TARGET)
    questions = given.get("questions")
    shown = questions if questions else given
    return line(json.dumps(shown, ensure_ascii=False, default=str), _TARGET) if shown else ""
