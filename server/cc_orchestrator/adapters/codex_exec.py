"""Codex by `codex exec --json`, the lesser way: one prompt by stdin, one turn, events as JSON lines, then the exit.

Its own sandbox is what holds the worker: nothing is asked and nobody can steer it. Execpolicy rules (which may lift commands out
of the sandbox) are ignored. `sandbox`, `-C` and `--add-dir` stand before `resume` and `fork`, which do not take them themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cc_orchestrator.adapters import codex_settings as common
from cc_orchestrator.adapters.base import Capabilities, Footprint, Invocation, WorkerRequest
from cc_orchestrator.adapters.codex_stream import CodexExecSession


class CodexExecAdapter:
    """See `base.Adapter`."""

    name = "codex-exec"
    capabilities = Capabilities(
        steer=False, interrupt=False, questions=False, gates_every_call=False, resume=True, fork=True, commits=False,
        turns="never", tokens="end", cost="never",
    )  # fmt: skip
    executables: tuple[str, ...] = common.EXECUTABLES
    executable_env = common.EXECUTABLE_ENV
    env_allow: tuple[str, ...] = common.ENV_ALLOW
    secret_env: tuple[str, ...] = common.SECRET_ENV

    def check(self, request: WorkerRequest) -> list[str]:
        """What Codex would misunderstand."""
        return common.check_request(request)

    def declare(self, request: WorkerRequest) -> list[str]:
        """Limits that it gives no figures for, and that no tool call passes our policy."""
        declared = [
            "codex-exec asks nobody before it acts and cannot be steered: its own sandbox is what holds it; adapter codex can both"
        ]
        if request.max_turns is not None:
            declared.append("codex-exec does not tell model turns: max_turns is not kept")
        if request.max_cost_usd is not None:
            declared.append(
                "codex tells neither its cost nor its model: max_cost_usd counts, at the end, what a price table makes of its tokens"
            )
        if request.max_tokens is not None:
            declared.append("codex-exec tells tokens at the end only: max_tokens cannot stop it before")
        return declared

    def invocation(self, request: WorkerRequest) -> Invocation:
        """`codex exec`, with the prompt to come by stdin."""
        argv = [request.executable or "codex", "exec", "--json", "--color", "never"]
        env, scratch = dict(request.env), None
        if request.allow_write:
            scratch = env["TMPDIR"] = common.scratch_of(request)
            argv += ["--sandbox", "workspace-write"]
            for root in common.writable_roots(request):
                argv += ["--add-dir", root]
        else:
            # Outside git Codex refuses to start; a run that cannot write needs no git to be undone by.
            argv += ["--sandbox", "read-only", "--skip-git-repo-check"]
        argv += ["-C", request.cwd, "--ignore-rules"]
        if request.model:
            argv += ["-m", request.model]
        settings = ['approval_policy="never"', *common.settings_of(request)]
        if request.options.get("hooks") is not True:
            settings.append("features.hooks=false")
        if request.allow_write:
            settings.append("sandbox_workspace_write.writable_roots=[]")
        for setting in settings:
            argv += ["-c", setting]
        if request.resume:
            argv += ["fork" if request.fork else "resume", request.resume]
        return Invocation((*argv, "-"), env, "pipe", scratch=scratch)

    def footprint(self, env: Mapping[str, str], route: Mapping[str, Any]) -> Footprint:
        """See `codex_settings`."""
        return common.footprint_of(env, route)

    def session(self, request: WorkerRequest) -> CodexExecSession:
        """A fresh session."""
        return CodexExecSession(request)
