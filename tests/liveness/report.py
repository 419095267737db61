"""Prints the table of the replay library: `PYTHONPATH=server:tests python tests/liveness/report.py [-v]`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).resolve().parent.parent),
    str(Path(__file__).resolve().parent.parent.parent / "server"),
]

from liveness.library import CASES, Verdict, bound_of, judge_case  # noqa: E402


def main() -> int:
    """The table; status 1 when a case fails."""
    verdicts = [judge_case(case) for case in CASES]
    families: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        families.setdefault(verdict.case.family, []).append(verdict)
    out = sys.stdout.write
    out(
        f"{'family':<18} {'cases':>5} {'false kills':>11} {'false names':>11} {'unnamed':>7} {'worst delay':>11} {'bound':>8}\n"
    )
    for family, rows in families.items():
        stalled = family != "healthy"
        kills = 0 if stalled else sum(row.killed is not None for row in rows)
        unnamed = sum(row.delay is None for row in rows) if stalled else 0
        false_names = sum(row.false_name for row in rows)
        # A hang is held to what comes on top of the silence that was allowed.
        over = [
            (row.delay - _allowed(row), bound_of(row.case) - _allowed(row)) for row in rows if row.delay is not None
        ]
        worst = f"{max(delay for delay, _bound in over):.1f} s" if over else "-"
        bound = f"{over[0][1]:g} s" if over else "-"
        out(f"{family:<18} {len(rows):>5} {kills:>11} {false_names:>11} {unnamed:>7} {worst:>11} {bound:>8}\n")
    failed = [verdict for verdict in verdicts if verdict.problems]
    out(f"{len(verdicts)} cases, {len(failed)} failed\n")
    for verdict in failed if "-v" not in sys.argv else verdicts:
        out(f"- {verdict.case.name}: {'; '.join(verdict.problems) or 'ok'}\n")
    return 1 if failed else 0


def _allowed(verdict: Verdict) -> float:
    """Seconds of silence that the case's family is allowed before its bound begins."""
    silence = verdict.case.silence or 0.0
    return {"silent_hang": silence, "spinning": 3 * silence}.get(verdict.case.family, 0.0)


if __name__ == "__main__":
    raise SystemExit(main())
