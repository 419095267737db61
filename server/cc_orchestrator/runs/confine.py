"""Puts one worker into the sandbox that its spec names: the adapter's command in, the wrapped one out, and what must be undone."""

from __future__ import annotations

import os
from typing import NamedTuple, cast

from cc_orchestrator.adapters.base import Adapter, Footprint, Invocation, WorkerRequest
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.secretfiles import is_secret_file
from cc_orchestrator.host.git import GitError
from cc_orchestrator.host.process import SpawnError
from cc_orchestrator.host.sandbox import (
    BACKENDS,
    Backend,
    CliHome,
    Ground,
    Level,
    SandboxError,
    at_least,
    plan_sandbox,
)
from cc_orchestrator.host.sandbox_find import user_namespace
from cc_orchestrator.host.sandbox_git import git_paths, look
from cc_orchestrator.host.sandbox_ground import (
    Proxy,
    hidden_by_environment,
    is_root,
    needed_paths,
    prepare,
    remove_private,
)
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.runs.tree import lent_paths
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir


class Confined(NamedTuple):
    """What to start, and what holds it. `wrapped`: the process that is started is the sandbox, the worker is below it."""

    invocation: Invocation
    wrapped: bool = False
    commits: bool = True
    proxy: Proxy | None = None
    private: str | None = None

    def close(self) -> None:
        """Undo it, once the worker is gone."""
        if self.proxy is not None:
            self.proxy.close()
        if self.private is not None:
            remove_private(self.private)


def confine(adapter: Adapter, request: WorkerRequest, spec: RunSpec, invocation: Invocation) -> Confined:
    """Wrap it as the spec says, or leave it as it is. Raises SpawnError: a level is never lowered here."""
    if not at_least(spec.sandbox, "fs"):
        return Confined(invocation, commits=adapter.capabilities.commits)
    proxy = None
    try:
        backend = _backend(spec)
        footprint = adapter.footprint(invocation.env, request.route)
        ground = ground_of(spec, request, invocation, footprint)
        prepare(ground, footprint.copied)
        if spec.sandbox == "fs+net":
            proxy = Proxy(spec.run_id, ground.hosts)
            ground = ground._replace(proxy=proxy.path)
        plan = plan_sandbox(cast("Level", spec.sandbox), backend, invocation.argv, invocation.env, ground, look)
    except (SandboxError, GitError, CcError, OSError) as error:
        if proxy is not None:
            proxy.close()
        raise SpawnError(f"the sandbox {spec.sandbox} cannot be kept: {error}") from error
    commits = adapter.capabilities.commits and backend.name == "bubblewrap"
    return Confined(invocation._replace(argv=plan.argv, env=plan.env), plan.wrapped, commits, proxy, ground.private)


def _backend(spec: RunSpec) -> Backend:
    """What launch tried and found; should it work no more, then the worker does not start."""
    if spec.sandbox_backend not in BACKENDS:
        raise SandboxError(f"the spec names no sandbox ({spec.sandbox_backend})")
    return Backend(
        spec.sandbox_backend,
        spec.sandbox_program,
        user_namespace(spec.sandbox_locks),
        spec.sandbox_locks,
    )


def linked_paths(spec: RunSpec) -> list[str]:
    """Folders of the checkout that the worktree has links to."""
    lent = lent_paths(spec) if spec.allow_write and spec.setup.links else []
    return [os.path.realpath(os.path.join(spec.checkout or "", path)) for path in spec.setup.links if path in lent]


def _secret_files(folders: set[str]) -> list[str]:
    """Files at the top of what a reader sees that hold secrets by their name. A writer's tree has only what is committed."""
    found: list[str] = []
    for folder in sorted(folders):
        found += [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if is_secret_file(name)]
    return found


def ground_of(spec: RunSpec, request: WorkerRequest, invocation: Invocation, footprint: Footprint) -> Ground:
    """Where this worker stands. Raises SandboxError."""
    workspace = Workspace(spec.workspace_root, spec.repository)
    run = RunDir(request.run_dir)
    real = os.path.realpath
    home = real(invocation.env.get("HOME") or os.path.expanduser("~"))
    tree = spec.worktree if spec.allow_write and spec.worktree else spec.checkout or spec.cwd
    cli = None
    if footprint.home is not None:
        cli = CliHome(
            real(footprint.home), workspace.cli_home(spec.task_id, spec.adapter), footprint.shared, footprint.readable, footprint.variable
        )  # fmt: skip
    return Ground(
        run_id=spec.run_id, cwd=real(request.cwd), tree=real(tree), may_write=spec.allow_write, outbox=run.outbox, private=run.private,
        home=home, workspace=workspace.folder, checkout=spec.repository if spec.allow_write else None,
        git=git_paths(tree, spec.branch) if spec.repository is not None else None, cli=cli,
        hidden=(*hidden_by_environment(os.environ), *(() if spec.allow_write else _secret_files({real(tree), real(request.cwd)}))),
        readable=(*needed_paths(spec.executable, invocation.env), *(path for path, _text in invocation.files), *linked_paths(spec)),
        writable=(invocation.scratch,) if invocation.scratch else (), nests=footprint.nests, is_root=is_root(),
        hosts=tuple(dict.fromkeys((*footprint.hosts, *spec.sandbox_hosts))),
    )  # fmt: skip
