"""The policies of one run, read when its first tool call comes: what a worker may do is asked here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cc_orchestrator.core.asking import Ruling, ToolCall
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.text import line
from cc_orchestrator.policy.engine import Engine, Source
from cc_orchestrator.policy.judge import Decider, Judge, Unjudged
from cc_orchestrator.policy.posture import Posture
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.paths import Workspace, state_home
from cc_orchestrator.store.policyfiles import shipped_policies, shipped_schema, workspace_policies


def posture_of(spec: RunSpec, outbox: str, env: Mapping[str, str]) -> Posture:
    """The bounds of a run."""
    scope = spec.scope
    return Posture(
        allow_write=spec.allow_write, cwd=spec.worktree or spec.cwd, outbox=outbox, scope_allow=scope.allow, scope_deny=scope.deny,
        trust=spec.trust, role=spec.role, sandbox=spec.sandbox, commands=scope.commands,
        records=Workspace(spec.workspace_root).folder, checkout=spec.checkout or spec.workspace_root, state=state_home(env),
        home=env.get("HOME") or os.path.expanduser("~"),
    )  # fmt: skip


def load_engine(workspace: Workspace) -> Engine:
    """The shipped policies with those of the workspace over them. Raises OSError, PolicyError, ImportError, UnicodeDecodeError."""
    texts = [*shipped_policies(), *workspace_policies(workspace)]
    return Engine([Source(*text) for text in texts], shipped_schema())


class Rulings:
    """Decides over the calls of one run. The engine costs a few hundredths of a second and some megabytes, so it comes late."""

    def __init__(self, spec: RunSpec, outbox: str, env: Mapping[str, str]) -> None:
        self._spec = spec
        self._posture = posture_of(spec, outbox, env)
        self._judge: Decider | None = None
        self.problem = ""

    def decide(self, call: ToolCall) -> Ruling:
        """The ruling; without policies that can be used, every call asks."""
        if self._judge is None:
            self._judge = self._load()
        return self._judge.decide(call)

    def _load(self) -> Decider:
        try:
            engine = load_engine(Workspace(self._spec.workspace_root, self._spec.repository))
        except (OSError, CcError, ImportError, ValueError) as error:
            self.problem = line(str(error), 300)
            return Unjudged(self.problem)
        return Judge(engine, self._posture, self._spec.adapter)
