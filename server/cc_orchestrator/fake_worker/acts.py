"""The bundled worker's ordinary steps: what it says, what it really does, how it waits. One method a verb: `do_<verb>(given)`.

`given` is the step's object; a bare value arrives as `{"value": …}`. Part of the program `worker.py`.
"""

from __future__ import annotations

import json
import os
import time

from cc_orchestrator.fake_worker.player import FOREVER, KINDS, NOTE_CHARS, Ended, Player, Step

_POLL_SECONDS = 0.01


class Actor(Player):
    """A player that knows the ordinary verbs."""

    def steps(self, steps: list[Step]) -> None:
        """Play steps; the last class of the line does."""
        raise NotImplementedError

    # ------------------------------------------------------------ steps: what a worker says

    def do_turn(self, given: Step) -> None:
        self.turn += 1
        self.emit("turn", turn=self.turn)

    def do_say(self, given: Step) -> None:
        self.say(str(given.get("text", given.get("value", ""))))

    def do_think(self, given: Step) -> None:
        self.emit("thinking", text=str(given.get("text", given.get("value", ""))))

    def do_usage(self, given: Step) -> None:
        for key, figure in given.items():
            if isinstance(figure, int | float):
                self.usage[key] = round(self.usage.get(key, 0) + figure, 9)
        self.emit("usage", model=given.get("model"), **self.usage)

    def do_result(self, given: Step) -> None:
        text = str(given.get("text", given.get("value", "done")))
        if "file" in given:
            # What it says stands in a file of its folder: another state of the tree, another answer.
            with open(str(given["file"]), encoding="utf-8") as file:
                text = file.read()
        self.result(text, is_error=bool(given.get("is_error")), reason=given.get("reason"), more=not self.last)

    def do_lie(self, given: Step) -> None:
        self.result(str(given.get("text", given.get("value", "All done. All tests pass."))), more=not self.last)

    def do_notice(self, given: Step) -> None:
        self.emit("notice", code=given.get("code", "note"), text=str(given.get("text", "")))

    def do_retry(self, given: Step) -> None:
        figures = {"attempt": 1, "status": 529, "cause": "overloaded", **given}
        seconds = float(figures.pop("seconds", 0))
        self.emit("retry", **figures)
        self.wait(seconds)

    def do_rate_limit(self, given: Step) -> None:
        seconds = float(given.get("seconds", given.get("value", 1)))
        self.emit("retry", attempt=1, delay_s=seconds, status=429, cause="rate_limited")
        self.wait(seconds)

    def do_env(self, given: Step) -> None:
        found: list[str] = []
        for name in given.get("names", given.get("value", [])):
            value = os.environ.get(str(name))
            found.append(f"{name}={'absent' if value is None else value if given.get('show') else 'present'}")
        self.say("env: " + " ".join(found))

    # ------------------------------------------------------------ steps: what a worker does

    def do_tool(self, given: Step) -> None:
        def act() -> tuple[bool, str]:
            self.wait(float(given.get("seconds", 0)))
            return bool(given.get("ok", True)), str(given.get("note", ""))

        extra = {key: given[key] for key in ("paths", "command") if key in given}
        self.call(str(given.get("tool", "Read")), str(given.get("target", "")), act, given, **extra)

    def do_look(self, given: Step) -> None:
        names: list[str] = []

        def act() -> tuple[bool, str]:
            names.extend(sorted(name for name in os.listdir(".") if not name.startswith(".")))
            return True, f"{len(names)} entries"

        self.call("List", os.getcwd(), act, given, paths=[os.getcwd()])
        self.say(f"I see {len(names)} entries here: {', '.join(names[:8]) or 'nothing'}")

    def do_write(self, given: Step) -> None:
        path = os.path.abspath(str(given["path"]))

        def act() -> tuple[bool, str]:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "a" if given.get("append") else "w", encoding="utf-8") as file:
                file.write(str(given.get("content", "")).replace("{task}", self.task))
            return True, ""

        self.call("Write", path, act, given, paths=[path])

    def do_delete(self, given: Step) -> None:
        path = os.path.abspath(str(given.get("path", given.get("value"))))

        def act() -> tuple[bool, str]:
            os.unlink(path)
            return True, ""

        self.call("Delete", path, act, given, paths=[path])

    def do_run(self, given: Step) -> None:
        argv = [str(part) for part in given.get("argv", given.get("value", []))]

        def act() -> tuple[bool, str]:
            code, output = self.spawn(argv, float(given.get("seconds", 60)))
            return code == 0, f"exit {code}\n{output[-NOTE_CHARS:]}"

        self.call("Bash", " ".join(argv), act, given, command=" ".join(argv))

    def do_call_cli(self, given: Step) -> None:
        argv = [str(part) for part in given.get("argv", given.get("value", []))]
        code, output = self.spawn(argv, float(given.get("seconds", 60)))
        self.say(f"exit {code}: {output[-NOTE_CHARS:]}")

    def do_commit(self, given: Step) -> None:
        message = str(given.get("message", given.get("value", "{task}"))).replace("{task}", self.task) or "work"
        git = [
            "git",
            "-c",
            "user.name=Fake Worker",
            "-c",
            "user.email=fake-worker@localhost",
            "-c",
            "commit.gpgsign=false",
        ]

        def act() -> tuple[bool, str]:
            for argv in ([*git, "add", "-A"], [*git, "commit", "-q", "-m", message]):
                code, output = self.spawn(argv, 60)
                if code:
                    return False, output
            return True, ""

        self.call("Bash", f"git commit -m {message!r}", act, given, command=f"git commit -m {message!r}")

    def do_outbox(self, given: Step) -> None:
        folder = self.run.get("outbox") or os.environ.get("CC_RUN_OUTBOX") or "."
        content = given.get("content", "")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, str(given["name"])), "w", encoding="utf-8") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))

    def do_gate(self, given: Step) -> None:
        self.gated = bool(given.get("on", given.get("value", True)))

    def do_ask(self, given: Step) -> None:
        asked = {key: given[key] for key in ("tool", "target", "options", "paths", "command") if key in given}
        if "tool" in asked:
            asked["tool_kind"] = given.get("tool_kind") or KINDS.get(given["tool"], "other")
        answer = self.question(
            {"kind": given.get("kind", "permission"), "text": str(given.get("text", "may I?")), **asked}
        )
        decision = str(answer.get("decision"))
        choices: dict[str, str] = answer.get("choices") or {}
        said = answer.get("text") or ", ".join(choices.values())
        self.say(f"answer: {decision} {said or answer.get('reason', '')}".rstrip())
        if decision != "allow" and given.get("if_denied") == "end":
            raise Ended("denied, so I stop", is_error=True)

    # ------------------------------------------------------------ steps: waiting

    def do_wait_instruction(self, given: Step) -> None:
        # One that came between the step before and this one is what is waited for.
        done = lambda: len(self.instructions) > self.taken or not self.open_input  # noqa: E731
        if self.wait(float(given.get("seconds", given.get("value", FOREVER))), done):
            self.taken = min(self.taken + 1, len(self.instructions))

    def do_sleep(self, given: Step) -> None:
        self.wait(float(given.get("seconds", given.get("value", 1))))

    def do_hang(self, given: Step) -> None:
        if given.get("deaf"):
            self.do_silence({})
        self.wait(FOREVER)

    def do_silence(self, given: Step) -> None:
        time.sleep(min(float(given.get("seconds", given.get("value", FOREVER))), 10.0**8))

    def do_barrier(self, given: Step) -> None:
        path = str(given.get("path", given.get("value")))
        if not self.wait(float(given.get("seconds", 30)), lambda: os.path.exists(path), _POLL_SECONDS):
            raise Ended(f"nobody made {path}", is_error=True)

    def do_touch(self, given: Step) -> None:
        with open(str(given.get("path", given.get("value"))), "a", encoding="utf-8"):
            pass

    def do_repeat(self, given: Step) -> None:
        for _ in range(int(given.get("times", 1))):
            self.steps(given.get("steps") or [])
