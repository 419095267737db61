"""Cedar decides: one set of policies, the shipped ones and those of the workspace, asked for every act of a tool call. Pure.

`forbid` wins. A permit with `@ask` is a question; a permit of the workspace without it lifts a shipped question. A known act that
nothing permits is denied. Of several acts the strictest ruling is that of the call; what cannot be told asks.
A set that cannot be used decides nothing: then everything asks, and the reason says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.asking import RISKS, Decision, Risk, Ruling
from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.late import load
from cc_orchestrator.core.text import line

SHIPPED = "shipped"
_ORDER: dict[str, int] = {"allow": 0, "ask": 1, "deny": 2}
_UNTOLD_RISK: Risk = "high"
#: A policy that looks at a path, or that could.
_PATH = re.compile(r"\.\s*path\b|\[\s*\"path\"|resource\s*==|resource\s+in\b")


class Source(NamedTuple):
    """One policy file: its name, its text, and whether it ships with the orchestrator."""

    name: str
    text: str
    shipped: bool = False


class Rule(NamedTuple):
    """What a policy says of itself by its annotations."""

    rule_id: str
    source: str
    shipped: bool
    forbids: bool
    ask: str | None
    reason: str
    risk: Risk


class Question(NamedTuple):
    """One act as Cedar sees it: `principal` and `resource` are `(type, id, attributes)`."""

    principal: tuple[str, str, dict[str, Any]]
    action: str
    resource: tuple[str, str, dict[str, Any]]
    context: dict[str, Any]
    shown: str = ""


class Verdict(NamedTuple):
    """What was decided of one act: the ruling, and every rule that matched."""

    ruling: Ruling
    matched: tuple[str, ...]


#: The policies cannot be used: a file that is no Cedar, or does not fit the schema.
PolicyError = InvalidRequest


class Engine:
    """A parsed and checked set of policies."""

    def __init__(self, sources: Sequence[Source], schema: str) -> None:
        """Raises PolicyError."""
        self._cedar: Any = load("cedarpy")
        self._rules: dict[str, Rule] = {}
        texts: list[str] = []
        for source in sources:
            self._read(source)
            texts.append(source.text)
        whole = "\n".join(texts)
        checked = self._cedar.validate_policies(whole, schema)
        if not checked.validation_passed:
            first = checked.errors[0]
            rule = self._rules.get(str(first.policy_id))
            where = f"{rule.source}: {rule.rule_id}: " if rule is not None else ""
            raise PolicyError(f"{where}{line(str(first.error), 300)}", hint='cc_policy {"action":"validate"}')
        self._sees_paths = _PATH.search(whole) is not None
        self._policies = self._cedar.PolicySet.from_str(whole)
        self._schema = self._cedar.Schema.from_str(schema)

    def _read(self, source: Source) -> None:
        try:
            text = self._cedar.policies_to_json_str(source.text) if source.text.strip() else "{}"
            found = cast("dict[str, Any]", json.loads(text))
        except ValueError as error:
            raise PolicyError(
                f"{source.name}: {line(str(error), 300)}", hint='cc_policy {"action":"validate"}'
            ) from error
        if found.get("templates"):
            raise PolicyError(f"{source.name}: templates are not taken", hint="write policies without slots")
        policies = cast("dict[str, dict[str, Any]]", found.get("staticPolicies") or {})
        # Cedar numbers policies in the order of their text; the whole set is the texts one after another.
        for number in range(len(policies)):
            self._rules[f"policy{len(self._rules)}"] = _rule(policies[f"policy{number}"], source, number)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules in their order."""
        return tuple(self._rules.values())

    def judge(self, questions: Sequence[Question]) -> list[Verdict]:
        """One verdict for each act. Acts that no policy can tell apart are asked once."""
        kinds = [self._kind(question) for question in questions]
        unlike = dict(zip(kinds, questions, strict=True))
        asked = dict(zip(unlike, self._ask(list(unlike.values())), strict=True))
        return [self._verdict(question, asked[kind]) for kind, question in zip(kinds, questions, strict=True)]

    def _kind(self, question: Question) -> str:
        attributes = question.resource[2]
        seen = attributes if self._sees_paths else {**attributes, "path": ""}
        return repr((question.action, question.principal, seen, question.context))

    def _ask(self, questions: Sequence[Question]) -> list[Any]:
        entities: list[dict[str, Any]] = []
        requests: list[dict[str, Any]] = []
        known: set[tuple[str, str]] = set()
        for number, question in enumerate(questions):
            principal, resource = question.principal, (question.resource[0], f"{number}", question.resource[2])
            for kind, name, attributes in (principal, resource):
                if (kind, name) not in known:
                    known.add((kind, name))
                    entities.append({"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": []})
            requests.append({
                "principal": {"type": principal[0], "id": principal[1]}, "action": {"type": "Action", "id": question.action},
                "resource": {"type": resource[0], "id": resource[1]}, "context": question.context,
            })  # fmt: skip
        return self._cedar.is_authorized_batch(requests, self._policies, entities, self._schema)

    def _verdict(self, question: Question, result: Any) -> Verdict:
        found = result.diagnostics
        if found.errors:
            why = f"a policy could not be evaluated: {line(str(found.errors[0]), 200)}"
            return Verdict(Ruling("ask", "policy.error", why, _UNTOLD_RISK), ())
        matched = [self._rules[name] for name in found.reasons if name in self._rules]
        return Verdict(_combine(question, matched, allowed=result.allowed), tuple(rule.rule_id for rule in matched))


