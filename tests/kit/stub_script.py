"""The script of the model stub: what the "model" says, turn by turn, and how a request is read.

A `Script` is chosen by its matcher; within it every conversation (one session of a CLI) walks the turns from the start.
A turn may be computed from the request, so that a scripted controller can use ids that earlier tool results gave it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

Api = Literal["anthropic", "openai"]
Json = dict[str, Any]


def table(value: Any) -> Json:
    """A JSON object, or an empty one in place of anything else."""
    return cast(Json, value) if isinstance(value, dict) else {}


def rows(value: Any) -> list[Json]:
    """The objects of a JSON array; empty in place of anything else."""
    return [table(item) for item in cast(list[Any], value) if isinstance(item, dict)] if isinstance(value, list) else []


@dataclass(frozen=True)
class ToolResult:
    """What the model got back from one tool call. `text` is exactly what it can read."""

    call_id: str
    name: str
    text: str
    is_error: bool = False

    def json(self) -> Json:
        """The JSON object in the text (Codex puts a line about time before it). Raises AssertionError when there is none."""
        start = self.text.find("{")
        while start >= 0:
            try:
                value, _end = json.JSONDecoder().raw_decode(self.text[start:])
            except ValueError:
                start = self.text.find("{", start + 1)
                continue
            return value
        raise AssertionError(f"the result of {self.name} holds no JSON object: {self.text[:400]!r}")


@dataclass(frozen=True)
class Request:
    """One request as it arrived: `headers` without secrets, `body` parsed, and what matchers and turns look at."""

    number: int
    api: Api
    path: str
    headers: dict[str, str]
    body: Json
    model: str
    conversation: str
    system: str
    messages: tuple[tuple[str, str], ...]
    results: tuple[ToolResult, ...]
    tools: tuple[str, ...]
    stream: bool

    @property
    def last_user(self) -> str:
        """The last text of a user."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def prompt(self) -> str:
        """All texts of users, joined."""
        return "\n".join(text for role, text in self.messages if role == "user")

    def result(self, name: str = "") -> ToolResult:
        """The last tool result, or the last one of a tool whose name ends with `name`."""
        for found in reversed(self.results):
            if found.name.endswith(name):
                return found
        raise AssertionError(f"request {self.number} holds no result of {name or 'any tool'}")


@dataclass(frozen=True)
class Call:
    """One tool call. A `str` input makes a custom (free form) call in the Responses API; a callable gets the request."""

    name: str
    input: Json | str | Callable[[Request], Json] = field(default_factory=dict[str, Any])

    def resolved(self, request: Request) -> Json | str:
        """The input for this request."""
        return self.input(request) if callable(self.input) else self.input


@dataclass(frozen=True)
class Usage:
    """Tokens that the provider claims for one answer."""

    input: int = 100
    output: int = 10
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Turn:
    """One answer of the model, or one fault in its place.

    `delay` seconds pass before the first byte and `chunk_delay` before each of `chunks` pieces of text. `hold` keeps the
    answer back until somebody sets it. `status` other than 200 is an HTTP error with an optional `retry_after` (seconds).
    `reset` cuts the connection after the first piece; `broken` sends the provider's error event there; `hang` stays
    silent from the start ("silent") or after the first piece ("midway") until the client goes away.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    usage: Usage = Usage()
    delay: float = 0.0
    chunks: int = 2
    chunk_delay: float = 0.0
    hold: threading.Event | None = None
    status: int = 200
    retry_after: float | None = None
    message: str = ""
    reset: bool = False
    broken: bool = False
    hang: Literal["", "silent", "midway"] = ""
    stop: str = ""

    def pieces(self) -> list[str]:
        """The text in at most `chunks` pieces."""
        if not self.text:
            return []
        size = -(-len(self.text) // max(1, self.chunks))
        return [self.text[at : at + size] for at in range(0, len(self.text), size)]


Step = Turn | Callable[[Request], Turn]
Matcher = Callable[[Request], bool]


def always(_request: Request) -> bool:
    """Matches every request."""
    return True


def model_is(name: str) -> Matcher:
    """Matches requests for a model whose name starts with `name`."""
    return lambda request: request.model.startswith(name)


def prompt_has(text: str) -> Matcher:
    """Matches conversations in which a user said `text`."""
    return lambda request: text in request.prompt


def system_has(text: str) -> Matcher:
    """Matches requests whose system prompt holds `text`."""
    return lambda request: text in request.system


@dataclass
class Script:
    """Turns for all conversations that `match`.

    When the turns are used up, `after` is said for ever. With `shared` all conversations walk the same turns together
    (a fault that hits whoever comes first).
    """

    turns: Sequence[Step]
    match: Matcher = always
    name: str = ""
    after: Turn = Turn(text="Nothing more to say.")
    shared: bool = False
    taken: dict[str, int] = field(default_factory=dict[str, int])

    def take(self, request: Request) -> Turn:
        """The next turn for the request's conversation. The caller holds the stub's lock."""
        key = "" if self.shared else request.conversation
        at = self.taken.get(key, 0)
        self.taken[key] = at + 1
        step: Step = self.turns[at] if at < len(self.turns) else self.after
        return step(request) if callable(step) else step

    def holds(self) -> list[threading.Event]:
        """The events that its turns wait for."""
        return [step.hold for step in self.turns if isinstance(step, Turn) and step.hold is not None]


def say(text: str, *calls: Call, **options: Any) -> Turn:
    """A turn with text and calls."""
    return Turn(text=text, calls=calls, **options)


def call(name: str, input: Json | str | Callable[[Request], Json] | None = None) -> Turn:
    """A turn that calls one tool."""
    return Turn(calls=(Call(name, {} if input is None else input),))
