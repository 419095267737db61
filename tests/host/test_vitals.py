"""What a tree of processes is seen to do: CPU, I/O, bytes over TCP. Totals that only differences are taken of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cc_orchestrator.host.vitals import take_sample
from kit.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]
PYTHON = [sys.executable, "-S", "-E", "-c"]


@pytest.fixture
def burner() -> Iterator[int]:
    child = subprocess.Popen([*PYTHON, "while True: pass"])
    yield child.pid
    child.kill()
    child.wait()


def test_a_process_that_works_uses_cpu_and_one_that_sleeps_does_not(burner: int) -> None:
    before = take_sample([burner], network=False)
    until(lambda: take_sample([burner], network=False).cpu >= before.cpu + 0.1, what="a tenth of a second of CPU")
    with subprocess.Popen(
        [*PYTHON, "import sys; print(1, flush=True); sys.stdin.read()"], stdin=-1, stdout=-1
    ) as sleeper:
        assert sleeper.stdout is not None
        sleeper.stdout.readline()
        first = take_sample([sleeper.pid])
        assert take_sample([sleeper.pid]).cpu == first.cpu
        sleeper.communicate()


def test_the_cpu_of_children_that_ended_is_not_lost() -> None:
    me = os.getpid()
    before = take_sample([me], network=False)
    subprocess.run([*PYTHON, "sum(range(4_000_000))"], check=True)
    assert take_sample([me], network=False).cpu > before.cpu


def test_bytes_over_connections_and_through_files_are_counted(tmp_path_factory: pytest.TempPathFactory) -> None:
    me = os.getpid()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as here:
        there, _address = server.accept()
        before = take_sample([me])
        assert before.sockets is not None
        assert before.received is not None
        here.sendall(b"x" * 1_000)
        with there:
            grown = before.received + 1_000
            until(lambda: (take_sample([me]).received or 0) >= grown, what="the bytes to arrive")
            assert before.io is not None
            path = tmp_path_factory.mktemp("io") / "file"
            path.write_bytes(b"y" * 50_000)
            assert (take_sample([me]).io or 0) >= before.io + 50_000


def test_wakeups_are_no_work_however_many_they_are() -> None:
    # As a file watcher on a busy machine does: each event is a few bytes from one descriptor to another.
    me, (out, into) = os.getpid(), os.pipe()
    before = take_sample([me], network=False).io
    for _ in range(5_000):
        os.write(into, b"12345678")
        os.read(out, 8)
    os.close(into)
    os.close(out)
    assert before is not None
    assert (take_sample([me], network=False).io or 0) < before + 8_192


def test_processes_that_are_gone_count_for_nothing() -> None:
    child = subprocess.Popen([*PYTHON, ""])
    child.wait()
    found = take_sample([child.pid])
    assert (found.cpu, found.io, found.sockets) == (0.0, None, 0)
