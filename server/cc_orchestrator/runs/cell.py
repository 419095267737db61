"""Holds commands of ours that execute what a worker wrote (tests, gates, installs, claims) in the level that its run had.

A `Cell` says which level; `Held` keeps it for one checkout: a home, a temporary folder and copies of git's files of its own,
all thrown away. A level that cannot be kept starts nothing: the command's outcome is `not_started`, never a lower level.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.secretfiles import is_secret_file
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command, Ran, run_command
from cc_orchestrator.host.git import GitError
from cc_orchestrator.host.process import SpawnError
from cc_orchestrator.host.sandbox import LEVELS, Backend, Ground, Level, SandboxError, at_least, is_within, plan_sandbox
from cc_orchestrator.host.sandbox_find import find_program, find_sandbox
from cc_orchestrator.host.sandbox_git import copy_admin, git_paths, look
from cc_orchestrator.host.sandbox_ground import (
    Proxy,
    hidden_by_environment,
    is_root,
    needed_paths,
    prepare,
    remove_private,
)
from cc_orchestrator.host.tree import MARKER, Tree
from cc_orchestrator.runs.confine import linked_paths
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.paths import Workspace

#: How a sandbox that could not be set up says so: its exit, and how its last line begins.
_BROKEN = {"bubblewrap": (1, "bwrap: "), "nono": (125, "sandbox: "), "landlock": (125, "sandbox: ")}
_SIGNALLED = 128


class Cell(NamedTuple):
    """Which level holds commands. `run`: what the run had; `missing`: why its level cannot be had, "" when it can."""

    level: str = "none"
    run: str = "none"
    backend: Backend | None = None
    missing: str = ""
    hosts: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    workspace: str = ""
    repository: str | None = None

    @property
    def confines(self) -> bool:
        """Whether commands are held at all."""
        return at_least(self.level, "fs")

    def to_json(self) -> dict[str, Any]:
        """`{level, backend, run?, missing?}`: `run` where the commands had less than the run."""
        out: dict[str, Any] = {"level": self.level, "backend": self.backend.name if self.backend else None}
        if self.level != self.run:
            out["run"] = self.run
        if self.missing:
            out["missing"] = line(self.missing, 300)
        return out


def choose_cell(specs: Sequence[RunSpec], env: Mapping[str, str], *, outside: bool = False) -> Cell:
    """The highest level of these runs, and only the hosts that all of them have. `outside`: the user wants none of it."""
    run = max((spec.sandbox for spec in specs), key=lambda level: LEVELS.index(cast("Level", level)), default="none")
    if outside or not at_least(run, "fs"):
        return Cell("none" if outside and at_least(run, "fs") else run, run)
    backend, why = find_sandbox(env)
    if backend is not None and run == "fs+net" and backend.name != "bubblewrap":
        backend, why = None, f"fs+net needs bubblewrap, and only {backend.name} works here"
    sets = [spec.sandbox_hosts for spec in specs if spec.sandbox == "fs+net"]
    hosts = tuple(host for host in (sets[0] if sets else ()) if all(host in other for other in sets))
    first = specs[0]
    return Cell(
        run, run, backend, f"sandbox {run} cannot be had any more: {why}" if backend is None else "", hosts,
        tuple(dict.fromkeys(path for spec in specs for path in linked_paths(spec))),
        os.path.realpath(Workspace(first.workspace_root, first.repository).folder), first.repository,
    )  # fmt: skip


class Held:
    """`with Held(cell, root, private, marker, tree) as held: held.run(…)`. `branch`: that `root` is on, None for a detached one."""

    def __init__(self, cell: Cell, root: str, private: str, marker: str, tree: Tree, branch: str | None = None) -> None:
        self._cell = cell
        self._root = os.path.realpath(root) if cell.confines else root
        self._private = private
        self._marker = marker
        self._tree = tree
        self._branch = branch
        self._why = cell.missing
        self._proxy: Proxy | None = None
        self._ground: Ground | None = None

    def __enter__(self) -> Held:
        if self._cell.confines and not self._why:
            try:
                self._ground = self._prepare()
            except (SandboxError, SpawnError, GitError, CcError, OSError) as error:
                self._why = f"the sandbox {self._cell.level} cannot be kept: {error}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._proxy is not None:
            self._proxy.close()
        if self._cell.confines:
            remove_private(self._private)

    @property
    def why_not(self) -> str:
        """Why nothing can be started; "" when the level is kept."""
        return self._why

    def _prepare(self) -> Ground:
        cell, root, real = self._cell, self._root, os.path.realpath
        private = real(self._private)
        git = git_paths(root, self._branch) if cell.repository is not None else None
        ground = Ground(
            run_id=self._marker, cwd=root, tree=root, may_write=True, outbox=root, private=private, home=real(os.path.expanduser("~")),
            workspace=cell.workspace, checkout=real(cell.repository) if cell.repository else None, git=git,
            hidden=hidden_by_environment(os.environ), is_root=is_root(), hosts=cell.hosts,
        )  # fmt: skip
        prepare(ground, ())
        if git is not None:
            # What a command does to index and HEAD goes with it.
            ground = ground._replace(admin=copy_admin(git.admin, private))
        if cell.level == "fs+net" and cell.hosts:
            self._proxy = Proxy(self._marker, cell.hosts)
            self._tree.spare(self._proxy.serve())
            ground = ground._replace(proxy=self._proxy.path)
        return ground

    def run(
        self, command: Command, *, cwd: str, env: Mapping[str, str], seconds: float, log_path: str, clock: Clock,
        readable: Sequence[str] = (), stop: Callable[[], bool] | None = None, known: Sequence[bytes] = (),
    ) -> Ran:  # fmt: skip
        """As `run_command`, held. `readable`: folders that this command sees beside what every one sees. Raises OSError (the log)."""
        wrapped = False
        if self._cell.confines:
            try:
                command, env, wrapped = self._wrap(command, cwd, {**env, MARKER: self._marker}, readable)
            except SpawnError as error:
                return _refuse(command, "not_found" if error.missing else "not_started", str(error))
        ran = run_command(
            command, cwd=cwd, env=env, seconds=seconds, log_path=log_path, tree=self._tree, clock=clock, stop=stop, wrapped=wrapped,
            known=known,
        )  # fmt: skip
        return self._judge(command, ran)

    def _wrap(
        self, command: Command, cwd: str, env: Mapping[str, str], readable: Sequence[str]
    ) -> tuple[Command, Mapping[str, str], bool]:
        backend, ground = self._cell.backend, self._ground
        if backend is None or ground is None:
            raise SpawnError(self._why or "the sandbox was not set up")
        program = _find(command.argv[0], cwd, env)
        shown = [*self._cell.readable, *readable, *self._named(command.argv[1:])]
        # What a link in the tree leads to was chosen by the worker: nothing is opened for it.
        ours = is_within(os.path.realpath(os.path.dirname(program)), self._root)
        shown += needed_paths(os.devnull if ours else program, env)
        shown += [] if ours else [program, os.path.realpath(program)]
        inside = os.path.join(self._root, os.path.relpath(os.path.realpath(cwd), self._root))
        if not is_within(os.path.normpath(inside), self._root):
            raise SpawnError(f"the folder {line(cwd, 200)} leads out of the checkout")
        ground = ground._replace(cwd=os.path.normpath(inside), readable=tuple(dict.fromkeys(shown)))
        try:
            plan = plan_sandbox(cast("Level", self._cell.level), backend, command.argv, env, ground, look)
        except SandboxError as error:
            raise SpawnError(f"the sandbox {self._cell.level} cannot be kept: {error}") from error
        return command._replace(argv=plan.argv), plan.env, plan.wrapped

    def _named(self, words: Sequence[str]) -> list[str]:
        """Files outside the tree that the caller names: they are shown, unless they hold secrets by their name or are ours."""
        found = [os.path.realpath(word) for word in words if os.path.isabs(word) and os.path.exists(word)]
        return [
            path for path in found
            if not is_within(path, self._root) and not is_within(path, self._cell.workspace) and not is_secret_file(os.path.basename(path))
            and not is_within(self._root, path)
        ]  # fmt: skip

    def _judge(self, command: Command, ran: Ran) -> Ran:
        backend = self._cell.backend
        if not self._cell.confines or backend is None:
            return ran
        code, words = _BROKEN[backend.name]
        last = ran.tail.rsplit("\n", 1)[-1]
        if ran.exit == code and last.startswith(words):
            return _refuse(command, "not_started", last)
        if backend.name == "bubblewrap" and ran.exit is not None and ran.exit > _SIGNALLED:
            # The sandbox's first process says it as a shell does.
            return ran._replace(exit=None, signal=ran.exit - _SIGNALLED)
        return ran


def _refuse(command: Command, outcome: Any, why: str) -> Ran:
    return Ran(command.shown, outcome, None, None, 0.0, 0, 0, "", line(why, 200))


def _find(name: str, cwd: str, env: Mapping[str, str]) -> str:
    """The program as a start outside would find it. Raises SpawnError."""
    path = os.path.join(cwd, name) if os.sep in name else find_program(name, env.get("PATH", os.defpath))
    if path is None or not os.path.exists(path):
        raise SpawnError(f"{line(name, 100)} not found", missing=True)
    return os.path.abspath(path)
