"""What `codex exec --json` says, as facts.

`turn.started` gives no fact: a Codex turn is the whole answer to one prompt, with any number of model requests in it, so it is
not what our `turns` count. "Reconnecting... n/m" is a retry, no failure; before it Codex has tried several times in silence.
`usage` is cumulative over the conversation, also after resume and fork, and comes at the turn's end only.
"""

from __future__ import annotations

import re
from typing import Any, cast

from cc_orchestrator.adapters import lines
from cc_orchestrator.adapters.base import CloseInput, Effect, Ending, Send, WorkerRequest
from cc_orchestrator.adapters.codex_items import unwrap
from cc_orchestrator.adapters.lines import Object, number_at, object_at, text_at
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Answer, ToolCall
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import clean, cut, line, tail

_RETRY = re.compile(r"Reconnecting\.{3}\s{0,3}(\d{1,4})/(\d{1,4})(.{0,500})", re.DOTALL)
_STATUS = re.compile(r"(?:status:?|HTTP(?: error)?:?)\s{1,3}([1-5]\d\d)\b")
#: What a failed turn's text means. The first match counts; the words are those of Codex 0.169.
_CAUSES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("context_overflow", re.compile(r"context window|context_length_exceeded|ran out of room")),
    ("auth_failed", re.compile(
        r"401 Unauthorized|403 Forbidden|status:? 40[13]\b|Missing environment variable|[Nn]ot logged in|invalid_api_key"
        r"|token.{0,40}(?:expired|revoked)"
    )),
    ("rate_limited", re.compile(r"\b429\b|[Rr]ate limit|usage limit|quota")),
)  # fmt: skip
_NOT_FOUND = re.compile(r"no rollout found|thread/(?:resume|fork) failed|[Ss]ession .{0,80}not found")
#: Log lines of Codex itself on stderr: of interest, but no reason.
_LOG = re.compile(r"^\d{4}-\d\d-\d\dT\S{1,40}\s+(?:TRACE|DEBUG|INFO|WARN|ERROR)\b")
_MOST_OPEN = 1_000
#: Codex's name of a figure -> ours. Its input count includes what was read from and written to the cache.
_FIGURES = {
    "output_tokens": "output_tokens", "cached_input_tokens": "cache_read_tokens",
    "cache_write_input_tokens": "cache_write_tokens", "reasoning_output_tokens": "reasoning_tokens",
}  # fmt: skip
_UNHEARD = "codex exec takes no instructions while it works"


