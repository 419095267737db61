"""A worker's tool call before the policies: told as acts, each placed, all judged, the strictest ruling returned. Pure but for links."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from cc_orchestrator.core.asking import Ruling, ToolCall
from cc_orchestrator.policy.acts import Act, Action, Told, host_of_word, normalise_host
from cc_orchestrator.policy.commands import tell_command
from cc_orchestrator.policy.engine import Engine, Question, Verdict, strictest, untold
from cc_orchestrator.policy.globs import matches_any
from cc_orchestrator.policy.posture import Posture, Resolve, Spot, locate

_LOCAL = frozenset({"localhost", "::1", "localhost.localdomain"})
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){1,3}|0\.0\.0\.0")
_PATHS: frozenset[Action] = frozenset({"read", "write", "delete"})
_NOTHING: Act = Act("read")


class Decider(Protocol):
    """Whoever rules over a worker's tool calls."""

    def decide(self, call: ToolCall) -> Ruling:
        """Allow, ask or deny, by which rule and why."""
        ...


class Judged(NamedTuple):
    """The ruling of a call with every act that it was taken apart into."""

    ruling: Ruling
    acts: tuple[tuple[Act, Spot | None, Verdict], ...]
    untold: str = ""


class Judge:
    """Rules over one run's calls. `resolve` makes a path real (links, `..`)."""

    def __init__(
        self, engine: Engine, posture: Posture, adapter: str = "", resolve: Resolve = os.path.realpath
    ) -> None:
        self._engine = engine
        self._posture = posture
        self._adapter = adapter
        self._resolve = resolve

    def decide(self, call: ToolCall) -> Ruling:
        """The ruling of one call."""
        return self.judge(call).ruling

    def judge(self, call: ToolCall) -> Judged:
        """The ruling with all that led to it."""
        told = tell_call(call, self._posture)
        resolve = _once(self._resolve)
        # Reads last: of what is allowed, the act that says more names the rule.
        acts_told = sorted(told.acts, key=lambda act: act.action == "read")
        placed = [(act, spot) for act in acts_told for spot in self._spots(act, resolve)]
        listed = call.kind == "command" and is_listed(call.command or call.target, self._posture.commands)
        verdicts = self._engine.judge([self._question(act, spot, call, listed=listed) for act, spot in placed])
        rulings = [verdict.ruling for verdict in verdicts]
        if told.untold:
            rulings.append(untold(told.untold))
        acts = tuple((act, spot, verdict) for (act, spot), verdict in zip(placed, verdicts, strict=True))
        return Judged(strictest(rulings), acts, told.untold)

    def _spots(self, act: Act, resolve: Resolve) -> Sequence[Spot | None]:
        if act.action not in _PATHS or not act.path:
            return (None,)
        return [locate(act.path, self._posture, resolve, base) for base in act.bases or (None,)]

    def _question(self, act: Act, spot: Spot | None, call: ToolCall, *, listed: bool) -> Question:
        posture = self._posture
        place = spot.place if spot is not None else ""
        inside = spot is not None and bool(spot.inner)
        thing: dict[str, Any] = {
            "place": place, "path": (spot.inner or spot.real) if spot is not None else "", "in_tree": inside,
            "in_scope": spot.in_scope if spot is not None else True, "declared": spot.declared if spot is not None else False,
            "scope_denied": spot.scope_denied if spot is not None else False, "touches": spot.touches if spot is not None else "",
            "host": act.host, "local": _is_local(act.host), "program": act.program, "listed": listed, "own": act.own,
        }  # fmt: skip
        bounds = {
            "trust": posture.trust, "role": posture.role, "allow_write": posture.allow_write, "sandbox": posture.sandbox,
            "held": posture.sandbox in ("fs", "fs+net"), "commands_declared": bool(posture.commands),
        }  # fmt: skip
        worker = {"adapter": self._adapter, "role": posture.role, "trust": posture.trust}
        shown = act.path or act.host or act.program or call.tool
        return Question(
            ("Worker", self._adapter or "worker", worker), act.action, ("Thing", "0", thing), bounds, shown[:200]
        )


def _once(resolve: Resolve) -> Resolve:
    """Each path is made real once for a call: what changes between two looks is the next call's."""
    known: dict[str, str] = {}

    def look(path: str) -> str:
        found = known.get(path)
        if found is None:
            found = known[path] = resolve(path)
        return found

    return look


def _is_local(host: str) -> bool:
    return host in _LOCAL or _LOOPBACK.fullmatch(host) is not None


def tell_call(call: ToolCall, posture: Posture) -> Told:
    """The acts of a call by its kind; a kind that is not known asks by `other`."""
    if call.kind == "command":
        variables = {"HOME": posture.home or "\0", "CC_RUN_OUTBOX": posture.outbox}
        told = tell_command(call.command or call.target, call.folder or posture.cwd, variables)
        if told.acts or told.untold:
            return told
        return Told((_NOTHING,)) if (call.command or call.target).strip() else Told((), "an empty command")
    if call.kind in ("read", "edit"):
        action: Action = "read" if call.kind == "read" else "write"
        if call.paths:
            return Told(tuple(Act(action, call.tool, path) for path in call.paths))
        return Told((_NOTHING,)) if action == "read" else Told((), f"{call.tool} names no file")
    if call.kind == "network":
        host = host_of_word(call.target.strip()) or (
            normalise_host(call.target) if "." in call.target and " " not in call.target else "?"
        )
        return Told((Act("network", call.tool, host=host),))
    if call.kind == "delegate":
        return Told((Act("delegate", call.tool),))
    return Told((Act("question" if call.kind == "ask" else "other", call.tool),))


def is_listed(command: str, declared: Sequence[str]) -> bool:
    """Whether a command was declared: the same words, or a beginning of whole words; never with more than one command in it."""
    if not declared or any(mark in command for mark in (";", "|", "&", "`", "$(", "\n", ">", "<")):
        return False
    text = " ".join(command.split())
    return any(
        text == entry or text.startswith(entry + " ") or (any(c in entry for c in "*?") and matches_any(text, (entry,)))
        for entry in (" ".join(row.split()) for row in declared) if entry
    )  # fmt: skip


class Unjudged:
    """No policies can be used: every call asks, and says why."""

    def __init__(self, why: str) -> None:
        self._why = why

    def decide(self, call: ToolCall) -> Ruling:
        """Ask."""
        return Ruling("ask", "policy.unusable", f"the policies cannot be used: {self._why}", "high")
