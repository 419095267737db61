"""From a request to a running supervisor: spec, folder, lock, bell, detach, and a bounded wait for the first sign of life.

The folder becomes visible only when it is complete and its lock is held; the lock and the bell travel to the supervisor.
The same `client_request_id` gives the same run, however often and from however many doors it comes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

from cc_orchestrator.adapters.base import Adapter
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError, InvalidRequest, LimitReached, Unavailable
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import cut
from cc_orchestrator.host import bell as bells
from cc_orchestrator.host.detach import detach_light
from cc_orchestrator.routing.prices import Table, price_of
from cc_orchestrator.runs.accounts import enter, leave, read_budgets
from cc_orchestrator.runs.budgets import Budgets, has_money, tighten
from cc_orchestrator.runs.closing import index_row
from cc_orchestrator.runs.failures import describe_failure
from cc_orchestrator.runs.first_sign import first_sign
from cc_orchestrator.runs.fold import State, fold
from cc_orchestrator.runs.level import choose_level
from cc_orchestrator.runs.pricing import keep_prices, load_prices, money_gap
from cc_orchestrator.runs.prompt import render_prompt
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.recorder import write_ballast
from cc_orchestrator.runs.requests import claim_request
from cc_orchestrator.runs.spec import Limits, RunSpec, Scope, Setup, worker_request
from cc_orchestrator.runs.tree import head_commit, tell_missing
from cc_orchestrator.store import atomic, index, lock
from cc_orchestrator.store.journal import Journal
from cc_orchestrator.store.paths import FOLDER, Workspace, checkout_of, existing_folder
from cc_orchestrator.store.rundir import RunDir, hidden_folder, mark_open, mark_settled, reveal

#: How long an answer waits for `run.started`. A checkout that takes longer is made while the caller goes on.
START_SECONDS = 0.6
START_SECONDS_WRITE = 0.2


@dataclass(frozen=True)
class Continuation:
    """What a follow-up run takes over from the one that it continues. Without a session it starts a conversation of its own."""

    parent_run_id: str
    session_id: str | None
    baseline: dict[str, float]
    worktree: str | None
    branch: str | None
    base: str | None
    fork: bool = False


@dataclass(frozen=True)
class LaunchRequest:
    """One run as a caller asks for it; everything is checked before anything is made."""

    task: str
    task_id: str
    cwd: str
    adapter: str = "claude"
    role: str = "implementation"
    profile: str | None = None
    model: str | None = None
    context: str = ""
    allow_write: bool = False
    scope: Scope = field(default_factory=Scope)
    limits: Limits = field(default_factory=Limits)
    setup: Setup = field(default_factory=Setup)
    partial_messages: bool = False
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    route: dict[str, Any] = field(default_factory=dict[str, Any])  # names only, never a secret
    client_request_id: str | None = None
    continues: Continuation | None = None
    sandbox: str | None = None  # a level of host.sandbox; None: worktree for a write run, none for a reader
    sandbox_hosts: tuple[str, ...] = ()
    workflow: str | None = None  # a label whose runs share a budget
    secrets: tuple[str, ...] = ()  # granted variables, by name
    trust: int = 1
    declared: tuple[str, ...] = ()  # what is known beforehand that may keep it from succeeding
    actor: str = "controller"
    channel: str = "cli"


class _Means(NamedTuple):
    """What money there is, and what things cost."""

    budgets: Budgets
    prices: Table


class Launched(NamedTuple):
    """The run, its state at the moment of the answer, and whether this call made it."""

    spec: RunSpec
    state: State
    created: bool


def launch(workspace: Workspace, request: LaunchRequest, env: Mapping[str, str], clock: Clock) -> Launched:
    """Start one run. Raises InvalidRequest, Conflict, LimitReached, Unavailable, Busy, Corrupt; then nothing was started."""
    adapter = find_adapter(request.adapter)
    means = _Means(read_budgets(workspace), load_prices(workspace, env))
    with claim_request(workspace, request.client_request_id, _digest(request)) as claim:
        # A claim without a folder: its maker died before the run was visible, so this call makes it.
        if claim.run_id is not None and os.path.isdir(workspace.run(claim.run_id)):
            return _existing(workspace, claim.run_id)
        spec, prompt = _spec(workspace, request, adapter, means, env, clock)
        claim.settle(spec.run_id)
        try:
            run = _make_folder(workspace, spec, prompt, means, clock)
        except BaseException:
            claim.withdraw()
            raise
    spec = run.spec
    _start(workspace, run, spec, prompt, env, clock)
    limit = START_SECONDS_WRITE if spec.allow_write else START_SECONDS
    return Launched(spec, first_sign(run.run, clock, limit), True)


def _digest(request: LaunchRequest) -> str:
    """What makes two requests the same: everything but the task id, which is made on the spot, and what we looked up."""
    plain = asdict(replace(request, task_id="", channel="", actor="", route={}, declared=()))
    return hashlib.sha256(repr(sorted(plain.items())).encode()).hexdigest()


def _existing(workspace: Workspace, run_id: str) -> Launched:
    run = RunDir(workspace.existing_run(run_id))
    return Launched(read_spec(run.spec), read_run(run).state, False)


# ---------------------------------------------------------------- what it will be


def _spec(
    workspace: Workspace, request: LaunchRequest, adapter: Adapter, means: _Means, env: Mapping[str, str], clock: Clock
) -> tuple[RunSpec, str]:  # fmt: skip
    cwd = existing_folder(request.cwd)
    executable = find_executable(adapter, env)
    now = clock.now()
    run_id = new_id("run", now=now)
    run = RunDir(workspace.run(run_id))
    place = _place(workspace, request, cwd)
    prompt = render_prompt(
        request.task, context=request.context, role=request.role, allow_write=request.allow_write, scope=request.scope,
        outbox=run.outbox, missing=place.get("missing", ()),
    )  # fmt: skip
    level, backend = choose_level(request.sandbox, request.sandbox_hosts, cwd, env, may_write=request.allow_write)
    spec = RunSpec(
        run_id=run_id, task_id=request.task_id, created_at=now, workspace_root=workspace.root, repository=workspace.repository,
        cwd=cwd, adapter=adapter.name, executable=executable, role=request.role, allow_write=request.allow_write,
        prompt_sha256=hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest(), prompt_bytes=len(prompt.encode("utf-8", "replace")),
        task=cut(mask_text(request.task), 2_000), profile=request.profile, model=request.model,
        partial_messages=request.partial_messages, options=request.options, route=request.route, client_request_id=request.client_request_id,
        actor=request.actor, channel=request.channel, limits=tighten(request.limits, means.budgets, request.model), scope=request.scope,
        workflow=request.workflow,
        sandbox=level, sandbox_backend=backend.name if backend else None,
        sandbox_program=backend.program if backend else "", sandbox_locks=bool(backend and backend.locks_namespaces),
        sandbox_hosts=request.sandbox_hosts, secrets=request.secrets, trust=request.trust if request.allow_write else 0, **place,
    )  # fmt: skip
    probe = worker_request(spec, prompt=prompt, cwd=spec.cwd, env={}, run_dir=run.path, outbox=run.outbox)
    problems = adapter.check(probe)
    if problems:
        raise InvalidRequest(
            f"{adapter.name} cannot do this: " + "; ".join(problems), hint="change the named parameters"
        )
    declared = (
        *request.declared,
        *adapter.declare(probe),
        *_money_gaps(spec, adapter, means),
        *(backend.gaps if backend else ()),
    )
    return spec._replace(declared=declared), prompt


def _money_gaps(spec: RunSpec, adapter: Adapter, means: _Means) -> tuple[str, ...]:
    """What a budget of money is worth for this CLI and model. LimitReached: the workspace refuses what has no known cost."""
    if not has_money(spec.limits, means.budgets):
        return ()
    gap = money_gap(adapter.capabilities, spec.model, means.prices)
    if gap is not None and spec.limits.refuse_unknown_cost and price_of(means.prices, spec.model) is None:
        raise LimitReached(
            f"{gap}; this workspace refuses that (unknown_cost: refuse)",
            hint='name a model that has a price, or give it one in prices.json: {"models":{"…":{"input":1,"output":4}}}',
        )
    return (gap,) if gap is not None else ()


def _place(workspace: Workspace, request: LaunchRequest, cwd: str) -> dict[str, Any]:
    """Worktree, branch and base of a write run; what a follow-up takes over."""
    # Where the caller stands; with a workspace set from outside that may be no checkout at all.
    checkout = checkout_of(cwd) or workspace.repository
    out: dict[str, Any] = {"checkout": checkout if workspace.repository is not None else None}
    follow = request.continues
    if follow is not None:
        out.update(
            parent_run_id=follow.parent_run_id, resume_session=follow.session_id, fork=follow.fork, baseline=follow.baseline
        )  # fmt: skip
    if not request.allow_write:
        return out
    if workspace.repository is None or checkout is None:
        raise InvalidRequest(
            f"{workspace.root} is not a git repository: a run that writes needs one, because its result is a commit",
            hint="git init and commit, or start it read-only (allow_write=false)",
        )
    base = follow.base if follow is not None and follow.base else head_commit(checkout)
    if base is None:
        raise InvalidRequest(
            f"{checkout} has no commit yet: a worktree needs one to start from", hint="make a first commit"
        )
    out.update(base=base, setup=request.setup)
    if follow is None:
        out["missing"] = tell_missing(checkout, request.setup)
    out["worktree"] = (follow.worktree if follow is not None else None) or workspace.worktree(request.task_id)
    out["branch"] = (follow.branch if follow is not None else None) or f"cc/{request.task_id}"
    subfolder = os.path.relpath(cwd, checkout)
    inside = subfolder != "." and not subfolder.startswith("..") and not subfolder.startswith(FOLDER)
    out["subfolder"] = subfolder if inside else ""
    return out


def find_executable(adapter: Adapter, env: Mapping[str, str]) -> str:
    """The CLI's absolute path; Unavailable when it is not installed."""
    if not adapter.executables:
        return sys.executable
    wanted = env.get(adapter.executable_env) if adapter.executable_env else None
    for name in (wanted,) if wanted else adapter.executables:
        found = shutil.which(name, path=env.get("PATH"))
        if found:
            return os.path.abspath(found)
    looked = f"{adapter.executable_env}={wanted}" if wanted else f"{', '.join(adapter.executables)} on PATH"
    raise Unavailable(
        f"the CLI of adapter {adapter.name} is not installed: looked for {looked}", hint="cc_doctor; or another adapter"
    )