class CodexExecSession:
    """One `codex exec`, from its pipes."""

    def __init__(self, request: WorkerRequest) -> None:
        self._request = request
        self._spoke = False
        self._thread = ""
        self._text = ""
        self._completed = 0
        self._failure: str | None = None
        self._error = ""
        self._stderr = ""
        self._open: set[str] = set()

    # ------------------------------------------------------------ to the worker

    def begin(self) -> list[Effect]:
        """The prompt, and nothing after it."""
        return [Send(self._request.prompt.encode("utf-8", "replace")), CloseInput()]

    def instruct(self, text: str, control_id: str) -> list[Effect]:
        """Cannot be delivered."""
        data = {"control_id": control_id, "chars": len(text), "delivered": False, "how": _UNHEARD}
        return [Fact(ev.RUN_INSTRUCTED, data)]

    def conclude(self, why: str) -> list[Effect]:
        """It cannot be asked."""
        return []

    def interrupt(self) -> list[Effect]:
        """There is nothing better than a signal."""
        return []

    def answer(self, key: str, answer: Answer) -> list[Effect]:
        """It never asks."""
        return []

    # ------------------------------------------------------------ from the worker

    def on_line(self, line: bytes, original: bytes) -> list[Effect]:
        """One event."""
        value = lines.read_object(line)
        kind = text_at(value, "type") if value is not None else ""
        if value is None or not kind:
            return [lines.unparsed(line)] if line.strip() else []
        if kind == "thread.started":
            return self._on_thread(value)
        if kind == "turn.started":
            self._spoke = True
            return []
        if kind in ("item.started", "item.updated", "item.completed"):
            return self._on_item(kind, object_at(value, "item"))
        if kind == "turn.completed":
            return self._on_completed(value)
        if kind == "turn.failed":
            return self._on_failed(text_at(object_at(value, "error"), "message"))
        if kind == "error":
            return self._on_error(text_at(value, "message"))
        return [lines.unparsed(line)]

    def on_stderr(self, line: bytes) -> list[Effect]:
        """Kept for the ending's detail: the first line that says Error, else the last that is no log line, else the last one."""
        if not line.strip() or line.startswith(b"Reading additional input from stdin"):
            return []
        shown = lines.shown(line, 400)
        if not self._stderr.startswith("Error") and (not _LOG.match(shown) or _LOG.match(self._stderr or shown)):
            self._stderr = shown
        return [lines.stderr(line)]

    def _on_thread(self, value: Object) -> list[Effect]:
        self._spoke = True
        self._thread = line(text_at(value, "thread_id"), 100)
        facts: list[Effect] = [Fact(ev.RUN_SESSION, {"session_id": self._thread})]
        if self._strayed():
            text = f"asked to resume {self._request.resume}, it began another conversation"
            facts.append(Fact(ev.SYSTEM_NOTICE, {"code": "session_lost", "text": line(text, 300)}))
        return facts

    def _strayed(self) -> bool:
        """It was to go on with a conversation and is in another one."""
        request = self._request
        return bool(
            request.resume and not request.fork and self._thread and self._thread.lower() != request.resume.lower()
        )

    def _on_item(self, event: str, item: Object) -> list[Effect]:
        self._spoke = True
        kind = text_at(item, "type")
        done = event == "item.completed"
        if kind == "agent_message":
            if not done:
                return []
            self._text = cut(clean(text_at(item, "text")), lines.FINAL_BYTES)
            return [lines.message(text_at(item, "text"))]
        if kind == "reasoning" or not kind:
            return []
        if kind == "error":
            text = line(text_at(item, "message"), 300)
            return [Fact(ev.SYSTEM_NOTICE, {"code": "codex", "text": text})] if done else []
        if kind == "todo_list":
            return [Fact(ev.SYSTEM_NOTICE, {"code": "plan", "text": _plan(item)})]
        return self._on_tool(event, item, done)

    def _on_tool(self, event: str, item: Object, done: bool) -> list[Effect]:
        call_id = line(text_at(item, "id") or "?", 100)
        if event == "item.updated":
            return []
        facts: list[Effect] = []
        if call_id not in self._open:
            call = read_call(item)
            facts.append(lines.tool_started(call_id, call.tool, call.kind, call.target, paths=call.paths))
            if not done and len(self._open) < _MOST_OPEN:
                self._open.add(call_id)
        if done:
            self._open.discard(call_id)
            ok, note = _outcome(item)
            facts.append(lines.tool_finished(call_id, ok=ok, note=note))
        return facts

    def _on_error(self, message: str) -> list[Effect]:
        self._spoke = True
        retry = _RETRY.match(message)
        if retry is None:
            # Told again, in the same words, by the turn's failure.
            self._error = line(message, 400)
            return [Fact(ev.SYSTEM_NOTICE, {"code": "error", "text": line(message, 300)})]
        why = retry[3]
        data: Object = {"attempt": int(retry[1]), "max": int(retry[2]), "cause": _retry_cause(why)}
        status = _STATUS.search(why)
        if status is not None:
            data["status"] = int(status[1])
        return [Fact(ev.RUN_RETRYING, data)]

    def _on_completed(self, value: Object) -> list[Effect]:
        self._spoke = True
        self._completed += 1
        self._failure = None
        return [
            *self._usage(object_at(value, "usage")),
            lines.result(self._text, is_error=False, index=self._completed),
        ]

    def _on_failed(self, message: str) -> list[Effect]:
        self._spoke = True
        self._completed += 1
        self._failure = line(message or self._error, 400) or "the turn failed without a word"
        reason = classify(self._failure)
        return [lines.result(self._failure, is_error=True, index=self._completed, reason=reason)]

    def _usage(self, usage: Object) -> list[Effect]:
        """This run's figures: the conversation's less what it had before."""
        totals = {ours: found for theirs, ours in _FIGURES.items() if (found := number_at(usage, theirs)) is not None}
        given = number_at(usage, "input_tokens")
        if given is not None:
            cached = totals.get("cache_read_tokens", 0) + totals.get("cache_write_tokens", 0)
            totals["input_tokens"] = max(0, given - cached)
        if not totals:
            return []
        before: dict[str, float] = {} if self._strayed() else self._request.baseline
        figures = {key: max(0, found - before.get(key, 0)) for key, found in totals.items()}
        return [Fact(ev.RUN_USAGE, {**figures, "total": True, "session_totals": totals})]

    # ------------------------------------------------------------ the end

    def ending(self, exit_code: int | None, signal: int | None) -> Ending:
        """Success is a completed turn with an answer, in the conversation that was meant, and exit 0."""
        text = self._text
        if self._strayed():
            return Ending("session_not_found", text, f"codex did not find conversation {self._request.resume}")
        if self._failure is not None:
            return Ending(classify(self._failure), text, self._failure)
        if signal is not None:
            return Ending("crashed", text, f"ended by signal {signal}" + self._said())
        if exit_code:
            return self._bad_exit(exit_code)
        if not self._spoke:
            return Ending("no_stream", "", "it said nothing in its protocol" + self._said())
        if not self._completed or not text.strip():
            return Ending(
                "exited_empty", text, "exit 0 without " + ("an answer" if self._completed else "a finished turn")
            )
        return Ending("completed", text)

    def _bad_exit(self, exit_code: int) -> Ending:
        detail = f"exit {exit_code}" + self._said()
        if self._request.resume and _NOT_FOUND.search(self._stderr):
            return Ending("session_not_found", self._text, detail)
        if not self._spoke:
            return Ending("no_stream", "", detail)
        return Ending("crashed", self._text, detail)

    def _said(self) -> str:
        said = self._error or self._stderr
        return f": {said}" if said else ""


