"""Drives one real worker process through its pipes, as a supervisor would, but in a dozen lines: for tests of adapters.

`drive` starts the adapter's own invocation, feeds every stdout line to its session, does what the session wants, and returns
what came out. Asks are answered by `on_ask`; `on_fact` sees every fact at once and may talk back through the `Driven`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cc_orchestrator.adapters.base import Adapter, CloseInput, Effect, Ending, Send, Session, Signal, WorkerRequest
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact

DEADLINE_SECONDS = 30.0


@dataclass
class Driven:
    """One worker process and all that was learned from it."""

    process: subprocess.Popen[bytes]
    session: Session
    facts: list[Fact] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    stdout: list[bytes] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    stderr: list[bytes] = field(default_factory=list)
    ending: Ending | None = None
    exit_code: int | None = None
    signal: int | None = None

    def of(self, type_: str) -> list[dict[str, Any]]:
        """Data of all facts of a type."""
        return [fact.data for fact in self.facts if fact.type == type_]

    def texts(self) -> list[str]:
        """All that was said."""
        return [data["text"] for data in self.of("run.message")]

    def do(
        self, effects: list[Effect], on_fact: Callable[[Driven, Fact], None], on_ask: Callable[[Ask], Answer]
    ) -> None:
        """Carry out a session's effects."""
        stdin = self.process.stdin
        for effect in effects:
            if isinstance(effect, Fact):
                self.facts.append(effect)
                on_fact(self, effect)
            elif isinstance(effect, Send):
                if stdin is not None and not stdin.closed:
                    try:
                        stdin.write(effect.data)
                        stdin.flush()
                    except BrokenPipeError:
                        pass
            elif isinstance(effect, CloseInput):
                self.close_input()
            elif isinstance(effect, Signal):
                self.process.send_signal(signal.SIGINT if effect.name == "INT" else signal.SIGTERM)
            else:
                self.asks.append(effect)
                self.do(self.session.answer(effect.key, on_ask(effect)), on_fact, on_ask)

    def close_input(self) -> None:
        """Nothing more will be said."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass


def request_for(folder: str, **changes: Any) -> WorkerRequest:
    """A request whose run folder and outbox are below `folder`, where the worker works too unless `cwd` says otherwise."""
    run_dir = os.path.join(folder, "run")
    os.makedirs(os.path.join(run_dir, "outbox"), exist_ok=True)
    request = WorkerRequest(
        run_id="run_01k3000000abcdefghjk", prompt="look at it\nclosely", cwd=folder, allow_write=False, executable="",
        env={"PATH": os.environ["PATH"], "HOME": folder}, run_dir=run_dir, outbox=os.path.join(run_dir, "outbox"),
    )  # fmt: skip
    return request._replace(**changes)


def drive(
    adapter: Adapter,
    request: WorkerRequest,
    *,
    on_fact: Callable[[Driven, Fact], None] = lambda _driven, _fact: None,
    on_ask: Callable[[Ask], Answer] = lambda _ask: Answer("allow"),
    deadline: float = DEADLINE_SECONDS,
) -> Driven:
    """The whole life of one worker; it is killed at the deadline."""
    invocation = adapter.invocation(request)
    for path, text in invocation.files:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    process = subprocess.Popen(
        invocation.argv, env=invocation.env, cwd=request.cwd, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.PIPE if invocation.stdin == "pipe" else subprocess.DEVNULL,
    )  # fmt: skip
    driven = Driven(process, adapter.session(request))
    timer = threading.Timer(deadline, process.kill)
    timer.start()
    noise = threading.Thread(target=_collect, args=(process, driven.stderr))
    noise.start()
    try:
        assert process.stdout is not None
        driven.do(driven.session.begin(), on_fact, on_ask)
        for raw in process.stdout:
            driven.raw += raw
            line = raw.rstrip(b"\n")
            driven.stdout.append(line)
            driven.do(driven.session.on_line(line, line), on_fact, on_ask)
        code = process.wait()
        noise.join()
        for line in driven.stderr:
            driven.do(driven.session.on_stderr(line), on_fact, on_ask)
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        noise.join()
        driven.close_input()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    driven.exit_code, driven.signal = (None, -code) if code < 0 else (code, None)
    driven.ending = driven.session.ending(driven.exit_code, driven.signal)
    return driven


def _collect(process: subprocess.Popen[bytes], into: list[bytes]) -> None:
    assert process.stderr is not None
    into.extend(line.rstrip(b"\n") for line in process.stderr)