# ---------------------------------------------------------------- making it


class _Made(NamedTuple):
    spec: RunSpec
    run: RunDir
    lock_fd: int
    bell: bells.Bell | None


def _make_folder(workspace: Workspace, spec: RunSpec, prompt: str, means: _Means, clock: Clock) -> _Made:
    hidden, lock_fd = hidden_folder(workspace.runs, spec.run_id)
    bell, entered = None, False
    try:
        # Under the lock of its own folder: what it takes of a budget is not taken for a dead run's.
        spec = spec._replace(shared_budgets=enter(workspace, means.budgets, spec))
        entered = True
        keep_prices(hidden, means.prices)
        atomic.write_json(hidden.spec, spec.to_json())
        atomic.write_text(hidden.at("prompt.md"), mask_text(prompt))
        write_ballast(hidden.path)
        bell = _make_bell(hidden, spec.run_id)
        journal = Journal(hidden.journal, spec.run_id, clock)
        try:
            journal.append([_created(spec)], correlation_id=spec.task_id, actor=spec.actor)
            journal.sync()
        finally:
            journal.close()
        # Before the folder is visible: whoever dies from here on is found by a sweep.
        mark_open(workspace.runs, spec.run_id)
        run = reveal(hidden, workspace.runs, spec.run_id)
    except BaseException:
        if entered:
            _take_back(workspace, spec)
        mark_settled(workspace.runs, spec.run_id)
        if bell is not None:
            bell.close()
        shutil.rmtree(hidden.path, ignore_errors=True)
        os.close(lock_fd)
        raise
    if sys.platform == "win32":
        # A lock is not handed over there: the supervisor takes it itself.
        os.close(lock_fd)
        lock_fd = -1
    return _Made(spec, run, lock_fd, bell)


