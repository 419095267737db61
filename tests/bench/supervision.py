"""Figures of the supervisor: memory, start, throughput, latency, big answers, stopping, reading while it writes."""

from __future__ import annotations

import base64
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from bench import history
from bench.door import Door, memory_mb, size
from bench.live import NO_BUDGETS, listen, live_run, until
from bench.place import environment
from bench.table import Row, counted, ms, timed
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.runs.accounts import enter, extend, read_budgets
from cc_orchestrator.runs.spec import Limits, RunSpec
from cc_orchestrator.store.journal import read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from kit.waiting import alive

_HANG: dict[str, Any] = {"steps": [{"say": {"text": "here"}}, {"hang": {}}]}


def _events(run: RunDir) -> list[dict[str, Any]]:
    return read_page(run.journal, max_bytes=1 << 30).events


def _first(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(event for event in events if event["type"] == kind)


def supervisor(folder: Path, quick: bool) -> list[Row]:
    """Start (run.created to run.started: index row, detaching and worker spawn included) and memory with an idle worker."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    starts: list[float] = []
    memories: list[float] = []
    with Door(workspace.root, env) as door:
        door.greet()
        for _ in range(4 if quick else 10):
            answer = door.call("cc_run_streaming", task="Hang.", adapter="fake", script=_HANG)
            run = RunDir(workspace.run(answer["run_id"]))
            door.call("cc_wait", ids=[answer["run_id"]], wake=["progress"], timeout_seconds=2)
            events = _events(run)
            starts.append((_first(events, ev.RUN_STARTED)["ts"] - _first(events, ev.RUN_CREATED)["ts"]) * 1000)
            memories.append(memory_mb(int(_first(events, ev.RUN_STARTED)["data"]["supervisor_pid"])))
            door.call("cc_stop", run_id=answer["run_id"], force=True, reason="measured")
            door.call("cc_wait", ids=[answer["run_id"]])
    memory = statistics.median(memories)
    return [
        counted("supervisor: memory (RSS)", "<= 16 MB", "43.7 MB", f"{memory:.1f} MB", memory <= 16),
        timed("supervisor: run.created -> run.started", 80, "324 ms", starts[1:], goal="<= 80 ms"),
    ]


def reserving(folder: Path, quick: bool) -> list[Row]:
    """What a run waits for when it takes its next slice of a day's and the workspace's budget, twenty live runs beside it."""
    workspace = history.make_workspace(folder / "repo", 50)
    budgets = {"day": {"max_cost_usd": 100}, "workspace": {"max_tokens": 10**9}}
    Path(workspace.budget_settings).write_text(json.dumps(budgets), encoding="utf-8")
    specs = [_spec(workspace, number) for number in range(21)]
    for spec in specs:
        os.makedirs(workspace.run(spec.run_id))
        enter(workspace, read_budgets(workspace), spec)
    samples = [
        ms(lambda step=step: extend(workspace, specs[0], {"runs": 1, "cost_usd": 0.001 * step, "tokens": 100 * step}))
        for step in range(20 if quick else 200)
    ]
    return [timed("budget: the next slice of two, 20 runs beside it", None, "none", samples)]


def _spec(workspace: Workspace, number: int) -> RunSpec:
    now = time.time()
    return RunSpec(
        run_id=new_id("run", now=now), task_id=new_id("task", now=now), created_at=now, workspace_root=workspace.root,
        repository=workspace.repository, cwd=workspace.root, adapter="fake", executable="", role="testing", allow_write=False,
        prompt_sha256="", prompt_bytes=0, task=f"run {number}",
    )  # fmt: skip


def throughput(folder: Path, quick: bool) -> list[Row]:
    """Events a second: a transcript of tool calls and messages, from the first event of it in the journal to the last."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    count = 20_000 if quick else 100_000
    transcript = folder / "transcript.ndjson"
    with transcript.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(_line(number)) + "\n")
    rates: list[float] = []
    with Door(workspace.root, env) as door:
        door.greet()
        for _ in range(1 if quick else 3):
            script = {"steps": [{"transcript": {"path": str(transcript)}}, {"result": {"text": "done"}}]}
            answer = door.call("cc_run_streaming", task="Flood.", adapter="fake", script=script, **NO_BUDGETS)
            door.call("cc_wait", ids=[answer["run_id"]], timeout_seconds=250)
            kinds = (ev.TOOL_STARTED, ev.TOOL_FINISHED, ev.RUN_MESSAGE)
            flood = [event for event in _events(RunDir(workspace.run(answer["run_id"]))) if event["type"] in kinds]
            if len(flood) != count:
                raise RuntimeError(f"{count} lines were written, {len(flood)} events recorded")
            rates.append(count / (flood[-1]["ts"] - flood[0]["ts"]))
    rate = statistics.median(rates)
    shown = f"{rate:,.0f} ({min(rates):,.0f}-{max(rates):,.0f}, n={len(rates)} x {count:,} events)"
    return [counted("supervisor: events a second", ">= 20,000", "446", shown, rate >= 20_000)]


