"""The adapters that ship, by name."""

from __future__ import annotations

from cc_orchestrator.adapters.base import Adapter
from cc_orchestrator.adapters.claude import ClaudeAdapter
from cc_orchestrator.adapters.codex import CodexAdapter
from cc_orchestrator.adapters.codex_exec import CodexExecAdapter
from cc_orchestrator.adapters.fake import FakeAdapter
from cc_orchestrator.core.errors import NotFound

_ADAPTERS: dict[str, Adapter] = {
    entry.name: entry for entry in (ClaudeAdapter(), CodexAdapter(), CodexExecAdapter(), FakeAdapter())
}


def adapter(name: str) -> Adapter:
    """One adapter; NotFound names those that exist."""
    found = _ADAPTERS.get(name)
    if found is None:
        raise NotFound(
            f"there is no adapter {name[:60]!a}; known: {', '.join(_ADAPTERS)}",
            hint="cc_doctor shows which are installed",
        )
    return found


def names() -> tuple[str, ...]:
    """All names, in order of use."""
    return tuple(_ADAPTERS)