def _rule(policy: dict[str, Any], source: Source, number: int) -> Rule:
    notes = cast("dict[str, Any]", policy.get("annotations") or {})
    risk = str(notes.get("risk") or "medium")
    ask = notes.get("ask")
    return Rule(
        str(notes.get("id") or f"{source.name}#{number + 1}"), source.name, source.shipped, policy.get("effect") == "forbid",
        None if ask is None else str(ask), str(notes.get("reason") or ask or ""), risk if risk in RISKS else "high",
    )  # fmt: skip


def _combine(question: Question, matched: Sequence[Rule], *, allowed: bool) -> Ruling:
    """Cedar tells the policies that decided: forbids when one matched, permits otherwise."""
    if not allowed:
        if not matched:
            trust = question.context.get("trust")
            level = "" if trust is None else f" at T{trust}"
            return Ruling(
                "deny",
                "policy.nothing-permits",
                f"nothing permits to {question.action} {question.shown}{level}".strip(),
                "high",
            )
        worst = max(matched, key=lambda rule: RISKS.index(rule.risk))
        return Ruling("deny", worst.rule_id, _said(worst, question), worst.risk)
    asks = [rule for rule in matched if rule.ask is not None]
    plain = [rule for rule in matched if rule.ask is None]
    lifted = any(not rule.shipped for rule in plain) and all(rule.shipped for rule in asks)
    if asks and not lifted:
        worst = max(asks, key=lambda rule: RISKS.index(rule.risk))
        return Ruling("ask", worst.rule_id, _said(worst, question), worst.risk)
    own = next((rule for rule in plain if not rule.shipped), plain[0] if plain else matched[0])
    return Ruling("allow", own.rule_id, own.reason, own.risk)


def _said(rule: Rule, question: Question) -> str:
    return f"{rule.reason}: {question.shown}" if question.shown and rule.reason else rule.reason or question.shown


def strictest(rulings: Sequence[Ruling]) -> Ruling:
    """Deny before ask before allow; of equals the riskiest, then the first."""
    return max(rulings, key=lambda ruling: (_ORDER[ruling.decision], RISKS.index(ruling.risk), 0))


def untold(why: str) -> Ruling:
    """What cannot be known beforehand asks."""
    return Ruling("ask", "command.untold", f"it cannot be told beforehand: {why}", _UNTOLD_RISK)


def worst_decision(rulings: Sequence[Ruling]) -> Decision:
    """Of several rulings."""
    return strictest(rulings).decision