def _line(number: int) -> dict[str, Any]:
    which = number % 3
    if which == 0:
        return {
            "event": "tool_start",
            "id": f"t{number}",
            "tool": "Read",
            "kind": "read",
            "target": f"src/module_{number}.py",
        }
    if which == 1:
        return {"event": "tool_end", "id": f"t{number - 1}", "ok": True}
    return {
        "event": "say",
        "text": f"Part {number} handles the header as described, so I go on with the next one. " * 2,
    }


def latency(folder: Path, quick: bool) -> list[Row]:
    """From a worker's line to the return of a cc_wait that sleeps on it; and a 40 kB base64 answer into the journal."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    waits: list[float] = []
    answers: list[float] = []
    times = 8 if quick else 25
    with Door(workspace.root, env) as door:
        door.greet()
        with live_run(door, workspace) as live:
            for number in range(times):
                asked = door.send(
                    "tools/call", {"name": "cc_wait", "arguments": {"ids": [live.run_id], "wake": ["progress"]}}
                )
                time.sleep(0.15)  # until the wait sleeps: from outside nobody can see it
                begun = time.perf_counter()
                live.say(f"line {number}")
                result, _bytes = door.receive(asked)
                waits.append((time.perf_counter() - begun) * 1000)
                if result["structuredContent"]["woke"][0].get("woke_by") != "progress":
                    raise RuntimeError(f"not woken by the line: {result['structuredContent']}")
            for _ in range(times):
                blob = base64.b64encode(os.urandom(30_000)).decode()
                said = live.until(lambda _reading: True).state["messages"]
                begun = time.perf_counter()
                live.say(blob)
                live.until(lambda reading: reading.state["messages"] > said)  # noqa: B023
                answers.append((time.perf_counter() - begun) * 1000)
    return [
        timed("worker line -> cc_wait returned", 100, "polling only", waits),
        timed("40 kB base64 answer -> in the journal", 50, "182,000 ms", answers),
    ]


def one_line(folder: Path, quick: bool) -> list[Row]:
    """The supervisor's peak memory after 50 MB in one line."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    total = (10 if quick else 50) * 1_000_000
    with Door(workspace.root, env) as door:
        door.greet()
        script = {"steps": [{"big_line": {"bytes": total}}, {"hang": {}}]}
        begun = time.perf_counter()
        answer = door.call("cc_run_streaming", task="One line.", adapter="fake", script=script, **NO_BUDGETS)
        run = RunDir(workspace.run(answer["run_id"]))
        with listen(run) as ear:
            until(run, ear, lambda reading: reading.state["oversized"] > 0, 120)
        taken = time.perf_counter() - begun
        pid = int(_first(_events(run), ev.RUN_STARTED)["data"]["supervisor_pid"])
        peak = memory_mb(pid, "VmHWM")
        door.call("cc_stop", run_id=answer["run_id"], force=True, reason="measured")
        door.call("cc_wait", ids=[answer["run_id"]])
    figure = f"supervisor: peak memory, {total // 1_000_000} MB in one line"
    return [counted(figure, "<= 16 MB", "-", f"{peak:.1f} MB, {total / 1e6 / taken:.0f} MB/s", peak <= 16)]


