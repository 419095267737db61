"""An in-memory MCP client of our server: the whole SDK path without a process."""

from __future__ import annotations

from typing import Any

from mcp.client.client import Client

from cc_orchestrator.surfaces.mcp.server import build
from kit.door import Door


def memory_client(door: Door, *toolsets: str, mode: str = "auto", **more: Any) -> Client:
    """mcp's own client on a server object of this process. `mode`: auto (2026-07-28) or legacy."""
    return Client(build(door.context, frozenset(toolsets)), mode=mode, **more)
