"""A hostile worker in the sandbox: every attempt to get out of it is denied, and nothing outside has changed afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from kit import escapes
from kit.repos import git
from kit.sandboxes import need
from kit.siege import Siege, besieged
from kit.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


@pytest.fixture(scope="module", params=["fs", "fs+net"])
def siege(request: pytest.FixtureRequest) -> Iterator[Siege]:
    need("bubblewrap")
    with besieged(request.param) as found:
        yield found


@pytest.mark.parametrize("name", sorted(escapes.ATTEMPTS))
def test_denied(siege: Siege, name: str) -> None:
    if name in escapes.NETWORK and siege.level != "fs+net":
        assert name not in siege.found, "fs leaves the network as it is, and says so"
        return
    found = siege.found[name]
    assert name in escapes.PRIVATE or found["got"] is None, found
    assert name not in escapes.PRIVATE or found["got"], "it was kept private, not refused"


def test_nothing_outside_has_changed(siege: Siege) -> None:
    assert siege.after == siege.before
    assert siege.victim_lives


def test_the_ledger_is_whole(siege: Siege) -> None:
    rows = {row["check"]: row for row in siege.door.call("cc_doctor")["checks"]}
    assert rows["ledger"]["ok"], rows["ledger"]


def test_no_server_outside_has_heard_anything(siege: Siege) -> None:
    assert [said for said in siege.heard if said] == []


def test_a_worker_can_still_do_its_work(siege: Siege) -> None:
    controls = siege.found["controls"]
    assert controls.get("committed") == "made inside", controls
    snapshot = siege.door.state(siege.run_id)["snapshot"]
    assert snapshot["committed"] == 1
    assert snapshot["incomplete"] is None
    assert "made.txt" in [row["path"] for row in snapshot["files"]]
    assert git(siege.door.cwd, "log", "-1", "--format=%s", f"refs/heads/{snapshot['branch']}") == "made inside"
    if siege.level == "fs+net":
        assert controls["allowed"].startswith("reached")
        assert controls["proxied"] == "HTTP/1.1 200 Connection established"


def test_nothing_private_is_left_behind(siege: Siege) -> None:
    run = siege.door.run(siege.run_id)
    until(lambda: not run.is_owned(), what="the supervisor's end")
    assert not os.path.exists(run.private)


def test_there_are_at_least_thirty_attempts() -> None:
    assert len(escapes.ATTEMPTS) >= 30