def _take_back(workspace: Workspace, spec: RunSpec) -> None:
    try:
        leave(workspace, spec)
    except (OSError, CcError):
        # Its folder will be gone: whoever needs what it holds takes it for dead.
        pass


def _make_bell(hidden: RunDir, run_id: str) -> bells.Bell | None:
    try:
        path = bells.new_path(run_id)
    except OSError:
        # Without sockets (Windows, a read-only runtime folder) waiters fall back to looking once a tick.
        return None
    # The name first, the socket after it: a launch that dies here leaves no socket that nobody knows of.
    atomic.write_text(hidden.bell, path)
    try:
        return bells.Bell.create(path)
    except OSError:
        os.unlink(hidden.bell)
        return None


def _created(spec: RunSpec) -> Fact:
    data: dict[str, Any] = {
        "run_id": spec.run_id, "task_id": spec.task_id, "adapter": spec.adapter, "role": spec.role, "model": spec.model,
        "allow_write": spec.allow_write, "cwd": spec.cwd, "prompt_sha256": spec.prompt_sha256, "parent_run_id": spec.parent_run_id,
        "channel": spec.channel,
    }  # fmt: skip
    if spec.scope.allow or spec.scope.deny:
        data["scope"] = {"allow": list(spec.scope.allow), "deny": list(spec.scope.deny)}
    return Fact(ev.RUN_CREATED, {key: value for key, value in data.items() if value is not None})


