"""The bundled worker's talk: lines out, messages in, waiting that heeds them, tool calls that may have to be asked for.

Part of the program `worker.py`; the product itself imports none of it. The protocol stands there.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

Step = dict[str, Any]
KINDS = {
    "Read": "read", "Grep": "read", "Glob": "read", "List": "read", "Edit": "edit", "Write": "edit", "Delete": "edit",
    "Bash": "command", "WebFetch": "network", "Task": "delegate",
}  # fmt: skip
FOREVER = 10.0**8
NOTE_CHARS = 4_000


class Ended(Exception):
    """The script is over before its last step: interrupted, concluded or denied. `text` becomes the result."""

    def __init__(self, text: str, *, is_error: bool, interrupted: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.is_error = is_error
        self.interrupted = interrupted


def write_all(fd: int, data: bytes) -> None:
    """All of `data`; a reader that went away ends this program as it would any other."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view[:65536]) :]
    except BrokenPipeError:
        leave(141)


def leave(code: int) -> NoReturn:
    """End now, whatever threads and descendants there are."""
    os._exit(code)


class Player:
    """One script being played."""

    def __init__(self, script: Step) -> None:
        self.script = script
        self.run: Step = script.get("run") or {}
        self.inbox: queue.Queue[Step | None] = queue.Queue()
        self.task = ""
        self.gated = bool(script.get("gate"))
        self.turn = self.calls = self.asks = 0
        self.results = 0
        self.last = False
        self.open_input = True
        self.instructions: list[str] = []
        self.taken = 0
        self.answers: dict[str, Step] = {}
        self.usage: Step = {}

    # ------------------------------------------------------------ talk

    def emit(self, event: str, **data: Any) -> None:
        """One line on stdout; None values are left out."""
        body = {"event": event, **{key: value for key, value in data.items() if value is not None}}
        write_all(1, json.dumps(body, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def say(self, text: str) -> None:
        """Say something; `{task}` stands for the first line of the prompt."""
        self.emit("say", text=text.replace("{task}", self.task))

    def listen(self) -> None:
        """The reader's thread: lines of stdin into the inbox, None at the end."""
        pending = bytearray()
        while chunk := os.read(0, 65536):
            pending += chunk
            if b"\n" not in chunk:
                continue
            *lines, rest = bytes(pending).split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                try:
                    message: Step = json.loads(line)
                except ValueError:
                    continue
                self.inbox.put(message)
        self.inbox.put(None)

    def heed(self, message: Step | None) -> None:
        """Take up one message. Raises Ended for interrupt and conclude."""
        kind = message.get("type") if message else None
        if message is None:
            self.open_input = False
        elif kind == "prompt":
            lines = str(message.get("text", "")).strip().splitlines()
            self.task = lines[0][:200] if lines else ""
            self.answers["prompt"] = message
        elif kind == "instruct":
            text = str(message.get("text", ""))
            self.instructions.append(text)
            self.emit("instructed", id=message.get("id"))
            self.say(f"instruction: {text}")
        elif kind == "answer":
            self.answers[str(message.get("key"))] = message
        elif kind == "interrupt" and not self.script.get("ignore_interrupt"):
            raise Ended("interrupted", is_error=True, interrupted=True)
        elif kind == "conclude" and not self.script.get("ignore_conclude"):
            raise Ended(f"concluded early: {message.get('why', '')}", is_error=False)

    def wait(self, seconds: float, done: Callable[[], bool] = lambda: False, poll: float | None = None) -> bool:
        """Heed messages until `done` or the time is over; whether `done`."""
        end = time.monotonic() + min(seconds, FOREVER)
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            try:
                self.heed(self.inbox.get(timeout=min(left, poll or 60.0)))
            except queue.Empty:
                pass
        return True

    # ------------------------------------------------------------ acts

    def result(self, text: str, *, is_error: bool = False, reason: str | None = None, more: bool = False) -> None:
        """One result; `more` says that others may follow."""
        self.results += 1
        text = text.replace("{task}", self.task)
        self.emit("result", text=text, is_error=is_error, reason=reason, turns=self.turn, more=more)

    def call(self, tool: str, target: str, act: Callable[[], tuple[bool, str]], given: Step, **extra: Any) -> None:
        """A tool call: asked for when gated, announced, done, told."""
        self.calls += 1
        call_id = f"call-{self.calls}"
        kind = given.get("kind") or KINDS.get(tool, "other")
        shown = {"tool": tool, "target": target, **extra}
        self.emit("tool_start", id=call_id, kind=kind, **shown)
        if self.gated:
            asked = {"kind": "permission", "text": f"may I use {tool}?", "gate": True, "tool_kind": kind, **shown}
            answer = self.question(asked, call_id)
            if answer.get("decision") != "allow":
                self.emit("tool_end", id=call_id, ok=False, note=f"denied: {answer.get('reason', '')}")
                return
        try:
            ok, note = act()
        except OSError as error:
            ok, note = False, str(error)
        self.emit("tool_end", id=call_id, ok=ok, note=note[-NOTE_CHARS:] or None)

    def question(self, asked: Step, call_id: str | None = None) -> Step:
        """Ask and wait for the answer; the end of input denies."""
        self.asks += 1
        key = f"ask-{self.asks}"
        self.emit("ask", key=key, id=call_id, **asked)
        self.wait(FOREVER, lambda: key in self.answers or not self.open_input)
        return self.answers.pop(key, {"decision": "deny", "reason": "nobody is there to answer"})

    def spawn(self, argv: list[str], seconds: float) -> tuple[int, str]:
        """Run a command in this folder; its exit code and output. Messages are heeded meanwhile."""
        try:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            return 127, str(error)
        found: list[str] = []

        def collect() -> None:
            found.append(process.communicate()[0].decode("utf-8", "replace"))
            self.inbox.put({"type": "done"})

        threading.Thread(target=collect, daemon=True).start()
        try:
            self.wait(seconds, lambda: bool(found))
        finally:
            if not found:
                process.kill()
        return (process.returncode, found[0]) if found else (124, f"took longer than {seconds:g} s")
