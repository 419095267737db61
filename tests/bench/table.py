"""A row of the table, its verdict, and the calibration loop that makes times of different machines comparable."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

SEED = "seed (measured, 2 cores)"


class Row(NamedTuple):
    """One figure. `ok` is None for what has no goal here; `ratio` is the median over the calibration loop's time."""

    figure: str
    goal: str
    seed: str
    measured: str
    ok: bool | None = None
    ratio: float | None = None


def calibrate() -> float:
    """Milliseconds that a fixed piece of work takes here and now (best of 3): dictionaries, sorting, JSON."""
    return min(_loop() for _ in range(3))


def _loop() -> float:
    begun = time.perf_counter()
    for number in range(12):
        rows = {f"key{index}": [index, str(index * number), index % 7 == 0] for index in range(800)}
        text = json.dumps(rows)
        json.loads(text)
        sorted(text)
    return (time.perf_counter() - begun) * 1000


def ms(function: Callable[[], object]) -> float:
    """How long one call takes, in milliseconds."""
    begun = time.perf_counter()
    function()
    return (time.perf_counter() - begun) * 1000


def timed(
    figure: str, goal_ms: float | None, seed: str, samples: Sequence[float], *, goal: str = "", note: str = ""
) -> Row:
    """A row of times in milliseconds: the median counts; the fastest and slowest stand beside it."""
    middle = statistics.median(samples)
    text = f"{middle:.1f} ms ({min(samples):.1f}-{max(samples):.1f}, n={len(samples)})" + (f"; {note}" if note else "")
    ok = None if goal_ms is None else middle < goal_ms
    shown = goal or (f"< {goal_ms:g} ms" if goal_ms is not None else "-")
    return Row(figure, shown, seed, text, ok, middle / calibrate())


def counted(figure: str, goal: str, seed: str, measured: str, ok: bool | None) -> Row:
    """A row that is no time."""
    return Row(figure, goal, seed, measured, ok)


def render(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| figure | goal | {SEED} | measured | x loop | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        verdict = "" if row.ok is None else "ok" if row.ok else "MISS"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        lines.append(f"| {row.figure} | {row.goal} | {row.seed} | {row.measured} | {ratio} | {verdict} |")
    return "\n".join(lines)
