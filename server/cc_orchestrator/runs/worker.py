"""One worker process seen by its supervisor: the process, its whole tree, its pipes and the adapter's session."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from cc_orchestrator.adapters.base import Adapter, Session, WorkerRequest
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.late import load
from cc_orchestrator.core.redact import Masker
from cc_orchestrator.host.env import worker_env
from cc_orchestrator.host.process import Child, Exit, SpawnError, reap, spawn
from cc_orchestrator.host.tree import MARKER, Tree
from cc_orchestrator.runs.pump import Feed, Pump
from cc_orchestrator.runs.spec import RunSpec, worker_request
from cc_orchestrator.runs.tree import Place
from cc_orchestrator.store import atomic
from cc_orchestrator.store.rundir import RunDir

#: Most seconds for a killed tree to be gone.
KILL_SECONDS = 5.0
_MIN_SECRET = 8


def request_for(spec: RunSpec, run: RunDir, place: Place, prompt: str, parent: Mapping[str, str]) -> WorkerRequest:
    """What the adapter gets: the spec, the place, and an environment by allow-list."""
    adapter = find_adapter(spec.adapter)
    extra = {MARKER: spec.run_id, "CC_RUN_OUTBOX": run.outbox}
    env = worker_env(parent, (*adapter.env_allow, *_names(spec, "env_names"), *_names(spec, "secret_names")), extra)
    return worker_request(
        spec, prompt=prompt, cwd=place.cwd, env=env, run_dir=run.path, outbox=run.outbox, tree=spec.worktree
    )


def _names(spec: RunSpec, key: str) -> tuple[str, ...]:
    """Variables that the CLI's own configuration asks for (no patterns)."""
    found = spec.route.get(key)
    names = cast("list[Any]", found) if isinstance(found, list) else []
    return tuple(name for name in names if isinstance(name, str) and "*" not in name)


class Worker(NamedTuple):
    """Everything of one running worker."""

    adapter: Adapter
    session: Session
    child: Child
    tree: Tree
    feed: Feed
    out: Pump
    err: Pump
    scratch: str | None

    @classmethod
    def start(cls, adapter: Adapter, request: WorkerRequest, spec: RunSpec) -> Worker:
        """Start it in its own session, contained. Raises SpawnError."""
        invocation = adapter.invocation(request)
        for path, text in invocation.files:
            atomic.write_text(path, text)
        if invocation.scratch is not None:
            os.makedirs(invocation.scratch, mode=0o700, exist_ok=True)
        secret = {*adapter.secret_env, *_names(spec, "secret_names")}
        known = [
            value.encode() for name, value in invocation.env.items() if name in secret and len(value) >= _MIN_SECRET
        ]
        run = RunDir(request.run_dir)
        run.make_raw()
        tree = Tree.contain(spec.run_id)
        try:
            child = spawn(invocation.argv, env=invocation.env, cwd=request.cwd, stdin=invocation.stdin)
            tree.adopt(child)
            return cls(
                adapter, adapter.session(request), child, tree, Feed(child.stdin),
                Pump("stdout", child.stdout, run.raw("stdout"), Masker(known)),
                Pump("stderr", child.stderr, run.raw("stderr"), Masker(known)), invocation.scratch,
            )  # fmt: skip
        except (SpawnError, OSError):
            # Nobody else would know of a worker that started here.
            tree.kill(KILL_SECONDS)
            tree.close()
            raise

    def reap(self) -> Exit | None:
        """How it exited, if it did."""
        return reap(self.child)

    def signal(self, name: str) -> None:
        """Signal the worker's whole tree: INT, TERM."""
        self.tree.signal(signal.SIGINT if name == "INT" else signal.SIGTERM)

    def kill_everything(self) -> int:
        """Kill what is left of the tree, us excepted; how many there were."""
        return self.tree.kill(KILL_SECONDS)

    def close(self) -> None:
        """Close pipes and the tree's own handles; remove the scratch folder."""
        self.feed.close()
        self.out.close()
        self.err.close()
        if self.child.exit_fd is not None:
            os.close(self.child.exit_fd)
        self.tree.close()
        if self.scratch is not None:
            load("shutil").rmtree(self.scratch, ignore_errors=True)
