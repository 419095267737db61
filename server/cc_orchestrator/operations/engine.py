"""The engine's process: `cc-orchestrator engine`, and what a submission detaches. Composes `tasks.engine` with the start of a run.

Imported by `__main__` and by the detached process only: a door never loads what the engine needs.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from cc_orchestrator.core.clock import SystemClock
from cc_orchestrator.core.errors import CcError, PolicyDenied
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import RunParams, start
from cc_orchestrator.operations.place import prepare_workspace
from cc_orchestrator.store import lock
from cc_orchestrator.store.paths import Workspace, find_workspace
from cc_orchestrator.tasks.engine import Engine
from cc_orchestrator.tasks.queue import read_submission
from cc_orchestrator.tasks.watching import request_id


def main(args: Sequence[str]) -> int:
    """`args`: workspace root, repository or "", descriptor of the engine's lock (or -1: take it)."""
    return _serve(Workspace(args[0], args[1] or None), int(args[2]))


def command(argv: Sequence[str]) -> int:
    """`cc-orchestrator engine [--cwd FOLDER]`: serve the queue in the foreground until nothing is left to do."""
    parser = argparse.ArgumentParser(prog="cc-orchestrator engine", description=command.__doc__)
    parser.add_argument("--cwd", default=os.getcwd(), help="project folder; default: this one")
    try:
        ctx = Context.here("cli")
        if ctx.worker_run_id:
            raise PolicyDenied(f"the engine is not started by a worker (run {ctx.worker_run_id})")
        workspace = find_workspace(parser.parse_args(argv).cwd, ctx.env)
        prepare_workspace(ctx, workspace)
    except CcError as error:
        sys.stderr.write(f"{error.message}\n")
        return error.exit_status
    os.makedirs(workspace.engine(), mode=0o700, exist_ok=True)
    return _serve(workspace, -1)


def _serve(workspace: Workspace, held: int) -> int:
    fd: int | None = lock.take(workspace.engine("lock")) if held == -1 else held
    if fd is None:
        sys.stderr.write(f"an engine serves {workspace.root} already\n")
        return 8
    os.set_inheritable(fd, False)
    asyncio.run(_run(workspace, fd))
    return 0


async def _run(workspace: Workspace, held: int) -> None:
    env = dict(os.environ)
    context = Context(cwd=workspace.root, env=env)

    def begin(task_id: str, number: int) -> str:
        record = read_submission(workspace, task_id)
        params = RunParams.model_validate({**record["start"], "client_request_id": request_id(task_id, number)})
        caller = replace(context, cwd=str(params.cwd), channel=str(record.get("channel", "cli")))
        return start(caller, params, task_id)[1].spec.run_id

    await Engine(workspace, begin, env, SystemClock(), held).serve()
