"""Records the transcripts of the adapters from the real programs, against the model stub.

    PYTHONPATH=tests python -m kit.record codex [NAME ...]
    PYTHONPATH=tests python -m kit.record codex-exec [NAME ...]
    PYTHONPATH=tests python -m kit.record fake [NAME ...]

Each scenario works in a folder of its own below a temporary one with a fixed name, so that paths are the same on all machines.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cc_orchestrator.adapters.base import Effect
from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact
from kit import clis, homes, repos, transcripts
from kit.model_stub import ModelStub
from kit.pipes import Driven, drive, request_for
from kit.stub_script import Call, Script, Turn, Usage, call, say

PLACE = Path("/tmp/cc-transcripts")
SLEEP = {"cmd": "python3 -c 'import time; time.sleep(60)'"}
PATCH = "*** Begin Patch\n*** Update File: README.md\n@@\n-# scratch\n+# scratched\n*** Add File: NEW.md\n+new\n*** End Patch\n"


class Scene(NamedTuple):
    """One transcript to make: its sentence, the request, the model's turns, and a signal at the first tool call."""

    about: str
    turns: tuple[Turn, ...] = ()
    request: Mapping[str, Any] = MappingProxyType({})
    signal: int | None = None
    git: bool = True
    after: Turn = Turn(text="Nothing more to say.")
    first: tuple[Turn, ...] = ()  # an earlier run in the same conversation
    key: bool = True
    act: Callable[[Driven, Fact], None] | None = None  # at each fact


# ---------------------------------------------------------------- codex

WRITE = {"allow_write": True}
CODEX_EXEC: dict[str, Scene] = {
    "hello": Scene("It answers.", (say("Hello from the stub.", usage=Usage(200, 34, 5000, 0, 7)),)),
    "edit": Scene(
        "It looks, patches two files, runs a command that fails and one that works, and reports.",
        (
            say("I will look.", Call("exec_command", {"cmd": "cat README.md"})), call("apply_patch", PATCH),
            call("exec_command", {"cmd": "cat README.md; echo no > ../outside; exit 3"}), call("exec_command", {"cmd": "git status --short"}),
            say("Edited README.md and added NEW.md."),
        ), WRITE,
    ),
    "resumed": Scene("A second run in the same conversation.", (say("It was 42."),), first=(say("I keep 42."),)),
    "forked": Scene("A fork of a conversation.", (say("It was 42."),), {"fork": True}, first=(say("I keep 42."),)),
    "resume-missing": Scene("The conversation does not exist.", request={"resume": "01a21400-0000-7000-8000-000000000000"}),
    "resume-strayed": Scene(
        "A name in the place of an id: it begins another conversation and says nothing about it.", (say("Hello."),),
        {"resume": "no-such-name"},
    ),
    "retries-500": Scene("The service fails six times, then works.", (*[Turn(status=500)] * 6, say("Recovered."))),
    "retries-429": Scene(
        "The service is rate limited twice, then works.", (*[Turn(status=429, retry_after=1)] * 2, say("Recovered."))
    ),
    "rate-limited": Scene("The service stays rate limited.", after=Turn(status=429, retry_after=1, message="slow down")),
    "auth-401": Scene("The service refuses the key.", after=Turn(status=401, message="bad key")),
    "no-key": Scene("The provider's variable is not set.", (say("never said"),), key=False),
    "bad-request": Scene("The service refuses the request.", after=Turn(status=400, message="no such field")),
    "reset": Scene("The connection breaks in the middle, then works.", (Turn(text="half of it", reset=True), say("Recovered."))),
    "silent-answer": Scene("The model says nothing at all.", (Turn(text=""),)),
    "unknown-model": Scene("A model that Codex does not know.", (say("Hello."),), {"model": "surely-unknown"}),
    "not-git": Scene("A write run outside git.", request=WRITE, git=False),
    "interrupted": Scene("SIGINT while a command runs.", (call("exec_command", SLEEP),), WRITE, signal.SIGINT),
    "terminated": Scene("SIGTERM while a command runs.", (call("exec_command", SLEEP),), WRITE, signal.SIGTERM),
    "killed": Scene("SIGKILL while a command runs.", (call("exec_command", SLEEP),), WRITE, signal.SIGKILL),
}  # fmt: skip


