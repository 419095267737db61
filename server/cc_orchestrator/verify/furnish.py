"""Gives a fresh checkout what the runs' worktrees had: files and links lent by the user's checkout, install commands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command
from cc_orchestrator.host.env import worker_env
from cc_orchestrator.host.git import GitError
from cc_orchestrator.host.lending import lend
from cc_orchestrator.host.tree import MARKER, Tree
from cc_orchestrator.host.worktree import find_repository
from cc_orchestrator.runs.cell import Cell, Held
from cc_orchestrator.runs.spec import Setup
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.verify.ground import GroundError


class Bench(NamedTuple):
    """Where commands are run for a job: its folder, the repository, a clock, and what a fresh checkout gets as worktrees do.

    `checkout` is the one that lends; None is the repository's main checkout. `cell` is what holds the commands.
    """

    job: JobDir
    repository: str
    clock: Clock
    setup: Setup = Setup()
    checkout: str | None = None
    cell: Cell = Cell()

    def env(self) -> dict[str, str]:
        """The environment of everything that is run here."""
        # The marker keeps our own doors and CLI shut to what the commands start, and lets a sweep find what is left of it.
        return worker_env(os.environ, (), {MARKER: self.job.job_id})

    def hold(self, root: str, tree: Tree, branch: str | None = None) -> Held:
        """The cell around one checkout, for `with`."""
        return Held(self.cell, root, self.job.at("cell"), self.job.job_id, tree, branch)


def unite_setups(setups: Iterable[Setup]) -> Setup:
    """What any of them wants, each once."""
    found = list(setups)
    return Setup(
        tuple(dict.fromkeys(argv for setup in found for argv in setup.install)),
        max((setup.install_seconds for setup in found), default=Setup().install_seconds),
        tuple(dict.fromkeys(link for setup in found for link in setup.links)),
        tuple(dict.fromkeys(path for setup in found for path in setup.grants)),
    )


def furnish(bench: Bench, root: str, held: Held) -> str:
    """Lend and install; why that failed, "" when it did not. Raises GroundError, OSError (a log)."""
    repo = find_repository(bench.repository)
    try:
        if repo is not None:
            lend(repo, bench.checkout or repo.root, root, links=bench.setup.links, grants=bench.setup.grants)
    except (GitError, CcError) as error:
        raise GroundError(f"nothing could be lent to it: {error}") from error
    for number, argv in enumerate(bench.setup.install, 1):
        shown = line(" ".join(argv), 200)
        ran = held.run(
            Command(shown, argv), cwd=root, env=bench.env(), seconds=bench.setup.install_seconds, log_path=bench.job.at(f"install-{number}.log"),
            clock=bench.clock,
        )  # fmt: skip
        if ran.outcome != "exited" or ran.exit != 0:
            return f"install command failed: {shown}: {ran.detail or f'exit {ran.exit}'}: {line(ran.tail[-200:], 200)}"
    return ""
