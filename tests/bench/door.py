"""A door as a client sees it: one process, one JSON-RPC message a line, nothing of an SDK between the clock and the pipe."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

#: Longer than any answer that is still worth a figure.
ANSWER_SECONDS = 120.0
DOOR = (sys.executable, "-m", "cc_orchestrator", "mcp")


class Door:
    """A running stdio server. Calls are one after the other unless `send` and `receive` are used apart."""

    def __init__(self, cwd: str, env: dict[str, str], argv: Sequence[str] = DOOR) -> None:
        self.process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._number = 0
        self._pending = b""

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_error: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def greet(self) -> None:
        """The handshake."""
        client = {"name": "bench", "version": "1"}
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client})
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Send a request; its id."""
        self._number += 1
        self._write({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        return self._number

    def receive(self, number: int) -> tuple[dict[str, Any], int]:
        """The result with this id and the bytes of its line. Raises TimeoutError, RuntimeError for a protocol error."""
        while True:
            line = self._line()
            message = json.loads(line)
            if message.get("id") != number:
                continue
            if "error" in message:
                raise RuntimeError(f"{message['error']}")
            return message["result"], len(line) + 1

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One request, one result."""
        return self.receive(self.send(method, params))[0]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A tool's structured answer. Raises RuntimeError when it is an error."""
        result = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if result.get("isError"):
            raise RuntimeError(json.dumps(result.get("structuredContent")))
        return result["structuredContent"]

    def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self._pending:
            ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")
            chunk = os.read(fd, 1 << 16)
            if not chunk:
                raise RuntimeError(f"the server ended with {self.process.wait(10)}")
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line


def size(value: object) -> int:
    """Bytes of a value as compact JSON: what a model is shown of an answer."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """A process's resident memory (or its peak, `VmHWM`) in MB of 10^6 bytes; Linux only."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"no {field} of process {pid}")
