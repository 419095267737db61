"""A real Codex that tries what it must not: each act is stopped before it takes effect, told why, and left on record."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.adapters import codex_gate
from kit import homes
from kit.door import Door
from kit.forbidden import SECRET, damage, forbidden_commands, lay_ground
from kit.model_stub import ModelStub
from kit.stub_script import Script, Turn, call, say
from kit.waiting import until

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(240)]
ELICITING = """
import json, sys
def out(message):
    print(json.dumps(message), flush=True)
for row in sys.stdin:
    message = json.loads(row)
    method, number = message.get("method"), message.get("id")
    if method == "initialize":
        out({"jsonrpc": "2.0", "id": number, "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
             "serverInfo": {"name": "form", "version": "1"}}})
    elif method == "tools/list":
        out({"jsonrpc": "2.0", "id": number, "result": {"tools": [{"name": "fill", "inputSchema": {"type": "object"}}]}})
    elif method == "tools/call":
        asked = number
        out({"jsonrpc": "2.0", "id": "e1", "method": "elicitation/create", "params": {"message": "Which colour?",
             "requestedSchema": {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}}})
    elif number == "e1":
        out({"jsonrpc": "2.0", "id": asked, "result": {"content": [{"type": "text", "text": json.dumps(message["result"])}]}})
