"""The sandbox level that a run gets: the one that was asked for, or a refusal; never a lower one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import cast

from cc_orchestrator.core.errors import InvalidRequest, Unavailable
from cc_orchestrator.host.sandbox import Backend, Level, at_least, is_within
from cc_orchestrator.host.sandbox_find import find_sandbox


def choose_level(
    asked: str | None, hosts: Sequence[str], cwd: str, env: Mapping[str, str], *, may_write: bool
) -> tuple[Level, Backend | None]:
    """The level and, from `fs` on, what keeps it. A level that cannot be had is refused: InvalidRequest, Unavailable."""
    lowest: Level = "worktree" if may_write else "none"
    wanted = cast("Level", asked or lowest)
    if wanted == "worktree" and not may_write:
        raise InvalidRequest(
            "a read-only run has no worktree of its own", hint="sandbox none, fs or fs+net; or allow_write=true"
        )
    if hosts and wanted != "fs+net":
        raise InvalidRequest("sandbox_hosts means something at sandbox fs+net only", hint='sandbox="fs+net"')
    if not at_least(wanted, "fs"):
        # A write run has its worktree whatever was asked for.
        return lowest if may_write else wanted, None
    home = os.path.realpath(env.get("HOME") or os.path.expanduser("~"))
    if is_within(home, cwd):
        raise InvalidRequest(
            f"{cwd} holds your home: no sandbox can show it without your secrets", hint="cwd of a project's own folder"
        )
    backend, why = find_sandbox(env)
    if backend is None:
        raise Unavailable(
            f"sandbox {wanted} cannot be had here: {why}", hint="cc_doctor; or a lower level, said openly"
        )
    if wanted == "fs+net":
        _check_network(backend.name, env)
    return wanted, backend


def _check_network(backend: str, env: Mapping[str, str]) -> None:
    if backend != "bubblewrap":
        raise Unavailable(f"sandbox fs+net needs bubblewrap, and only {backend} works here", hint="cc_doctor")
    proxy = next((name for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy") if env.get(name)), None)
    if proxy is not None:
        raise Unavailable(
            f"sandbox fs+net cannot go through your own proxy yet ({proxy} is set)", hint='sandbox="fs", or unset it'
        )
