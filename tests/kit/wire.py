"""The stdio door from outside: a real MCP client over stdio, and a wire on which a test says exactly what it wants.

`client(door)` is `mcp`'s own client, in either protocol era. `Wire(door)` writes and reads JSON-RPC lines itself, for what no
well-behaved client does. Nothing here waits without a bound.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from kit.door import Door

COMMAND = (sys.executable, "-m", "cc_orchestrator", "mcp")
Message = dict[str, Any]
MODERN = "2026-07-28"


def client(door: Door, mode: str = "auto", *options: str, **more: Any) -> Client:
    """mcp's own client on a door process of its own. `mode`: legacy (initialize), auto (discover), or a version."""
    parameters = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], *options], cwd=str(door.cwd), env=dict(door.env)
    )
    return Client(stdio_client(parameters), mode=mode, **more)


class Wire:
    """One door process; messages out, messages in. Use it as a context manager."""

    def __init__(
        self, door: Door, *options: str, env: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        self.process = subprocess.Popen(
            [*command, *options], cwd=door.cwd, env=dict(door.env if env is None else env), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.received: list[Message] = []
        self.strays: list[bytes] = []
        self.noise: list[bytes] = []
        self._news = threading.Condition()
        self._numbers = itertools.count(1)
        self._readers = [threading.Thread(target=self._read), threading.Thread(target=self._listen)]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin is not None and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                try:
                    self.received.append(json.loads(line))
                except ValueError:
                    self.strays.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.noise.append(line)

    def write(self, line: bytes) -> None:
        """One line, whatever it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def send(self, method: str, params: Message | None = None, *, notify: bool = False) -> int:
        """A request (or notification); its id."""
        number = next(self._numbers)
        message: Message = {"jsonrpc": "2.0", "method": method, "params": params or {}}
        if not notify:
            message["id"] = number
        self.write(json.dumps(message).encode())
        return number

    def until(self, wanted: Callable[[Message], bool], seconds: float = 60.0) -> Message:
        """The first message that is wanted, once it is there."""
        with self._news:
            found = self._news.wait_for(
                lambda: next((message for message in self.received if wanted(message)), None), seconds
            )
        assert found is not None, f"not within {seconds:g} s; received {self.received[-3:]}, stderr {self.noise[-5:]}"
        return found

    def reply(self, number: int, seconds: float = 60.0) -> Message:
        """The reply to a request."""
        return self.until(lambda message: message.get("id") == number and "method" not in message, seconds)

    def ask(self, method: str, params: Message | None = None, seconds: float = 60.0) -> Message:
        """A request and its result (or error) object."""
        answer = self.reply(self.send(method, params), seconds)
        return answer["result"] if "result" in answer else answer["error"]

    def open(self, version: str = "2025-06-18") -> Message:
        """The handshake of the older era."""
        capabilities: Message = {}
        result = self.ask(
            "initialize",
            {"protocolVersion": version, "capabilities": capabilities, "clientInfo": {"name": "wire", "version": "1"}},
        )
        self.send("notifications/initialized", notify=True)
        return result

    def call(self, name: str, /, seconds: float = 60.0, **arguments: Any) -> Message:
        """A tool's structured answer."""
        return self.ask("tools/call", {"name": name, "arguments": arguments}, seconds)["structuredContent"]

    def start_call(self, name: str, /, *, token: str | None = None, **arguments: Any) -> int:
        """Ask and do not wait; the request's id."""
        params: Message = {"name": name, "arguments": arguments}
        if token is not None:
            params["_meta"] = {"progressToken": token}
        return self.send("tools/call", params)


def command_line(
    door: Door,
    *args: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """One command of the command line, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cc_orchestrator", *args], cwd=cwd or door.cwd, env=dict(door.env if env is None else env),
        input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, timeout=50, check=False,
    )  # fmt: skip
