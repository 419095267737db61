"""For tests of deliveries: accepted runs of the bundled worker, and a delivery's own process, found by its journal."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import git
from kit.waiting import until, until_gone

PASSES = [f"{PYTHON} -c pass"]


def writes(files: Mapping[str, str]) -> list[dict[str, Any]]:
    """Steps of a worker that writes these files and says that it is done."""
    return [*({"write": {"path": path, "content": text}} for path, text in files.items()), {"result": "done"}]


def start(door: Door, files: Mapping[str, str], **more: Any) -> str:
    """A write run under way."""
    return door.start_fake(*writes(files), allow_write=True, **more)


def accept(door: Door, run_id: str, commands: list[str] | None = None) -> str:
    """Verify and accept an ended run; its id."""
    verified = door.call("cc_verify", run_id=run_id, test_commands=commands or [])
    assert verified["verdict"] == "APPROVE", verified
    door.call("cc_accept", run_id=run_id, decision="accept")
    return run_id


def accepted(door: Door, files: Mapping[str, str], commands: list[str] | None = None, **more: Any) -> str:
    """A run whose result is ready to be delivered."""
    run_id = start(door, files, **more)
    assert door.finish(run_id)["status"] == "succeeded"
    return accept(door, run_id, commands)


def journal(door: Door, delivery_id: str) -> Path:
    """The journal of a delivery."""
    return door.cwd / ".agent-workspace/deliveries" / delivery_id / "events.ndjson"


def steps(door: Door, delivery_id: str) -> list[dict[str, Any]]:
    """The data of all its whole events so far."""
    lines = journal(door, delivery_id).read_bytes().split(b"\n")[:-1]
    return [json.loads(line)["data"] for line in lines if line]


def until_step(door: Door, delivery_id: str, name: str, seconds: float = 20.0) -> dict[str, Any]:
    """The first step of that name, once it is there."""
    return until(
        lambda: next((data for data in steps(door, delivery_id) if data.get("step") == name), None), seconds, what=f"step {name}"
    )  # fmt: skip


def kill_process(door: Door, delivery_id: str) -> None:
    """kill -9 of the process that serves a delivery."""
    started = until(
        lambda: next((data for data in steps(door, delivery_id) if "pid" in data), None), 20.0, what="its process"
    )
    os.kill(started["pid"], signal.SIGKILL)
    until_gone(started["pid"], 10.0)


def trees(door: Door) -> list[str]:
    """Temporary worktrees of deliveries and verifications that git knows or that lie about."""
    known = [
        line for line in git(door.cwd, "worktree", "list", "--porcelain").splitlines() if line.startswith("worktree ")
    ]
    found = [line for line in known if "/deliveries/" in line or "/verify/" in line]
    return found + [str(path) for path in (door.cwd / ".agent-workspace/deliveries").glob("*/tree")]
