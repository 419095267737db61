"""What a detached process takes from the folder and the caller that started it: nothing that changes how it or a worker runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kit.door import Door
from kit.repos import commit

pytestmark = pytest.mark.process


def test_modules_of_the_project_do_not_take_the_place_of_the_librarys(tmp_path: Path) -> None:
    door = Door(tmp_path)
    broken = "raise RuntimeError('the project was imported')\n"
    commit(door.cwd, dict.fromkeys(("selectors.py", "subprocess.py", "os.py", "importlib.py", "pathspec.py"), broken))
    run_id = door.start_fake({"write": {"path": "a.txt", "content": "a\n"}}, {"result": "done"}, allow_write=True)
    assert door.finish(run_id)["status"] == "succeeded"
    assert door.call("cc_verify", run_id=run_id)["verdict"] == "APPROVE"


def test_a_worker_and_its_commands_can_be_interrupted(tmp_path: Path) -> None:
    door = Door(tmp_path)
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGHUP))"
    run_id = door.start_fake({"run": {"argv": [sys.executable, "-c", code]}}, {"result": "done"}, allow_write=True)
    door.finish(run_id)
    assert door.data(run_id, "tool.finished")[0]["note"] == "exit 0 True 0"
