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
from kit.model_stub import ModelStub
from kit.stub_script import Script, Turn, call, say
from kit.waiting import until

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(120)]
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
    door.finish(run_id, 60.0)
    return run_id


def shell(command: str, **more: Any) -> Turn:
    return call("exec_command", {"cmd": command, **more})


def patch(path: str) -> Turn:
    return call("apply_patch", f"*** Begin Patch\n*** Add File: {path}\n+x\n*** End Patch\n")


def claimed(door: Door, run_id: str) -> str:
    state = door.state(run_id)
    assert (state["status"], state["reason"]) == ("succeeded", "completed"), state["detail"]
    return str(state["completion"]["claimed"]["text"])


def test_forbidden_acts_are_stopped_told_and_recorded_and_the_worker_goes_on(
    tmp_path: Path, model_stub: ModelStub
) -> None:
    outside = Path("/var/tmp") / f"cc-gate-{os.getpid()}"
    home = tmp_path / "codex-home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_rsa").write_text("PRIVATE\n")
    acts = [
        shell(f"echo x > {outside}"), shell(f"cat {home}/.ssh/id_rsa"), shell("cat id_rsa", workdir=f"{home}/.ssh"),
        shell("git push origin main"), shell("curl -s http://127.0.0.1:9/"), shell("sudo true"),
        shell("cc-orchestrator accept run_x"), patch(f"{outside}.txt"), patch("../../../escape.txt"), patch(".git/hooks/pre-commit"),
        shell(f"echo x > {outside}", sandbox_permissions="require_escalated", justification="I need it"),
    ]  # fmt: skip
    model_stub.add(Script([*acts, shell("echo fine > made.txt"), say("went on")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door)
    assert claimed(door, run_id) == "went on"
    told = model_stub.tool_results()
    assert len(told) == len(acts) + 1
    for result in told[:-1]:
        assert "blocked by PreToolUse hook" in result.text, result.text
    assert "PRIVATE" not in str([result.text for result in told])
    assert not outside.exists()
    assert not Path(f"{outside}.txt").exists()
    assert [row["path"] for row in door.state(run_id)["snapshot"]["files"]] == ["made.txt"]
    decided = door.data(run_id, "policy.decided")
    stopped = {data["tool_use_id"] for data in decided if data["decision"] != "allow"}
    assert len(stopped) == len(acts)
    assert [data["target"] for data in decided if data["decision"] == "allow"] == ["echo fine > made.txt"]


def test_a_reader_reads_and_what_may_change_something_is_asked_for(tmp_path: Path, model_stub: ModelStub) -> None:
    model_stub.add(Script([shell("cat README.md"), shell("echo x > here"), patch("new.txt"), say("read it")]))
    door = door_for(tmp_path, model_stub)
    run_id = play(door, allow_write=False)
    assert claimed(door, run_id) == "read it"
    read, *refused = model_stub.tool_results()
    assert "# scratch" in read.text
    assert all("nobody allowed it in time" in result.text for result in refused)
    asked = [(data["kind"], data["tool"]) for data in door.data(run_id, "question.asked")]
    assert asked == [("permission", "command_execution"), ("permission", "file_change")]
    assert [data["by"] for data in door.data(run_id, "question.answered")] == ["deadline", "deadline"]


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
    model_stub.add(Script([shell(f'python3 -c \'open("{outside}","w")\''), say("tried")]))
    door = door_for(tmp_path, model_stub)
    rules = Path(door.env["CODEX_HOME"]) / "rules"
    rules.mkdir()
    (rules / "default.rules").write_text('prefix_rule(pattern=["python3"], decision="allow")\n')
    run_id = play(door)
    (result,) = model_stub.tool_results()
    assert "Read-only file system" in result.text
    assert not outside.exists()
    assert door.data(run_id, "tool.started")[0]["target"].startswith("python3 -c")


def test_what_runs_inside_a_script_of_code_mode_passes_the_gate_as_well(tmp_path: Path, model_stub: ModelStub) -> None:
    script = 'try { await tools.exec_command({cmd: "curl http://127.0.0.1:9"}); } catch (error) { text(`refused: ${error}`); }'
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
