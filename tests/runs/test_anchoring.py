"""The ledger's anchor in git: what it finds, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.runs.anchoring import REF, anchor_ledger
from cc_orchestrator.runs.auditing import check_workspace_ledger, read_anchors
from cc_orchestrator.store import ledger
from cc_orchestrator.store.paths import Workspace
from kit.repos import fingerprint, git, make_repo

pytestmark = pytest.mark.process
CLOCK = SystemClock()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = str(make_repo(tmp_path / "project"))
    made = Workspace(root, root)
    os.makedirs(made.folder)
    Path(made.at(".gitignore")).write_text("*\n")
    for index in range(3):
        add(made, str(index))
    return made


def add(workspace: Workspace, name: str) -> None:
    ledger.append(
        workspace.ledger, {"kind": "run", "ts": CLOCK.now(), "subject": {"run_id": f"run_{name}"}, "observed": {"x": 1}}
    )


def found(workspace: Workspace) -> str:
    return " | ".join(f"{problem.where}: {problem.what}" for problem in check_workspace_ledger(workspace).problems)


def test_an_anchor_names_the_newest_record_and_touches_nothing_of_the_user(workspace: Workspace) -> None:
    before = fingerprint(workspace.root), git(workspace.root, "for-each-ref", "refs/heads", "refs/tags")
    first = anchor_ledger(workspace, CLOCK)
    assert first is not None
    assert (first.n, first.commit) == (3, git(workspace.root, "rev-parse", REF))
    add(workspace, "3")
    second = anchor_ledger(workspace, CLOCK)
    assert second is not None
    assert git(workspace.root, "rev-parse", f"{REF}^") == first.commit
    assert anchor_ledger(workspace, CLOCK) == second
    assert (fingerprint(workspace.root), git(workspace.root, "for-each-ref", "refs/heads", "refs/tags")) == before
    git(workspace.root, "fsck", "--strict")
    anchors = read_anchors(workspace, workspace.ledger, REF)
    assert anchors is not None
    assert [anchor.n for anchor in anchors.found] == [4, 3]
    report = check_workspace_ledger(workspace)
    assert (report.ok, report.last, report.anchored) == (True, 4, 4)


def test_records_after_the_anchor_are_no_riddle(workspace: Workspace) -> None:
    anchor_ledger(workspace, CLOCK)
    add(workspace, "3")
    report = check_workspace_ledger(workspace)
    assert (report.ok, report.last, report.anchored, report.notes) == (True, 4, 3, [])


def test_a_ledger_rewritten_whole_with_its_head_is_found_by_the_ref(workspace: Workspace) -> None:
    anchor_ledger(workspace, CLOCK)
    shutil.rmtree(workspace.ledger)
    for name in ("a", "b", "c", "d"):
        add(workspace, name)
    assert "records from 1 on were rewritten: git holds another record 3" in found(workspace)
    # Going on does not make it good: the older anchor stays in the chain.
    anchor_ledger(workspace, CLOCK)
    assert "git holds another record 3" in found(workspace)


def test_a_ledger_cut_with_its_head_is_found_by_the_ref(workspace: Workspace, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(workspace.ledger, older)
    add(workspace, "3")
    anchor_ledger(workspace, CLOCK)
    shutil.rmtree(workspace.ledger)
    shutil.copytree(older, workspace.ledger)
    assert "records 4 to 4 are cut off: git holds record 4" in found(workspace)
    shutil.rmtree(workspace.ledger)
    assert "records 1 to 4 are cut off" in found(workspace)


def test_a_ref_that_is_gone_or_moved_back_is_found(workspace: Workspace) -> None:
    first = anchor_ledger(workspace, CLOCK)
    add(workspace, "3")
    anchor_ledger(workspace, CLOCK)
    assert first is not None
    git(workspace.root, "update-ref", REF, first.commit)
    assert f"{REF}: was rewritten" in found(workspace)
    git(workspace.root, "update-ref", "-d", REF)
    assert f"{REF}: is gone: it held record 4" in found(workspace)


def test_a_crash_between_the_ref_and_what_is_remembered_of_it_mends_itself(workspace: Workspace) -> None:
    anchor_ledger(workspace, CLOCK)
    remembered = Path(workspace.ledger, "anchored.json")
    before = remembered.read_bytes()
    add(workspace, "3")
    anchor_ledger(workspace, CLOCK)
    remembered.write_bytes(before)
    assert found(workspace) == ""
    add(workspace, "4")
    anchor = anchor_ledger(workspace, CLOCK)
    assert anchor is not None
    assert anchor.n == 5
    assert found(workspace) == ""
    remembered.write_bytes(remembered.read_bytes().replace(b'"n":5', b'"n":6'))
    assert "anchored.json" in found(workspace)
    add(workspace, "5")
    anchor_ledger(workspace, CLOCK)
    assert found(workspace) == ""


def test_a_lock_that_a_killed_git_left_on_the_ref_is_removed_once_it_is_old(workspace: Workspace) -> None:
    lock = Path(workspace.root, ".git", f"{REF}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.touch()
    assert anchor_ledger(workspace, CLOCK) is None
    assert found(workspace) == ""
    os.utime(lock, (CLOCK.now() - 100, CLOCK.now() - 100))
    assert anchor_ledger(workspace, CLOCK) is not None


def test_without_git_there_is_no_anchor_and_no_complaint(tmp_path: Path) -> None:
    workspace = Workspace(str(tmp_path))
    os.makedirs(workspace.folder)
    add(workspace, "0")
    assert anchor_ledger(workspace, CLOCK) is None
    assert check_workspace_ledger(workspace).ok


def test_a_detached_head_does_not_matter(workspace: Workspace) -> None:
    git(workspace.root, "checkout", "-q", "--detach")
    anchor = anchor_ledger(workspace, CLOCK)
    assert anchor is not None
    assert git(workspace.root, "rev-parse", REF) == anchor.commit


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_changed_byte_in_any_file_of_the_ledger_is_found(workspace: Workspace, data: st.DataObject) -> None:
    anchor_ledger(workspace, CLOCK)
    files = [path for path in sorted(Path(workspace.ledger).iterdir()) if path.stat().st_size]
    assert {"anchored.json", "head.json"} < {path.name for path in files}
    path = data.draw(st.sampled_from(files))
    original = path.read_bytes()
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(changed))
    try:
        assert path.name in found(workspace)
    finally:
        path.write_bytes(original)


def test_several_processes_that_append_and_anchor_at_once_end_with_the_last_record_anchored(
    workspace: Workspace,
) -> None:
    code = (
        "import sys\nfrom cc_orchestrator.core.clock import SystemClock\nfrom cc_orchestrator.runs.anchoring import anchor_ledger\n"
        "from cc_orchestrator.store import ledger\nfrom cc_orchestrator.store.paths import Workspace\n"
        "place, clock = Workspace(sys.argv[1], sys.argv[1]), SystemClock()\n"
        "for i in range(5):\n"
        "    ledger.append(place.ledger, {'kind': 'run', 'ts': clock.now(), 'subject': {'run_id': f'{sys.argv[2]}-{i}'}})\n"
        "    anchor_ledger(place, clock)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(ledger.__file__).resolve().parents[2])}
    writers = [subprocess.Popen([sys.executable, "-c", code, workspace.root, str(n)], env=env) for n in range(4)]
    assert [writer.wait(50) for writer in writers] == [0] * 4
    report = check_workspace_ledger(workspace)
    assert (report.problems, report.count, report.anchored) == ([], 23, 23)
    git(workspace.root, "gc", "--quiet", "--prune=now")
    assert check_workspace_ledger(workspace).anchored == 23
