"""Stop, instruct, answer: what callers ask of a live run. Operations append under the file's lock; the supervisor reads.

One line: `{id, ts, kind, actor, channel, …}`. The supervisor is woken by its bell, so nothing here polls.
"""

from __future__ import annotations

import json
import os
from typing import Any, cast

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.host import bell as bells
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.rundir import RunDir


def append_control(run: RunDir, kind: str, clock: Clock, **data: Any) -> str:
    """Record one request and return its id (`c1`, `c2`, …, unique in the run). Raises OSError, Busy."""
    with Exclusive(run.control + ".lock"):
        fd = os.open(run.control, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
        try:
            before = os.read(fd, os.fstat(fd).st_size)
            number = before.count(b"\n") + 1
            control_id = f"c{number}"
            record = {"id": control_id, "ts": round(clock.now(), 3), "kind": kind, **data}
            line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            # A torn line of a writer that died is closed off first.
            os.write(fd, line if not before or before.endswith(b"\n") else b"\n" + line)
            os.fsync(fd)
        finally:
            os.close(fd)
    return control_id


def poke(run: RunDir) -> None:
    """Wake the run's supervisor, that it looks at its requests."""
    bells.poke_named(run.bell)


class ControlReader:
    """The supervisor's side: whole new lines since the last look."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[dict[str, Any]]:
        """New requests in order; [] when there are none or no file yet."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        found: list[dict[str, Any]] = []
        for line in whole.splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(record, dict):
                found.append(cast("dict[str, Any]", record))
        return found