def _at_the_first_tool(act: Callable[[Driven], list[Effect]]) -> Callable[[Driven, Fact], None]:
    """Do it when the first tool has begun, once."""

    def on_fact(driven: Driven, fact: Fact) -> None:
        if fact.type == "tool.started" and len(driven.of("tool.started")) == 1:
            driven.do(act(driven), on_fact, judge)

    return on_fact


PAUSE = {"cmd": "python3 -c 'import time; time.sleep(0.5)'"}
ASK_WHICH = {"questions": [{"id": "q", "header": "Way", "question": "Which way?", "options": [
    {"label": "left", "description": "the left one"}, {"label": "right", "description": "the right one"},
]}]}  # fmt: skip
_SHARED = (
    "hello", "edit", "resumed", "forked", "retries-500", "retries-429", "rate-limited", "auth-401", "no-key", "bad-request", "reset",
    "silent-answer", "unknown-model", "terminated", "killed",
)  # fmt: skip
CODEX: dict[str, Scene] = {
    **{name: CODEX_EXEC[name] for name in _SHARED},
    "resume-missing": Scene("The conversation does not exist.", request={"resume": "01a21400-0000-7000-8000-000000000000"}),
    "denied": Scene(
        "Commands and an edit that are denied before they run, one that wants to leave the sandbox, and a report.",
        (
            call("exec_command", {"cmd": "curl http://127.0.0.1:9"}), call("exec_command", {"cmd": "cat id", "workdir": "/tmp/.ssh"}),
            call("apply_patch", "*** Begin Patch\n*** Add File: ../escape.txt\n+x\n*** End Patch\n"),
            call("exec_command", {"cmd": "echo x > ../out", "sandbox_permissions": "require_escalated", "justification": "an escape"}),
            call("exec_command", {"cmd": "echo fine"}), say("Four were refused."),
        ), WRITE,
    ),
    "asks": Scene("It asks, and goes on with the answer.", (call("request_user_input", ASK_WHICH), say("Went right."))),
    "steered": Scene(
        "An instruction while a command runs.", (call("exec_command", PAUSE), say("Did otherwise.")),
        act=_at_the_first_tool(lambda driven: driven.session.instruct("do otherwise", "c1")),
    ),
    "interrupted": Scene(
        "Interrupted while a command runs.", (call("exec_command", SLEEP),), WRITE,
        act=_at_the_first_tool(lambda driven: driven.session.interrupt()),
    ),
}  # fmt: skip


def call_of(ask: Ask) -> str:
    """What is asked for, in a word to look into."""
    return ask.call.target if ask.call is not None else ask.text


def judge(ask: Ask) -> Answer:
    """What the scenes' policy says: no to what names a forbidden thing, the second option of a choice, else yes."""
    if ask.kind == "choice":
        return Answer("allow", choices={"1": ask.options[1]})
    leaves = ask.call is not None and ask.call.tool.startswith("unsandboxed")
    if leaves or any(word in call_of(ask) for word in ("curl", ".ssh", "escape")):
        return Answer("deny", "the policy says no")
    return Answer("allow")


def record_codex(name: str, folder: Path, kind: str = "codex") -> None:
    """One scene with the real Codex."""
    scene = (CODEX if kind == "codex" else CODEX_EXEC)[name]
    work = folder / "work"
    if scene.git:
        repos.make_repo(work)
    else:
        work.mkdir()
    adapter = find_adapter(kind)
    with ModelStub([Script((*scene.first, *scene.turns), after=scene.after, shared=True)]) as stub:
        env = homes.codex_home(folder, stub)
        if not scene.key:
            del env["STUB_API_KEY"]
        facts = dict(scene.request)

        def run() -> Driven:
            wanted = request_for(str(folder), cwd=str(work), env=env, executable=clis.codex_path(), **facts)
            (folder / "run" / "scratch").mkdir(exist_ok=True)
            return drive(adapter, wanted, on_fact=scene.act or _shoot(scene.signal), on_ask=judge)

        if scene.first:
            before = run_first(adapter, folder, work, env)
            facts.update(resume=before.of("run.session")[0]["session_id"])
            facts.update(baseline=before.of("run.usage")[-1]["session_totals"])
        driven = run()
    transcripts.save(kind, name, driven, about=scene.about, cli=f"codex {clis.PINS['@openai/codex']}", request=facts)


def record_exec(name: str, folder: Path) -> None:
    """One scene with `codex exec`."""
    record_codex(name, folder, "codex-exec")


