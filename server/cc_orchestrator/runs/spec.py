"""What one run is to do: frozen before anything starts, written once to `spec.json`, read by everybody.

Holds no secret: the prompt is kept masked beside it, with the digest of the text that was really sent.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

from cc_orchestrator.adapters.base import WorkerRequest

VERSION = 1


#: The default of all that have none: shared, so never changed.
_NONE: dict[str, Any] = {}


class Limits(NamedTuple):
    """Budgets of one run. None means no limit. Bytes are of masked worker output that says something (text deltas do not count)."""

    timeout_seconds: float = 1800.0
    silence_seconds: float | None = 600.0
    question_seconds: float = 300.0
    max_output_bytes: int | None = 20_000_000
    soft_output_bytes: int | None = 5_000_000
    max_events_bytes: int | None = 10_000_000
    output_budget_policy: Literal["stop", "truncate"] = "stop"
    kill_on_excessive_output: bool = False
    final_only: bool = False
    final_max_chars: int = 20_000
    max_turns: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    grace_seconds: float = 2.0
    refuse_unknown_cost: bool = False
    on_stall: Literal["report", "nudge", "recover"] = "report"
    resume_on_limit: bool = False


class Scope(NamedTuple):
    """Where a write run may write: globs relative to the repository's root; `deny` wins; no `allow` means all of the tree."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()  # beginnings of command lines; none means those of the tree
    max_diff_lines: int | None = None


class Setup(NamedTuple):
    """What a fresh worktree gets before its worker starts: install commands (argv), seconds for each, links into the checkout.

    `grants` are paths of secret files that `.worktreeinclude` may bring along.
    """

    install: tuple[tuple[str, ...], ...] = ()
    install_seconds: float = 600.0
    links: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()  # variables of the install commands that the worker does not get


class RunSpec(NamedTuple):
    """One run. Paths are absolute; times are epoch seconds."""

    run_id: str
    task_id: str
    created_at: float
    workspace_root: str
    repository: str | None
    cwd: str
    adapter: str
    executable: str
    role: str
    allow_write: bool
    prompt_sha256: str
    prompt_bytes: int
    task: str  # masked and cut: what a person reads in lists
    profile: str | None = None
    model: str | None = None
    base: str | None = None  # commit that the worktree starts from
    branch: str | None = None
    worktree: str | None = None
    subfolder: str = ""  # cwd relative to the root of its checkout
    checkout: str | None = None  # the checkout where the caller stands: the main one or a linked worktree
    resume_session: str | None = None
    fork: bool = False
    parent_run_id: str | None = None
    baseline: dict[str, float] = _NONE
    partial_messages: bool = False
    options: dict[str, Any] = _NONE
    route: dict[str, Any] = _NONE
    declared: tuple[str, ...] = ()  # what the adapter cannot promise for this run
    trust: int = 1  # T0 to T3: the least of what was asked for, the profile and the workspace
    sandbox: str = "none"  # level of host.sandbox that was asked for and is kept
    sandbox_backend: str | None = None
    sandbox_program: str = ""
    sandbox_locks: bool = False  # it can keep the worker from namespaces of its own
    sandbox_hosts: tuple[str, ...] = ()  # `host:port` beside those of the adapter, at fs+net
    workflow: str | None = None  # a label: runs that share it share its budget
    shared_budgets: tuple[str, ...] = ()  # kinds of shared budgets that it fell under at its start
    client_request_id: str | None = None
    secrets: tuple[str, ...] = ()  # granted variables, by name
    actor: str = "controller"
    channel: str = "cli"
    limits: Limits = Limits()
    scope: Scope = Scope()
    setup: Setup = Setup()
    missing: tuple[
        str, ...
    ] = ()  # what the user's checkout has and the worktree's base has not, as the worker was told
    version: int = VERSION

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self._asdict(),
            "limits": self.limits._asdict(),
            "scope": self.scope._asdict(),
            "setup": self.setup._asdict(),
        }


def _known(names: tuple[str, ...], raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key in names}


def from_json(raw: dict[str, Any]) -> RunSpec:
    """From `to_json`; unknown fields of a newer version are ignored. Raises TypeError when something needed is missing."""
    values = _known(RunSpec._fields, raw)
    scope = _known(Scope._fields, cast("dict[str, Any]", values.get("scope") or {}))
    for key in ("allow", "deny", "commands"):
        scope[key] = tuple(scope.get(key) or ())
    values["scope"] = Scope(**scope)
    values["limits"] = Limits(**_known(Limits._fields, cast("dict[str, Any]", values.get("limits") or {})))
    setup = _known(Setup._fields, cast("dict[str, Any]", values.get("setup") or {}))
    setup["install"] = tuple(tuple(argv) for argv in setup.get("install") or ())
    for key in ("links", "grants", "secrets"):
        setup[key] = tuple(setup.get(key) or ())
    values["setup"] = Setup(**setup)
    values["missing"] = tuple(values.get("missing") or ())
    for key in ("declared", "sandbox_hosts", "shared_budgets", "secrets"):
        values[key] = tuple(values.get(key) or ())
    return RunSpec(**values)


def worker_request(
    spec: RunSpec, *, prompt: str, cwd: str, env: dict[str, str], run_dir: str, outbox: str, tree: str | None = None
) -> WorkerRequest:
    """What an adapter gets to see of a run: to check it beforehand, to start it, to replay it."""
    limits = spec.limits
    return WorkerRequest(
        run_id=spec.run_id, prompt=prompt, cwd=cwd, allow_write=spec.allow_write, executable=spec.executable, env=env,
        run_dir=run_dir, outbox=outbox, model=spec.model, resume=spec.resume_session, fork=spec.fork, baseline=spec.baseline,
        max_turns=limits.max_turns, max_tokens=limits.max_tokens, max_cost_usd=limits.max_cost_usd, final_only=limits.final_only,
        partial_messages=spec.partial_messages, options=spec.options, tree=tree, route=spec.route,
        metered=bool(spec.shared_budgets),
    )  # fmt: skip
