"""Claude Code: bidirectional stream-json, every tool call through our policy. Measured with 2.1.329.

`--permission-mode default` for readers and writers alike: the gate (a PreToolUse callback) sees every call and its word comes
first, so the mode decides only what happens should the gate be missing, and then `default` asks. `plan` would put the CLI's own
planning workflow in place of the task (it writes a plan file below the user's home and must end with ExitPlanMode), and
`acceptEdits` would let edits pass without the gate.

No settings of the user or the project are loaded (`--setting-sources ""`: no hooks, plugins, permission rules, environment of
settings files), and no MCP server. The project's CLAUDE.md is read, by way of `--add-dir`. The login and the environment count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.adapters.base import Capabilities, Footprint, Invocation, WorkerRequest, host_of
from cc_orchestrator.adapters.claude_session import ClaudeSession

#: Tools that leave the run's tree, outlive the run, or wait for a person at a terminal.
_DISALLOWED = (
    "EnterPlanMode", "ExitPlanMode", "EnterWorktree", "ExitWorktree", "CronCreate", "CronDelete", "CronList", "ScheduleWakeup",
)  # fmt: skip
#: CLAUDE.md of added folders is read. `@path` in a task is not: it would put any file of the machine before the model without
#: passing the gate.
_FIXED_ENV = {"CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD": "1", "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1"}
_MAX_MODEL = 200


class ClaudeAdapter:
    """See `base.Adapter`."""

    name = "claude"
    capabilities = Capabilities(
        steer=True, interrupt=True, questions=True, gates_every_call=True, resume=True, fork=True, commits=True,
        turns="live", tokens="live", cost="live",
    )  # fmt: skip
    executables: tuple[str, ...] = ("claude",)
    executable_env = "CLAUDE_CODE_BIN"
    env_allow: tuple[str, ...] = (
        # access and models
        "ANTHROPIC_*", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_REFRESH_TOKEN", "CLAUDE_CODE_OAUTH_SCOPES", "CLAUDE_CONFIG_DIR",
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS", "CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY", "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE",
        "CLAUDE_CODE_CERT_STORE", "CLAUDE_CODE_EXTRA_BODY", "CLAUDE_CODE_SUBAGENT_MODEL", "CLAUDE_CODE_EFFORT_LEVEL",
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS", "CLAUDE_CODE_MAX_CONTEXT_TOKENS", "MAX_THINKING_TOKENS", "CLAUDE_CODE_DISABLE_1M_CONTEXT",
        "CLAUDE_CODE_DISABLE_ADAPTIVE_THINKING", "CLAUDE_CODE_DISABLE_THINKING", "DISABLE_INTERLEAVED_THINKING",
        "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS", "CLAUDE_CODE_DISABLE_FAST_MODE", "DISABLE_PROMPT_CACHING*",
        # the clouds that serve it
        "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_MANTLE",
        "CLAUDE_CODE_USE_ANTHROPIC_AWS", "CLAUDE_CODE_USE_GATEWAY", "CLAUDE_CODE_SKIP_BEDROCK_AUTH", "CLAUDE_CODE_SKIP_VERTEX_AUTH",
        "CLAUDE_CODE_SKIP_FOUNDRY_AUTH", "CLAUDE_CODE_SKIP_MANTLE_AUTH", "AWS_*", "VERTEX_REGION_*", "CLOUD_ML_REGION",
        "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET",
        "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE",
        # behaviour
        "API_TIMEOUT_MS", "CLAUDE_CODE_MAX_RETRIES", "CLAUDE_STREAM_IDLE_TIMEOUT_MS", "CLAUDE_ENABLE_STREAM_WATCHDOG",
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK", "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_TIMEOUT_MS", "BASH_MAX_OUTPUT_LENGTH",
        "CLAUDE_BASH_MAINTAIN_PROJECT_WORKING_DIR", "CLAUDE_CODE_SHELL", "CLAUDE_CODE_GIT_BASH_PATH", "CLAUDE_CODE_TMPDIR",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
        "CLAUDE_CODE_AUTO_COMPACT_WINDOW", "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE", "DISABLE_AUTO_COMPACT", "DISABLE_COMPACT",
        "CLAUDE_CODE_MAX_TOOL_USE_CONCURRENCY", "CLAUDE_CODE_MAX_CONCURRENT_SUBAGENTS", "USE_BUILTIN_RIPGREP",
        "CLAUDE_CODE_PROXY_RESOLVES_HOSTS", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY", "DISABLE_ERROR_REPORTING", "DISABLE_COST_WARNINGS",
        "CLAUDE_CODE_ENABLE_TELEMETRY", "OTEL_*",
    )  # fmt: skip
    secret_env: tuple[str, ...] = (
        "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_AWS_API_KEY", "ANTHROPIC_FOUNDRY_API_KEY",
        "ANTHROPIC_FOUNDRY_AUTH_TOKEN", "ANTHROPIC_IDENTITY_TOKEN", "ANTHROPIC_ENVIRONMENT_KEY", "ANTHROPIC_WORK_SECRET",
        "ANTHROPIC_WEBHOOK_SIGNING_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
        "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK",
        "AZURE_CLIENT_SECRET", "OTEL_EXPORTER_OTLP_HEADERS",
    )  # fmt: skip

    def check(self, request: WorkerRequest) -> list[str]:
        """What cannot be passed on."""
        problems: list[str] = []
        model = request.model
        if model is not None and (not model.strip() or model.startswith("-") or len(model) > _MAX_MODEL):
            problems.append(f"model must be a name of 1 to {_MAX_MODEL} characters that does not begin with a dash")
        if request.resume is not None and (not request.resume or request.resume.startswith("-")):
            problems.append("the session to resume must be an id of Claude Code")
        return problems

    def declare(self, request: WorkerRequest) -> list[str]:
        """Budgets of tokens and cost are read after each turn: the turn that crosses one is still paid."""
        if request.max_tokens is None and request.max_cost_usd is None and not request.metered:
            return []
        return ["tokens and cost are read after each turn: the turn that uses a budget up is still paid"]

    def invocation(self, request: WorkerRequest) -> Invocation:
        """Nothing of the task is in argv: the prompt comes by stdin."""
        argv = [
            request.executable, "--print", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose",
            "--permission-prompt-tool", "stdio", "--permission-mode", "default", "--strict-mcp-config", "--setting-sources", "",
            "--disable-slash-commands", "--disallowedTools", ",".join(_DISALLOWED), "--add-dir", request.cwd,
        ]  # fmt: skip
        for flag, value in (
            ("--model", request.model),
            ("--resume", request.resume),
            ("--max-turns", request.max_turns),
        ):
            if value is not None:
                argv += [flag, str(value)]
        if request.resume is not None and request.fork:
            argv.append("--fork-session")
        if request.partial_messages:
            argv.append("--include-partial-messages")
        env = {"DISABLE_AUTOUPDATER": "1", **request.env, **_FIXED_ENV}
        return Invocation(tuple(argv), env, "pipe")

    def footprint(self, env: Mapping[str, str], route: Mapping[str, Any]) -> Footprint:
        """`~/.claude` (or CLAUDE_CONFIG_DIR) and `~/.claude.json`; only the login is shared with the user's own sessions."""
        user = env.get("HOME", "")
        own = env.get("CLAUDE_CONFIG_DIR")
        service = host_of(env.get("ANTHROPIC_BASE_URL", "")) or "api.anthropic.com:443"
        return Footprint(
            home=own or os.path.join(user, ".claude"), variable="CLAUDE_CONFIG_DIR", shared=(".credentials.json",),
            readable=("CLAUDE.md",), copied=() if own else (os.path.join(user, ".claude.json"),),
            hosts=(service, "platform.claude.com:443", "console.anthropic.com:443"),
        )  # fmt: skip

    def session(self, request: WorkerRequest) -> ClaudeSession:
        """A fresh session."""
        return ClaudeSession(request)
