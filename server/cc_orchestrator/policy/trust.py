"""Trust levels T0 to T3: the least of what a task asks for, what its profile has and what the workspace allows. Pure.

Raised by a person only; lowered by anybody, and by itself: after an act that no answer could make right, and after a bad run of ten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

WORKSPACE = "workspace"
#: Where nobody has said anything: broad work in the repository, with risky acts asked for.
DEFAULT_LEVEL = 2
HIGHEST = 3
#: Trials that count, and the share of them that must have gone well.
WINDOW = 10
LEAST_SUCCESS = 0.7
MEANING = {
    0: "reads only",
    1: "writes within declared paths and commands, in its own worktree",
    2: "writes in the repository at large, asks for risky acts",
    3: "acts alone, in a sandbox that a person approved",
}
_HELD = ("fs", "fs+net")


class Standing(NamedTuple):
    """The trust of a profile or of the workspace since a moment (epoch seconds), by whom and why."""

    level: int = DEFAULT_LEVEL
    since: float = 0.0
    by: str = "default"
    reason: str = ""


class Trial(NamedTuple):
    """One ended run that says something of its worker. `violations`: acts denied at every level of trust, or outside its scope."""

    run_id: str
    ended_at: float
    good: bool
    violations: int = 0


class Effective(NamedTuple):
    """The level that counts, and what kept it from being higher ("" when nothing did)."""

    level: int
    limited_by: str = ""


def current(rows: Iterable[Mapping[str, object]], subject: str) -> Standing:
    """The newest standing of a subject."""
    found = Standing()
    for row in rows:
        level, ts = row.get("level"), row.get("ts")
        if row.get("subject") == subject and isinstance(level, int) and isinstance(ts, int | float):
            found = Standing(
                max(0, min(level, HIGHEST)), float(ts), str(row.get("by") or "?"), str(row.get("reason") or "")
            )
    return found


def demote(standing: Standing, trials: Sequence[Trial], now: float) -> Standing | None:
    """The lower standing that the trials since the last change call for, or None. One level at a time."""
    if standing.level == 0:
        return None
    fresh = sorted(
        (trial for trial in trials if trial.ended_at > standing.since), key=lambda trial: (trial.ended_at, trial.run_id)
    )
    guilty = next((trial for trial in fresh if trial.violations), None)
    if guilty is not None:
        count = f"{guilty.violations} violation{'s' if guilty.violations > 1 else ''}"
        return Standing(standing.level - 1, now, "demotion", f"{count} in {guilty.run_id}")
    last = fresh[-WINDOW:]
    good = sum(trial.good for trial in last)
    if len(last) == WINDOW and good < LEAST_SUCCESS * WINDOW:
        return Standing(standing.level - 1, now, "demotion", f"{good} of the last {WINDOW} runs went well")
    return None


def effective(asked: int, profile: Standing, workspace: Standing, sandbox: str) -> Effective:
    """The least of the three; T3 needs a sandbox that holds (fs, fs+net)."""
    level, limited_by = asked, ""
    for name, standing in (("profile", profile), (WORKSPACE, workspace)):
        if standing.level < level:
            level, limited_by = standing.level, f"{name}: {standing.reason or standing.by}"
    if level == HIGHEST and sandbox not in _HELD:
        level, limited_by = HIGHEST - 1, f"T3 needs sandbox {' or '.join(_HELD)}"
    return Effective(level, limited_by)
