"""Serves one delivery: candidate, gates, promotion. A batch whose gates fail is halved until the culprit is found.

What is green lands, what is not is handed back with the call that helps; the target never holds a commit that failed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cc_orchestrator.core.errors import CcError, Conflict, VerifyFailed
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery import gates as gating
from cc_orchestrator.delivery import progress as words
from cc_orchestrator.delivery.gates import Report, run_gates, unite
from cc_orchestrator.delivery.progress import as_row, first_failing
from cc_orchestrator.delivery.promotion import Desk, hand_back, promote
from cc_orchestrator.delivery.stack import Candidate, Entry, lay, make_candidate
from cc_orchestrator.delivery.target import check_target
from cc_orchestrator.host.candidate import branch_commit
from cc_orchestrator.runs.cell import Cell, choose_cell
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.verify.commands import parse_commands
from cc_orchestrator.verify.furnish import Bench, unite_setups
from cc_orchestrator.verify.rulefile import wants_outside

#: A target that somebody else keeps moving is not chased for ever.
MAX_MOVES = 3


def land(desk: Desk) -> None:
    """Deliver what can be delivered. Raises CcError, GitError, OSError: then what is left was not reached."""
    runs: Sequence[str] = desk.request.runs
    moved = 0
    while runs:
        before = check_target(desk.workspace, desk.git, desk.request.target)
        entries, refused = lay(desk.workspace, desk.git, desk.request, runs, before, desk.clock.now())
        hand_back(desk, refused)
        if not entries:
            return
        try:
            runs = [entry.spec.run_id for entry in _Round(desk, entries, before).land()]
        except Conflict as error:
            moved += 1
            if branch_commit(desk.git, desk.request.target) == before or moved > MAX_MOVES:
                hand_back(desk, [as_row(entry.spec.run_id, error) for entry in entries])
                return
            # Somebody else moved the branch: what was tested is not what would stand there. Again, on what is there now.
            runs = [entry.spec.run_id for entry in entries]


class _Round:
    """One stack on one commit of the target."""

    def __init__(self, desk: Desk, entries: list[Entry], before: str) -> None:
        self._desk = desk
        self._entries = entries
        self._before = before
        self._tried: dict[int, tuple[Candidate, Report]] = {}

    def land(self) -> list[Entry]:
        """Promote what passes; the entries above a culprit, which are to be tried again without it."""
        count = len(self._entries)
        if self._passes(count):
            self._promote(count)
            return []
        culprit = first_failing(count, self._passes)
        if culprit > 1:
            self._promote(culprit - 1)
        report = self._tried[culprit][1]
        hand_back(self._desk, [as_row(self._entries[culprit - 1].spec.run_id, self._blame(culprit, report))])
        return self._entries[culprit:]

    def _passes(self, count: int) -> bool:
        if count not in self._tried:
            entries = self._entries[:count]
            candidate = make_candidate(self._desk.git, self._desk.request, entries, self._before)
            self._desk.step(
                "candidate", commit=candidate.commit, how=candidate.how, runs=[e.spec.run_id for e in entries]
            )
            report = self._test(candidate, entries)
            self._desk.step(words.GATES, commit=candidate.commit, **report._asdict())
            self._tried[count] = (candidate, report)
        return self._tried[count][1].opens

    def _test(self, candidate: Candidate, entries: Sequence[Entry]) -> Report:
        gates = unite(entry.gates for entry in entries)
        if candidate.how == "already_contained":
            return Report(gating.PROVED, "the target holds it already")
        fresh = [entry for entry in entries if not entry.contained]
        if len(fresh) == 1 and fresh[0].tree == candidate.tree and self._desk.request.gate_commands is None and gates:
            return Report(gating.PROVED, f"{fresh[0].verify_id} ran them on this very tree")
        return run_gates(_bench(self._desk, entries), candidate.commit, candidate.tree, gates)

    def _promote(self, count: int) -> None:
        candidate, report = self._tried[count]
        runs = [
            {"run_id": entry.spec.run_id, "task_id": entry.spec.task_id, "result": entry.commit, "verify_id": entry.verify_id,
             "tested_tree": candidate.tree == entry.tree, **({"contained": True} if entry.contained else {})}
            for entry in self._entries[:count]
        ]  # fmt: skip
        promote(self._desk, {
            "target": self._desk.request.target, "before": self._before, "after": candidate.commit, "how": candidate.how,
            "gates": report.outcome, "runs": runs,
        })  # fmt: skip

    def _blame(self, culprit: int, report: Report) -> CcError:
        run_id, target = self._entries[culprit - 1].spec.run_id, self._desk.request.target
        below = [entry.spec.run_id for entry in self._entries[: culprit - 1]]
        where = f"{target} with it" if not below else f"{target} with it and {', '.join(below[-3:])}"
        word = "fail" if report.outcome == gating.FAILED else "cannot be relied on"
        culprit_row = self._explain_red_target() if not below else ""
        return VerifyFailed(
            f"{run_id} was not delivered: the gates {word} on {where}: {line(report.why, 400)}{culprit_row}; {target} is as it was before it",
            hint=f'cc_send_instruction {{"run_id":"{run_id}","instruction":"Merge {target} into your branch; then these fail, fix them: '
            f'{line(report.why, 160)}"}}; then verify and accept the new run',
        )  # fmt: skip

    def _explain_red_target(self) -> str:
        """Whether the target fails by itself, so that nobody is blamed for what was there: only for gates of the request's own."""
        if self._desk.request.gate_commands is None:
            return ""
        tree = self._desk.git.text("rev-parse", f"{self._before}^{{tree}}")
        alone = run_gates(_bench(self._desk, self._entries[:1]), self._before, tree, unite([self._entries[0].gates]))
        self._desk.step("target_gates", commit=self._before, outcome=alone.outcome)
        return " (they fail on the target without it as well: the run is not to blame)" if not alone.opens else ""


def undo(desk: Desk, plan: dict[str, Any], tree: str, spec: RunSpec) -> None:
    """Promote the revert commit of a rollback, after its gates. Raises VerifyFailed, Conflict."""
    texts = desk.request.gate_commands or ()
    gates = [gating.Gate(command, "", desk.request.gate_seconds) for command in parse_commands(texts)]
    report = run_gates(
        Bench(desk.job, desk.git.cwd, desk.clock, spec.setup, cell=_cell(desk, [spec])), plan["after"], tree, gates
    )
    desk.step(words.GATES, commit=plan["after"], **report._asdict())
    if not report.opens:
        raise VerifyFailed(
            f"the revert fails its gates: {line(report.why, 300)}; {plan['target']} is as it was",
            hint="look at what came after that delivery; a new run can take it back by hand",
        )
    promote(desk, {**plan, "gates": report.outcome})


def _bench(desk: Desk, entries: Sequence[Entry]) -> Bench:
    specs = [entry.spec for entry in entries]
    return Bench(
        desk.job, desk.git.cwd, desk.clock, unite_setups(spec.setup for spec in specs), cell=_cell(desk, specs)
    )  # fmt: skip


def _cell(desk: Desk, specs: Sequence[RunSpec]) -> Cell:
    """What is landed together is held as strictly as the strictest of its runs was."""
    return choose_cell(specs, os.environ, outside=wants_outside(desk.workspace))
