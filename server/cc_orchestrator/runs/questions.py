"""A worker's questions: policy answers at once what it may; the rest waits, with a deadline, for the controller or a person.

Sans I/O: asks and times come in, facts and answers go out. The default at the deadline is always deny.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.asking import Answer, Ask, Risk, Ruling
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.text import clean, cut
from cc_orchestrator.policy.judge import Decider

#: Of questions that no policy rules on: what harm a wrong answer could do.
_RISKS: dict[str, Risk] = {
    "choice": "low",
    "clarification": "low",
    "elicitation": "medium",
    "trust_dialog": "critical",
    "login": "critical",
}
_DENIED = "nobody allowed it in time; go on without it or say what you would need"


class Pending(NamedTuple):
    """An open question: the ask, and its deadline on both clocks."""

    ask: Ask
    due: float
    deadline: float
    asked: float = 0.0


class Reply(NamedTuple):
    """An answer for the session, with what to record."""

    key: str
    answer: Answer
    facts: list[Fact]


class Questions:
    """All questions of one run. `seconds` is how long one may stay open."""

    def __init__(self, rulings: Decider, seconds: float) -> None:
        self._rulings = rulings
        self._seconds = seconds
        self.pending: dict[str, Pending] = {}

    def take(self, ask: Ask, *, now: float, mono: float) -> tuple[list[Fact], Reply | None]:
        """Facts to record, and the reply when policy decided; without a reply the question is now open."""
        facts: list[Fact] = []
        ruling: Ruling | None = None
        if ask.kind == "permission" and ask.call is not None:
            ruling = self._rulings.decide(ask.call)
            facts.append(_decided(ask, ruling))
            if ask.gate or ruling.decision != "ask":
                return facts, Reply(ask.key, Answer(ruling.decision, ruling.reason), [])
        question_id = new_id("q", now=now)
        self.pending[question_id] = Pending(ask, mono + self._seconds, now + self._seconds, mono)
        facts.append(Fact(ev.QUESTION_ASKED, _question(question_id, ask, now + self._seconds, ruling)))
        return facts, None

    def answer(
        self, question_id: str, decision: str, *, by: str, text: str = "", choices: dict[str, Any] | None = None,
        mono: float | None = None, channel: str = "",
    ) -> Reply | None:  # fmt: skip
        """Resolve an open question; None when it is not open (answered, expired, unknown)."""
        pending = self.pending.pop(question_id, None)
        if pending is None:
            return None
        answer = Answer(
            "allow" if decision == "allow" else "deny",
            text or ("" if decision == "allow" else _DENIED),
            text,
            choices or {},
        )
        data: dict[str, Any] = {
            "question_id": question_id,
            "decision": answer.decision,
            "by": by,
            "text": cut(text, 500),
        }
        if channel:
            data["channel"] = channel
        if mono is not None:
            data["latency_s"] = round(max(0.0, mono - pending.asked), 3)
        fact = Fact(ev.QUESTION_ANSWERED, data)
        return Reply(pending.ask.key, answer, [fact])

    def expire(self, mono: float) -> list[Reply]:
        """Deny every question whose time is over."""
        late = [key for key, pending in self.pending.items() if mono >= pending.due]
        replies = [self.answer(key, "deny", by="deadline", mono=mono) for key in late]
        return [reply for reply in replies if reply is not None]

    def due(self) -> float | None:
        """Monotonic time of the next deadline."""
        return min((pending.due for pending in self.pending.values()), default=None)


def _decided(ask: Ask, ruling: Ruling) -> Fact:
    call = ask.call
    assert call is not None
    data: dict[str, Any] = {
        "tool": call.tool, "kind": call.kind, "target": cut(call.target, 300),
        "decision": ruling.decision, "rule": ruling.rule, "by": "policy", "correlation_id": ask.tool_use_id or ask.key,
    }  # fmt: skip
    if ruling.decision != "allow":
        data.update(reason=cut(ruling.reason, 400), risk=ruling.risk)
    if ask.tool_use_id:
        data["tool_use_id"] = ask.tool_use_id
    return Fact(ev.POLICY_DECIDED, data)


def _question(question_id: str, ask: Ask, deadline: float, ruling: Ruling | None) -> dict[str, Any]:
    data: dict[str, Any] = {
        "question_id": question_id, "kind": ask.kind, "text": cut(clean(ask.text), 1_000),
        "options": [cut(clean(option), 200) for option in ask.options[:20]], "default": "deny", "deadline": round(deadline, 3),
    }  # fmt: skip
    data["risk"] = ruling.risk if ruling is not None else _RISKS.get(ask.kind, "medium")
    if ruling is not None:
        data["evidence"] = {"rule": ruling.rule, "reason": cut(ruling.reason, 300)}
        if ask.tool_use_id:
            data["evidence"]["tool_use_id"] = ask.tool_use_id
    if ask.call is not None:
        data.update(tool=ask.call.tool, target=cut(ask.call.target, 500))
    return data
