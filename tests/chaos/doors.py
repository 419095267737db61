"""Real door processes that can be killed: the MCP server over stdio, and single calls of the command line.

Nothing here blocks without a bound, and nothing is an error when the door dies in the middle: answers just stay away.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
_MODULE = [sys.executable, "-m", "cc_orchestrator"]


class McpDoor:
    """`cc-orchestrator mcp` in a project. `send` asks, `take` collects what has been answered."""

    def __init__(self, cwd: Path, env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [*_MODULE, "mcp"], cwd=cwd, env=dict(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._buffer = b""
        self._last = 0
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "chaos", "version": "1"}}
        self._write({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})
        deadline = time.monotonic() + 30.0
        while 0 not in (got := self.take(1.0)):
            assert time.monotonic() < deadline, f"the door did not open: {got}"
            assert self.process.poll() is None, "the door died before it opened"
        self._write({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _write(self, message: Answer) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            return

    def send(self, name: str, **arguments: Any) -> int:
        """Ask without waiting; the request's number."""
        self._last += 1
        params = {"name": name, "arguments": arguments}
        self._write({"jsonrpc": "2.0", "id": self._last, "method": "tools/call", "params": params})
        return self._last

    def take(self, seconds: float) -> dict[int, Answer]:
        """Answers that are there, by request; waits at most `seconds` for the first. Errors come as `{"error": …}`."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        select.select([fd], [], [], seconds)
        try:
            while chunk := os.read(fd, 1 << 16):
                self._buffer += chunk
        except BlockingIOError:
            pass
        *lines, self._buffer = self._buffer.split(b"\n")
        found: dict[int, Answer] = {}
        for line in lines:
            message = json.loads(line)
            if "id" in message and "method" not in message:
                result = message.get("result") or {"error": message.get("error")}
                error = result.get("isError") or "error" in result
                found[message["id"]] = {"error": result} if error else result.get("structuredContent", result)
        return found

    def ask(self, name: str, seconds: float = 30.0, **arguments: Any) -> Answer:
        """One call and its answer."""
        number = self.send(name, **arguments)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            got = self.take(0.5)
            if number in got:
                return got[number]
        raise AssertionError(f"{name} was not answered within {seconds:g} s")

    def kill(self) -> None:
        """kill -9, and reap."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it as a client does: end of input; by force when that does not help."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10.0)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process.stdout.close()


def start_call(cwd: Path, env: Mapping[str, str], name: str, arguments: Answer) -> subprocess.Popen[bytes]:
    """One call by the command line, as a process that can be killed."""
    argv = [*_MODULE, "call", "--json", name, "--arguments", json.dumps(arguments)]
    return subprocess.Popen(
        argv, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip


def finish_call(process: subprocess.Popen[bytes], seconds: float = 60.0) -> Answer | None:
    """Its answer; None when it was killed. AssertionError when it said something else than an answer."""
    out, err = process.communicate(timeout=seconds)
    if process.returncode == -signal.SIGKILL:
        return None
    try:
        answer: Answer = json.loads(out)
    except ValueError:
        raise AssertionError(f"exit {process.returncode}: {out.decode()} {err.decode()}") from None
    return answer


def call(cwd: Path, env: Mapping[str, str], name: str, **arguments: Any) -> Answer:
    """A whole call of a door that nobody kills."""
    answer = finish_call(start_call(cwd, env, name, arguments))
    assert answer is not None
    assert "error" not in answer, f"{name}: {answer}"
    return answer
