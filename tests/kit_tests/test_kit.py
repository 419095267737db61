"""Repositories, clocks and waits of the kit."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from kit.clock import FakeClock
from kit.repos import commit, fingerprint, git, make_repo
from kit.waiting import until


@pytest.mark.process
def test_a_scratch_repository_is_the_same_every_time(tmp_path: Path) -> None:
    one = make_repo(tmp_path / "one", commits=[{"b.txt": "b\n"}])
    two = make_repo(tmp_path / "two", commits=[{"b.txt": "b\n"}])
    assert git(one, "rev-parse", "HEAD") == git(two, "rev-parse", "HEAD")
    assert git(one, "rev-list", "--count", "HEAD") == "2"
    assert git(one, "log", "-1", "--format=%an <%ae>") == "Scratch <scratch@localhost>"


@pytest.mark.process
def test_a_fingerprint_sees_a_new_file_and_a_new_commit(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    before = fingerprint(repo)
    (repo / "new.txt").write_text("x", encoding="utf-8")
    assert fingerprint(repo) != before
    commit(repo, {})
    assert fingerprint(repo)["head"] != before["head"]


def test_a_wait_is_woken_by_its_descriptor_and_bounded_without() -> None:
    readable, writable = os.pipe()
    said: list[str] = []
    timer = threading.Timer(0.05, lambda: (said.append("now"), os.write(writable, b"x")))
    timer.start()
    try:
        assert until(lambda: said, timeout=10, wake_fd=readable) == ["now"]
        with pytest.raises(AssertionError, match="the impossible"):
            until(lambda: False, timeout=0.03, what="the impossible")
    finally:
        timer.join()
        os.close(readable)
        os.close(writable)


def test_a_clock_set_back_does_not_touch_monotonic_time() -> None:
    clock = FakeClock()
    clock.advance(5)
    mono = clock.mono()
    clock.set_wall(0.0)
    assert (clock.now(), clock.mono()) == (0.0, mono)
