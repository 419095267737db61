"""Should a proposed action be taken? Judged over what is on record. Pure; no model is asked, and no claim lifts anything.

| verdict | when |
|---|---|
| block | it changes something and names no run; the run is live or ended badly; its verification says HOLD or ESCALATE |
| block | the ledger is broken; a blocker is open; reviewers disagree; a risk flag blocks |
| revise | a current verification, a review that the risk asks for, or an acceptance is missing |
| revise | only a person decides it; it names no run |
| approve | all there; or it takes nothing forward (reject, hold, retry) |

`evidence` is a claim of the caller: it is kept with the answer and changes nothing. Release, push and what destroys are never
approved here: a person decides them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: Kinds of action by the words that name them, the gravest first. What none of them names is `other`.
_KINDS: tuple[tuple[str, str], ...] = (
    ("release", r"releas\w*|publish\w*|deploy\w*|production|prod|ship\w*|roll\s?out"),
    ("push", r"push\w*|force-push\w*"),
    ("destroy", r"delet\w*|remov\w*|drop\w*|reset\w*|roll\s?back|revert\w*|wip\w*|purg\w*|clean\s?up|prune\w*"),
    ("deliver", r"deliver\w*|merg\w*|land\w*|integrat\w*|rebas\w*|cherry-pick\w*"),
    ("accept", r"accept\w*|approv\w*|sign\s?off|done|finish\w*|complet\w*|clos\w*"),
)
_REFUSAL = re.compile(r"\s*(?:please\s+)?(?:reject|abandon|discard|hold|do not|don't|stop)\b", re.I)
_HARMLESS = re.compile(r"\s*(?:please\s+)?(?:retry|fix|verify|review|inspect|wait|investigate)\b", re.I)
_MORE = re.compile(r"[,;&\n]|\b(?:and|then|but|afterwards|next)\b", re.I)
#: Kinds that nobody but a person decides.
PERSONS = frozenset({"release", "push", "destroy"})


class Record(NamedTuple):
    """What is known of the run that an action is about. `verdict` is "" when it was never verified."""

    run_id: str
    status: str
    live: bool
    writes: bool
    verdict: str
    current: bool
    failing: tuple[str, ...]
    tests_ran: bool
    accepted: bool
    review_problems: tuple[str, ...]
    reviewers_disagree: bool
    open_blockers: tuple[str, ...]
    flags: tuple[str, ...]


class Counsel(NamedTuple):
    """`verdict`: approve, revise or block; `confidence`: low, medium or high."""

    verdict: str
    confidence: str
    kind: str
    objections: tuple[str, ...]
    missing_evidence: tuple[str, ...]
    required_changes: tuple[str, ...]


def name_kind(action: str) -> str:
    """back_off, release, push, destroy, deliver, accept or other. `Fix and merge` is a merge; `reject the merge` is none."""
    if _REFUSAL.match(action) and not _MORE.search(action):
        return "back_off"
    for kind, words in _KINDS:
        if re.search(rf"\b(?:{words})\b", action, re.I):
            return kind
    return "back_off" if _HARMLESS.match(action) else "other"


def give_counsel(action: str, record: Record | None, *, ledger_problems: tuple[str, ...], pending: str = "") -> Counsel:
    """Judge. `pending` is a review that was asked for and is not done."""
    kind = name_kind(action)
    objections = [f"the ledger is not sound: {problem}" for problem in ledger_problems[:3]]
    missing: list[str] = []
    required: list[str] = []
    if record is None:
        _judge_without_run(kind, objections, missing)
    elif kind != "back_off":
        objections += _object(record)
        _ask_for(kind, record, missing, required)
    if kind in PERSONS:
        required.append(f"a person's decision: {kind} is not decided by an acceptance, a merge or this review")
    if pending:
        missing.append(f"the review {pending} is under way")
    verdict = "block" if objections else "revise" if missing or required else "approve"
    return Counsel(verdict, _weigh(verdict, kind, record), kind, tuple(objections), tuple(missing), tuple(required))


def _judge_without_run(kind: str, objections: list[str], missing: list[str]) -> None:
    if kind == "back_off":
        return
    if kind != "other":
        objections.append(f"it would {kind} something, and names no run: nothing on record supports it")
    missing.append("the run_id of the work, with its verification")


def _object(record: Record) -> list[str]:
    out: list[str] = []
    if record.live:
        out.append(f"{record.run_id} is {record.status}: it has not ended")
    elif record.status != "succeeded":
        out.append(f"{record.run_id} ended as {record.status}")
    if record.verdict in ("HOLD", "ESCALATE") and record.current:
        out.append(f"its verification says {record.verdict}: {', '.join(record.failing[:6]) or 'no required check'}")
    if record.open_blockers:
        out.append(f"blocking findings are open: {', '.join(record.open_blockers[:8])}")
    if record.reviewers_disagree:
        out.append("its reviewers disagree: a person decides")
    out += [f"risk flag {flag}" for flag in record.flags[:5]]
    return out


def _ask_for(kind: str, record: Record, missing: list[str], required: list[str]) -> None:
    if record.live:
        required.append(f'cc_wait {{"ids":["{record.run_id}"]}}')
        return
    if not record.verdict or not record.current:
        missing.append(
            "a verification of this result" if not record.verdict else "a verification of the result as it is now"
        )
        required.append(f'cc_verify {{"run_id":"{record.run_id}","test_commands":["…"]}}')
    missing += [problem for problem in record.review_problems if "blocking findings" not in problem]
    if kind in ("deliver", "push", "release"):
        if not record.writes:
            missing.append("a result: the run was read-only and has none")
        elif not record.accepted:
            required.append(f'cc_accept {{"run_id":"{record.run_id}","decision":"accept"}}')


def _weigh(verdict: str, kind: str, record: Record | None) -> str:
    """How much of it rests on what we saw ourselves; an action that we cannot name is never certain."""
    if record is None:
        return "medium" if verdict == "block" else "low"
    if verdict == "block":
        return "high"
    if not record.current:
        return "low"
    return "high" if record.tests_ran and kind != "other" else "medium"
