"""What systems without /proc would do, as far as it can be tried here: their sample output, and that everything can be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cc_orchestrator.host import proctable
from cc_orchestrator.host.env import worker_env
from cc_orchestrator.host.process import SpawnError, identify, is_same, reap, spawn
from cc_orchestrator.host.tree import Tree, kill_remains
from kit.waiting import alive, until, until_gone


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decide as on a system without /proc. psutil itself goes on reading what is here."""
    assert psutil.Process().pid
    monkeypatch.setattr(sys, "platform", "darwin")


@pytest.mark.process
def test_without_proc_a_tree_its_marker_and_its_identity_are_found_by_psutil(no_proc: None) -> None:
    process = subprocess.Popen(
        ["sh", "-c", "sleep 60 & wait"], env={**os.environ, "CC_RUN_ID": "run_elsewhere"}, start_new_session=True
    )
    try:
        until(lambda: len(proctable.descendants(process.pid)) == 1)
        (below,) = proctable.children(process.pid)
        assert proctable.is_alive(below)
        assert {process.pid, below} <= set(proctable.marked("CC_RUN_ID", "run_elsewhere"))
        assert proctable.marked("CC_RUN_ID", "run_else") == []
        identity = identify(process.pid) or ""
        assert is_same(process.pid, identity)
        assert not is_same(process.pid, "0.000")
    finally:
        killed = kill_remains("run_elsewhere", [], deadline_s=4.0)
        process.wait(5)
    assert killed == 2
    assert not proctable.is_alive(process.pid)
    assert identify(2**22 + 1) is None


@pytest.mark.process
def test_without_proc_a_worker_is_known_by_its_ancestors(tmp_path: Path) -> None:
    program = (
        "import psutil, sys; sys.platform = 'darwin'; from cc_orchestrator.host import ancestry; ancestry._own_group = lambda: None;"
        "print(ancestry.run_above('CC_RUN_ID'))"
    )
    shell = 'env -u CC_RUN_ID "$0" -c "$1"; true'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, program], env={**os.environ, "CC_RUN_ID": "run_above_us"}, capture_output=True,
        text=True, check=True, timeout=30,
    )  # fmt: skip
    assert done.stdout.strip() == "run_above_us"


def test_without_psutil_nothing_is_claimed(no_proc: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert not proctable.is_alive(os.getpid())
    assert proctable.descendants(os.getpid()) == []
    assert identify(os.getpid()) is None


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_the_rooms_of_a_supervisor_can_be_imported_on_other_systems(platform: str) -> None:
    program = (
        "import sys; real = sys.platform; sys.path.insert(0, sys.argv[1]);\n"
        "import types, signal, os, subprocess, selectors, ctypes, tempfile, shutil, socket, sqlite3, random, uuid, hashlib, traceback\n"
        "sys.platform = sys.argv[2]\n"
        "sys.modules['msvcrt'] = types.ModuleType('msvcrt')\n"
        "import cc_orchestrator.runs.supervisor, cc_orchestrator.runs.launch, cc_orchestrator.runs.sweep, cc_orchestrator.runs.wait\n"
        "from cc_orchestrator.host.tree import containment_level; print(containment_level())\n"
    )
    server = str(Path(__file__).parents[2] / "server")
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", program, server, platform],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "session"), done.stderr


# ---------------------------------------------------------------- here


@pytest.mark.process
def test_a_process_is_told_from_a_later_one_with_its_pid() -> None:
    me = identify(os.getpid())
    assert me is not None
    assert is_same(os.getpid(), me)
    assert not is_same(os.getpid(), me + "1")
    assert not is_same(os.getpid(), "")
    assert identify(2**22 + 1) is None


@pytest.mark.process
@pytest.mark.parametrize(
    ("argv", "code", "signal"), [(["sh", "-c", "exit 7"], 7, None), (["sh", "-c", "kill -9 $$"], None, 9)]
)
def test_an_exit_is_told_exactly(tmp_path: Path, argv: list[str], code: int | None, signal: int | None) -> None:
    child = spawn(argv, env=dict(os.environ), cwd=str(tmp_path), stdin="null")
    found = until(lambda: reap(child), wake_fd=child.exit_fd)
    assert found == (code, signal)
    for fd in (child.stdout, child.stderr, child.exit_fd):
        os.close(fd) if fd is not None else None


def test_a_program_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    with pytest.raises(SpawnError) as caught:
        spawn([str(tmp_path / "none")], env={}, cwd=str(tmp_path), stdin="null")
    assert caught.value.missing
    with pytest.raises(SpawnError) as folder:
        spawn(["true"], env={}, cwd=str(tmp_path / "none"), stdin="null")
    assert not folder.value.missing


@pytest.mark.process
def test_what_a_dead_supervisor_left_is_found_by_marker_and_by_record(tmp_path: Path) -> None:
    marked = subprocess.Popen(
        ["sleep", "60"], env={**os.environ, "CC_RUN_ID": "run_of_this_test"}, start_new_session=True
    )
    recorded = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        until(lambda: proctable.children(recorded.pid))
        below = proctable.children(recorded.pid)[0]
        killed = kill_remains(
            "run_of_this_test",
            [(recorded.pid, identify(recorded.pid) or ""), (stranger.pid, "of another boot")],
            deadline_s=4.0,
        )
        assert killed == 3
        for pid in (marked.pid, recorded.pid, below):
            until_gone(pid, 2.0)
        assert alive(stranger.pid)
    finally:
        for process in (marked, recorded, stranger):
            process.kill()
            process.wait()


@pytest.mark.process
def test_where_only_a_session_holds_sampled_descendants_are_killed_too(tmp_path: Path) -> None:
    child = spawn(["sh", "-c", "setsid sleep 60 & sleep 60"], env=dict(os.environ), cwd=str(tmp_path), stdin="null")
    tree = Tree("run_x", "session", None)
    tree.adopt(child)
    until(lambda: len(proctable.descendants(child.pid)) >= 2)
    tree.sample()
    below = proctable.descendants(child.pid)
    tree.kill(4.0)
    until(lambda: reap(child), 2.0)
    for pid in (child.pid, *below):
        until_gone(pid, 2.0)
    for fd in (child.stdout, child.stderr, child.exit_fd):
        os.close(fd) if fd is not None else None


# ---------------------------------------------------------------- the environment of a worker


def test_a_worker_inherits_essentials_and_what_its_adapter_documents_and_nothing_else() -> None:
    parent = {
        "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "HTTPS_PROXY": "http://p", "ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o", "CLAUDECODE": "1",
        "CLAUDE_CODE_SESSION_ID": "s", "CODEX_THREAD_ID": "t", "CC_ORCHESTRATOR_WORKSPACE_ROOT": "/w", "AWS_SECRET_ACCESS_KEY": "x",
        "XDG_SESSION_ID": "1",
        "CC_RUN_ID": "run_outer", "GIT_DIR": "/evil",
    }  # fmt: skip
    found = worker_env(parent, ("ANTHROPIC_*", "CLAUDE_CODE_*"), {"CC_RUN_ID": "run_inner"})
    assert found == {
        "PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "HTTPS_PROXY": "http://p", "ANTHROPIC_API_KEY": "a", "CC_RUN_ID": "run_inner",
    }  # fmt: skip
