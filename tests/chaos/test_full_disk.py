"""A disk that is full at any point of a run's life: refused with the reason, or told as an end; never a success, never two ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import CcError
from chaos import truth
from chaos.rewind import workspace_of
from kit.door import Door
from kit.repos import make_repo
from kit.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.process]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 4 MB. Mounting one needs root: without it the test does not run, and the session says so."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path, leave: int) -> Path:
    ballast = disk / "full"
    found = os.statvfs(disk)
    size = found.f_bavail * found.f_frsize - leave
    ballast.write_bytes(b"\0" * max(0, size))
    return ballast


@pytest.mark.parametrize("kilobytes", [0, 4, 16, 72, 96, 140, 200, 320])
def test_a_full_disk_is_told_and_costs_no_run_its_one_end(small_disk: Path, kilobytes: int) -> None:
    cwd = make_repo(small_disk / "project")
    door = Door(cwd, cwd=cwd)
    door.call("cc_init_workspace")
    workspace = workspace_of(door)
    ballast = fill(small_disk, kilobytes * 1024)
    steps = [
        step for number in range(1, 41) for step in ({"say": str(number)}, {"flood": {"as": "delta", "lines": 20}})
    ]
    run_id = ""
    refused: CcError | None = None
    try:
        run_id = door.start_fake(*steps, {"result": "all said"})
        door.wait(run_id, "finished", seconds=20.0)
    except CcError as error:
        refused = error
    until(lambda: not truth.supervisors(workspace), 20.0, what="the end of the supervisor")
    os.unlink(ballast)
    door.call("cc_recover")
    found = sorted(name for name in os.listdir(workspace.runs) if name.startswith("run_"))
    assert found == ([run_id] if run_id else found)
    assert len(found) <= 1
    assert refused is None or (refused.code == "unavailable" and refused.hint), refused
    for name in found:
        assert truth.check_journal(workspace, name, {}, 40) == []
    assert truth.check_receipts(workspace, found) == []
    assert truth.check_index(workspace, found) == []
    assert truth.marked(workspace) == []


@pytest.mark.parametrize("kilobytes", [0, 8, 40, 80, 160])
def test_a_write_run_on_a_full_disk_never_succeeds_without_its_snapshot(small_disk: Path, kilobytes: int) -> None:
    cwd = make_repo(small_disk / "project")
    door = Door(cwd, cwd=cwd)
    fill_up = (
        "import os,sys; f=os.statvfs(sys.argv[1]); room=f.f_bavail*f.f_frsize-int(sys.argv[2]);"
        "open(os.path.join(sys.argv[1],'full'),'wb').write(bytes(max(0,room)))"
    )
    filled = {"run": {"argv": [sys.executable, "-c", fill_up, str(small_disk), str(kilobytes * 1024)], "seconds": 20}}
    run_id = door.start_fake(
        {"write": {"path": "a.txt", "content": "a\n" * 30_000}}, filled, {"result": "done"}, allow_write=True
    )
    door.wait(run_id, "finished", seconds=30.0)
    until(lambda: not truth.supervisors(workspace_of(door)), 20.0, what="the end of the supervisor")
    os.unlink(small_disk / "full")
    door.call("cc_recover")
    state = door.state(run_id)
    assert state["status"] != "succeeded" or door.data(run_id, "run.snapshot"), state
    assert truth.check_journal(workspace_of(door), run_id, {}, 0) == []
