"""kill -9 at any moment loses nothing: twenty seeded rounds, and doors that ask for the same run while one of them dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.rounds import play_round
from chaos.twins import play_twins

pytestmark = [pytest.mark.chaos, pytest.mark.process, pytest.mark.timeout(180)]


@pytest.mark.parametrize("seed", range(1000, 1020))
def test_a_kill_at_a_random_moment_loses_no_event_and_leaves_nobody(seed: int, tmp_path: Path) -> None:
    report = play_round(seed, tmp_path)
    assert report.problems == [], report


@pytest.mark.parametrize("seed", range(4))
def test_two_doors_with_one_client_request_id_make_one_run_though_one_is_killed(seed: int, tmp_path: Path) -> None:
    report = play_twins(seed, tmp_path)
    assert report.problems == [], report
