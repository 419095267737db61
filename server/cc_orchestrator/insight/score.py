"""How good a run was, from what was observed of it: 100 less what went wrong. Pure.

| what went wrong | points |
|---|---|
| not solved, or not proved to be | 35 |
| did not finish successfully | 15 |
| wrote outside its scope | 25 |
| a secret in its result | 30 |
| each failure flag of the run | 8, at most 25 |
| said what is not so | 25 |
| needs rework | 15 |
| more than 50,000 tokens | 10 |

The score never falls below 0. What nobody knows costs nothing but proof: an unknown `solved` costs as much as an unsolved run, while
unknown tokens, scope or secrets cost no points and are named in `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

TOKENS = 50_000
FLAG_POINTS = 8
FLAGS_MOST = 25
#: Flags that say no more than that the run did not finish, which costs points of its own.
ENDINGS = frozenset({"failed", "timed_out", "lost", "budget_exceeded"})


class Facts(NamedTuple):
    """What is known of an ended run; None is unknown. `tokens` are the provider's own figures, input and output."""

    finished: bool
    solved: bool | None = None
    scope_ok: bool | None = None
    secret_ok: bool | None = None
    failure_flags: tuple[str, ...] = ()
    hallucination: bool | None = None
    needs_rework: bool | None = None
    rework: int = 0
    tokens: int | None = None


class Deduction(NamedTuple):
    """Points that were taken, and for what."""

    why: str
    points: int


class Score(NamedTuple):
    """0 to 100, what was taken off, and which facts were not known."""

    points: int
    deductions: tuple[Deduction, ...]
    unknown: tuple[str, ...]


def score_run(facts: Facts) -> Score:
    """The score by the table above."""
    flags = [code for code in facts.failure_flags if code not in ENDINGS]
    rows = [
        Deduction("not solved" if facts.solved is False else "not proved to be solved", 35 if not facts.solved else 0),
        Deduction("did not finish successfully", 0 if facts.finished else 15),
        Deduction("wrote outside its scope", 25 if facts.scope_ok is False else 0),
        Deduction("a secret in its result", 30 if facts.secret_ok is False else 0),
        Deduction("flags: " + ", ".join(flags), min(FLAGS_MOST, FLAG_POINTS * len(flags))),
        Deduction("said what is not so", 25 if facts.hallucination else 0),
        Deduction("needs rework", 15 if facts.needs_rework else 0),
        Deduction(f"more than {TOKENS:,} tokens", 10 if (facts.tokens or 0) > TOKENS else 0),
    ]
    taken = tuple(row for row in rows if row.points)
    unknown = tuple(
        name
        for name in ("solved", "scope_ok", "secret_ok", "hallucination", "needs_rework", "tokens")
        if getattr(facts, name) is None
    )
    return Score(max(0, 100 - sum(row.points for row in taken)), taken, unknown)


def observe(
    state: Mapping[str, Any], flags: Iterable[str], verifications: Sequence[Mapping[str, Any]], decision: str | None
) -> Facts:
    """The facts of a run. `verifications` are results, the latest first, none when the latest is about another state of the
    run's result; `decision` is the word of the latest decision over it."""
    latest = verifications[0] if verifications else None
    outcomes = {str(check["check"]): check.get("outcome") for check in (latest or {}).get("checks", [])}
    solved = _is_solved(latest, decision)
    held = sum(result.get("verdict") != "APPROVE" for result in verifications)
    return Facts(
        state["status"] == "succeeded", solved, _passed(outcomes, "scope"), _passed(outcomes, "secrets"), tuple(flags), None,
        None if solved is None else not solved, held + int(decision == "request_fix"), _tokens(state.get("usage") or {}),
    )  # fmt: skip


def _is_solved(latest: Mapping[str, Any] | None, decision: str | None) -> bool | None:
    """A refusal counts; an acceptance says no more than the verification that it rests on, nor does giving up on a run."""
    if decision in ("reject", "request_fix"):
        return False
    return None if latest is None else latest.get("verdict") == "APPROVE"


def _passed(outcomes: Mapping[str, Any], check: str) -> bool | None:
    return {"pass": True, "fail": False}.get(str(outcomes.get(check)))


def _tokens(usage: Mapping[str, Any]) -> int | None:
    parts = [usage.get("input_tokens"), usage.get("output_tokens")]
    if not all(isinstance(part, int) for part in parts):
        return None
    return sum(cast("list[int]", parts))


class Standing(NamedTuple):
    """The scores of a model in a role: how many runs, and their mean (the latest score of each run)."""

    runs: int
    average: float | None


def stand(records: Iterable[Mapping[str, Any]], model: str, role: str) -> Standing:
    """From records of the quality history, the oldest first."""
    latest: dict[str, int] = {}
    for record in records:
        observed = record["observed"]
        if (observed.get("actual_model"), observed.get("role")) == (model, role):
            latest[str(record["subject"].get("run_id"))] = int(observed["quality_score"])
    return Standing(len(latest), round(sum(latest.values()) / len(latest), 1) if latest else None)