def classify(message: str) -> str:
    """The reason behind a failed turn's text."""
    return next((reason for reason, pattern in _CAUSES if pattern.search(message)), "api_error")


def _retry_cause(why: str) -> str:
    reason = classify(why)
    if reason != "api_error":
        return reason
    if "high demand" in why or "overloaded" in why:
        return "overloaded"
    return "disconnected" if "disconnected" in why else "service_error"


def read_call(item: Object) -> ToolCall:
    """The tool call of an item, in words that every adapter shares."""
    kind = text_at(item, "type")
    if kind == "command_execution":
        command = unwrap(text_at(item, "command"))
        return ToolCall(kind, "command", command, command=command)
    if kind == "file_change":
        paths = _changed(item)
        return ToolCall(kind, "edit", ", ".join(paths[:5]), paths=paths)
    if kind == "web_search":
        return ToolCall(kind, "network", text_at(item, "query"))
    if kind == "mcp_tool_call":
        tool = f"mcp__{text_at(item, 'server')}__{text_at(item, 'tool')}"
        return ToolCall(tool, "other", tool)
    return ToolCall(kind, "delegate" if kind == "collab_tool_call" else "other", text_at(item, "tool"))


def _changed(item: Object) -> tuple[str, ...]:
    found = item.get("changes")
    changes = cast("list[Any]", found)[:50] if isinstance(found, list) else []
    return tuple(
        path for change in changes if isinstance(change, dict) and (path := text_at(cast("Object", change), "path"))
    )


def _outcome(item: Object) -> tuple[bool, str]:
    """Whether it went well, and a note where it did not."""
    exit_code = item.get("exit_code")
    if isinstance(exit_code, int) and exit_code:
        return False, f"exit {exit_code} " + tail(text_at(item, "aggregated_output")[-2_000:], 300)
    status = text_at(item, "status")
    if status in ("", "completed"):
        return True, ""
    error = text_at(object_at(item, "error"), "message")
    return False, f"{status} {error}".strip()


def _plan(item: Object) -> str:
    found = item.get("items")
    steps = (
        [cast("Object", step) for step in cast("list[Any]", found) if isinstance(step, dict)]
        if isinstance(found, list)
        else []
    )
    done = sum(1 for step in steps if step.get("completed") is True)
    following = next((text_at(step, "text") for step in steps if step.get("completed") is not True), "")
    return line(f"{done} of {len(steps)} done" + (f"; next: {following}" if following else ""), 300)