def _start(workspace: Workspace, made: _Made, spec: RunSpec, prompt: str, env: Mapping[str, str], clock: Clock) -> None:
    run = made.run
    try:
        index.put(workspace.index, [index_row(spec, {**fold(()), "status": "starting"})])
    except OSError:
        pass
    bell_fd = made.bell.fileno() if made.bell is not None else -1
    failure: OSError | CcError | None = None
    try:
        with tempfile.TemporaryFile() as file:
            file.write(prompt.encode("utf-8", "replace"))
            file.flush()
            file.seek(0)
            detach_light(
                "cc_orchestrator.runs.supervisor", [run.path, str(made.lock_fd), str(bell_fd)], cwd=workspace.root, env=env,
                stdin_fd=file.fileno(), pass_fds=[fd for fd in (made.lock_fd, bell_fd) if fd >= 0], stderr_path=run.log,
            )  # fmt: skip
    except (OSError, CcError) as error:
        failure = error
    finally:
        if made.lock_fd >= 0:
            os.close(made.lock_fd)
        if made.bell is not None:
            made.bell.release()
    if failure is not None and _record_failure(run, clock, failure):
        raise Unavailable(
            f"the supervisor of {spec.run_id} could not be started: {failure}", hint="cc_doctor"
        ) from failure


def _record_failure(run: RunDir, clock: Clock, error: Exception) -> bool:
    """Write the end, if nobody owns the run: a supervisor may live although its start looked like a failure."""
    held = lock.take(run.lock)
    if held is None:
        return False
    journal = Journal(run.journal, run.run_id, clock)
    try:
        failure = describe_failure("spawn_failed", now=clock.now(), seed=run.run_id)
        told = {"status": "failed", "reason": "spawn_failed", "detail": cut(str(error), 300), "failure": failure}
        journal.append([Fact(ev.RUN_FINISHED, told)])
        journal.sync()
    finally:
        journal.close()
        os.close(held)
    return True
