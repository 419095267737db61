"""How long one ruling takes: `python tests/bench/policy.py`. Milliseconds, median and 99th of a hundred, goal 5."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cc_orchestrator.core.asking import ToolCall
from cc_orchestrator.policy.engine import Engine, Source
from cc_orchestrator.policy.judge import Judge
from cc_orchestrator.policy.posture import Posture
from cc_orchestrator.store.policyfiles import shipped_policies, shipped_schema

ROUNDS = 100
CALLS = {
    "read": ToolCall("Read", "read", paths=("src/app.py",)),
    "edit": ToolCall("Edit", "edit", paths=("src/app.py",)),
    "command": ToolCall("Bash", "command", command="cd src && pytest -q 2>&1 | tail -20"),
    "command of 20 parts": ToolCall(
        "Bash", "command", command=" && ".join(f"cp a{n} b{n} > log{n}" for n in range(20))
    ),
}


def main() -> None:
    """Print the table."""
    begun = time.perf_counter()
    engine = Engine([Source(*text) for text in shipped_policies()], shipped_schema())
    print(f"load, once for each run: {(time.perf_counter() - begun) * 1000:.0f} ms")
    judge = Judge(
        engine,
        Posture(allow_write=True, cwd=str(Path.cwd()), outbox="/nowhere/outbox", home=str(Path.home())),
        "claude",
    )
    for name, call in CALLS.items():
        took: list[float] = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            judge.decide(call)
            took.append((time.perf_counter() - begun) * 1000)
        print(f"{name:22} median {statistics.median(took):6.2f}   99th {sorted(took)[-2]:6.2f}")


if __name__ == "__main__":
    main()
