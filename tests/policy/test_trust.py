"""Trust is the least of three, falls by itself, and rises by nobody's good luck."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cc_orchestrator.policy.trust import DEFAULT_LEVEL, Standing, Trial, current, demote, effective

NOW = 1_000.0
trials = st.lists(
    st.builds(Trial, st.text("ab", min_size=1), st.floats(1, NOW), st.booleans(), st.integers(0, 2)), max_size=30
)
levels = st.integers(0, 3)


def runs(good: int, bad: int, start: float = 1.0) -> list[Trial]:
    return [Trial(f"run_{n}", start + n, n < good) for n in range(good + bad)]


def test_one_violation_costs_one_level_and_names_its_run() -> None:
    fallen = demote(Standing(2), [Trial("run_a", 5.0, True, 1)], NOW)
    assert fallen is not None
    assert (fallen.level, fallen.since, fallen.by) == (1, NOW, "demotion")
    assert "run_a" in fallen.reason


def test_less_than_seven_of_the_last_ten_costs_one_level() -> None:
    assert demote(Standing(2), runs(7, 3), NOW) is None
    fallen = demote(Standing(2), runs(6, 4), NOW)
    assert fallen is not None
    assert fallen.reason == "6 of the last 10 runs went well"


def test_only_ten_runs_are_a_record() -> None:
    assert demote(Standing(2), runs(0, 9), NOW) is None


def test_old_sins_are_forgiven_by_a_change_and_good_luck_never_raises() -> None:
    raised = Standing(2, since=500.0, by="ada")
    assert demote(raised, [Trial("run_a", 5.0, False, 3), *runs(0, 10)], NOW) is None
    assert demote(Standing(1), runs(20, 0), NOW) is None


def test_the_newest_row_of_a_subject_counts_and_nobody_named_has_the_default() -> None:
    rows = [
        {"subject": "claude", "level": 3, "ts": 1.0, "by": "ada", "reason": "proved"},
        {"subject": "codex", "level": 0, "ts": 2.0, "by": "ada"},
        {"subject": "claude", "level": 1, "ts": 3.0, "by": "demotion", "reason": "x"},
    ]
    assert current(rows, "claude") == Standing(1, 3.0, "demotion", "x")
    assert current(rows, "gemini").level == DEFAULT_LEVEL


def test_full_autonomy_needs_a_sandbox() -> None:
    high = Standing(3)
    assert effective(3, high, high, "worktree") == (2, "T3 needs sandbox fs or fs+net")
    assert effective(3, high, high, "fs").level == 3


@given(levels, levels, levels, st.sampled_from(["none", "worktree", "fs", "fs+net"]))
def test_the_effective_level_is_never_above_any_of_the_three(
    asked: int, profile: int, workspace: int, sandbox: str
) -> None:
    found = effective(asked, Standing(profile), Standing(workspace), sandbox)
    assert found.level <= min(asked, profile, workspace)
    assert bool(found.limited_by) == (found.level < asked)


@given(levels, trials)
def test_trials_never_raise_and_take_one_level_at_most(level: int, record: list[Trial]) -> None:
    fallen = demote(Standing(level), record, NOW)
    assert fallen is None or fallen.level == level - 1
