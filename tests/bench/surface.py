"""Figures of the surfaces: the tool list, the door's start and memory, the command line, what one clean run costs to read."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import history
from bench.door import DOOR, Door, memory_mb, size
from bench.place import environment
from bench.table import Row, counted, ms, timed

_BARE = (sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "bare_server.py"))


def _ready(folder: str, env: dict[str, str], argv: Sequence[str]) -> tuple[float, float]:
    """Milliseconds from spawn to the answer of tools/list, and MB of memory then."""
    begun = time.perf_counter()
    with Door(folder, env, argv) as door:
        door.greet()
        door.ask("tools/list", {})
        taken = (time.perf_counter() - begun) * 1000
        return taken, memory_mb(door.process.pid)


def tool_list(folder: Path, quick: bool) -> list[Row]:
    """Bytes and count of tools/list."""
    env = environment(folder)
    with Door(str(folder), env) as door:
        door.greet()
        result, _line = door.receive(door.send("tools/list", {}))
    size_kb, count = size(result) / 1024, len(result["tools"])
    return [counted("tools/list", "<= 16 KB, <= 20 tools", "77.6 KB, 67 tools", f"{size_kb:.1f} KB, {count} tools",
                    size_kb <= 16 and count <= 20)]  # fmt: skip


def start(folder: Path, quick: bool) -> list[Row]:
    """Spawn to tools/list, in pairs with a bare server, so that the machine's mood meets both."""
    env = environment(folder)
    argvs = (DOOR, _BARE)
    for argv in argvs:
        _ready(str(folder), env, argv)
    pairs = [[_ready(str(folder), env, argv) for argv in argvs] for _ in range(3 if quick else 9)]
    ours, bare = ([pair[which][0] for pair in pairs] for which in (0, 1))
    ratio = statistics.median(mine / other for mine, other in zip(ours, bare, strict=True))
    row = timed("door: spawn -> tools/list", None, "1,010-1,070 ms (old SDK)", ours, goal="<= 1.15 x a bare mcp server",
                note=f"bare {statistics.median(bare):.1f} ms; {ratio:.2f} x (median of pairs)")  # fmt: skip
    memory = statistics.median(pair[0][1] for pair in pairs)
    beside = statistics.median(pair[1][1] for pair in pairs)
    return [
        row._replace(ok=ratio <= 1.15),
        counted(
            "door: idle memory (RSS)", "<= 72 MB", "83.5 MB", f"{memory:.1f} MB (bare {beside:.1f} MB)", memory <= 72
        ),
    ]


def first_use(folder: Path, quick: bool) -> list[Row]:
    """Memory after a run was started, waited for, polled and summarised, and the bytes that a controller read for it."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    with Door(workspace.root, env) as door:
        door.greet()
        tools = {tool["name"] for tool in door.ask("tools/list", {})["tools"]}
        answers = [door.call("cc_run_streaming", task="Add a line to NOTES.md.", adapter="fake", allow_write=True)]
        run_id = answers[0]["run_id"]
        answers.append(door.call("cc_wait", ids=[run_id]))
        verified = "cc_verify" in tools
        if verified:
            answers.append(door.call("cc_verify", run_id=run_id, test_commands=["git --version"], wait_seconds=45))
        door.call("cc_poll", run_id=run_id)
        door.call("cc_status")
        door.call("cc_read", name="cc_workspace_status", arguments={})
        memory = memory_mb(door.process.pid)
    parts = [size(answer) for answer in answers]
    what = "start + wait + verify" if verified else "start + wait (no cc_verify yet)"
    return [
        counted("door: memory after first use", "<= 72 MB", "-", f"{memory:.1f} MB", memory <= 72),
        counted("bytes read for one clean run", "<= 3 KB", "> 70 KB", f"{sum(parts)} B = {' + '.join(map(str, parts))}: {what}",
                sum(parts) <= 3072 if verified else None),
    ]  # fmt: skip


def command_line(folder: Path, quick: bool) -> list[Row]:
    """A command from its start to its end."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    history.add_run(workspace, 100)
    argv = [sys.executable, "-m", "cc_orchestrator", "status", "--json"]

    def command() -> None:
        subprocess.run(argv, cwd=workspace.root, env=env, check=True, stdout=subprocess.DEVNULL)

    command()
    return [timed("CLI: `cc-orchestrator status`", 300, "250-320 ms", [ms(command) for _ in range(3 if quick else 9)])]
