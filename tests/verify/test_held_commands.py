"""What a worker wrote is run by us where the worker itself was held: tests, claims, hold-out checks, installs, gates of a delivery."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.host.sandbox_find import VARIABLE
from kit.door import Door
from kit.interpreter import BARE_PYTHON
from kit.landing import steps, until_step, writes
from kit.repos import commit, git, write
from kit.sandboxes import need

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
ROOT = Path(__file__).resolve().parents[2]
#: Exits 0 only when every attempt was refused, and names those that were not. Where the temporary folder is private inside, a
#: file may be made below it that nobody outside ever sees: then what was planted tells.
PROBE = """
import json, os, socket, sys
aims = json.load(open("aims.json"))
open("made-in-the-tree", "w").write("x")
open(os.path.join(os.environ["TMPDIR"], "made"), "w").write("x")
open(os.path.expanduser("~/made"), "w").write("x")
def put(path): open(path, "a").write("planted")
def reach(port): socket.create_connection(("127.0.0.1", port), 2).close()
tries = {"outside": (put, aims["outside"]), "ledger": (put, aims["ledger"]), "checkout": (put, aims["checkout"]),
         "secret": (open, aims["secret"]), "holdout": (open, aims["holdout"]), "network": (reach, aims["port"])}
done = []
for name, (act, aim) in tries.items():
    try: act(aim)
    except OSError: continue
    if name != "outside" or not aims["private"]: done.append(name)
