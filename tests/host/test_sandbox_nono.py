"""The sandbox where bubblewrap is missing and nono is installed: what it denies, what it declares, and that runs work in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.host.sandbox import Backend, Ground, SandboxError, inside_command, plan_sandbox
from cc_orchestrator.host.sandbox_find import find_sandbox
from kit import escapes
from kit.door import Door
from kit.sandboxes import NONO, need
from kit.siege import Siege, besieged
from kit.waiting import alive

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]
#: What rules do not hold; each has its sentence among the gaps that a run declares.
DECLARED = {
    "change_the_mode_of_a_file_outside", "change_the_times_of_a_file_outside", "replace_the_link_to_the_repository",
    "move_the_link_to_the_repository", "see_other_processes", "open_a_descriptor_of_another_process", "make_a_user_namespace",
    "use_a_socket_in_the_temporary_folder", "use_a_socket_in_the_runtime_folder", "use_a_systems_socket",
}  # fmt: skip
#: It gets something: the home that it writes is the run's own.
PRIVATE = {"change_the_users_git_configuration"}
HELD = sorted(set(escapes.ATTEMPTS) - escapes.NETWORK - DECLARED - PRIVATE)
GROUND = Ground("run_x", "/p/w", "/p/w", True, "/p/o", "/p/r/private", "/h/me", "/p/.agent-workspace")


def door_of(tmp_path: Path) -> Door:
    need("nono")
    return Door(tmp_path, env={**os.environ, **NONO})


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    need("nono")
    with besieged("fs", NONO) as found:
        yield found


@pytest.mark.parametrize("name", HELD)
def test_denied(siege: Siege, name: str) -> None:
    assert siege.found[name]["got"] is None, siege.found[name]


def test_no_text_outside_has_changed(siege: Siege) -> None:
    def texts(seen: dict[str, object]) -> dict[str, object]:
        return {name: value[2] if isinstance(value, tuple) else value for name, value in seen.items()}

    assert texts(siege.after) == texts(siege.before)
    assert siege.victim_lives
    assert siege.door.spec(siege.run_id).sandbox_backend == "nono"


def test_what_is_not_held_is_declared(siege: Siege) -> None:
    said = " ".join(siege.door.spec(siege.run_id).declared)
    for words in (
        "sockets by path",
        "names of other processes",
        "user namespaces",
        "modes and times",
        "link .git",
        "commit",
    ):
        assert words in said


def test_it_comes_before_landlock_where_bubblewrap_is_missing() -> None:
    need("nono")
    found, why = find_sandbox({"PATH": "/nowhere"})
    assert found is not None, why
    assert found.name == "nono"


def test_a_write_run_works(tmp_path: Path) -> None:
    door = door_of(tmp_path)
    state = door.play(
        {"write": {"path": "a.txt", "content": "a\n"}},
        {"run": {"argv": ["sh", "-c", "echo x > $TMPDIR/x && mkdir d && mv $TMPDIR/x d/b.txt && git status && rm -r d"]}},
        {"result": "done"}, allow_write=True, sandbox="fs",
    )  # fmt: skip
    assert (state["status"], state["sandbox_backend"]) == ("succeeded", "nono")
    assert [row["path"] for row in state["snapshot"]["files"]] == ["a.txt"]


def test_a_stop_kills_the_tree(tmp_path: Path) -> None:
    door = door_of(tmp_path)
    run_id = door.start_fake(
        {"fork": {"ignore_term": True, "clean_env": True}}, {"hang": {}}, allow_write=True, sandbox="fs"
    )
    grandchild = int(door.until_event(run_id, "system.notice", code="forked")["text"])
    top = door.until_event(run_id, "run.started")["pid"]
    assert alive(grandchild)
    assert door.call("cc_stop", run_id=run_id)["stopped"] is True
    assert not any(alive(pid) for pid in (top, grandchild))


def test_the_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"fs\+net needs bubblewrap"):
        door_of(tmp_path).start_fake({"result": "x"}, sandbox="fs+net")
    with pytest.raises(SandboxError, match="every address"):
        plan_sandbox("fs+net", Backend("nono", "/x"), ["x"], {}, GROUND, lambda path: "")


def test_the_doctor_names_it(tmp_path: Path) -> None:
    rows = door_of(tmp_path).call("cc_doctor")["checks"]
    row = next(row for row in rows if row["check"] == "sandbox")
    assert row["ok"], row
    assert row["found"].startswith("nono: up to fs, 6 of 6 held")


def test_a_package_that_cannot_be_loaded_starts_no_worker(tmp_path: Path) -> None:
    config = json.dumps({"package": str(tmp_path), "closed": [], "read": [], "write": []})
    done = subprocess.run(
        inside_command("nono", config, ["echo", "started"]), capture_output=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (125, b"")


@pytest.mark.parametrize("backend", ["nono", "landlock"])
def test_root_inside_cannot_read_another_processs_environment(tmp_path: Path, backend: str) -> None:
    need(backend)
    found, _why = find_sandbox({"PATH": os.environ["PATH"], "CC_ORCHESTRATOR_SANDBOX": backend})
    assert found is not None
    config: dict[str, object] = {"closed": ["/dev"], "read": [], "write": [str(tmp_path)]}
    if backend == "nono":
        config["package"] = found.program
    with subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], "SECRET": "KEY"}) as other:
        code = f"import os; print(open('/proc/{other.pid}/environ').read())"
        argv = inside_command(backend, json.dumps(config), [os.path.realpath(sys.executable), "-S", "-c", code])
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        other.kill()
    assert "KEY" not in done.stdout
    assert "PermissionError" in done.stderr


def test_on_macos_the_plan_closes_what_is_private_there() -> None:
    plans = [
        plan_sandbox("fs", Backend("nono", "/x", system=system), ["x"], {}, GROUND, lambda path: "")
        for system in ("linux", "darwin")
    ]
    linux, macos = (json.loads(plan.argv[5])["closed"] for plan in plans)
    assert {"/Users", "/Volumes", "/private/tmp"} <= set(macos)
    assert set(macos) > set(linux)
