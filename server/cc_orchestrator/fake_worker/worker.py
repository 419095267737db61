"""The bundled worker: a program that plays a script where a coding CLI would stand. Started as a file, imported by nobody.

    python -S -E -u worker.py SCRIPT.json        SCRIPT.json: see `adapters/fake.py`; `run` in it is added by the adapter

It speaks one JSON object a line. On stdout, `event` is one of: hello{session_id, model, version, memory, resumed},
turn{turn}, say{text}, thinking{text}, delta{text}, tool_start{id, tool, kind, target, paths, command}, tool_end{id, ok, note},
usage{model, …tokens, cost_usd} (totals of this process), ask{key, kind, text, options, gate, tool…}, instructed{id},
retry{attempt, max, delay_s, status, cause}, notice{code, text}, result{text, is_error, reason, turns, more}.
On stdin, `type` is one of: prompt{text}, instruct{id, text}, answer{key, decision, reason, text, choices}, interrupt,
conclude{why}. End of input means that nothing more will be said: open questions count as denied.
It remembers nothing between processes. What it does (write, run, commit, fork) it does really; what it says may be a lie.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, cast

if __name__ == "__main__":
    # Started as a file, without site-packages: the package is where this file is.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from cc_orchestrator.fake_worker.acts import Actor
from cc_orchestrator.fake_worker.player import FOREVER, Ended, Step, leave, write_all

VERSION = 1
#: A descendant that sleeps, and may be deaf to TERM and INT; it says when it is.
_SLEEPER = """
import signal, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(float(sys.argv[1]))
"""
#: A child that starts the sleeper and goes away at once: the classic double fork.
_MIDDLE = """
import subprocess, sys
p = subprocess.Popen(sys.argv[2:], start_new_session=sys.argv[1] == "1", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
p.stdout.readline()
print(p.pid, flush=True)
"""


class Worker(Actor):
    """The whole worker: plays a script, well or badly behaved."""

    def __init__(self, script: Step) -> None:
        super().__init__(script)
        self.verbs: dict[str, Callable[[Step], None]] = {
            name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")
        }

    # ------------------------------------------------------------ play

    def play(self) -> int:
        """The whole life; the exit code."""
        threading.Thread(target=self.listen, daemon=True).start()
        act = self.play_script
        while True:
            try:
                act()
                return 0
            except KeyboardInterrupt:
                return 130
            except Ended as end:
                goes_on = end.interrupted and self.open_input
                self.result(end.text, is_error=end.is_error, more=goes_on)
                if not goes_on:
                    return 0
                act = self.play_on

    def play_script(self) -> None:
        """From the greeting to the last step; without a result in the script there is a plain one."""
        run = self.run
        self.emit(
            "hello",
            session_id=run.get("session_id", "fake-standalone"),
            model=self.script.get("model", "fake-1"),
            version=VERSION,
            memory="none",
            resumed=bool(run.get("resumed")),
        )
        self.wait(FOREVER, lambda: "prompt" in self.answers or not self.open_input)
        self.do_turn({})
        self.steps(self.script.get("steps") or [], outermost=True)
        if not self.results:
            self.result("the script is over")
        if self.script.get("stay"):
            self.wait(FOREVER, lambda: not self.open_input)

    def play_on(self) -> None:
        """After an interrupt the script is dropped: one more instruction may come, or the end of input."""
        known = len(self.instructions)
        self.wait(FOREVER, lambda: len(self.instructions) > known or not self.open_input)
        if len(self.instructions) > known:
            self.do_turn({})
            self.result(f"took up: {self.instructions[-1]}")

    def steps(self, steps: list[Step], *, outermost: bool = False) -> None:
        """One after the other; between them messages are heeded."""
        for index, step in enumerate(steps):
            while not self.inbox.empty():
                self.heed(self.inbox.get())
            ((verb, given),) = step.items()
            self.last = outermost and index == len(steps) - 1
            self.verbs[verb](as_object(given))

    # ------------------------------------------------------------ steps: bytes

    def do_flood(self, given: Step) -> None:
        event, size = str(given.get("as", "say")), int(given.get("size", 80))
        lines = int(given.get("lines", max(1, int(given.get("bytes", 1_000_000)) // (size + 30))))
        rate, begun = given.get("rate"), time.monotonic()
        for number in range(1, lines + 1):
            self.emit(event, text=f"{number} ".ljust(size, "x"))
            if rate:
                self.wait(begun + number / float(rate) - time.monotonic())

    def do_big_line(self, given: Step) -> None:
        total, secret = int(given.get("bytes", 1 << 20)), str(given.get("secret", "")).encode()
        head, foot, half = b'{"event": "say", "text": "', b'"}\n', max(0, total - len(secret)) // 2
        write_all(1, head)
        for count in (half, 0, half):
            if not count:
                write_all(1, b" " + secret + b" ")
            while count > 0:
                write_all(1, b"x" * min(count, 65536))
                count -= 65536
        write_all(1, foot)

    def do_raw(self, given: Step) -> None:
        data = (
            base64.b64decode(given["base64"])
            if "base64" in given
            else str(given.get("text", given.get("value"))).encode()
        )
        write_all(2 if given.get("stderr") else 1, data)

    def do_stderr(self, given: Step) -> None:
        write_all(2, str(given.get("text", given.get("value", ""))).encode() + b"\n")

    def do_transcript(self, given: Step) -> None:
        with open(str(given.get("path", given.get("value"))), "rb") as file:
            for line in file:
                self.results += b'"result"' in line
                write_all(1, line)

    def do_partial_line(self, given: Step) -> None:
        write_all(1, str(given.get("text", given.get("value", '{"event": "say", "text": "half a'))).encode())
        leave(int(given.get("exit", 1)))

    # ------------------------------------------------------------ steps: ends and misbehaviour

    def do_exit(self, given: Step) -> None:
        leave(int(given.get("code", given.get("value", 0))))

    def do_crash(self, given: Step) -> None:
        name = given.get("signal", given.get("value"))
        if name is None:
            leave(int(given.get("exit", 1)))
        number = int(getattr(signal, f"SIG{str(name).removeprefix('SIG')}"))
        if number != getattr(signal, "SIGKILL", None):
            signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    def do_ignore_term(self, given: Step) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def do_ignore_int(self, given: Step) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def do_fork(self, given: Step) -> None:
        python = [sys.executable, "-S", "-E", "-c"]
        sleeper = [*python, _SLEEPER, str(given.get("seconds", 60)), "deaf" if given.get("ignore_term") else "plain"]
        env = {
            key: value for key, value in os.environ.items() if not (given.get("clean_env") and key.startswith("CC_"))
        }
        held = None if given.get("hold_output") else subprocess.DEVNULL
        session = bool(given.get("setsid", True))
        if given.get("double", True):
            middle = [*python, _MIDDLE, "1" if session else "0", *sleeper]
            done = subprocess.run(
                middle, env=env, stdout=subprocess.PIPE, stderr=held, stdin=subprocess.DEVNULL, check=True
            )
            pid = int(done.stdout)
        else:
            child = subprocess.Popen(
                sleeper, env=env, start_new_session=session, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=held
            )  # fmt: skip
            assert child.stdout is not None
            child.stdout.readline()
            pid = child.pid
        self.emit("notice", code="forked", text=str(pid))


def as_object(given: Any) -> Step:
    """A step's object; a bare value becomes `{"value": …}`."""
    if isinstance(given, dict):
        return cast("Step", given)
    return {} if given is None else {"value": given}


def main(argv: list[str]) -> NoReturn:
    """Play the script that `argv[1]` names, then end with the script's code."""
    with open(argv[1], encoding="utf-8") as file:
        script = json.load(file)
    leave(Worker(script).play())


if __name__ == "__main__":
    main(sys.argv)