def run_first(adapter: Any, folder: Path, work: Path, env: dict[str, str]) -> Driven:
    """The run that a resumed or forked one goes on from."""
    return drive(adapter, request_for(str(folder), cwd=str(work), env=env, executable=clis.codex_path()), on_ask=judge)


def _shoot(number: int | None) -> Callable[[Driven, Fact], None]:
    def on_fact(driven: Driven, fact: Fact) -> None:
        if number is not None and fact.type == "tool.started":
            os.killpg(driven.process.pid, number)

    return on_fact


# ---------------------------------------------------------------- fake

FAKE: dict[str, tuple[str, dict[str, Any], list[dict[str, Any]]]] = {
    "hello": ("It says, thinks, reads, counts and reports.", {"model": "fake-2"}, [
        {"say": "looking at: {task}"}, {"think": "hm"}, {"tool": {"tool": "Read", "target": "README.md", "ok": True}},
        {"usage": {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.001, "model": "fake-2"}}, {"result": "done"},
    ]),
    "edits": ("Behind a gate it writes, runs a command that fails, and reports.", {"allow_write": True, "gate": True}, [
        {"write": {"path": "a.txt", "content": "one\n"}}, {"run": {"argv": ["false"]}}, {"result": "wrote a.txt"},
    ]),
    "asks": ("It asks, and goes on with the answer.", {}, [
        {"ask": {"kind": "choice", "text": "which?", "options": ["a", "b"]}}, {"result": "took a"},
    ]),
    "resumed": ("Figures of a resumed conversation go on from the baseline.", {"resume": "fake-old", "baseline": {"input_tokens": 100}}, [
        {"usage": {"input_tokens": 5}}, {"result": "again"},
    ]),
    "retries": ("A rate limit is sat out.", {}, [{"rate_limit": {"seconds": 0.01}}, {"retry": {"attempt": 2, "max": 5}}, {"result": "at last"}]),
    "fails": ("Its own result says error.", {}, [{"result": {"text": "cannot", "is_error": True, "reason": "rate_limited"}}]),
    "says-nothing": ("Exit 0 without a result.", {}, [{"exit": {"code": 0}}]),
    "crashes": ("Killed by a signal of its own.", {}, [{"say": "now"}, {"crash": {"signal": "SEGV"}}]),
    "torn": ("Its last line has no end.", {}, [{"say": "now"}, {"partial_line": {}}]),
    "noise": ("Lines that are no messages, bytes that are no text.", {}, [
        {"raw": {"text": "no json\n"}}, {"raw": {"base64": "AP/+Cg=="}}, {"raw": "[1]\n"}, {"stderr": "a warning"},
        {"flood": {"lines": 20, "size": 50}}, {"result": "done"},
    ]),
    "two-results": ("It gives two results.", {"stay": True}, [{"result": "first"}, {"ask": {"text": "more?"}}, {"result": "second"}]),
}  # fmt: skip
_SCRIPT_KEYS = ("gate", "stay")


def record_fake(name: str, folder: Path) -> None:
    """One scene with the bundled worker."""
    about, facts, steps = FAKE[name]
    script = {"steps": steps, **{key: facts[key] for key in _SCRIPT_KEYS if key in facts}}
    asked = {key: value for key, value in facts.items() if key not in _SCRIPT_KEYS}
    (folder / "work").mkdir()
    wanted = request_for(str(folder), cwd=str(folder / "work"), options={"script": script}, **asked)
    driven = drive(find_adapter("fake"), wanted, on_ask=_allow)
    transcripts.save("fake", name, driven, about=about, cli="the bundled worker", request=asked)


def _allow(ask: Ask) -> Answer:
    return Answer("allow", choices={ask.text: ask.options[0]} if ask.options else {})


# ---------------------------------------------------------------- all

RECORDERS: dict[str, tuple[Callable[[str, Path], None], tuple[str, ...]]] = {
    "codex": (record_codex, tuple(CODEX)),
    "codex-exec": (record_exec, tuple(CODEX_EXEC)),
    "fake": (record_fake, tuple(FAKE)),
}


def main(argv: list[str]) -> int:
    """Record the named scenes of an adapter, or all."""
    record, known = RECORDERS[argv[0]]
    for name in argv[1:] or known:
        folder = PLACE / argv[0] / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        record(name, folder)
        made = transcripts.read(argv[0], name)
        print(f"{argv[0]}/{name}: {made.meta['exit']}/{made.meta['signal']} {made.meta['expected']['reason']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
