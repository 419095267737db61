"""Codex by its app-server protocol: every tool call through our policy, steerable, with its own sandbox around it. Measured with 0.169.0.

Three things hold a worker, in this order:

- the gate (`codex_gate.py`): a PreToolUse hook that asks us before each call. Approvals are no such gate: under `untrusted` a
  command that was accepted is run again *without* the sandbox when the sandbox stops it, and nobody is asked;
- Codex's sandbox, under `on-request`: what it stops stays stopped, and what wants to leave it is asked for, each time;
- the settings of `codex_settings`. `tty` is off: what is typed into a running terminal passes no hook. So are goals, which begin
  turns by themselves.

Hooks run only when they are trusted, so the session names ours with its hash when it starts the thread, and switches all others
off. A prompt is sent when Codex has confirmed that, and not before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.adapters import codex_gate
from cc_orchestrator.adapters import codex_settings as common
from cc_orchestrator.adapters.base import Capabilities, Footprint, Invocation, WorkerRequest
from cc_orchestrator.adapters.codex_session import CodexSession
from cc_orchestrator.adapters.codex_settings import toml

#: The gate may wait as long as a question may: a hook that runs out of time lets the call pass.
_PATIENCE = 30 * 86_400


class CodexAdapter:
    """See `base.Adapter`."""

    name = "codex"
    capabilities = Capabilities(
        steer=True, interrupt=True, questions=True, gates_every_call=True, resume=True, fork=True, commits=False,
        turns="live", tokens="live", cost="never", settles=True,
    )  # fmt: skip
    executables: tuple[str, ...] = common.EXECUTABLES
    executable_env = common.EXECUTABLE_ENV
    env_allow: tuple[str, ...] = common.ENV_ALLOW
    secret_env: tuple[str, ...] = common.SECRET_ENV

    def check(self, request: WorkerRequest) -> list[str]:
        """What Codex would misunderstand."""
        return common.check_request(request)

    def declare(self, request: WorkerRequest) -> list[str]:
        """What it gives no figures for, and what the gate does not see."""
        declared = [
            "should the hook by which codex asks us fail, it lets that call pass, in its sandbox; the run is then ended"
        ]
        if request.max_cost_usd is not None:
            declared.append("codex does not tell its cost: max_cost_usd counts what a price table makes of its tokens")
        if request.max_tokens is not None:
            declared.append(
                "tokens are read after each request to the model: the one that uses a budget up is still paid"
            )
        if request.options.get("web_search") is True:
            declared.append("searches of the web are made by the model's service and pass no policy")
        if request.options.get("hooks") is True:
            declared.append("your own hooks run as well, where you trust them")
        return declared

    def invocation(self, request: WorkerRequest) -> Invocation:
        """`codex app-server`. Which thread, and the prompt, are said by stdin."""
        argv = [request.executable or "codex", "app-server"]
        env, scratch = dict(request.env), None
        gate = os.path.abspath(codex_gate.__file__)
        server = (
            f"{codex_gate.SERVER}={{command={toml(os.path.realpath(sys.executable))},args=[\"-I\",\"-S\",{toml(gate)}],required=true,"
            f"startup_timeout_sec=60,tool_timeout_sec={_PATIENCE}}}"
        )  # fmt: skip
        settings = [
            *common.settings_of(request, (server,)), f"hooks.PreToolUse=[{{hooks=[{codex_gate.hook(_PATIENCE)}]}}]",
            "features.hooks=true", "features.unified_exec_tty=false", "features.goals=false",
            "features.default_mode_request_user_input=true", "suppress_unstable_features_warning=true",
        ]  # fmt: skip
        if request.allow_write:
            scratch = env["TMPDIR"] = common.scratch_of(request)
            roots = ",".join(toml(root) for root in common.writable_roots(request))
            settings.append(f"sandbox_workspace_write.writable_roots=[{roots}]")
        for setting in settings:
            argv += ["-c", setting]
        return Invocation(tuple(argv), env, "pipe", scratch=scratch)

    def footprint(self, env: Mapping[str, str], route: Mapping[str, Any]) -> Footprint:
        """See `codex_settings`."""
        return common.footprint_of(env, route)

    def session(self, request: WorkerRequest) -> CodexSession:
        """A fresh session."""
        return CodexSession(request)
