"""The public door, in process: `operations.registry.invoke` on a scratch repository, with real detached supervisors.

`Door(tmp_path)` makes the repository. Answers are those that every surface shows; `events`, `state` and `spec` read the run's
own files, for what no answer shows. Nothing here waits without a bound.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cc_orchestrator.core.clock import Clock, SystemClock
from cc_orchestrator.core.states import ENDS
from cc_orchestrator.operations import catalog
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import find, invoke
from cc_orchestrator.runs.fold import State
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.journal import read_page
from cc_orchestrator.store.paths import find_workspace
from cc_orchestrator.store.rundir import RunDir
from kit.repos import make_repo
from kit.waiting import until

Answer = dict[str, Any]
SCRIPT_KEYS = frozenset({"model", "gate", "stay", "ignore_interrupt", "ignore_conclude"})
_ = catalog.MODULES  # registers every operation


class Door:
    """One caller in one project. `cwd` is a scratch repository below `base`, unless one is given."""

    def __init__(
        self, base: str | Path, *, cwd: str | Path | None = None, env: Mapping[str, str] | None = None,
        channel: str = "cli", clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.cwd = make_repo(Path(base) / "project") if cwd is None else Path(cwd)
        self.env = dict(os.environ) if env is None else dict(env)
        self.context = Context(cwd=str(self.cwd), env=self.env, channel=channel, clock=clock or SystemClock())

    def call(self, name: str, /, **arguments: Any) -> Answer:
        """Invoke an operation by its name or alias. Raises CcError as every caller sees it."""
        return invoke(find(name), self.context, arguments)

    def start_fake(self, *steps: Answer, script: Answer | None = None, **more: Any) -> str:
        """Start the bundled worker on these steps (or a whole `script`) and return the run's id.

        `model`, `gate`, `stay`, `ignore_interrupt` and `ignore_conclude` go to the script, as `script_model` for model; all
        else are arguments of cc_run_streaming.
        """
        keys = {key: more.pop(key) for key in list(more) if key in SCRIPT_KEYS - {"model"}}
        if "script_model" in more:
            keys["model"] = more.pop("script_model")
        whole = script if script is not None else {"steps": list(steps), **keys}
        arguments = {"task": "look at it", "adapter": "fake", "script": whole, **more}
        return str(self.call("cc_run_streaming", **arguments)["run_id"])

    def wait(self, run_id: str, *wake: str, seconds: float = 20.0) -> Answer:
        """The one row of cc_wait for this run: `{id, status, reason, woke_by, summary}`."""
        answer = self.call("cc_wait", ids=[run_id], wake=list(wake) or ["finished"], timeout_seconds=seconds)
        assert answer["woke"], f"{run_id} did not wake within {seconds:g} s: {answer['pending']}"
        return answer["woke"][0]

    def finish(self, run_id: str, seconds: float = 20.0) -> Answer:
        """Sleep until the run has ended and its supervisor is gone; cc_wait's row of it."""
        row = self.wait(run_id, "finished", seconds=seconds)
        run = self.run(run_id)
        # The end is told before the caches, the index and the receipt are written; tests want them all.
        until(lambda: not run.is_owned(), 10.0, what=f"the end of the supervisor of {run_id}")
        return row

    def play(self, *steps: Answer, **more: Any) -> State:
        """Start the bundled worker, wait for its end, and return the run's state."""
        run_id = self.start_fake(*steps, **more)
        self.finish(run_id)
        return self.state(run_id)

    def run(self, run_id: str) -> RunDir:
        """The run's folder."""
        return RunDir(find_workspace(str(self.cwd), self.env).run(run_id))

    def state(self, run_id: str) -> State:
        """What is true of the run now."""
        return read_run(self.run(run_id)).state

    def spec(self, run_id: str) -> RunSpec:
        """What was asked for."""
        return read_spec(self.run(run_id).spec)

    def events(self, run_id: str, *types: str) -> list[dict[str, Any]]:
        """All events of the run, or those of some types."""
        found = read_page(self.run(run_id).journal, max_bytes=1 << 26).events
        return [event for event in found if not types or event["type"] in types]

    def data(self, run_id: str, type_: str) -> list[dict[str, Any]]:
        """The data of all events of one type."""
        return [event["data"] for event in self.events(run_id, type_)]

    def until_event(self, run_id: str, type_: str, seconds: float = 10.0, **fields: Any) -> dict[str, Any]:
        """The data of the first event of a type with these fields, once it is there."""

        def found() -> dict[str, Any] | None:
            for data in self.data(run_id, type_):
                if all(data.get(key) == value for key, value in fields.items()):
                    return data
            assert self.state(run_id)["status"] not in ENDS or self.data(run_id, type_), f"ended without {type_}"
            return None

        got = until(found, seconds, what=f"{type_} {fields} of {run_id}")
        assert got is not None
        return got
