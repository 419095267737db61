"""One seeded round of chaos: start runs through a real door, kill one process at a random moment, open another door, look.

The moment of the kill is the subject, so it is random; everything else waits for what it needs, with a bound.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.store.paths import Workspace, find_workspace
from cc_orchestrator.store.rundir import open_runs
from chaos import truth
from chaos.doors import McpDoor, call, finish_call, start_call
from chaos.moments import DOOR, RUN, await_moment
from kit.door import Door
from kit.repos import fingerprint, make_repo
from kit.waiting import until

Moment = Callable[[Workspace], bool]
VICTIMS = ("door", "supervisor", "worker")
#: The next door has this long for everything that a dead one left.
ORPHAN_SECONDS = 5.0
END_SECONDS = 40.0


@dataclass
class Report:
    """What one round did and found. `problems` empty: nothing was lost."""

    seed: int
    victim: str = ""
    channel: str = ""
    moment: str = ""
    delay: float = 0.0
    killed: int = 0
    sweep_killed: bool = False
    ends: list[str] = field(default_factory=list)
    events: int = 0
    acknowledged: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    orphan_seconds: float = 0.0


@dataclass
class _Stage:
    cwd: Path
    env: dict[str, str]
    workspace: Workspace
    sockets: Path
    chance: random.Random
    report: Report
    runs: dict[str, int] = field(default_factory=dict)  # run → steps it says
    seen: dict[str, dict[int, str]] = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)


def play_round(seed: int, base: Path | None = None) -> Report:
    """The whole round in a folder of its own; it is removed when nothing was found."""
    begun = time.monotonic()
    chance = random.Random(seed)
    report = Report(seed, chance.choice(VICTIMS), chance.choice(("cli", "cli", "mcp")))
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-", dir=base))
    # Short, because a socket's path may have about 100 bytes.
    sockets = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    home = folder / "home"
    home.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = {**kept, "HOME": str(home), "XDG_RUNTIME_DIR": str(sockets), "TMPDIR": str(home), "GIT_CONFIG_NOSYSTEM": "1"}
    cwd = make_repo(folder / "project")
    stage = _Stage(cwd, env, find_workspace(str(cwd), env), sockets / "cc-orchestrator", chance, report)
    before = _photograph(cwd)
    try:
        _attack(stage)
        _next_door(stage)
        _judge(stage, before)
    except AssertionError as error:
        report.problems.append(f"{error}")
    finally:
        for pid in [*truth.supervisors(stage.workspace), *truth.marked(stage.workspace)]:
            _kill(pid)
        report.seconds = time.monotonic() - begun
    if report.problems:
        report.problems.append(f"kept in {folder}")
    else:
        shutil.rmtree(folder)
    shutil.rmtree(sockets)
    return report


# ---------------------------------------------------------------- what is played


def make_script(chance: random.Random) -> tuple[dict[str, Any], int, bool]:
    """A script, how many numbers it says, and whether it writes."""
    writes = chance.random() < 0.4
    steps: list[dict[str, Any]] = []
    says = chance.randint(2, 12)
    for number in range(1, says + 1):
        steps.append({"say": str(number)})
        roll = chance.random()
        if roll < 0.10:
            steps.append({"fork": {"double": True, "setsid": True, "ignore_term": chance.random() < 0.5}})
        elif roll < 0.20:
            steps.append({"flood": {"as": "delta", "lines": 2_000, "size": 200}})
        elif roll < 0.35 and writes:
            steps.append({"write": {"path": f"work/{number}.txt", "content": "x" * chance.randint(1, 50_000)}})
        elif roll < 0.45 and writes:
            steps.append({"commit": f"work {number}"})
        elif roll < 0.8:
            steps.append({"sleep": {"seconds": round(chance.uniform(0.0, 0.1), 3)}})
    if chance.random() < 0.3:
        steps.insert(0, {"ignore_term": {}})
    return {"steps": [*steps, {"result": "all said"}]}, says, writes


# ---------------------------------------------------------------- the kill


def _attack(stage: _Stage) -> None:
    report, chance = stage.report, stage.chance
    moments = DOOR if report.victim == "door" else RUN
    report.moment = chance.choice(sorted(moments))
    asked: list[tuple[dict[str, Any], int]] = []
    for _ in range(chance.randint(1, 3)):
        script, says, writes = make_script(chance)
        asked.append(({"task": "count", "adapter": "fake", "script": script, "allow_write": writes}, says))
    report.delay = chance.choice((0.0, chance.uniform(0.0, 0.02), chance.uniform(0.0, 0.4)))
    attack = _attack_mcp if report.channel == "mcp" else _attack_cli
    attack(stage, asked, moments[report.moment])


def _attack_mcp(stage: _Stage, asked: list[tuple[dict[str, Any], int]], moment: Moment) -> None:
    door = McpDoor(stage.cwd, stage.env)
    try:
        calls = {door.send("cc_run_streaming", **arguments): says for arguments, says in asked}
        polls: dict[int, str] = {}
        answered: list[int] = []

        def poll(run_id: str) -> None:
            cursor = stage.cursors.get(run_id, "")
            polls[door.send("cc_poll", run_id=run_id, mode="events", cursor=cursor)] = run_id

        def listen() -> None:
            for number, answer in door.take(0.0).items():
                if number in calls:
                    answered.append(number)
                    if _take_start(stage, answer, calls[number]):
                        poll(answer["run_id"])
                elif number in polls:
                    _note(stage, polls[number], answer)
                    if not answer["done"]:
                        poll(polls[number])

        await_moment(moment, stage.workspace, stage.report.delay, listen)
        if stage.report.victim == "door":
            door.kill()
            stage.report.killed = 1
            listen()
        else:
            _strike(stage)
            until(lambda: (listen(), len(answered) == len(calls))[1], 30.0, what="all starts answered")
    finally:
        door.close()


def _attack_cli(stage: _Stage, asked: list[tuple[dict[str, Any], int]], moment: Moment) -> None:
    calls = [(start_call(stage.cwd, stage.env, "cc_run_streaming", arguments), says) for arguments, says in asked]
    # Another door watches meanwhile: what it was shown must never vanish. It cannot hide a kill that it does not see.
    watcher = Door(stage.cwd, cwd=stage.cwd, env=stage.env)

    def watch() -> None:
        for run_id in _visible(stage.workspace):
            cursor = stage.cursors.get(run_id, "")
            _note(stage, run_id, watcher.call("cc_poll", run_id=run_id, mode="events", cursor=cursor))

    await_moment(moment, stage.workspace, stage.report.delay, watch)
    if stage.report.victim == "door":
        for process, _says in calls:
            process.kill()
        stage.report.killed = len(calls)
    else:
        _strike(stage)
    for process, says in calls:
        answer = finish_call(process)
        if answer is not None:
            _take_start(stage, answer, says)


def _take_start(stage: _Stage, answer: dict[str, Any], says: int) -> bool:
    """A start was answered: with a run, or honestly with the supervisor that died before it was one."""
    if "error" in answer:
        assert stage.report.victim == "supervisor", f"start refused: {answer}"
        assert "could not be started" in str(answer), f"start refused: {answer}"
        return False
    stage.runs[answer["run_id"]] = says
    return True


def _note(stage: _Stage, run_id: str, answer: dict[str, Any]) -> None:
    assert "error" not in answer, f"poll refused: {answer}"
    stage.cursors[run_id] = answer["cursor"]
    for event in answer.get("events", []):
        stage.seen.setdefault(run_id, {})[event["seq"]] = event["type"]


def _let_pass(seconds: float) -> None:
    """The random part of the moment: a timer, not a synchronisation."""
    select.select((), (), (), max(0.0, seconds))


def _strike(stage: _Stage) -> None:
    """kill -9 one process of the kind; when the runs are over already, there is none."""
    find: Callable[[Workspace], list[int]] = truth.supervisors if stage.report.victim == "supervisor" else truth.marked
    pids = find(stage.workspace)
    if pids:
        stage.report.killed = _kill(stage.chance.choice(pids))


def _kill(pid: int) -> int:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


# ---------------------------------------------------------------- the next door, and what it finds


def _next_door(stage: _Stage) -> None:
    """Another door opens; sometimes that one is killed too, in the middle of its sweep. Then all runs come to an end."""
    if stage.chance.random() < 0.3:
        opening = start_call(stage.cwd, stage.env, "cc_status", {})
        _let_pass(stage.chance.uniform(0.2, 0.7))
        opening.kill()
        finish_call(opening)
        stage.report.sweep_killed = True
    opened = time.monotonic()
    call(stage.cwd, stage.env, "cc_status")
    door = Door(stage.cwd, cwd=stage.cwd, env=stage.env)
    for run_id in _visible(stage.workspace):
        # Either it is over, or its supervisor lives and it will be.
        row = door.call("cc_wait", ids=[run_id], timeout_seconds=END_SECONDS)
        assert row["woke"], f"{run_id} came to no end: {row}"
    until(lambda: not truth.supervisors(stage.workspace), 10.0, what="the end of all supervisors")
    if stage.report.victim == "door":
        opened = time.monotonic()
    left = max(0.05, opened + ORPHAN_SECONDS - time.monotonic())
    until(lambda: not truth.marked(stage.workspace), left, what="the end of all orphans")
    stage.report.orphan_seconds = time.monotonic() - opened
    call(stage.cwd, stage.env, "cc_recover")


def _visible(workspace: Workspace) -> list[str]:
    try:
        return sorted(name for name in os.listdir(workspace.runs) if name.startswith("run_"))
    except OSError:
        return []


def _judge(stage: _Stage, before: dict[str, Any]) -> None:
    report, workspace = stage.report, stage.workspace
    found = _visible(workspace)
    gone = set(stage.runs) - set(found)
    if gone:
        report.problems.append(f"runs that were answered for are gone: {gone}")
    for run_id in found:
        seen = stage.seen.get(run_id, {})
        steps = stage.runs.get(run_id, _says(workspace, run_id))
        report.problems += [f"{run_id}: {text}" for text in truth.check_journal(workspace, run_id, seen, steps)]
        events, _torn = truth.journal_of(workspace, run_id)
        report.events += len(events)
        report.acknowledged += len(seen)
        report.ends.append(f"{events[-1]['data'].get('status')}/{events[-1]['data'].get('reason')}")
    if found:
        report.problems += truth.check_receipts(workspace, found)
        report.problems += truth.check_index(workspace, found)
    if open_runs(workspace.runs) is not None:
        report.problems += truth.check_leaks(workspace, found, stage.sockets)
    if _photograph(stage.cwd) != before:
        report.problems.append("the user's checkout was touched")


def _says(workspace: Workspace, run_id: str) -> int:
    """How many numbers a run was to say whose start was never answered."""
    door = Door(workspace.root, cwd=workspace.root)
    try:
        steps = door.spec(run_id).options["script"]["steps"]
    except CcError:
        return 0
    return sum("say" in step for step in steps)


def _photograph(cwd: Path) -> dict[str, Any]:
    """Branch, index, status and every byte of the user's checkout."""
    files = {
        str(path.relative_to(cwd)): path.read_bytes()
        for path in sorted(cwd.rglob("*"))
        if path.is_file() and not {".git", ".agent-workspace"} & set(path.relative_to(cwd).parts)
    }
    return {**fingerprint(cwd), "files": files}
