"""Writers of one ledger are killed while they write: nothing that was acknowledged is lost, and nothing looks tampered with."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cc_orchestrator.store import audit, ledger
from kit.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.process]
ROUNDS = 12
#: Each record is acknowledged on stdout once `append` has returned.
WRITER = """
import os, sys
from cc_orchestrator.store import ledger
for i in range(100000):
    made = ledger.append(sys.argv[1], {"kind": "run", "ts": 1795000000.0, "subject": {"run_id": f"run_{sys.argv[2]}_{i}"}})
    os.write(1, f"{made['subject']['run_id']}\\n".encode())
"""


def start(folder: str, log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen([sys.executable, "-c", WRITER, folder, log.name], stdout=out, env=env)


def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder = str(tmp_path / "ledger")
    source = Path(ledger.__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(source)}
    chance = random.Random(20_261_125)
    acknowledged: set[str] = set()
    torn = 0
    for number in range(ROUNDS):
        logs = [tmp_path / f"{number}-{index}" for index in range(2)]
        writers = [start(folder, log, env) for log in logs]
        wanted = chance.randint(1, 30)
        until(
            lambda logs=logs, wanted=wanted: sum(len(log.read_bytes()) for log in logs) > 20 * wanted,
            20.0,
            what="writing",
        )
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait(10)
        for log in logs:
            acknowledged |= {row for row in log.read_text().split("\n")[:-1] if row}
        report = audit.check_ledger(folder)
        assert report.ok, report.problems
        torn = len(report.notes)
    ledger.append(folder, {"kind": "run", "ts": 1795000000.0, "subject": {"run_id": "run_last"}})
    report = audit.check_ledger(folder)
    assert report.ok, (report.problems, torn)
    written = [row["subject"].get("run_id") for row in ledger.receipts(folder, kind="run", limit=1 << 30)]
    assert acknowledged <= set(written)
    assert len(written) == len(set(written))
