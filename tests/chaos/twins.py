"""Two doors ask at the same moment for the same run (one client_request_id), and one of them is killed."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from cc_orchestrator.store.paths import find_workspace
from chaos import truth
from chaos.doors import call, finish_call, start_call
from chaos.moments import DOOR, await_moment
from chaos.rounds import Report, make_script
from kit.repos import make_repo
from kit.waiting import until


def play_twins(seed: int, base: Path | None = None) -> Report:
    """One run comes of it, or the survivor's; a repeat gives the same run; nothing is left over."""
    begun = time.monotonic()
    chance = random.Random(f"twins {seed}")
    report = Report(seed, "one of two", "cli", chance.choice(sorted(DOOR)), chance.uniform(0.0, 0.05))
    folder = Path(tempfile.mkdtemp(prefix=f"twins-{seed}-", dir=base))
    sockets = Path(tempfile.mkdtemp(prefix="cc-", dir="/tmp"))
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = {**kept, "HOME": str(folder), "XDG_RUNTIME_DIR": str(sockets), "GIT_CONFIG_NOSYSTEM": "1"}
    cwd = make_repo(folder / "project")
    workspace = find_workspace(str(cwd), env)
    script, says, writes = make_script(chance)
    asked = {
        "task": "count", "adapter": "fake", "script": script, "allow_write": writes, "client_request_id": "the one",
    }  # fmt: skip
    try:
        doors = [start_call(cwd, env, "cc_run_streaming", asked) for _ in range(2)]
        victim = chance.randrange(2)
        await_moment(DOOR[report.moment], workspace, report.delay, lambda: None)
        doors[victim].kill()
        report.killed = 1
        answers = [answer for answer in map(finish_call, doors) if answer is not None]
        again = call(cwd, env, "cc_run_streaming", **asked)
        ids = {answer["run_id"] for answer in [*answers, again]}
        found = sorted(name for name in os.listdir(workspace.runs) if name.startswith("run_"))
        if set(found) != ids or len(ids) != 1:
            report.problems.append(f"answers name {sorted(ids)}, there are {found}")
        answer = call(cwd, env, "cc_wait", ids=found, until="all", timeout_seconds=40)
        until(lambda: not truth.supervisors(workspace), 10.0, what="the end of all supervisors")
        until(lambda: not truth.marked(workspace), 5.0, what=f"the end of all orphans; {answer}")
        call(cwd, env, "cc_recover")
        for run_id in found:
            report.problems += truth.check_journal(workspace, run_id, {}, says)
            events, _torn = truth.journal_of(workspace, run_id)
            report.events += len(events)
            report.ends.append(f"{events[-1]['data'].get('status')}/{events[-1]['data'].get('reason')}")
        report.problems += truth.check_receipts(workspace, found) + truth.check_index(workspace, found)
        report.problems += truth.check_leaks(workspace, found, sockets / "cc-orchestrator")
    except AssertionError as error:
        report.problems.append(str(error))
    report.seconds = time.monotonic() - begun
    if report.problems:
        report.problems.append(f"kept in {folder}")
    else:
        shutil.rmtree(folder)
    shutil.rmtree(sockets)
    return report
