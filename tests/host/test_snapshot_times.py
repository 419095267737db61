"""A snapshot sees a change that neither size nor times give away."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cc_orchestrator.host.snapshot import snapshot
from kit.repos import git, make_repo

pytestmark = pytest.mark.process


def test_a_change_of_the_same_size_in_the_second_of_the_checkout_is_kept(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", {"app.py": "a - b\n"})
    git(repo, "config", "core.trustctime", "false")
    file, index = repo / "app.py", repo / ".git" / "index"
    # Checkout and change lie in one second, the snapshot comes later.
    when = os.stat(file).st_mtime_ns - 5_000_000_000
    os.utime(file, ns=(when, when))
    git(repo, "update-index", "--refresh")
    file.write_text("a + b\n", encoding="utf-8")
    for path in (file, index):
        os.utime(path, ns=(when, when))
    base = git(repo, "rev-parse", "HEAD")
    taken = snapshot(str(repo), base=base, ref="refs/cc/runs/x", message="x", commit_on_branch=False)
    assert [(row.path, row.added, row.deleted) for row in taken.files] == [("app.py", 1, 1)]
    assert git(repo, "show", "refs/cc/runs/x:app.py") == "a + b"
