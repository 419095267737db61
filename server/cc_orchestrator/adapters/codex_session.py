"""One Codex app-server process from its pipes: requests and notifications in, facts and replies out.

One run may take several turns (an instruction that came when the turn was over begins another): the input is closed after a turn
with nothing outstanding, and the exit of the process ends the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from cc_orchestrator.adapters import codex_items as items
from cc_orchestrator.adapters import codex_protocol as protocol
from cc_orchestrator.adapters import codex_start as start
from cc_orchestrator.adapters import lines
from cc_orchestrator.adapters.base import CloseInput, Effect, Ending, WorkerRequest
from cc_orchestrator.adapters.codex_gate import SERVER
from cc_orchestrator.adapters.codex_protocol import Pending
from cc_orchestrator.adapters.codex_talk import Talk, instructed
from cc_orchestrator.adapters.lines import Object, object_at, text_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Answer
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import clean, cut, line

_MOST_OPEN = 1_000
_ANSI = re.compile(rb"\x1b\[[0-9;]{0,12}m")
#: Codex logs each call that the gate stops; the decision is on record already.
_STOPPED = b"Command blocked by PreToolUse hook"
_LOST_GATE = "the gate failed and a call may have passed it unseen, so the run is ended"


class CodexSession:
    """See `base.Session`."""

    def __init__(self, request: WorkerRequest) -> None:
        self._request = request
        self._spoke = self._prompted = self._closed = self._counted = False
        self._thread = self._model = self._text = self._stderr = self._detail = ""
        self._reason: str | None = None
        self._turns = self._results = 0
        self._open: set[str] = set()
        self._pending: dict[str, Pending] = {}
        self._passed: list[str] = []
        self._base: dict[str, float] = dict(request.baseline)
        self._totals: dict[str, float] = {}
        self._helpers: dict[str, dict[str, float]] = {}
        self._talk = Talk()
        self._notified: dict[str, Callable[[Object], list[Effect]]] = {
            "turn/started": self._turn_started, "turn/completed": self._turn_completed, "item/started": self._item_started,
            "item/completed": self._item_completed, "thread/tokenUsage/updated": self._usage, "error": self._error,
            "hook/completed": self._hook, "serverRequest/resolved": self._resolved, "model/rerouted": self._rerouted,
            "account/rateLimits/updated": self._limits, "turn/plan/updated": lambda params: [items.plan_notice(params)],
            "warning": self._warning, "configWarning": self._warning, "guardianWarning": self._warning,
            "mcpServer/startupStatus/updated": self._server,
        }  # fmt: skip
        self._answered: dict[str, Callable[[Object], list[Effect]]] = {
            "initialize": self._initialized, "hooks": self._hooks, "thread": self._thread_begun, "gate": self._gate_checked,
        }  # fmt: skip

    # ------------------------------------------------------------ to the worker

    def begin(self) -> list[Effect]:
        """The gate first; the prompt follows once it stands."""
        return [protocol.initialize()]

    def instruct(self, text: str, control_id: str) -> list[Effect]:
        """Put before the model with its next request, or as the next turn; Codex tells when that was."""
        if self._closed:
            return [instructed(control_id, len(text), delivered=False, how="it has given its result")]
        return [*self._talk.instruct(text, control_id)]

    def conclude(self, why: str) -> list[Effect]:
        """A message that asks for the end."""
        text = (
            f"Stop here ({line(why, 200)}): start nothing new and give your final answer now, with what remains open."
        )
        return [] if self._closed else [*self._talk.say(text, "conclude")]

    def interrupt(self) -> list[Effect]:
        """Codex's own interrupt: the turn ends at once, and so does its running command."""
        return [] if self._closed else [*self._talk.interrupt()]

    def answer(self, key: str, answer: Answer) -> list[Effect]:
        """The answer to an ask, unless Codex has withdrawn it. Only the gate passes a reason on, so others are told it."""
        pending = self._pending.pop(key, None)
        if pending is None:
            return []
        if pending.ask is not None and answer.decision == "ask":
            # Codex waits for its hook as long as it takes: the gate stays shut until somebody has answered.
            self._pending[pending.ask.key] = pending._replace(ask=None)
            return [pending.ask]
        if pending.kind == "gate" and answer.decision == "allow" and pending.name.startswith("mcp__"):
            self._passed.append(pending.name)
            del self._passed[:-_MOST_OPEN]
        effects: list[Effect] = []
        if answer.decision != "allow" and pending.kind in ("command", "edit", "permissions", "tool"):
            # Before the answer, so that it is there when the model is asked again.
            what = pending.name or items.unwrap(text_at(pending.given, "command"), gated=True) or pending.kind
            why = f"Not allowed ({line(what, 200)}): {answer.reason or 'denied'}. Go on without it."
            effects += self._talk.say(why, "why")
        return [*effects, protocol.reply(pending, answer)]

    # ------------------------------------------------------------ from the worker

    def on_line(self, line: bytes, original: bytes) -> list[Effect]:
        """One message."""
        value = lines.read_object(line)
        if value is None or not ("method" in value or "id" in value):
            return [lines.unparsed(line)] if line.strip() else []
        self._spoke = True
        method = text_at(value, "method")
        if method and "id" in value:
            return self._on_request(method, value, original)
        if method:
            handler = self._notified.get(method)
            return handler(object_at(value, "params")) if handler is not None else []
        return self._on_response(value)

    def on_stderr(self, line: bytes) -> list[Effect]:
        """Kept for the ending's detail: the first line that says Error, else the last one."""
        line = _ANSI.sub(b"", line)
        if not line.strip() or _STOPPED in line:
            return []
        if not self._stderr.startswith("Error"):
            self._stderr = lines.shown(line, 300)
        return [lines.stderr(line)]

    def _on_request(self, method: str, value: Object, original: bytes) -> list[Effect]:
        untouched = lines.read_object(original) or value
        number, params = untouched.get("id"), object_at(value, "params")
        # Policy takes relative paths from the root of the tree, which need not be where the worker begins.
        root = self._request.tree or self._request.cwd
        found = protocol.read_request(method, params, object_at(untouched, "params"), number, root)
        if found is None:
            return [protocol.refuse(number, method)]
        ask, pending = found
        if pending.kind == "tool" and pending.name in self._passed:
            # The gate has let this very call pass; Codex asks again, because the server is not its own.
            self._passed.remove(pending.name)
            return [protocol.reply(pending, Answer("allow"))]
        self._pending[ask.key] = pending
        return [*self._count(), ask]

    def _resolved(self, params: Object) -> list[Effect]:
        number = params.get("requestId")
        self._pending = {key: pending for key, pending in self._pending.items() if pending.number != number}
        return []

    def _on_response(self, value: Object) -> list[Effect]:
        number, error = value.get("id"), object_at(value, "error")
        name = number if isinstance(number, str) else ""
        if "error" in value and name in (*self._answered, "prompt"):
            return self._refused(name, text_at(error, "message"))
        handler = self._answered.get(name)
        if handler is not None:
            return handler(object_at(value, "result"))
        return self._after([*self._talk.responded(name, "error" not in value)])

    # ------------------------------------------------------------ the beginning

    def _initialized(self, _result: Object) -> list[Effect]:
        said = protocol.encode({"method": "initialized"})
        return [said, protocol.request("hooks", "hooks/list", {"cwds": [self._request.cwd]})]

    def _hooks(self, result: Object) -> list[Effect]:
        state = start.hook_state(result, others=self._request.options.get("hooks") is True)
        if state is None:
            return self._give_up("no_stream", start.trouble(result) or "it did not take up the gate")
        return [protocol.request("thread", *start.thread_request(self._request, state))]

    def _thread_begun(self, result: Object) -> list[Effect]:
        thread = object_at(result, "thread")
        self._thread, self._model = line(text_at(thread, "id"), 100), line(text_at(result, "model"), 100)
        data: Object = {"session_id": self._thread}
        if text_at(thread, "cliVersion"):
            data["cli_version"] = line(text_at(thread, "cliVersion"), 40)
        session = Fact(ev.RUN_SESSION, data)
        wrong = start.wrong_sandbox(result, self._request)
        if not self._thread or wrong:
            return [session, *self._give_up("no_stream", wrong or "it named no thread")]
        return [session, protocol.request("gate", "hooks/list", {"threadId": self._thread})]

    def _gate_checked(self, result: Object) -> list[Effect]:
        if self._prompted:
            return []
        if not start.gate_stands(result):
            return self._give_up("no_stream", "it did not take up the gate")
        self._prompted = True
        return [*self._talk.begin(self._thread, self._request.prompt)]

    def _refused(self, name: str, message: str) -> list[Effect]:
        if name == "thread" and self._request.resume is not None:
            return self._give_up("session_not_found", message)
        return self._give_up("worker_error" if name == "prompt" else "no_stream", f"codex refused to begin: {message}")

    def _give_up(self, reason: str, detail: str) -> list[Effect]:
        self._reason, self._detail = reason, line(detail, 300)
        return [items.notice("codex", detail), *self._close()]

    def _close(self) -> list[Effect]:
        if self._closed:
            return []
        self._closed = True
        return [CloseInput()]

    # ------------------------------------------------------------ turns

    def _ours(self, params: Object) -> bool:
        """Of this run's own thread, and not of a helper's that it started."""
        return bool(self._thread) and text_at(params, "threadId") == self._thread

    def _turn_started(self, params: Object) -> list[Effect]:
        if not self._ours(params):
            return []
        self._counted = False
        return [*self._count(), *self._talk.started(text_at(object_at(params, "turn"), "id"))]

    def _count(self) -> list[Effect]:
        """A model request shows itself by what it brings: the first thing after the figures of the one before."""
        if self._counted or not self._talk.active:
            return []
        self._counted = True
        self._turns += 1
        return [Fact(ev.RUN_TURN, {"turn": self._turns})]

    def _turn_completed(self, params: Object) -> list[Effect]:
        if not self._ours(params):
            return []
        turn = object_at(params, "turn")
        status, error = text_at(turn, "status"), object_at(turn, "error")
        self._results += 1
        self._open.clear()
        if self._reason is None and status != "completed":
            failed = status == "failed"
            self._reason = items.error_reason(error) if failed else "worker_error"
            self._detail = line(text_at(error, "message"), 300) or (
                "the turn failed without a word" if failed else f"the turn was {status or 'ended'}"
            )
        text = self._text if self._reason is None else self._detail
        result = lines.result(
            text, is_error=self._reason is not None, index=self._results, reason=self._reason, turns=self._turns
        )
        self._talk.completed()
        if self._reason is not None:
            return [result, *self._talk.undelivered("the turn was over before it was read"), *self._close()]
        return self._after([result])

    def _after(self, effects: list[Effect]) -> list[Effect]:
        """Begin another turn for what was said too late; nothing outstanding: close."""
        if self._closed or self._talk.active or not self._results:
            return effects
        again = self._talk.again()
        if again or self._talk.waits:
            return [*effects, *again]
        return [*effects, *self._close()]

    # ------------------------------------------------------------ items

    def _item_started(self, params: Object) -> list[Effect]:
        item = object_at(params, "item")
        counted = self._count() if self._ours(params) and text_at(item, "type") != "userMessage" else []
        return [*counted, *self._tool(item, done=False)]

    def _item_completed(self, params: Object) -> list[Effect]:
        item = object_at(params, "item")
        kind = text_at(item, "type")
        if kind == "userMessage":
            return [*self._talk.read(text_at(item, "clientId"))]
        if kind == "agentMessage":
            if self._ours(params):
                self._text = cut(clean(text_at(item, "text")), lines.FINAL_BYTES)
            return [lines.message(text_at(item, "text"))] if text_at(item, "text").strip() else []
        if kind == "contextCompaction":
            return [items.notice("compact_boundary", "the conversation was compacted")]
        return self._tool(item, done=True)

    def _tool(self, item: Object, *, done: bool) -> list[Effect]:
        call = items.item_call(item)
        if call is None:
            return []
        call_id = line(text_at(item, "id") or "?", 100)
        facts: list[Effect] = []
        if call_id not in self._open:
            facts.append(lines.tool_started(call_id, call.tool, call.kind, call.target, paths=call.paths))
            if not done and len(self._open) < _MOST_OPEN:
                self._open.add(call_id)
        if done:
            self._open.discard(call_id)
            ok, note = items.outcome(item)
            facts.append(lines.tool_finished(call_id, ok=ok, note=note))
        return facts

    # ------------------------------------------------------------ figures, errors, notices

    def _usage(self, params: Object) -> list[Effect]:
        """This run's figures: the conversation's less what it had before, which Codex itself tells when it resumes."""
        totals = items.figures_of(object_at(object_at(params, "tokenUsage"), "total"))
        if not totals or not self._thread:
            return []
        if not self._ours(params):
            # A helper that the worker started: a thread of its own, paid for by this run.
            thread = text_at(params, "threadId")
            if thread in self._helpers or len(self._helpers) < _MOST_OPEN:
                self._helpers[thread] = totals
            return self._figures() if self._totals else []
        if not self._prompted or not self._turns:
            self._base = totals
            return []
        self._counted, self._totals = False, totals
        return self._figures()

    def _figures(self) -> list[Effect]:
        totals, helpers = self._totals, self._helpers.values()
        figures: Object = {
            key: max(0, found - self._base.get(key, 0)) + sum(one.get(key, 0) for one in helpers) for key, found in totals.items()
        }  # fmt: skip
        if self._model:
            figures["model"] = self._model
        return [Fact(ev.RUN_USAGE, {**figures, "total": True, "session_totals": totals})]

    def _error(self, params: Object) -> list[Effect]:
        error = object_at(params, "error")
        if params.get("willRetry") is True:
            return [items.retrying(error)]
        return [items.notice("error", text_at(error, "message"))]

    def _hook(self, params: Object) -> list[Effect]:
        """Codex lets a call pass when a hook fails: then nothing more shall follow."""
        run = object_at(params, "run")
        if (text_at(run, "eventName"), text_at(run, "source")) != ("preToolUse", "sessionFlags"):
            return []
        if text_at(run, "status") in ("completed", "blocked", "running") or self._closed or self._talk.interrupted:
            return []
        self._reason, self._detail = "worker_error", _LOST_GATE
        return [items.notice("no_gate", _LOST_GATE), *self._talk.interrupt()]

    def _server(self, params: Object) -> list[Effect]:
        name, status = text_at(params, "name"), text_at(params, "status")
        if status != "failed" or name == SERVER:
            return []
        return [items.notice("mcp", f"{name} did not start: {text_at(params, 'error')}")]

    def _rerouted(self, params: Object) -> list[Effect]:
        model: Any = params.get("toModel") or params.get("model")
        if not isinstance(model, str) or not self._ours(params):
            return []
        self._model = line(model, 100)
        return [
            Fact(ev.RUN_USAGE, {"model": self._model, "total": True}),
            items.notice("model_fallback", f"-> {model}"),
        ]

    def _limits(self, params: Object) -> list[Effect]:
        return [*items.limit_facts(object_at(params, "rateLimits"))]

    def _warning(self, params: Object) -> list[Effect]:
        told = [text_at(params, key) for key in ("message", "summary", "details")]
        return [items.notice("codex", " ".join(part for part in told if part))]

    # ------------------------------------------------------------ the end

    def ending(self, exit_code: int | None, signal: int | None) -> Ending:
        """Success is a completed turn with an answer in the thread that was meant, and exit 0."""
        text = self._text
        if self._reason is not None:
            return Ending(self._reason, text, self._detail)
        if signal is not None or exit_code:
            how = f"ended by signal {signal}" if signal is not None else f"exit {exit_code}"
            return Ending(
                "crashed" if self._spoke else "no_stream", text, how + (f": {self._stderr}" if self._stderr else "")
            )
        if not self._spoke or not self._prompted:
            return Ending("no_stream", "", self._stderr or "it said nothing in its protocol")
        if not self._results or not text.strip():
            return Ending(
                "exited_empty", text, "exit 0 without " + ("an answer" if self._results else "a finished turn")
            )
        return Ending("completed", text)