"""


def door_for(tmp_path: Path, stub: ModelStub, extra: str = "") -> Door:
    env = {**homes.codex_home(tmp_path, stub, extra=extra), "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]}
    return Door(tmp_path, env=env)


def start(door: Door, **more: Any) -> str:
    arguments = {"task": "do it", "adapter": "codex", "allow_write": True, "question_seconds": 0.3, **more}
    return str(door.call("cc_run_streaming", **arguments)["run_id"])


def play(door: Door, **more: Any) -> str:
    run_id = start(door, **more)
    door.finish(run_id, 200.0)
    return run_id


def shell(command: str, **more: Any) -> Turn:
    return call("exec_command", {"cmd": command, **more})


def patch(path: str) -> Turn:
    return call("apply_patch", f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch\n")


def claimed(door: Door, run_id: str) -> str:
    state = door.state(run_id)
    assert (state["status"], state["reason"]) == ("succeeded", "completed"), state["detail"]
    return str(state["completion"]["claimed"]["text"])


@pytest.mark.parametrize(("trust", "may_write"), [(0, False), (1, True), (2, True)])
def test_forbidden_acts_are_stopped_told_and_recorded_and_the_worker_goes_on(
    trust: int, may_write: bool, tmp_path: Path, model_stub: ModelStub
) -> None:
    door = door_for(tmp_path, model_stub)
    with lay_ground(tmp_path, door.cwd, Path(door.env["HOME"])) as ground:
        commands = forbidden_commands(ground)
        patched = [
            f"{ground.outside}/e1",
            f"{ground.project}/README2.md",
            ".git/hooks/pre-commit",
            "../../ledger/receipts-209901.ndjson",
        ]
        turns = [
            *(shell(command) for command in commands), shell("cat id_rsa", workdir=f"{ground.home}/.ssh"), *(patch(path) for path in patched),
            shell(f"touch {ground.outside}/e2", sandbox_permissions="require_escalated", justification="I need it"),
        ]  # fmt: skip
        model_stub.add(Script([*turns, say("went on to the end")]))
        run_id = play(door, allow_write=may_write, trust=trust, question_seconds=0.2, timeout_seconds=200)
        assert claimed(door, run_id) == "went on to the end"
        assert damage(ground) == []
        told = model_stub.tool_results()
        assert len(told) == len(turns)
        assert [result.text for result in told if "blocked by PreToolUse hook" not in result.text] == []
        assert not [result.text for result in told if SECRET in result.text]
        decided = door.data(run_id, "policy.decided")
        assert len({data["tool_use_id"] for data in decided}) == len(turns)
        assert [data for data in decided if data["decision"] == "allow"] == []


def test_a_reader_reads_and_what_may_change_something_is_asked_for(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(
        Script([shell("cat README.md"), shell("echo x > here"), patch("new.txt"), shell("make all"), say("read it")])
    )
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=False)
    assert claimed(door, run_id) == "read it"
    read, *refused = model_stub.tool_results()
    assert "# scratch" in read.text
    assert all("this run is read-only" in result.text for result in refused[:2])
    assert "nobody allowed it in time" in refused[2].text
    (question,) = door.data(run_id, "question.asked")
    assert (question["kind"], question["tool"]) == ("permission", "command_execution")
    assert [data["by"] for data in door.data(run_id, "question.answered")] == ["deadline"]


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_leaving_the_sandbox_takes_an_answer_of_its_own(tmp_path: Path, model_stub: ModelStub, decision: str) -> None:
    outside = Path("/var/tmp") / f"cc-gate-{decision}-{os.getpid()}"
    run = shell(
        f'python3 -c \'open("{outside}", "w")\'', sandbox_permissions="require_escalated", justification="why not"
    )
    model_stub.add(Script([run, shell("true"), say("went on")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, question_seconds=60)
    door.wait(run_id, "question", seconds=30)
    (question,) = door.data(run_id, "question.asked")
    assert question["tool"] == "unsandboxed_command"
    assert "why not" in question["text"]
    assert not outside.exists()
    door.call("cc_answer", run_id=run_id, decision=decision, text="not outside" if decision == "deny" else "")
    door.finish(run_id, 30)
    assert claimed(door, run_id) == "went on"
    try:
        assert outside.exists() == (decision == "allow")
    finally:
        outside.unlink(missing_ok=True)
    assert ("not outside" in model_stub.requests[1].prompt) == (decision == "deny")


def test_what_policy_allows_in_the_tree_stays_in_the_sandbox_whatever_the_users_rules_say(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    outside = Path("/var/tmp") / f"cc-gate-rule-{os.getpid()}"
    model_stub.add(
        Script(
            [
                shell(f"touch {outside}"),
                shell('mkdir -p a/b && rm -rf a; printf "it\'s %s" 3'),
                say("tried"),
            ]
        )
    )
    door = door_for(tmp_path, model_stub)
    rules = Path(door.env["CODEX_HOME"]) / "rules"
    rules.mkdir()
    (rules / "default.rules").write_text('prefix_rule(pattern=["touch"], decision="allow")\n')
    run_id = play(door)
    held, own = model_stub.tool_results()
    assert "Read-only file system" in held.text
    assert not outside.exists()
    assert "it's 3" in own.text
    assert door.data(run_id, "tool.started")[-1]["target"].startswith("mkdir -p a/b && rm -rf a;")
    assert door.data(run_id, "question.asked") == []


def test_what_runs_inside_a_script_of_code_mode_passes_the_gate_as_well(tmp_path: Path, model_stub: ModelStub) -> None:
    script = 'try { await tools.exec_command({cmd: "curl http://nowhere.example"}); } catch (error) { text(`refused: ${error}`); }'
    model_stub.add(Script([call("exec", script), say("went on")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, model="gpt-6-sol")
    assert claimed(door, run_id) == "went on"
    assert "nobody allowed it in time" in model_stub.tool_results("exec")[0].text
    assert door.data(run_id, "policy.decided")[0]["decision"] == "ask"


def test_nothing_can_be_typed_into_a_terminal_and_the_gate_is_no_tool(tmp_path: Path, model_stub: ModelStub) -> None:
    gate = call(f"mcp__{codex_gate.SERVER}__{codex_gate.TOOL}", {"tool": "Bash"})
    model_stub.add(Script([shell("python3 -i -q", tty=True), gate, say("no way")]))
    door = door_for(tmp_path, model_stub)
    assert claimed(door, play(door)) == "no way"
    terminal, called = model_stub.tool_results()
    assert "TTY execution is disabled" in terminal.text
    assert "unsupported call" in called.text


def test_a_question_of_the_worker_is_answered_by_the_controller(tmp_path: Path, model_stub: ModelStub) -> None:
    options = [{"label": name, "description": name} for name in ("sqlite", "postgres")]
    asked = {"questions": [{"id": "db", "header": "DB", "question": "Which db?", "options": options}]}
    model_stub.add(Script([call("request_user_input", asked), say("chosen")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door, question_seconds=60)
    door.wait(run_id, "question", seconds=30)
    (question,) = door.data(run_id, "question.asked")
    assert (question["kind"], question["options"]) == ("choice", ["sqlite", "postgres"])
    door.call("cc_answer", run_id=run_id, decision="allow", choices={"Which db?": "postgres"})
    door.finish(run_id, 30)
    assert model_stub.tool_results()[0].json() == {"answers": {"db": {"answers": ["postgres"]}}}


def test_a_servers_tool_is_asked_for_once_and_its_form_is_filled_by_the_controller(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    server = tmp_path / "form.py"
    server.write_text(ELICITING)
    model_stub.add(Script([call("mcp__form__fill", {"size": 3}), say("filled")]))
    door = door_for(
        tmp_path,
        model_stub,
        f"[mcp_servers.form]\ncommand = {json.dumps(sys.executable)}\nargs = [{json.dumps(str(server))}]\nrequired = true\n",
    )
    run_id = start(door, question_seconds=60)
    door.wait(run_id, "question", seconds=30)
    door.call("cc_answer", run_id=run_id, decision="allow")
    until(lambda: len(door.data(run_id, "question.asked")) == 2, 20.0)
    permission, form = door.data(run_id, "question.asked")
    assert (permission["kind"], permission["tool"]) == ("permission", "mcp__form__fill")
    assert (form["kind"], form["options"]) == ("elicitation", ["colour"])
    door.call("cc_answer", run_id=run_id, question_id=form["question_id"], decision="allow", choices={"colour": "blue"})
    door.finish(run_id, 30)
    assert claimed(door, run_id) == "filled"
    assert '"colour": "blue"' in model_stub.tool_results()[0].text


def test_a_gate_that_fails_ends_the_run(tmp_path: Path, model_stub: ModelStub) -> None:
    hold = threading.Event()
    model_stub.add(Script([Turn(calls=shell("true").calls, hold=hold), *[shell("true")] * 20, say("never said")]))
    door = door_for(tmp_path, model_stub)
    run_id = start(door)
    model_stub.wait_for_requests(1)
    for pid in _gates(door.data(run_id, "run.started")[0]["pid"]):
        os.kill(pid, signal.SIGKILL)
    hold.set()
    door.finish(run_id, 30)
    state = door.state(run_id)
    assert (state["status"], state["reason"]) == ("failed", "worker_error")
    assert "the gate failed" in state["detail"]
    assert len(model_stub.requests) < 20


def _gates(worker: int) -> list[int]:
    """Gate processes below a worker."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        try:
            if (
                folder.name.isdigit()
                and b"codex_gate.py\x00" in (folder / "cmdline").read_bytes()[-200:]
                and worker in _ancestors(int(folder.name))
            ):
                found.append(int(folder.name))
        except OSError:
            continue
    assert found
    return found


def _ancestors(pid: int) -> list[int]:
    found: list[int] = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found
