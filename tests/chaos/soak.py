"""Chaos for as long as you like: `python tests/chaos/soak.py --rounds 200 --seed 1`. A table; exit 1 on any loss.

Seeds count up from `--seed`, one a round. `--only N` plays one seed again.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def main(argv: list[str]) -> int:
    """Play the rounds and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="rounds at a time")
    parser.add_argument("--only", type=int, default=None, metavar="SEED")
    parser.add_argument("--launches", type=int, default=20, help="rounds of two doors with one client_request_id")
    given = parser.parse_args(argv)
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    rounds = importlib.import_module("chaos.rounds")
    twins = importlib.import_module("chaos.twins")
    seeds = [given.only] if given.only is not None else range(given.seed, given.seed + given.rounds)
    with ThreadPoolExecutor(given.jobs) as pool:
        reports = list(pool.map(_shown(rounds.play_round), seeds))
        reports += list(pool.map(_shown(twins.play_twins), range(given.launches if given.only is None else 0)))
    _print_table(reports)
    return 1 if any(report.problems for report in reports) else 0


def _shown(play: Any) -> Any:
    def play_one(seed: int) -> Any:
        report = play(seed)
        for problem in report.problems:
            print(
                f"seed {seed} ({report.victim} {report.moment} + {report.delay:.3f} s, {report.channel}): {problem}",
                flush=True,
            )
        return report

    return play_one


def _print_table(reports: list[Any]) -> None:
    print(
        f"\n{'victim':<12}{'rounds':>7}{'kills':>7}{'+sweep':>7}{'runs':>6}{'events':>8}{'shown':>7}{'lost':>6}  ends"
    )
    for victim in sorted({report.victim for report in reports}):
        mine = [report for report in reports if report.victim == victim]
        ends = Counter(end for report in mine for end in report.ends)
        told = ", ".join(f"{end} {count}" for end, count in ends.most_common())
        print(
            f"{victim:<12}{len(mine):>7}{sum(r.killed for r in mine):>7}{sum(r.sweep_killed for r in mine):>7}"
            f"{sum(len(r.ends) for r in mine):>6}{sum(r.events for r in mine):>8}{sum(r.acknowledged for r in mine):>7}"
            f"{sum(bool(r.problems) for r in mine):>6}  {told}"
        )
    bad = [report.seed for report in reports if report.problems]
    spent = [report.seconds for report in reports]
    orphans = max((report.orphan_seconds for report in reports), default=0.0)
    print(
        f"\n{len(reports)} rounds, {len(bad)} with a loss{f' (seeds {bad})' if bad else ''}; median {statistics.median(spent):.1f} s a"
        f" round; orphans gone after at most {orphans:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
