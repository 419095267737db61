"""A scripted model on loopback that speaks the Anthropic Messages API and the OpenAI Responses API.

    with ModelStub([Script([call("Bash", {"command": "ls"}), say("done")])]) as stub:
        …                      # ANTHROPIC_BASE_URL=stub.url, or a Codex provider with base_url=stub.url + "/v1"
        stub.tool_results()    # what the model got to read

It records every request (secrets left out), and answers what the CLIs ask on their own account harmlessly. It never
reaches beyond loopback, and closing it ends every answer that still waits.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any, cast

from kit import stub_anthropic, stub_openai
from kit.stub_script import Json, Request, Script, ToolResult, Turn, table

SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "proxy-authorization"})


class Gone(Exception):
    """The client went away, or the stub is being closed."""


class ModelStub:
    """The server. `requests` are the model requests in order of arrival; `faults` what became of those that did not end well."""

    def __init__(self, scripts: Sequence[Script] = ()) -> None:
        self.scripts: list[Script] = list(scripts)
        self.requests: list[Request] = []
        self.side_requests: list[Request] = []
        self.others: list[str] = []
        self.faults: list[tuple[int, str]] = []
        self.answered: list[int] = []
        self._changed = threading.Condition()
        self._wake_read, self._wake_write = socket.socketpair()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    # ------------------------------------------------------------ life

    def __enter__(self) -> ModelStub:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End every waiting answer, close every connection, free the port."""
        self._wake_write.close()
        for script in self.scripts:
            for hold in script.holds():
                hold.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join(10)
        self._wake_read.close()

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def add(self, *scripts: Script) -> None:
        """Add scripts; earlier ones win."""
        with self._changed:
            self.scripts.extend(scripts)

    # ------------------------------------------------------------ looking

    def of(self, match: Callable[[Request], bool]) -> list[Request]:
        """The requests that match."""
        with self._changed:
            return [request for request in self.requests if match(request)]

    def tool_results(self, name: str = "", model: str = "") -> list[ToolResult]:
        """What models read from tools, each call once, in order. Filtered by the end of the tool's name and start of the model's."""
        seen: dict[tuple[str, str], ToolResult] = {}
        with self._changed:
            for request in self.requests:
                for result in request.results:
                    if result.name.endswith(name) and request.model.startswith(model):
                        seen.setdefault((request.conversation, result.call_id), result)
        return list(seen.values())

    def texts(self, role: str = "user", model: str = "") -> list[str]:
        """The distinct texts of a role that reached models."""
        found: dict[str, None] = {}
        with self._changed:
            for request in self.requests:
                if request.model.startswith(model):
                    found.update((text, None) for who, text in request.messages if who == role)
        return list(found)

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 30.0) -> Any:
        """Sleep until the predicate holds; it is asked again after every request and answer. Its value is returned."""
        with self._changed:
            value = self._changed.wait_for(predicate, timeout)
        if not value:
            seen = [(request.api, request.model, request.last_user[:60]) for request in self.requests]
            raise AssertionError(
                f"not within {timeout:g} s; requests so far: {seen}; others: {self.others}; faults: {self.faults}"
            )
        return value

    def wait_for_requests(self, count: int, timeout: float = 30.0) -> list[Request]:
        """Sleep until that many model requests came."""
        self.wait_for(lambda: len(self.requests) >= count, timeout)
        return self.requests[:count]

    # ------------------------------------------------------------ for the handler

    def receive(self, dialect: ModuleType, path: str, headers: dict[str, str], body: Json) -> tuple[Request, Turn]:
        """Record a request and choose its answer."""
        with self._changed:
            number = len(self.requests) + len(self.side_requests) + 1
            request: Request = dialect.read(number, path, headers, body)
            if dialect.is_side(request):
                self.side_requests.append(request)
                turn = stub_openai.side_answer(request) if request.api == "openai" else Turn(text="ok")
            else:
                self.requests.append(request)
                turn = self._choose(request)
            self._changed.notify_all()
        return request, turn

    def _choose(self, request: Request) -> Turn:
        for script in self.scripts:
            if script.match(request):
                return script.take(request)
        return Turn(text="The stub has no script for this request.")

    def note(self, number: int, fault: str = "") -> None:
        """An answer is over; `fault` says how when it did not end well."""
        with self._changed:
            if fault:
                self.faults.append((number, fault))
            else:
                self.answered.append(number)
            self._changed.notify_all()

    def note_other(self, what: str) -> None:
        """A request that is none to a model."""
        with self._changed:
            self.others.append(what)
            self._changed.notify_all()

    def pause(self, connection: socket.socket, seconds: float | None) -> None:
        """Wait that long (None: for ever). Raises Gone as soon as the client hangs up or the stub is closed."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if until is None else max(0.0, until - time.monotonic())
            ready, _, _ = select.select([connection, self._wake_read], [], [], left)
            if self._wake_read in ready:
                raise Gone("stub closed")
            if connection in ready and not connection.recv(1, socket.MSG_PEEK):
                raise Gone("client gone")
            if not ready:
                return
            if connection in ready:  # a pipelined request: nobody does that here; do not spin on it
                raise Gone("client sent more")


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, stub: ModelStub) -> None:
        self.stub = stub
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake every handler that waits for its client."""
        with self._guard:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break are what this stub is for; anything else must be seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            self.stub.note(0, traceback.format_exc())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def stub(self) -> ModelStub:
        return cast(_Server, self.server).stub

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: tests read the records."""

    def do_HEAD(self) -> None:
        self._other(b"")

    def do_GET(self) -> None:
        self._other(b'{"data":[],"models":[],"object":"list"}')

    def _other(self, body: bytes) -> None:
        self.stub.note_other(f"{self.command} {self.path}")
        self._send(200, body)

    def do_POST(self) -> None:
        raw = self._body()
        path = self.path.partition("?")[0]
        try:
            parsed: Any = json.loads(raw or b"{}")
        except ValueError:
            parsed = {}
        body = table(parsed)
        if path.endswith("/count_tokens"):
            self.stub.note_other(f"POST {path}")
            self._json(200, stub_anthropic.count_tokens(body))
        elif path.endswith("/messages"):
            self._model(stub_anthropic, path, body)
        elif path.endswith("/responses"):
            self._model(stub_openai, path, body)
        else:
            self.stub.note_other(f"POST {path}")
            self._json(200, {})

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            parts: list[bytes] = []
            while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _model(self, dialect: ModuleType, path: str, body: Json) -> None:
        headers = {key.lower(): value for key, value in self.headers.items() if key.lower() not in SECRET_HEADERS}
        request, turn = self.stub.receive(dialect, path, headers, body)
        try:
            self._answer(dialect, request, turn)
        except Gone as gone:
            self.close_connection = True
            self.stub.note(request.number, str(gone))
        except OSError as error:
            self.close_connection = True
            self.stub.note(request.number, f"client gone: {error}")
        else:
            self.stub.note(request.number)

    def _answer(self, dialect: ModuleType, request: Request, turn: Turn) -> None:
        if turn.hold is not None:
            turn.hold.wait()
        if turn.delay:
            self.stub.pause(self.connection, turn.delay)
        if turn.hang == "silent":
            self.stub.pause(self.connection, None)
        if turn.status != 200:
            self._json(turn.status, dialect.error(turn.status, turn.message), turn.retry_after)
        elif not request.stream:
            self._json(200, dialect.whole(request, turn))
        else:
            self._stream(dialect, dialect.stream(request, turn), turn)

    def _stream(self, dialect: ModuleType, events: Iterator[tuple[str, Json]], turn: Turn) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("cache-control", "no-cache")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for kind, data in events:
            piece = "delta" in data and "text" in kind + str(data["delta"])
            if piece and turn.chunk_delay:
                self.stub.pause(self.connection, turn.chunk_delay)
            self._event(kind, data)
            if piece or not turn.text:
                self._fault(dialect, turn)
                if turn.broken:
                    break
        self.wfile.write(b"0\r\n\r\n")

    def _fault(self, dialect: ModuleType, turn: Turn) -> None:
        if turn.reset:
            # Linger zero makes the kernel send a reset instead of a proper end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            raise Gone("reset")
        if turn.broken:
            self._event(*dialect.broken(turn.message))
        if turn.hang == "midway":
            self.stub.pause(self.connection, None)

    def _event(self, kind: str, data: Json) -> None:
        written = f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
        self.wfile.write(f"{len(written):x}\r\n".encode() + written + b"\r\n")

    def _json(self, status: int, body: Json, retry_after: float | None = None) -> None:
        extra = {} if retry_after is None else {"retry-after": f"{retry_after:g}"}
        self._send(status, json.dumps(body).encode(), extra)

    def _send(self, status: int, body: bytes, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        for key, value in (extra or {}).items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