print("not refused:", " ".join(done) or "nothing")
sys.exit(bool(done))
"""


class Scene:
    """A project in a folder with a blank, a secret, a listener."""

    def __init__(self, base: Path) -> None:
        self.base = base / "with blank"
        self.home = self.base / "home"
        (self.home / ".ssh").mkdir(parents=True)
        (self.home / ".ssh" / "id").write_text("key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.door = Door(self.base)
        aims = {
            "outside": str(self.base / "planted"), "ledger": str(self.at("ledger") / "planted"), "checkout": str(self.door.cwd / "planted"),
            "secret": str(self.home / ".ssh" / "id"), "holdout": str(self.at("policies") / "holdout" / "check.py"),
            "port": self.listener.getsockname()[1],
            "private": str(self.base).startswith("/tmp/"),
        }  # fmt: skip
        write(self.at("policies") / "holdout", {"check.py": "print('checked')\n"})
        commit(self.door.cwd, {"aims.json": json.dumps(aims)})

    def at(self, name: str) -> Path:
        return self.door.cwd / ".agent-workspace" / name

    def work(self, text: str = PROBE, **more: Any) -> str:
        run_id = self.door.start_fake(*writes({"probe.py": text}), allow_write=True, **more)
        assert self.door.finish(run_id)["status"] == "succeeded", self.door.state(run_id)["detail"]
        return run_id

    def verify(self, run_id: str, *commands: str, **more: Any) -> dict[str, Any]:
        self.door.call("cc_verify", run_id=run_id, test_commands=list(commands), **more)
        return self.door.call("cc_verification", run_id=run_id, full=True)

    def planted(self) -> list[str]:
        return [str(path) for path in self.base.rglob("planted")] + [str(path) for path in self.home.rglob("made")]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    (ROOT / "build").mkdir(exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="held-", dir=ROOT / "build"))
    monkeypatch.setenv("HOME", str(base / "with blank" / "home"))
    monkeypatch.setenv("TMPDIR", "/tmp")
    scene = Scene(base)
    yield scene
    scene.listener.close()
    shutil.rmtree(base)


def check(verification: dict[str, Any], name: str) -> dict[str, Any] | None:
    return next((row for row in verification["checks"] if row["check"] == name), None)


def said(verification: dict[str, Any]) -> str:
    return " ".join(row["untrusted_tail"] for row in verification["ran"])


COMMAND = f"{BARE_PYTHON} probe.py"


def test_a_test_of_the_worker_is_held_as_the_worker_was(scene: Scene) -> None:
    need("bubblewrap")
    found = scene.verify(scene.work(sandbox="fs+net"), COMMAND)
    assert "not refused: nothing" in said(found)
    assert found["verdict"] == "APPROVE", found["checks"]
    assert found["sandbox"] == {"level": "fs+net", "backend": "bubblewrap"}
    row = check(found, "sandbox")
    assert row is not None
    assert (row["outcome"], row["measured"]) == ("pass", found["sandbox"])
    assert scene.planted() == []


@pytest.mark.parametrize("backend", ["bubblewrap", "landlock", "nono"])
def test_at_fs_only_the_network_is_open(scene: Scene, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    need(backend)
    monkeypatch.setenv(VARIABLE, backend)
    door = scene.door
    scene.door = Door("", cwd=door.cwd, env=dict(os.environ))
    found = scene.verify(scene.work(sandbox="fs"), COMMAND)
    assert "not refused: network" in said(found)
    assert found["sandbox"] == {"level": "fs", "backend": backend}
    assert found["verdict"] == "HOLD"
    assert scene.planted() == []


def test_lint_claims_and_live_proofs_are_held_and_hold_out_checks_find_their_folder(scene: Scene) -> None:
    need("bubblewrap")
    rules: dict[str, Any] = {
        "lint_commands": [COMMAND], "claims": [{"kind": "command", "command": COMMAND}], "live_proof": [{"name": "it runs", "command": COMMAND}],
        "holdout": {"commands": [f"{BARE_PYTHON} {{holdout}}/check.py"]},
    }  # fmt: skip
    found = scene.verify(scene.work(sandbox="fs+net"), COMMAND, rules=rules)
    assert found["verdict"] == "APPROVE", found["checks"]
    assert {name for name in ("lint", "contract", "live_proof", "holdout") if check(found, name)} >= {"lint", "holdout"}
    assert scene.planted() == []


def test_git_reports_and_a_missing_program_are_what_they_are_outside(scene: Scene) -> None:
    need("bubblewrap")
    text = (
        "import subprocess, sys\n"
        "run = lambda *argv: subprocess.run(argv, check=True, capture_output=True, text=True).stdout\n"
        "assert '?? probe.py' in run('git', 'status', '--porcelain'), run('git', 'status', '--porcelain')\n"
        "assert 'aims.json' in run('git', 'ls-files')\n"
        "run('git', '-c', 'user.name=x', '-c', 'user.email=x@localhost', 'commit', '--allow-empty', '-m', 'mine')\n"
        "open('junit.xml', 'w').write('<testsuite tests=\"1\"><testcase name=\"a\" classname=\"b\"/></testsuite>')\n"
    )
    run_id = scene.work(text, sandbox="fs")
    before = (
        git(scene.door.cwd, "for-each-ref", "refs/heads", "refs/cc/runs"),
        git(scene.door.cwd, "log", "-1", scene.door.spec(run_id).branch or ""),
    )
    found = scene.verify(run_id, COMMAND, rules={"junit": ["junit.xml"]})
    assert found["verdict"] == "APPROVE", found
    row = check(found, "junit")
    assert row is not None
    assert row["outcome"] == "pass"
    assert before == (
        git(scene.door.cwd, "for-each-ref", "refs/heads", "refs/cc/runs"), git(scene.door.cwd, "log", "-1", scene.door.spec(run_id).branch or "")
    )  # fmt: skip
    tests = check(scene.verify(run_id, "there-is-no-such-program"), "tests")
    assert tests is not None
    assert tests["outcome"] == "unverified"
    assert "not found" in tests["evidence"]


def test_a_virtual_environment_of_the_checkout_can_be_used(scene: Scene) -> None:
    need("bubblewrap")
    venv = scene.door.cwd / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(shlex.split(BARE_PYTHON)[0])
    (venv / "pyvenv.cfg").write_text(f"home = {os.path.dirname(shlex.split(BARE_PYTHON)[0])}\n")
    (scene.door.cwd / ".env").write_text("TOKEN=x")
    run_id = scene.work(f"import os, sys\nassert sys.prefix == {str(venv)!r}\nassert not os.path.exists({str(scene.door.cwd / '.env')!r})\n",
                        sandbox="fs")  # fmt: skip
    found = scene.verify(run_id, f"{shlex.quote(str(venv / 'bin' / 'python'))} probe.py")
    assert found["verdict"] == "APPROVE", found


def test_a_command_is_killed_with_all_it_started_at_its_deadline(scene: Scene) -> None:
    need("bubblewrap")
    text = "import subprocess, time\nsubprocess.Popen(['sleep', '97531'], start_new_session=True)\ntime.sleep(60)\n"
    found = scene.verify(scene.work(text, sandbox="fs"), COMMAND, timeout_seconds=1)
    assert found["ran"][0]["outcome"] == "timeout"
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x0097531\x00" not in running


def test_without_a_sandbox_all_is_as_it_was_and_the_level_is_told(scene: Scene) -> None:
    found = scene.verify(scene.work(), COMMAND)
    assert found["sandbox"] == {"level": "worktree", "backend": None}
    assert check(found, "sandbox") is None
    assert scene.planted() != []


def test_a_level_that_cannot_be_had_any_more_runs_nothing_and_blocks(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("bubblewrap")
    run_id = scene.work(sandbox="fs")
    monkeypatch.setenv(VARIABLE, "gone")
    found = scene.verify(run_id, COMMAND)
    assert found["verdict"] == "ESCALATE"
    for name in ("sandbox", "tests"):
        row = check(found, name)
        assert row is not None
        assert row["outcome"] == "unverified"
        assert "cannot be had any more" in row["evidence"]
    assert (found["ran"], scene.planted()) == ([], [])


def test_only_the_users_file_lets_commands_out(scene: Scene) -> None:
    need("bubblewrap")
    run_id = scene.work(sandbox="fs")
    with pytest.raises(InvalidRequest, match="only there"):
        scene.verify(run_id, COMMAND, rules={"sandbox": "none"})
    write(scene.at("policies"), {"verify.yaml": "sandbox: none\n"})
    found = scene.verify(run_id, COMMAND)
    assert found["sandbox"] == {"level": "none", "backend": None, "run": "fs"}
    row = check(found, "sandbox")
    assert row is not None
    assert (row["outcome"], row["required"]) == ("unverified", False)
    assert scene.planted() != []


def test_install_commands_are_held(scene: Scene) -> None:
    need("bubblewrap")
    commit(scene.door.cwd, {"install.py": PROBE.replace('open("made-in-the-tree", "w").write("x")\n', "")})
    run_id = scene.work(sandbox="fs+net", worktree={"install": [f"{BARE_PYTHON} install.py"]})
    notices = [data["text"] for data in scene.door.data(run_id, "system.notice") if data.get("code") == "install"]
    assert "exit 0" in notices[0]
    assert scene.planted() == []


def test_gates_of_a_delivery_are_held(scene: Scene) -> None:
    need("bubblewrap")
    door = scene.door
    run_id = scene.work(sandbox="fs+net")
    assert scene.verify(run_id, COMMAND)["verdict"] == "APPROVE"
    door.call("cc_accept", run_id=run_id, decision="accept")
    answer = door.call("cc_deliver", run_id=run_id, target="main", gate_commands=[COMMAND])
    until_step(door, answer["delivery_id"], "result", 60.0)
    gates = next(row for row in steps(door, answer["delivery_id"]) if row.get("step") == "gates")
    assert (gates["outcome"], gates["sandbox"]) == ("passed", {"level": "fs+net", "backend": "bubblewrap"}), gates
    assert scene.planted() == []