def stopping(folder: Path, quick: bool) -> list[Row]:
    """cc_stop until the end state is told, with deaf double-forked setsid grandchildren, of a polite and of a deaf worker."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    fork = {"fork": {"setsid": True, "double": True, "ignore_term": True, "seconds": 600}}
    polite = {"steps": [fork, fork, {"say": {"text": "here"}}, {"hang": {}}]}
    deaf = {
        "steps": [
            {"ignore_int": {}},
            {"ignore_term": {}},
            fork,
            fork,
            {"say": {"text": "here"}},
            {"hang": {"deaf": True}},
        ]
    }
    grace = Limits().grace_seconds
    cases = (("a worker that heeds it", polite, False, 0.0), ("a deaf worker", deaf, False, 2 * grace),
             ("a deaf worker, force", deaf, True, 0.0))  # fmt: skip
    rows: list[Row] = []
    with Door(workspace.root, env) as door:
        door.greet()
        for name, script, force, allowed in cases:
            ends = [_stop(door, workspace.run, script, force) for _ in range(2 if quick else 5)]
            beyond = [taken - allowed * 1000 for taken, _left, _status in ends]
            left = sum(end[1] for end in ends)
            states = ",".join(sorted({end[2] for end in ends}))
            note = f"beyond {allowed:g} s of grace; {left} of {len(ends) * 2} grandchildren left; {states}"
            row = timed(f"stop of {name}, setsid grandchildren", 1_000, "10 s, still active", beyond, note=note)
            rows.append(row._replace(ok=bool(row.ok) and left == 0 and states == "stopped"))
    return rows


def _stop(door: Door, path_of: Any, script: dict[str, Any], force: bool) -> tuple[float, int, str]:
    """Milliseconds from the call to the end, grandchildren alive then, and the status."""
    run_id = door.call("cc_run_streaming", task="Fork.", adapter="fake", script=script)["run_id"]
    run = RunDir(path_of(run_id))
    with listen(run) as ear:
        until(run, ear, lambda reading: reading.state["messages"] > 0)
    pids = [int(event["data"]["text"]) for event in _events(run) if event["data"].get("code") == "forked"]
    if len(pids) != 2 or not all(map(alive, pids)):
        raise RuntimeError(f"{run_id} has not forked: {pids}")
    begun = time.perf_counter()
    door.call("cc_stop", run_id=run_id, force=force, reason="measured")
    woke = door.call("cc_wait", ids=[run_id], wake=["finished"], timeout_seconds=30)["woke"]
    taken = (time.perf_counter() - begun) * 1000
    return taken, sum(map(alive, pids)), woke[0]["status"] if woke else "still live"


def reads_while_writing(folder: Path, quick: bool) -> list[Row]:
    """Answers that fail, and cache files that are no JSON, while the run writes without a pause."""
    env = environment(folder)
    workspace = history.make_workspace(folder / "repo", 50)
    reads = failed = 0
    script = {"steps": [{"flood": {"lines": 10_000_000, "size": 200, "rate": 2_000}}]}
    with Door(workspace.root, env) as door:
        door.greet()
        run_id = door.call("cc_run_streaming", task="Flood.", adapter="fake", script=script, **NO_BUDGETS)["run_id"]
        run = RunDir(workspace.run(run_id))
        files = ("status.json", "fold.json", "progress_summary.json", "risk_flags.json", "spec.json")
        deadline = time.monotonic() + (3 if quick else 15)
        calls: tuple[tuple[str, dict[str, Any]], ...] = (
            ("cc_poll", {"run_id": run_id}), ("cc_status", {}), ("cc_read", {"name": "cc_run_status", "arguments": {"run_id": run_id}}),
        )  # fmt: skip
        while time.monotonic() < deadline:
            for tool, arguments in calls:
                reads += 1
                failed += not _answers(door, tool, arguments)
            for name in files:
                reads += 1
                failed += not _is_json(run.at(name))
        door.call("cc_stop", run_id=run_id, force=True, reason="measured")
        door.call("cc_wait", ids=[run_id])
    return [counted("status reads that fail while a run writes", "0", "5.5 %", f"{failed} of {reads:,}", failed == 0)]


def _answers(door: Door, tool: str, arguments: dict[str, Any]) -> bool:
    try:
        answer = door.call(tool, **arguments)
    except RuntimeError:
        return False
    return answer.get("status", "running") in ("running", "starting") and size(answer) > 20


def _is_json(path: str) -> bool:
    """Whether the file is whole; one that was not made yet is no failure."""
    try:
        with open(path, "rb") as file:
            json.loads(file.read())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True
