"""No recursion by accident: a worker starts, answers, stops, accepts and delivers nothing, however it tries."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import PolicyDenied
from cc_orchestrator.host.ancestry import SUPERVISOR, Ancestor, run_above, search
from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.operations.registry import invoke
from kit.door import Door
from kit.wire import Wire, command_line

pytestmark = pytest.mark.timeout(180)
RUN = "run_01k3000000abcdefghjk"
CLI = [sys.executable, "-m", "cc_orchestrator", "--json"]


def test_every_operation_that_changes_something_is_refused_to_a_worker_before_it_looks_at_anything(
    tmp_path: Path,
) -> None:
    door = Door(tmp_path)
    context = replace(door.context, env={**door.env, "CC_RUN_ID": RUN})
    for op in operations():
        if op.reads or not op.guarded:
            continue
        with pytest.raises(PolicyDenied) as caught:
            invoke(op, context, {"anything": 1})
        assert RUN in caught.value.message
    assert not (door.cwd / ".agent-workspace").exists()


def test_cc_call_refuses_a_worker_what_it_would_relay(tmp_path: Path) -> None:
    door = Door(tmp_path)
    door.context = replace(door.context, env={**door.env, "CC_RUN_ID": RUN})
    for op in operations():
        if op.reads or not op.guarded:
            continue
        with pytest.raises(PolicyDenied):
            door.call("cc_call", name=op.name, arguments={"task": "x", "adapter": "fake"})
    assert door.call("cc_call", name="cc_tools")["toolsets"]
    assert door.call("cc_read", name="cc_status")["workspace"] == str(door.cwd)


@pytest.mark.process
def test_a_marked_environment_is_refused_by_the_command_line_and_the_mcp_door(tmp_path: Path) -> None:
    door = Door(tmp_path)
    marked = {**door.env, "CC_RUN_ID": RUN}
    done = command_line(door, "--json", "run-streaming", "x", "--adapter", "fake", env=marked)
    assert done.returncode == 5
    assert json.loads(done.stdout)["error"]["code"] == "policy_denied"
    assert command_line(door, "--json", "status", env=marked).returncode == 0
    with Wire(door, env=marked) as wire:
        wire.open()
        for name, arguments in (
            ("cc_run_streaming", {"task": "x", "adapter": "fake"}),
            ("cc_call", {"name": "cc_run_agent", "arguments": {"task": "x", "adapter": "fake"}}),
            ("cc_stop", {"run_id": RUN}),
            ("cc_answer", {"run_id": RUN, "decision": "allow"}),
        ):
            assert wire.call(name, **arguments)["error"]["code"] == "policy_denied", name
        assert "last_24h" in wire.call("cc_status")


#: Ways in which a worker may try to hide that it is one.
STRIP = "env -u CC_RUN_ID -u CC_RUN_OUTBOX"
WAYS = {
    "plain": "{cli}",
    "stripped": f"{STRIP} {{cli}}",
    "empty environment": "env -i HOME=$HOME PATH=$PATH {cli}",
    "own session": f"{STRIP} setsid --wait {{cli}}",
    "double fork": f"({STRIP} setsid sh -c {{inner}} &); while [ ! -e {{out}} ]; do sleep 0.05; done; cat {{out}}",
}


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a double fork leaves the tree: said in host.ancestry")
@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_calls_our_command_line_is_known_however_it_hides(tmp_path: Path, way: str) -> None:
    door = Door(tmp_path)
    out = tmp_path / "out"
    cli = shlex.join([*CLI, "-C", str(door.cwd), "run-streaming", "again", "--adapter", "fake"])
    inner = shlex.quote(f"{cli} > {out}.part; mv {out}.part {out}")
    shell = WAYS[way].format(cli=cli, inner=inner, out=out)
    state = door.play({"run": {"argv": ["sh", "-c", shell]}}, {"result": "tried"})
    assert state["status"] == "succeeded"
    told = [event["data"] for event in door.events(state["run_id"], "tool.finished")]
    assert "policy_denied" in json.dumps(told), told
    assert len(list((door.cwd / ".agent-workspace" / "runs").glob("run_*"))) == 1


def chain(*rows: Ancestor) -> Any:
    return {row.pid: row for row in rows}.get


def test_an_ancestor_with_the_marker_or_a_supervisor_above_gives_the_worker_away() -> None:
    init = Ancestor(1, 0, ("/sbin/init",), ())
    shell = Ancestor(50, 40, ("sh", "-c", "x"), ("HOME=/x",))
    user = Ancestor(40, 1, ("bash",), ("CC_RUN_ID=",))
    assert search(chain(shell, user, init), 50, "CC_RUN_ID") is None
    marked = Ancestor(40, 1, ("node",), ("A=1", f"CC_RUN_ID={RUN}"))
    assert search(chain(shell, marked, init), 50, "CC_RUN_ID") == RUN
    supervisor = Ancestor(40, 1, ("python", "-c", "boot", "/root", SUPERVISOR, f"/w/runs/{RUN}", "3", "4"), ())
    assert search(chain(shell, supervisor, init), 50, "CC_RUN_ID") == RUN
    loop = Ancestor(50, 50, ("x",), ())
    assert search(chain(loop), 50, "CC_RUN_ID") is None


@pytest.mark.process
def test_nobody_above_these_tests_is_a_worker() -> None:
    assert run_above("CC_RUN_ID") == os.environ.get("CC_RUN_ID")
    seen = subprocess.run(
        [sys.executable, "-c", "import cc_orchestrator.host.ancestry as a; print(a.run_above('CC_RUN_ID'))"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "None"
