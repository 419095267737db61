"""A worker's tool call, its question, and the answer: values shared by adapters, policy and runs."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from cc_orchestrator.core.states import AskKind

ToolKind = Literal["read", "edit", "command", "network", "delegate", "ask", "other"]
Decision = Literal["allow", "ask", "deny"]
#: How much harm a wrong yes could do: low stays in the run's tree, critical reaches secrets, others' systems or our own records.
Risk = Literal["low", "medium", "high", "critical"]
RISKS: tuple[Risk, ...] = ("low", "medium", "high", "critical")

#: The default of all that have none: shared, so never changed.
_NONE: dict[str, Any] = {}


class ToolCall(NamedTuple):
    """One tool call in words that every adapter shares. `target` is what a person wants to see: a path, a command, a URL.

    `folder` is where a command starts when that is not the root of the run's tree.
    """

    tool: str
    kind: ToolKind
    target: str = ""
    paths: tuple[str, ...] = ()
    command: str | None = None
    folder: str = ""


class Ask(NamedTuple):
    """The worker needs an answer before it goes on.

    `key` is the adapter's own handle. `gate` is true when every call passes here (a hook that sees all calls): policy may
    then say "no objection" by allowing, and a deny blocks. `options` are labels for kind choice.
    """

    key: str
    kind: AskKind
    text: str
    call: ToolCall | None = None
    options: tuple[str, ...] = ()
    gate: bool = False
    tool_use_id: str = ""


class Answer(NamedTuple):
    """`decision` for permissions; `text` or `choices` (question text -> label) for the rest.

    `ask` answers a gate only: let the CLI raise the call as a question of its own, which then waits for a person.
    """

    decision: Decision
    reason: str = ""
    text: str = ""
    choices: dict[str, Any] = _NONE


class Ruling(NamedTuple):
    """What policy said of a tool call, by which rule."""

    decision: Decision
    rule: str
    reason: str
    risk: Risk = "medium"
