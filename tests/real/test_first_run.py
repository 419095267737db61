"""First-run states of the real CLIs: each run ends by itself with its reason, or is refused with the gate's name. None waits unseen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Unavailable
from kit import homes
from kit.door import Door
from kit.model_stub import ModelStub
from kit.stub_script import Script, say

pytestmark = [pytest.mark.real_cli, pytest.mark.process, pytest.mark.timeout(120)]
Env = dict[str, str]
#: Far below the silence limit: nothing may be left to it.
SECONDS = 30.0


def put(name: str, text: str) -> Callable[[Env], None]:
    """Writes a file below HOME."""

    def change(env: Env) -> None:
        path = Path(env["HOME"]) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return change


def unset(name: str, *more: Callable[[Env], None]) -> Callable[[Env], None]:
    def change(env: Env) -> None:
        del env[name]
        for step in more:
            step(env)

    return change


def configure(edit: Callable[[str], str]) -> Callable[[Env], None]:
    def change(env: Env) -> None:
        path = Path(env["CODEX_HOME"]) / "config.toml"
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")

    return change


def unchanged(_env: Env) -> None:
    return None


LOGIN = {"claudeAiOauth": {"accessToken": "a", "refreshToken": "b", "expiresAt": 1, "scopes": ["user:inference"]}}
CLAUDE: dict[str, tuple[Callable[[Env], None], str]] = {
    "a fresh home and a key": (unchanged, "completed"),
    "no key": (unset("ANTHROPIC_API_KEY"), "auth_failed"),
    "an expired login": (unset("ANTHROPIC_API_KEY", put(".claude/.credentials.json", json.dumps(LOGIN))), "completed"),
    "a broken login file": (unset("ANTHROPIC_API_KEY", put(".claude/.credentials.json", "{")), "auth_failed"),
    "a broken configuration": (put(".claude.json", "{nope"), "config_broken"),
    "an empty configuration": (put(".claude.json", ""), "completed"),
    "an unfinished onboarding": (put(".claude.json", '{"hasCompletedOnboarding":false}'), "completed"),
    "a folder that nobody trusts": (put(".claude.json", '{"projects":{"/":{"hasTrustDialogAccepted":false}}}'), "completed"),
    "a key that was refused": (put(".claude.json", json.dumps({"customApiKeyResponses": {"rejected": [homes.DUMMY_KEY[-20:]]}})), "completed"),
    "broken settings": (put(".claude/settings.json", "{"), "completed"),
}  # fmt: skip
BARE = "check_for_update_on_startup = false\n[features]\nplugins = false\n"
SLOW = '\n[mcp_servers.x]\ncommand = "sleep"\nargs = ["1000"]\nrequired = true\nstartup_timeout_sec = 3\n'
CODEX: dict[str, tuple[Callable[[Env], None], str]] = {
    "a fresh home and a key": (unchanged, "completed"),
    "no key for its provider": (unset("STUB_API_KEY"), "login_needed"),
    "no login at the built-in provider": (configure(lambda _text: BARE), "login_needed"),
    "a home that is not there": (lambda env: shutil.rmtree(env["CODEX_HOME"]), "home_missing"),
    "a broken configuration": (configure(lambda _text: "model = [nope"), "config_broken"),
    "a provider that is not there": (configure(lambda text: text.replace('model_provider = "stub"', 'model_provider = "gone"')), "no_stream"),
    "a broken login file": (lambda env: put(".codex/auth.json", "{")(env), "completed"),
    "a required server that is missing": (configure(lambda text: text + '\n[mcp_servers.x]\ncommand = "/nowhere"\nrequired = true\n'), "no_stream"),
    "a required server that hangs": (configure(lambda text: text + SLOW), "no_stream"),
}  # fmt: skip


def outcome(tmp_path: Path, stub: ModelStub, env: Env, **start: Any) -> str:
    """How a run ends, or the gate at which it is refused."""
    stub.add(Script([say("ready")]))
    door = Door(tmp_path, env={**env, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    try:
        run_id = door.call("cc_run_streaming", task="hello", **start)["run_id"]
    except Unavailable as refused:
        return refused.message.partition("(")[2].partition(")")[0] if refused.hint else "no hint"
    door.finish(run_id, SECONDS)
    return str(door.state(run_id)["reason"])


@pytest.mark.parametrize("state", CLAUDE)
def test_claude_code_is_never_silently_blocked_by(state: str, tmp_path: Path, model_stub: ModelStub) -> None:
    change, expected = CLAUDE[state]
    env = homes.claude_home(tmp_path, model_stub)
    change(env)
    assert outcome(tmp_path, model_stub, env, adapter="claude", model=homes.CLAUDE_MODEL) == expected


@pytest.mark.parametrize("adapter", ["codex"])
@pytest.mark.parametrize("state", CODEX)
def test_codex_is_never_silently_blocked_by(state: str, adapter: str, tmp_path: Path, model_stub: ModelStub) -> None:
    change, expected = CODEX[state]
    env = homes.codex_home(tmp_path, model_stub)
    change(env)
    assert outcome(tmp_path, model_stub, env, adapter=adapter) == expected


def test_a_canary_proves_one_turn_of_each_cli(tmp_path: Path, model_stub: ModelStub) -> None:
    for _cli in ("claude", "codex"):
        model_stub.add(Script([say("ready")]))
    env = {**homes.codex_home(tmp_path, model_stub), **homes.claude_variables(model_stub)}
    door = Door(tmp_path, env={**env, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    answer = door.call("cc_canary", adapters=["claude", "codex"], timeout_seconds=30)
    assert answer["ok"], answer
    assert ["'ready'" in row["found"] for row in answer["checks"]] == [True, True]


def test_a_canary_says_what_is_wrong(tmp_path: Path, model_stub: ModelStub) -> None:
    env = homes.claude_home(tmp_path, model_stub)
    del env["ANTHROPIC_API_KEY"]
    door = Door(tmp_path, env={**env, "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"]})
    answer = door.call("cc_canary", adapters=["claude"], timeout_seconds=30)
    assert not answer["ok"]
    assert "auth_failed" in answer["checks"][0]["found"]
    assert answer["checks"][0]["fix"]
