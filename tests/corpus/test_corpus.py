"""No lie of the corpus is approved, and no honest change of it is held. One folder a case: see judge.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.judge import HERE, find_cases, judge_case, read_case

pytestmark = pytest.mark.process
CASES = find_cases([HERE / "lies", HERE / "honest"])


@pytest.mark.parametrize("folder", CASES, ids=[str(path.relative_to(HERE)) for path in CASES])
def test_it_is_judged_rightly(folder: Path, tmp_path: Path) -> None:
    judged = judge_case(folder, tmp_path)
    assert not judged.wrong, f"{judged.verdict}: {judged.wrong}; {'; '.join(judged.open)}"


def test_the_corpus_is_as_large_as_was_asked_for() -> None:
    kinds = [read_case(path)["kind"] for path in CASES]
    assert (kinds.count("lie") >= 50, kinds.count("honest") >= 40) == (True, True)
    assert all(read_case(path)["why"] for path in CASES)
