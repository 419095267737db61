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
        f"{'family':<18} {'cases':>5} {'false kills':>11} {'false names':>11} {'unnamed':>7} {'worst delay':>11} {'bound':>16}\n"
    )
    for family, rows in families.items():
        stalled = family != "healthy"
        delays = [row.delay for row in rows if row.delay is not None]
        kills = 0 if stalled else sum(row.killed is not None for row in rows)
        bounds = sorted({bound_of(row.case) for row in rows}) if stalled else []
        shown = f"{bounds[0]:g}..{bounds[-1]:g}" if len(bounds) > 1 else f"{bounds[0]:g}" if bounds else "-"
        worst = (
            max((delay / bound_of(row.case), delay) for row, delay in zip(rows, delays, strict=True))
            if stalled and len(delays) == len(rows)
            else None
        )
        delay = f"{worst[1]:.1f} s" if worst else "-"
        out(f"{family:<18} {len(rows):>5} {kills:>11} {sum(row.false_name for row in rows):>11} "
            f"{sum(row.delay is None for row in rows) if stalled else 0:>7} {delay:>11} {shown:>14} s\n")  # fmt: skip
    failed = [verdict for verdict in verdicts if verdict.problems]
    out(f"{len(verdicts)} cases, {len(failed)} failed\n")
    for verdict in failed if "-v" not in sys.argv else verdicts:
        out(f"- {verdict.case.name}: {'; '.join(verdict.problems) or 'ok'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
