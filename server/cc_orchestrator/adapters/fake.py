"""The fake CLI: the bundled worker under a script, for demos, examples and tests. It needs no model and costs nothing.

A script is an object: `steps` (a list of objects with one verb each), and if wanted `model`, `gate` (tool calls are asked for
from the start), `resumed` (the steps of a resumed conversation, in place of `steps`), `stay` (does not exit before the end of its
input), `ignore_interrupt`, `ignore_conclude`. Verbs and their meaning are in `fake_worker/`. Without a script the worker looks
around, leaves a line in NOTES.md when it may write, and reports. Sessions can be resumed and forked by name; the worker says that
it remembers nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

from cc_orchestrator.adapters import lines
from cc_orchestrator.adapters.base import (
    Capabilities,
    CloseInput,
    Effect,
    Ending,
    Footprint,
    Invocation,
    Send,
    WorkerRequest,
)
from cc_orchestrator.adapters.lines import Object, number_at, text_at, texts_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Answer, Ask, ToolCall, ToolKind
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.states import REASONS, AskKind
from cc_orchestrator.core.text import clean, cut, line

VERBS = frozenset({
    "ask", "barrier", "big_line", "call_cli", "commit", "crash", "delete", "env", "exit", "flood", "fork", "gate", "hang",
    "ignore_int", "ignore_term", "lie", "look", "notice", "outbox", "partial_line", "rate_limit", "raw", "repeat", "result",
    "retry", "run", "say", "silence", "sleep", "stderr", "think", "tool", "touch", "transcript", "turn", "usage",
    "wait_instruction", "write",
})  # fmt: skip
_SCRIPT_KEYS = frozenset({"steps", "resumed", "model", "gate", "stay", "ignore_interrupt", "ignore_conclude"})
_NEEDED = {"write": "path", "outbox": "name", "repeat": "steps"}
_KINDS: frozenset[str] = frozenset({"read", "edit", "command", "network", "delegate", "ask", "other"})
_ASKS: frozenset[str] = frozenset({"permission", "choice", "clarification", "elicitation"})
_FIGURES = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_usd")
_WORKER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fake_worker", "worker.py")
_MAX_DEPTH = 8


class FakeAdapter:
    """The bundled worker."""

    name = "fake"
    capabilities = Capabilities(
        steer=True, interrupt=True, questions=True, gates_every_call=True, resume=True, fork=True, commits=True,
        turns="live", tokens="live", cost="live", needs_model_service=False,
    )  # fmt: skip
    executables: tuple[str, ...] = ()
    executable_env = ""
    env_allow: tuple[str, ...] = ("FAKE_WORKER_*",)
    secret_env: tuple[str, ...] = ("FAKE_WORKER_SECRET",)

    def check(self, request: WorkerRequest) -> list[str]:
        """What is wrong with the script."""
        script = request.options.get("script")
        if script is None:
            return []
        if not isinstance(script, dict):
            return ["script must be an object with steps"]
        given = cast("Object", script)
        unknown = sorted(set(given) - _SCRIPT_KEYS)
        if unknown:
            return [f"script has unknown keys {', '.join(unknown)}: expected {', '.join(sorted(_SCRIPT_KEYS))}"]
        return [*check_steps(given.get("steps", [])), *check_steps(given.get("resumed", []))]

    def declare(self, request: WorkerRequest) -> list[str]:
        """A script without a gate is a CLI whose tool calls nobody sees beforehand."""
        script = request.options.get("script")
        if script is None or cast("Object", script).get("gate") or "gate" in _first_verbs(cast("Object", script)):
            return []
        return ["this script does not ask before it uses tools (no gate)"]

    def invocation(self, request: WorkerRequest) -> Invocation:
        """Our own interpreter, without site-packages, on the worker's file and the script in the run's folder."""
        path = os.path.join(request.run_dir, "script.json")
        script = request.options.get("script")
        compiled = dict(cast("Object", script)) if script is not None else default_script(request.allow_write)
        resumed = compiled.pop("resumed", None)
        if request.resume is not None and resumed is not None:
            compiled["steps"] = resumed
        if request.model:
            compiled["model"] = request.model
        compiled["run"] = {
            "session_id": request.resume if request.resume and not request.fork else f"fake-{request.run_id}",
            "resumed": request.resume is not None, "outbox": request.outbox,
        }  # fmt: skip
        python = request.executable or sys.executable
        return Invocation(
            (python, "-S", "-E", "-u", _WORKER, path),
            dict(request.env),
            "pipe",
            ((path, json.dumps(compiled, ensure_ascii=False)),),
        )

    def footprint(self, env: Mapping[str, str], route: Mapping[str, Any]) -> Footprint:
        """It keeps nothing and needs no service."""
        return Footprint()

    def session(self, request: WorkerRequest) -> FakeSession:
        """A fresh session."""
        return FakeSession(request)


def default_script(allow_write: bool) -> Object:
    """What the worker does when nobody wrote a script."""
    steps: list[Object] = [{"say": "I take up: {task}"}, {"look": {}}]
    if allow_write:
        steps += [
            {"write": {"path": "NOTES.md", "content": "- {task}\n", "append": True}},
            {"usage": {"model": "fake-1", "input_tokens": 120, "output_tokens": 40, "cost_usd": 0.0}},
            {"result": {"text": "I added a line to NOTES.md for: {task}. Nothing else was changed; no test was run."}},
        ]
    else:
        steps += [
            {"usage": {"model": "fake-1", "input_tokens": 80, "output_tokens": 20, "cost_usd": 0.0}},
            {"result": {"text": "I looked around for: {task}. Nothing was changed."}},
        ]
    return {"gate": True, "steps": steps}


def check_steps(steps: Any, depth: int = 0) -> list[str]:
    """What is wrong with a list of steps, as sentences, the first five."""
    if not isinstance(steps, list) or depth > _MAX_DEPTH:
        return [f"steps must be a list, at most {_MAX_DEPTH} deep"]
    problems: list[str] = []
    for number, step in enumerate(cast("list[Any]", steps), 1):
        problems += _check_step(number, step, depth)
        if len(problems) >= 5:
            break
    return problems[:5]


def _check_step(number: int, step: Any, depth: int) -> list[str]:
    if not isinstance(step, dict) or len(cast("Object", step)) != 1:
        return [f"step {number} must be an object with one verb"]
    ((verb, given),) = cast("Object", step).items()
    if verb not in VERBS:
        return [f"step {number}: unknown verb {line(str(verb), 40)}"]
    needed = _NEEDED.get(verb)
    if needed and not (isinstance(given, dict) and needed in given):
        return [f"step {number}: {verb} needs {needed}"]
    if verb == "repeat":
        return [f"step {number}: {problem}" for problem in check_steps(cast("Object", given)["steps"], depth + 1)]
    return []


def _first_verbs(script: Object) -> set[str]:
    steps = script.get("steps")
    return {verb for step in cast("list[Object]", steps or [])[:3] for verb in step}


class FakeSession:
    """One worker process, from its pipes."""

    def __init__(self, request: WorkerRequest) -> None:
        self._request = request
        self._spoke = False
        self._closed = False
        self._results = 0
        self._result: Object | None = None
        self._stderr = ""
        self._sent: dict[str, int] = {}
        self._handlers: dict[str, Callable[[Object], list[Effect]]] = {
            "hello": self._hello, "turn": self._turn, "say": self._say, "thinking": _nothing, "delta": _nothing,
            "tool_start": self._tool_start, "tool_end": self._tool_end, "usage": self._usage, "ask": self._ask,
            "instructed": self._instructed, "retry": self._retry, "notice": self._notice, "result": self._on_result,
        }  # fmt: skip

    # ------------------------------------------------------------ to the worker

    def begin(self) -> list[Effect]:
        """The prompt."""
        return [_send({"type": "prompt", "text": self._request.prompt})]

    def instruct(self, text: str, control_id: str) -> list[Effect]:
        """Told at once; the worker's own acknowledgement is what counts as delivered."""
        if self._closed:
            data = {"control_id": control_id, "chars": len(text), "delivered": False, "how": "it has given its result"}
            return [Fact(ev.RUN_INSTRUCTED, data)]
        self._sent[control_id] = len(text)
        return [_send({"type": "instruct", "id": control_id, "text": text})]

    def conclude(self, why: str) -> list[Effect]:
        """The worker ends with a result, unless its script forbids."""
        return [] if self._closed else [_send({"type": "conclude", "why": why})]

    def interrupt(self) -> list[Effect]:
        """The worker drops its script and gives a result."""
        return [] if self._closed else [_send({"type": "interrupt"})]

    def answer(self, key: str, answer: Answer) -> list[Effect]:
        """The answer to an ask."""
        return [
            _send({
                "type": "answer", "key": key, "decision": answer.decision, "reason": answer.reason, "text": answer.text,
                "choices": answer.choices,
            })
        ]  # fmt: skip

    # ------------------------------------------------------------ from the worker

    def on_line(self, line: bytes, original: bytes) -> list[Effect]:
        """One line of the worker's protocol."""
        value = lines.read_object(line)
        handler = self._handlers.get(text_at(value, "event")) if value is not None else None
        if value is None or handler is None:
            return [lines.unparsed(line)] if line.strip() else []
        self._spoke = True
        return handler(value)

    def on_stderr(self, line: bytes) -> list[Effect]:
        """Kept for the ending's detail."""
        if not line.strip():
            return []
        self._stderr = lines.shown(line, 300)
        return [lines.stderr(line)]

    def _hello(self, value: Object) -> list[Effect]:
        data: Object = {
            "session_id": line(text_at(value, "session_id"), 200),
            "cli_version": str(value.get("version"))[:20],
        }
        model = text_at(value, "model")
        if model:
            data["model"] = line(model, 200)
        return [Fact(ev.RUN_SESSION, data)]

    def _turn(self, value: Object) -> list[Effect]:
        return [Fact(ev.RUN_TURN, {"turn": number_at(value, "turn")})]

    def _say(self, value: Object) -> list[Effect]:
        return [lines.message(text_at(value, "text"))]

    def _tool_start(self, value: Object) -> list[Effect]:
        call = _call(value, "kind")
        return [
            lines.tool_started(
                _id(value),
                call.tool,
                call.kind,
                call.target,
                paths=call.paths,
                deadline_s=number_at(value, "deadline_s"),
            )
        ]

    def _tool_end(self, value: Object) -> list[Effect]:
        return [lines.tool_finished(_id(value), ok=value.get("ok") is True, note=text_at(value, "note"))]

    def _usage(self, value: Object) -> list[Effect]:
        figures = {key: found for key in _FIGURES if (found := number_at(value, key)) is not None}
        if not figures:
            return []
        before = self._request.baseline
        data: Object = {**figures, "total": True}
        data["session_totals"] = {**before, **{key: before.get(key, 0) + figure for key, figure in figures.items()}}
        model = text_at(value, "model")
        if model:
            data["model"] = line(model, 200)
        return [Fact(ev.RUN_USAGE, data)]

    def _ask(self, value: Object) -> list[Effect]:
        kind = text_at(value, "kind")
        call = _call(value, "tool_kind") if text_at(value, "tool") else None
        return [
            Ask(
                key=text_at(value, "key"), kind=cast("AskKind", kind if kind in _ASKS else "permission"),
                text=text_at(value, "text"), call=call, options=texts_at(value, "options"), gate=value.get("gate") is True,
                tool_use_id=_id(value) if "id" in value else "",
            )
        ]  # fmt: skip

    def _instructed(self, value: Object) -> list[Effect]:
        control_id = text_at(value, "id")
        chars = self._sent.pop(control_id, None)
        if chars is None:
            return []
        data = {"control_id": control_id, "chars": chars, "delivered": True, "how": "while it works"}
        return [Fact(ev.RUN_INSTRUCTED, data)]

    def _retry(self, value: Object) -> list[Effect]:
        data: Object = {"cause": line(text_at(value, "cause") or "unknown", 100)}
        for key in ("attempt", "max", "delay_s", "status"):
            figure = number_at(value, key)
            if figure is not None:
                data[key] = figure
        return [Fact(ev.RUN_RETRYING, data)]

    def _notice(self, value: Object) -> list[Effect]:
        data = {"code": line(text_at(value, "code"), 60), "text": line(text_at(value, "text"), 300)}
        return [Fact(ev.SYSTEM_NOTICE, data)]

    def _on_result(self, value: Object) -> list[Effect]:
        self._results += 1
        self._result = value
        turns = number_at(value, "turns")
        effects: list[Effect] = [
            lines.result(
                text_at(value, "text"), is_error=value.get("is_error") is True, index=self._results, reason=_reason(value),
                turns=None if turns is None else int(turns),
            )
        ]  # fmt: skip
        if value.get("more") is not True and not self._closed:
            self._closed = True
            effects.append(CloseInput())
        return effects

    # ------------------------------------------------------------ the end

    def ending(self, exit_code: int | None, signal: int | None) -> Ending:
        """A clean exit with a good result is success; nothing else is."""
        text = cut(clean(text_at(self._result or {}, "text")), lines.FINAL_BYTES)
        if signal is not None:
            return Ending("crashed", text, f"ended by signal {signal}")
        if exit_code:
            return Ending("crashed", text, f"exit {exit_code}" + (f": {self._stderr}" if self._stderr else ""))
        if not self._spoke:
            return Ending("no_stream", "", "it said nothing in its protocol")
        if self._result is None:
            return Ending("exited_empty", "", "exit 0 without a result")
        if self._result.get("is_error") is True:
            return Ending(_reason(self._result) or "worker_error", text, line(text, 300))
        return Ending("completed", text)


def _nothing(value: Object) -> list[Effect]:
    return []


def _reason(value: Object) -> str | None:
    """The result's own reason, when it is one that a worker may give."""
    reason = text_at(value, "reason")
    return reason if REASONS.get(reason) in ("failed", "budget_exceeded") else None


def _id(value: Object) -> str:
    return line(text_at(value, "id") or "?", 100)


def _call(value: Object, kind_key: str) -> ToolCall:
    kind = text_at(value, kind_key)
    command = value.get("command")
    return ToolCall(
        tool=text_at(value, "tool") or "?", kind=cast("ToolKind", kind if kind in _KINDS else "other"),
        target=text_at(value, "target"), paths=texts_at(value, "paths"), command=command if isinstance(command, str) else None,
    )  # fmt: skip


def _send(message: Object) -> Send:
    return Send(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
