"""A real Claude Code and a real Codex as controllers, with our server registered by the installer: they start a run of a real
worker CLI over stdio, wait, verify, accept and read a receipt. Asserted from the artifacts and from what their models received.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kit import clis, homes
from kit.model_stub import ModelStub
from kit.repos import fingerprint, git, make_repo
from kit.stub_script import Call, Request, Script, Turn, call, model_is, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
CLAUDE_SERVER, CODEX_SERVER = "mcp__cc-orchestrator__", "mcp__cc_orchestrator__"
WORKER_CLAUDE = "claude-opus-4-5"
FIXED = "def add(a, b):\n    return a + b\n"
CHECK = "import app, sys\nsys.exit(0 if app.add(2, 3) == 5 else 1)\n"
TASK = "src/app.py subtracts where it has to add. Correct it so that check.py passes."
TEST = "python3 src/check.py"


@pytest.fixture
def worker_stub() -> Iterator[ModelStub]:
    """The workers' model service, apart from the controller's."""
    with ModelStub() as stub:
        yield stub


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(
        tmp_path / "a project", {"src/app.py": "def add(a, b):\n    return a - b\n", "src/check.py": CHECK}
    )


def register(client: str, env: dict[str, str]) -> None:
    """What a user does: the installer, in that user's home."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "install" / "register.py"), "--yes", "--client", client],
        env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def talk(argv: list[str], env: dict[str, str], cwd: Path) -> str:
    """One controller session; its output. It has no terminal and an empty stdin."""
    done = subprocess.run(
        argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, f"{argv[0]} ended {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def controlling_claude(tmp_path: Path, stub: ModelStub) -> dict[str, str]:
    """Claude Code's home. It waits five seconds for a server; a machine full of tests may need longer to start one."""
    env = {**homes.claude_home(tmp_path, stub), "MCP_CONNECT_TIMEOUT_MS": "60000"}
    register("claude", env)
    return env


def controlling_codex(tmp_path: Path, stub: ModelStub, repo: Path) -> dict[str, str]:
    """Codex's home."""
    env = homes.codex_home(tmp_path, stub, (repo,))
    register("codex", env)
    return env


def claude_argv(prompt: str) -> list[str]:
    return [
        clis.claude_path(), "-p", prompt, "--model", homes.CLAUDE_MODEL, "--output-format", "stream-json", "--verbose",
        "--allowedTools", "mcp__cc-orchestrator",
    ]  # fmt: skip


def codex_argv(prompt: str) -> list[str]:
    return [clis.codex_path(), "exec", "--json", "--skip-git-repo-check", "-m", homes.CODEX_MODEL, prompt]


# ---------------------------------------------------------------- what the scripted controller does


def run_id(request: Request) -> str:
    return str(request.result("cc_run_streaming").json()["run_id"])


def loop(server: str, start: dict[str, Any]) -> list[Turn]:
    """start → wait → verify → accept → receipts → read the report; ids come from what the model was given."""

    def ask(name: str, given: Callable[[Request], dict[str, Any]]) -> Turn:
        return Turn(calls=(Call(server + name, given),))

    return [
        ask("cc_run_streaming", lambda _request: start),
        ask("cc_wait", lambda request: {"ids": [run_id(request)], "timeout_seconds": 60}),
        ask("cc_verify", lambda request: {"run_id": run_id(request), "test_commands": [TEST]}),
        ask(
            "cc_accept", lambda request: {"run_id": run_id(request), "decision": "accept", "reason": "its check passes"}
        ),
        ask("cc_read", lambda _request: {"name": "cc_receipts", "arguments": {}}),
        say("All done."),
    ]


def heard(stub: ModelStub, name: str) -> dict[str, Any]:
    """The facts of a tool's last answer, as the model of the controller got them."""
    results = stub.tool_results(name, model="")
    assert results, f"the model never heard of {name}: {[result.name for result in stub.tool_results()]}"
    assert not results[-1].is_error, results[-1].text
    return results[-1].json()


def check_loop(stub: ModelStub, repo: Path, adapter: str, before: dict[str, str]) -> None:
    """The model was told the truth, and the files say the same."""
    started, waited = heard(stub, "cc_run_streaming"), heard(stub, "cc_wait")
    verified, accepted, receipts = heard(stub, "cc_verify"), heard(stub, "cc_accept"), heard(stub, "cc_read")
    run = repo / ".agent-workspace" / "runs" / started["run_id"]
    spec = json.loads((run / "spec.json").read_text(encoding="utf-8"))
    assert (spec["adapter"], spec["allow_write"]) == (adapter, True)
    assert waited["woke"][0]["status"] == "succeeded"
    assert verified["verdict"] == "APPROVE", verified
    assert (accepted["run_id"], accepted["decision"]) == (started["run_id"], "accept")
    result = git(repo, "rev-parse", f"refs/cc/runs/{started['run_id']}")
    assert waited["woke"][0]["summary"]["result"] == result
    assert git(repo, "show", f"{result}:src/app.py") + "\n" == FIXED
    ledger = [json.loads(line) for path in sorted((repo / ".agent-workspace" / "ledger").glob("receipts-*.ndjson"))
              for line in path.read_text(encoding="utf-8").splitlines()]  # fmt: skip
    kinds = [receipt["kind"] for receipt in ledger]
    assert kinds == ["run", "verification", "acceptance"]
    assert {receipt["channel"] for receipt in ledger} == {"mcp"}
    assert [row["kind"] for row in receipts["receipts"]] in (kinds, kinds[::-1])
    assert fingerprint(repo) == before


# ---------------------------------------------------------------- what the workers' models do


def claude_worker() -> Script:
    """Reads the file, corrects it, says so. Its model's name tells it from a controller at the same service."""
    fix = {"file_path": "src/app.py", "old_string": "a - b", "new_string": "a + b"}
    steps = [call("Read", {"file_path": "src/app.py"}), call("Edit", fix), say("add() adds now.")]
    return Script(steps, match=model_is(WORKER_CLAUDE), name="worker")


def codex_worker() -> Script:
    """Corrects the file with a shell command, as Codex's models do."""
    command = "printf 'def add(a, b):\\n    return a + b\\n' > src/app.py"
    return Script([call("exec_command", {"cmd": command}), say("add() adds now.")], name="worker")


FAKE = {
    "gate": True,
    "steps": [{"write": {"path": "src/app.py", "content": FIXED}}, {"result": {"text": "add() adds now."}}],
}


# ---------------------------------------------------------------- the tests


def test_claude_code_hands_work_to_the_bundled_worker(repo: Path, tmp_path: Path, model_stub: ModelStub) -> None:
    env = controlling_claude(tmp_path, model_stub)
    before = fingerprint(repo)
    model_stub.add(Script(loop(CLAUDE_SERVER, {"task": TASK, "adapter": "fake", "allow_write": True, "script": FAKE})))
    talk(claude_argv("Have it corrected."), env, repo)
    check_loop(model_stub, repo, "fake", before)


def test_codex_hands_work_to_the_bundled_worker(repo: Path, tmp_path: Path, model_stub: ModelStub) -> None:
    env = controlling_codex(tmp_path, model_stub, repo)
    before = fingerprint(repo)
    model_stub.add(Script(loop(CODEX_SERVER, {"task": TASK, "adapter": "fake", "allow_write": True, "script": FAKE})))
    talk(codex_argv("Have it corrected."), env, repo)
    check_loop(model_stub, repo, "fake", before)


def test_claude_code_hands_work_to_another_claude_code(repo: Path, tmp_path: Path, model_stub: ModelStub) -> None:
    """Both use the same service, as they do in life; the model's name tells the two apart."""
    env = controlling_claude(tmp_path, model_stub)
    before = fingerprint(repo)
    start = {"task": TASK, "adapter": "claude", "model": WORKER_CLAUDE, "allow_write": True}
    model_stub.add(Script(loop(CLAUDE_SERVER, start), match=model_is(homes.CLAUDE_MODEL)), claude_worker())
    talk(claude_argv("Have it corrected."), env, repo)
    check_loop(model_stub, repo, "claude", before)
    assert [result.name for result in model_stub.tool_results(model=WORKER_CLAUDE)] == ["Read", "Edit"]


def test_claude_code_hands_work_to_codex(
    repo: Path, tmp_path: Path, model_stub: ModelStub, worker_stub: ModelStub
) -> None:
    env = controlling_claude(tmp_path, model_stub)
    env["CODEX_HOME"] = homes.codex_home(tmp_path, worker_stub, (repo,))["CODEX_HOME"]
    env["OPENAI_API_KEY"] = homes.DUMMY_KEY
    config = Path(env["CODEX_HOME"]) / "config.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("STUB_API_KEY", "OPENAI_API_KEY"), encoding="utf-8")
    before = fingerprint(repo)
    start = {"task": TASK, "adapter": "codex", "model": homes.CODEX_MODEL, "allow_write": True}
    model_stub.add(Script(loop(CLAUDE_SERVER, start)))
    worker_stub.add(codex_worker())
    talk(claude_argv("Have it corrected."), env, repo)
    check_loop(model_stub, repo, "codex", before)
    assert TASK in worker_stub.requests[0].prompt


def test_codex_hands_work_to_claude_code(
    repo: Path, tmp_path: Path, model_stub: ModelStub, worker_stub: ModelStub
) -> None:
    """Codex gives its servers five variables; the worker's come through because the installer listed them."""
    env = {**controlling_codex(tmp_path, model_stub, repo), **homes.claude_variables(worker_stub)}
    before = fingerprint(repo)
    start = {"task": TASK, "adapter": "claude", "model": WORKER_CLAUDE, "allow_write": True}
    model_stub.add(Script(loop(CODEX_SERVER, start)))
    worker_stub.add(claude_worker())
    talk(codex_argv("Have it corrected."), env, repo)
    check_loop(model_stub, repo, "claude", before)
    assert TASK in worker_stub.requests[0].prompt


def test_both_clients_show_their_model_the_skill_and_the_loop(
    repo: Path, tmp_path: Path, model_stub: ModelStub
) -> None:
    model_stub.add(Script([say("hello")]))
    talk(claude_argv("hello"), controlling_claude(tmp_path, model_stub), repo)
    talk(codex_argv("hello"), controlling_codex(tmp_path, model_stub, repo), repo)
    for api in ("anthropic", "openai"):
        first = json.dumps(model_stub.of(lambda request, api=api: request.api == api)[0].body)
        assert "cc-orchestrator: Hand bounded work" in first, f"{api}: the skill is not offered"
        assert "cc-orchestrator hands bounded work" in first, f"{api}: the server's instructions are missing"
    listed = model_stub.of(lambda request: request.api == "anthropic")[0].tools
    assert f"{CLAUDE_SERVER}cc_run_streaming" in listed
