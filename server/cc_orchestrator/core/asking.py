"""A worker's tool call, its question, and the answer: values shared by adapters, policy and runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ToolKind = Literal["read", "edit", "command", "network", "delegate", "ask", "other"]
Decision = Literal["allow", "ask", "deny"]


@dataclass(frozen=True)
class ToolCall:
    """One tool call in words that every adapter shares. `target` is what a person wants to see: a path, a command, a URL."""

    tool: str
    kind: ToolKind
    target: str = ""
    paths: tuple[str, ...] = ()
    command: str | None = None


@dataclass(frozen=True)
class Ask:
    """The worker needs an answer before it goes on.

    `key` is the adapter's own handle. `gate` is true when every call passes here (a hook that sees all calls): policy may
    then say "no objection" by allowing, and a deny blocks. `options` are labels for kind choice.
    """

    key: str
    kind: Literal["permission", "choice", "clarification", "elicitation"]
    text: str
    call: ToolCall | None = None
    options: tuple[str, ...] = ()
    gate: bool = False
    tool_use_id: str = ""


@dataclass(frozen=True)
class Answer:
    """`decision` for permissions; `text` or `choices` (question text -> label) for the rest.

    `ask` answers a gate only: let the CLI raise the call as a question of its own, which then waits for a person.
    """

    decision: Decision
    reason: str = ""
    text: str = ""
    choices: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Ruling:
    """What policy said of a tool call, by which rule."""

    decision: Decision
    rule: str
    reason: str
