"""One Claude Code process from its pipes: control protocol and messages in, facts and replies out.

A process may give several results (background commands, asynchronous subagents, instructions that came late): its input is
closed after a result with nothing outstanding, and its exit ends the run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from cc_orchestrator.adapters import claude_control as control
from cc_orchestrator.adapters import claude_events as events
from cc_orchestrator.adapters import lines
from cc_orchestrator.adapters.base import CloseInput, Effect, Ending, WorkerRequest
from cc_orchestrator.adapters.claude_control import Pending
from cc_orchestrator.adapters.claude_tools import call_deadline, tool_call
from cc_orchestrator.adapters.claude_usage import Meter
from cc_orchestrator.adapters.lines import Object, number_at, object_at, text_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Answer
from cc_orchestrator.core.digest import uuid_of
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import clean, cut, line

#: The CLI retries a refused key for minutes; after this many refusals (about four seconds) it is told to stop.
AUTH_ATTEMPTS = 3
_REFUSED = "the model's service refused the key; workers use the environment and the CLI's login, not settings files"
_IDS = "7b1f6c1e-3a55-4f0e-9d0a-5d3c8f6f2b11"


class ClaudeSession:
    """See `base.Session`."""

    def __init__(self, request: WorkerRequest) -> None:
        self._request = request
        self._spoke = self._prompted = self._closed = False
        self._pending: dict[str, Pending] = {}
        self._instructions: dict[str, tuple[str, int]] = {}
        self._early: list[Effect] = []
        self._tasks = 0
        self._turn_id = ""
        self._turns = self._results = 0
        self._result: Object | None = None
        self._reason: str | None = None
        self._text = self._detail = self._stderr = self._session_id = self._error_kind = ""
        self._auth_refused = False
        self._meter = Meter(None if request.resume is None else request.baseline)
        self._handlers: dict[str, Callable[[Object, bytes], list[Effect]]] = {
            "system": self._system, "assistant": self._assistant, "user": self._user, "result": self._on_result,
            "control_request": self._on_request, "control_response": self._on_response,
            "control_cancel_request": self._withdrawn, "command_lifecycle": self._lifecycle, "rate_limit_event": self._limits,
        }  # fmt: skip

    # ------------------------------------------------------------ to the worker

    def begin(self) -> list[Effect]:
        """The gate first; the prompt follows once it stands, so that no call can slip by."""
        return [control.initialize()]

    def instruct(self, text: str, control_id: str) -> list[Effect]:
        """Put before the model with the next tool result, or as the next turn; the CLI tells when that was."""
        if self._closed:
            return [_instructed(control_id, len(text), delivered=False, how="it has given its result")]
        message_id = uuid_of(_IDS, control_id)
        self._instructions[message_id] = (control_id, len(text))
        message = control.user_message(text, uuid=message_id)
        if not self._prompted:
            self._early.append(message)
            return []
        return [message]

    def conclude(self, why: str) -> list[Effect]:
        """A message that asks for the end."""
        if self._closed or not self._prompted:
            return []
        text = (
            f"Stop here ({line(why, 200)}): start nothing new and give your final answer now, with what remains open."
        )
        return [control.user_message(text, uuid=uuid_of(_IDS, f"conclude {why}"))]

    def interrupt(self) -> list[Effect]:
        """The CLI's own interrupt: it gives a result at once and its running tool is ended."""
        return [] if self._closed or not self._prompted else [control.control(control.INTERRUPT, "interrupt")]

    def answer(self, key: str, answer: Answer) -> list[Effect]:
        """The answer to an ask, unless the CLI has withdrawn it."""
        pending = self._pending.pop(key, None)
        return [] if pending is None else [control.reply(key, pending, answer)]

    # ------------------------------------------------------------ from the worker

    def on_line(self, line: bytes, original: bytes) -> list[Effect]:
        """One message of the stream."""
        value = lines.read_object(line)
        if value is None or not isinstance(value.get("type"), str):
            return [lines.unparsed(line)] if line.strip() else []
        self._spoke = True
        handler = self._handlers.get(value["type"])
        return handler(value, original) if handler is not None else []

    def on_stderr(self, line: bytes) -> list[Effect]:
        """Kept for the ending's detail."""
        if not line.strip():
            return []
        self._stderr = lines.shown(line, 300)
        return [lines.stderr(line)]

    def _system(self, value: Object, _original: bytes) -> list[Effect]:
        subtype = text_at(value, "subtype")
        if subtype == "init":
            return self._init(value)
        if subtype == "api_retry":
            return self._retry(value)
        if subtype == "model_fallback":
            return [events.fallback(value)]
        if subtype == "background_tasks_changed":
            tasks = value.get("tasks")
            self._tasks = len(cast("list[Any]", tasks)) if isinstance(tasks, list) else 0
        elif subtype == "permission_denied":
            return [events.notice(subtype, f"{text_at(value, 'tool_name')}: {text_at(value, 'message')}")]
        elif subtype == "compact_boundary":
            return [events.notice(subtype, "the conversation was compacted")]
        return []

    def _init(self, value: Object) -> list[Effect]:
        if text_at(value, "session_id") == self._session_id:
            return []
        self._session_id = text_at(value, "session_id")
        return [events.session(value)]

    def _retry(self, value: Object) -> list[Effect]:
        effects: list[Effect] = [events.retrying(value)]
        if number_at(value, "error_status") in (401, 403) and (number_at(value, "attempt") or 0) >= AUTH_ATTEMPTS:
            self._auth_refused = True
            effects += self.interrupt()
        return effects

    def _limits(self, value: Object, _original: bytes) -> list[Effect]:
        return [*events.rate_limit(value)]

    def _assistant(self, value: Object, _original: bytes) -> list[Effect]:
        message, parent = object_at(value, "message"), text_at(value, "parent_tool_use_id")
        model = text_at(message, "model")
        if model == events.SYNTHETIC or value.get("is_api_error_message") is True:
            self._error_kind = text_at(value, "error")
            return []
        self._error_kind = ""
        effects = [] if parent else self._turn(text_at(message, "id"), line(model, 200))
        for block in events.blocks(message):
            if block.get("type") == "text" and text_at(block, "text").strip():
                effects.append(lines.message(text_at(block, "text")))
            elif block.get("type") == "tool_use":
                call = tool_call(text_at(block, "name"), object_at(block, "input"), self._request.cwd)
                call_id = line(text_at(block, "id"), 100)
                effects.append(
                    lines.tool_started(
                        call_id,
                        call.tool,
                        call.kind,
                        call.target,
                        paths=call.paths,
                        parent=line(parent, 100),
                        deadline_s=call_deadline(call, object_at(block, "input")),
                    )
                )
        return effects

    def _turn(self, message_id: str, model: str) -> list[Effect]:
        """A message comes block by block; a new id is a new turn."""
        if message_id == self._turn_id and message_id:
            return []
        self._turn_id = message_id
        self._turns += 1
        effects: list[Effect] = [Fact(ev.RUN_TURN, {"turn": self._turns})]
        if model and model != self._meter.model:
            self._meter.model = model
            effects.append(Fact(ev.RUN_USAGE, {"model": model, "total": True}))
        if self._budgeted and not self._closed:
            effects.append(control.control(control.USAGE, "get_usage"))
        return effects

    @property
    def _budgeted(self) -> bool:
        """Figures between results cost a request each, so they are asked for only when a budget needs them."""
        request = self._request
        return request.metered or request.max_tokens is not None or request.max_cost_usd is not None

    def _user(self, value: Object, _original: bytes) -> list[Effect]:
        return [events.tool_finished(block) for block in events.tool_results(object_at(value, "message"))]

    # ------------------------------------------------------------ control

    def _on_request(self, value: Object, original: bytes) -> list[Effect]:
        untouched = lines.read_object(original) or value
        request_id, shown = text_at(untouched, "request_id"), object_at(value, "request")
        found = control.read_request(request_id, shown, object_at(untouched, "request"), self._request.cwd)
        if found is None:
            return [control.refuse(request_id, text_at(shown, "subtype"))]
        ask, self._pending[request_id] = found
        return [ask]

    def _withdrawn(self, value: Object, _original: bytes) -> list[Effect]:
        self._pending.pop(text_at(value, "request_id"), None)
        return []

    def _on_response(self, value: Object, _original: bytes) -> list[Effect]:
        response = object_at(value, "response")
        request_id, ok = text_at(response, "request_id"), text_at(response, "subtype") == "success"
        if request_id == control.INITIALIZE:
            return self._initialized(ok, response)
        if request_id == control.USAGE and ok:
            return self._measured(object_at(object_at(response, "response"), "session"))
        return []

    def _initialized(self, ok: bool, response: Object) -> list[Effect]:
        if self._prompted:
            return []
        if not ok or object_at(response, "response").get("hooks_applied") is False:
            self._closed = True
            self._stderr = f"it did not take up the gate: {line(text_at(response, 'error'), 200)}"
            return [events.notice("no_gate", self._stderr), CloseInput()]
        self._prompted = True
        said = [control.user_message(self._request.prompt), *self._early]
        if self._request.resume is None:
            return said
        # The CLI itself knows best what the session has used before; what we recorded is second to it.
        return [control.control(control.USAGE, "get_usage"), *said]

    def _measured(self, session: Object) -> list[Effect]:
        if not self._turns and self._meter.take_base(session):
            return []
        return [*self._meter.between(session)]

    def _lifecycle(self, value: Object, _original: bytes) -> list[Effect]:
        known = self._instructions.get(text_at(value, "command_uuid"))
        if known is None:
            return []
        state = text_at(value, "state")
        if state == "queued":
            return [_instructed(*known, delivered=False, how="queued: it reads it after its current step")]
        if state == "started":
            del self._instructions[text_at(value, "command_uuid")]
            return [_instructed(*known, delivered=True, how="while it works")]
        return []

    # ------------------------------------------------------------ the end

    def _on_result(self, value: Object, _original: bytes) -> list[Effect]:
        self._results += 1
        self._result = value
        self._reason = "auth_failed" if self._auth_refused else events.result_reason(value, self._error_kind)
        text = events.result_text(value)
        if self._reason is not None:
            self._detail = _REFUSED if self._reason == "auth_failed" else line(text, 300)
        elif text:
            self._text = cut(clean(text), lines.FINAL_BYTES)
        effects: list[Effect] = [*self._meter.at_result(value)]
        effects.append(
            lines.result(
                text, is_error=self._reason is not None, index=self._results, reason=self._reason, turns=self._turns
            )
        )
        outstanding = self._tasks or number_at(value, "queued_turn_count") or self._instructions
        if not self._closed and (self._reason is not None or not outstanding):
            self._closed = True
            effects.append(CloseInput())
        return effects

    def ending(self, exit_code: int | None, signal: int | None) -> Ending:
        """Success is a clean exit after a good result, and nothing else: an interrupted process exits with 0 as well."""
        if self._result is None:
            return self._without_result(exit_code, signal)
        if self._reason is not None:
            return Ending(self._reason, self._text, self._detail)
        if signal is not None or exit_code:
            return Ending("crashed", self._text, self._how(exit_code, signal))
        return Ending("completed", self._text)

    def _without_result(self, exit_code: int | None, signal: int | None) -> Ending:
        if signal is None and "no conversation found" in self._stderr.lower():
            return Ending("session_not_found", "", self._stderr)
        if self._auth_refused:
            return Ending("auth_failed", "", _REFUSED)
        if signal is not None or exit_code:
            return Ending("crashed", "", self._how(exit_code, signal))
        if not self._spoke or not self._prompted_or_seen:
            return Ending("no_stream", "", self._stderr or "it said nothing in its protocol")
        return Ending("exited_empty", "", "exit 0 without a result")

    @property
    def _prompted_or_seen(self) -> bool:
        return self._prompted or bool(self._session_id)

    def _how(self, exit_code: int | None, signal: int | None) -> str:
        how = f"ended by signal {signal}" if signal is not None else f"exit {exit_code}"
        return how + (f": {self._stderr}" if self._stderr else "")


def _instructed(control_id: str, chars: int, *, delivered: bool, how: str) -> Fact:
    return Fact(ev.RUN_INSTRUCTED, {"control_id": control_id, "chars": chars, "delivered": delivered, "how": how})
