"""Recorded and scripted hangs, slow tools and healthy silences: none well is ended or called a stall, each stall is named in time."""

from __future__ import annotations

import pytest

from kit.timelines import Case
from liveness.library import CASES, judge_case


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_worker_is_called_what_it_is_in_time(case: Case) -> None:
    assert judge_case(case).problems == []


def test_the_library_is_large_and_covers_each_family() -> None:
    families = {case.family for case in CASES}
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert families >= {
        "healthy",
        "silent_hang",
        "dead_stream",
        "blocked_question",
        "dead_process",
        "exit_empty",
        "stuck_tool",
    }
