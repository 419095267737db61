"""Has a result been reviewed enough? Pure. The policy:

| risk | reviewers that must have passed it |
|---|---|
| low | none: a review is optional |
| medium | one |
| high | two distinct ones |

The risk of a task is what was said when it was started, and at least `medium` when its verification measured 50 or more (`risk` of
the verification: 50 for each blocking check, 10 for each warning, at most 100). Distinct reviewers differ in CLI or model; the last
vote of each counts. A vote counts for the very commit and tree that it was made about, never when the reviewer timed out, failed or
answered something unreadable, never when it continues the maker's own conversation. At any risk an open blocker holds; it is opened
by a failed acceptance step or a finding, and closed by a fix that a later review confirms, a waiver or a rejection by name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from cc_orchestrator.verify.findings import Finding, Findings, list_open

Risk = Literal["low", "medium", "high"]
RISKS: tuple[Risk, ...] = ("low", "medium", "high")
NEEDED: dict[str, int] = {"low": 0, "medium": 1, "high": 2}
#: A measured risk from which a task counts as at least medium.
MEDIUM_FROM = 50


class Vote(NamedTuple):
    """One reviewer's vote. `outcome`: passed, failed, or why it does not count (invalid, timed_out, lost, …)."""

    review_id: str
    run_id: str
    adapter: str
    model: str
    outcome: str
    commit: str
    tree: str


class Standing(NamedTuple):
    """`passed` and `failed` are the votes that count, one of each distinct reviewer; `stale` counts those about other results."""

    risk: str
    needed: int
    passed: tuple[Vote, ...]
    failed: tuple[Vote, ...]
    stale: int
    blockers: tuple[Finding, ...]

    @property
    def problems(self) -> list[str]:
        """What stands in the way, as sentences; empty when the result may be accepted."""
        out: list[str] = []
        if self.blockers:
            out.append(
                f"{len(self.blockers)} blocking findings are open: {', '.join(row.id for row in self.blockers[:8])}"
            )
        if len(self.passed) < self.needed:
            old = f" ({self.stale} votes are about another result)" if self.stale else ""
            out.append(
                f"risk {self.risk} needs {self.needed} distinct reviewers that passed it, there are {len(self.passed)}{old}"
            )
        return out

    @property
    def disagree(self) -> bool:
        """Whether reviewers of this very result say different things."""
        return bool(self.passed) and bool(self.failed)


def weigh_risk(stated: str | None, measured: int | None) -> Risk:
    """The risk that counts. What is stated but unknown counts as high."""
    said = "low" if stated is None else stated
    level = RISKS.index(said) if said in RISKS else len(RISKS) - 1
    if measured is not None and measured >= MEDIUM_FROM:
        level = max(level, 1)
    return RISKS[level]


def judge_standing(
    risk: str, votes: Sequence[Vote], findings: Findings, *, commit: str | None, tree: str | None, makers: Collection[str], now: float
) -> Standing:  # fmt: skip
    """`votes` oldest first; `makers` are the runs of the maker's own conversation."""
    latest: dict[tuple[str, str], Vote] = {}
    stale = 0
    for vote in votes:
        if vote.outcome not in ("passed", "failed") or vote.run_id in makers:
            continue
        if commit is None or (vote.commit, vote.tree) != (commit, tree):
            stale += 1
            continue
        latest[vote.adapter, vote.model] = vote
    return Standing(
        risk, NEEDED[risk], tuple(vote for vote in latest.values() if vote.outcome == "passed"),
        tuple(vote for vote in latest.values() if vote.outcome == "failed"), stale, tuple(list_open(findings, now, "blocker")),
    )  # fmt: skip
