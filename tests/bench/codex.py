"""What a run of the real Codex costs on each of its two ways, with a model that answers at once: times, memory, the gate's delay."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import time
from pathlib import Path

from bench.table import Row, counted, timed
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact
from kit import clis, homes, repos
from kit.model_stub import ModelStub
from kit.pipes import Driven, drive, request_for
from kit.stub_script import Script, call, say

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def codex(folder: Path, quick: bool) -> list[Row]:
    """One command and an answer, by `codex` and by `codex-exec`: until the session is told, until the exit, and the tree's memory."""
    missing = clis.available()
    if missing is not None:
        return [counted("codex", "-", "-", f"not measured: {missing}", None)]
    rows: list[Row] = []
    for name in ("codex", "codex-exec"):
        rows += _way(folder / name, name, 3 if quick else 8)
    return rows


def _way(folder: Path, name: str, times: int) -> list[Row]:
    starts: list[float] = []
    wholes: list[float] = []
    memories: list[float] = []
    delays: list[float] = []
    for _ in range(times):
        shutil.rmtree(folder, ignore_errors=True)
        work = repos.make_repo(folder / "work")
        with ModelStub([Script([call("exec_command", {"cmd": "true"}), say("done")])]) as stub:
            env = homes.codex_home(folder, stub)
            wanted = request_for(str(folder), cwd=str(work), env=env, executable=clis.codex_path())
            begun = time.perf_counter()

            def on_fact(driven: Driven, fact: Fact, begun: float = begun) -> None:
                if fact.type == "run.session":
                    starts.append((time.perf_counter() - begun) * 1000)
                if fact.type == "run.message":
                    memories.append(_tree_mb(driven.process.pid))

            driven = drive(find_adapter(name), wanted, on_fact=on_fact, on_ask=_yes)
            wholes.append((time.perf_counter() - begun) * 1000)
            assert driven.ending is not None
            assert driven.ending.reason == "completed", driven.ending
            delays += _delays(driven)
    found = [
        timed(f"{name}: spawn -> session", None, "-", starts), timed(f"{name}: one command and an answer, to the exit", None, "-", wholes),
        counted(f"{name}: memory of its tree (PSS)", "-", "-", f"{statistics.median(memories):.0f} MB", None),
    ]  # fmt: skip
    return [*found, timed(f"{name}: the gate's delay for a call", 5, "-", delays)] if delays else found


def _yes(_ask: Ask) -> Answer:
    return Answer("allow")


def _delays(driven: Driven) -> list[float]:
    """Milliseconds that Codex itself counts for its hook."""
    found: list[float] = []
    for line in driven.stdout:
        message = json.loads(line)
        if message.get("method") == "hook/completed":
            found.append(float(message["params"]["run"]["durationMs"]))
    return found


def _tree_mb(root: int) -> float:
    """The proportional memory of a process and all below it."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    tree, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in tree} - tree
        tree |= more
        grown = bool(more)
    total = 0
    for pid in tree:
        try:
            match = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
        except OSError:
            continue
        total += int(match[1]) if match else 0
    return total * 1024 / 1e6
