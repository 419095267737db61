"""Starts, continues and stops the workers of a review or a fix loop. Every start has an id of its own, so that none starts twice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.host.codex_files import read_codex_files
from cc_orchestrator.host.tree import HELPER
from cc_orchestrator.routing.codex_config import codex_route
from cc_orchestrator.runs.control import append_control, poke
from cc_orchestrator.runs.launch import Continuation, Launched, LaunchRequest, launch
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.spec import Limits
from cc_orchestrator.runs.wait import Watched, WatchedRun, wait_for
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.detached import Owned
from cc_orchestrator.workflow.readiness import require_ready
from cc_orchestrator.workflow.secrets import lend_secrets, with_secrets

STOP_SECONDS = 8.0
#: Nobody answers a reviewer's questions.
QUESTION_SECONDS = 10.0


class Caller(NamedTuple):
    """For whom workers are started."""

    env: Mapping[str, str]
    clock: Clock
    channel: str


def inside_job(owned: Owned) -> Caller:
    """The caller that a job's own process is. What it starts lives on by itself: it must not pass for a helper of the job's."""
    os.environ.pop(HELPER, None)
    return Caller(dict(os.environ), owned.clock, str(owned.request["channel"]))


def cli_route(env: Mapping[str, str], adapter: str, cwd: str) -> dict[str, Any]:
    """What the CLI's own configuration says that its workers need, or must be kept from."""
    return codex_route(*read_codex_files(env, cwd)) if adapter in ("codex", "codex-exec") else {}


def continue_run(
    workspace: Workspace, run: RunDir, text: str, caller: Caller, *, fresh: bool = False, request_id: str | None = None
) -> Launched:  # fmt: skip
    """A follow-up of an ended run in the same conversation, or (`fresh`) in one of its own; in the same worktree either way.

    Raises what `launch` raises. The run must have left a conversation, unless `fresh`.
    """
    old = read_spec(run.spec)
    state = read_run(run).state
    follow = Continuation(
        parent_run_id=run.run_id, session_id=None if fresh else str(state["session_id"]),
        # A run that was ended before its CLI told figures has none: then those before it still count.
        baseline={} if fresh else dict(state["session_totals"] or old.baseline),
        worktree=old.worktree, branch=old.branch, base=old.base,
    )  # fmt: skip
    # What was granted for a time is asked for again: a follow-up may come after its end.
    lent = lend_secrets(workspace, old.secrets, caller.env, old.task_id, caller.clock)
    request = LaunchRequest(
        task=text, task_id=old.task_id, cwd=old.cwd, adapter=old.adapter, role=old.role, profile=old.profile, model=old.model,
        allow_write=old.allow_write, scope=old.scope, limits=old.limits, setup=old.setup, partial_messages=old.partial_messages, options=old.options,
        route=with_secrets(cli_route(caller.env, old.adapter, old.cwd), lent), secrets=old.secrets,
        continues=follow, channel=caller.channel, client_request_id=request_id,
        sandbox=old.sandbox, sandbox_hosts=old.sandbox_hosts, trust=old.trust, workflow=old.workflow,
    )  # fmt: skip
    return launch(workspace, request, caller.env, caller.clock)


class Reader(NamedTuple):
    """A read-only worker that is wanted."""

    adapter: str
    model: str | None
    role: str
    options: dict[str, Any]


def start_reader(
    workspace: Workspace, reader: Reader, text: str, caller: Caller, *, task_id: str, cwd: str, seconds: float, request_id: str
) -> Launched:  # fmt: skip
    """Start it. Raises what `launch` raises."""
    declared = require_ready(caller.env, reader.adapter)
    limits = Limits(timeout_seconds=seconds, question_seconds=QUESTION_SECONDS, final_max_chars=60_000)
    request = LaunchRequest(
        task=text, task_id=task_id, cwd=cwd, adapter=reader.adapter, role=reader.role, model=reader.model, limits=limits,
        options=reader.options, route=cli_route(caller.env, reader.adapter, cwd), channel=caller.channel, client_request_id=request_id,
        declared=declared,
    )  # fmt: skip
    return launch(workspace, request, caller.env, caller.clock)


def await_runs(workspace: Workspace, run_ids: list[str], seconds: float, clock: Clock) -> None:
    """Sleep until all have ended, at most `seconds`; those that have not are ended by force."""
    runs = [RunDir(workspace.run(run_id)) for run_id in run_ids]
    await_all([WatchedRun(run, frozenset()) for run in runs], seconds, clock)
    stop_runs(runs, "it took longer than it was given", clock)


def await_all(watched: list[Watched] | list[WatchedRun], seconds: float, clock: Clock) -> None:
    """Sleep until all of them woke, at most `seconds`."""
    if watched:
        wait_for([*watched], "all", seconds, clock, cancelled=lambda: False, progress=_ignore)


def _ignore(_done: float, _total: float | None, _message: str) -> None:
    return None


def stop_runs(runs: list[RunDir], why: str, clock: Clock) -> None:
    """End those that are live, by force; returns when they ended, or after a few seconds."""
    live = [run for run in runs if read_run(run).state["status"] in LIVE]
    for run in live:
        append_control(run, "stop", clock, force=True, reason=why, actor="workflow", channel="workflow")
        poke(run)
    await_all([WatchedRun(run, frozenset()) for run in live], STOP_SECONDS, clock)
