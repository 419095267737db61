"""Whether a CLI can take its first turn here, asked before anything is started: no worker is left waiting at a gate nobody sees."""

from __future__ import annotations

from collections.abc import Mapping

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.host.cli_files import claude_texts, codex_texts
from cc_orchestrator.routing.readiness import CliFiles, Gate, find_gates
from cc_orchestrator.runs.launch import find_executable


def read_gates(env: Mapping[str, str], adapter: str) -> list[Gate]:
    """The obstacles of one adapter as they are now."""
    if adapter == "claude":
        return find_gates(adapter, env, CliFiles(*claude_texts(env)))
    if adapter in ("codex", "codex-exec"):
        return find_gates(adapter, env, CliFiles(*codex_texts(env)))
    return []


def require_ready(env: Mapping[str, str], adapter: str) -> tuple[str, ...]:
    """What may be missing, as sentences for the start's answer. Raises Unavailable at a gate that no run would
    pass, and when the CLI is not installed."""
    find_executable(find_adapter(adapter), env)
    gates = read_gates(env, adapter)
    for gate in gates:
        if gate.sure:
            raise Unavailable(
                f"{adapter} is not ready ({gate.code}): {gate.text}; nothing was started", hint=f"{gate.fix}; cc_doctor"
            )
    return tuple(f"{adapter} may not be ready ({gate.code}): {gate.text}" for gate in gates)
