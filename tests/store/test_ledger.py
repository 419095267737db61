"""The ledger: every finished thing once, in order, and no byte changed without being found."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_orchestrator.store import audit, ledger

NOVEMBER = 1_795_000_000.0
MONTH = 31 * 86_400


def record(name: str, ts: float = NOVEMBER, kind: str = "run") -> dict:
    return {
        "kind": kind, "ts": ts, "subject": {"run_id": f"run_{name}"}, "actor": "controller", "channel": "cli",
        "observed": {"status": "succeeded", "cost_usd": 0.125}, "claimed": {"text": "fertig \ud800 é"},
    }  # fmt: skip


def files(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".ndjson")]


def lines(folder: str) -> list[bytes]:
    return open_bytes(files(folder)[0]).splitlines()


def open_bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def put_bytes(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
def folder(tmp_path):
    path = str(tmp_path / "ledger")
    for index in range(5):
        ledger.append(path, record(str(index)))
    return path


def test_receipts_are_numbered_and_chained_from_the_first_line(folder):
    rows = [json.loads(line) for line in lines(folder)]
    assert [row["n"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["prev"] == "0" * 64
    assert set(rows[0]) == {
        "v", "n", "ts", "kind", "subject", "actor", "channel", "observed", "claimed", "prev", "hash",
    }  # fmt: skip
    assert audit.check_ledger(folder) == audit.LedgerReport(True, 5, [], [])


def test_an_empty_place_is_a_sound_ledger(tmp_path):
    assert audit.check_ledger(str(tmp_path / "none")).ok
    assert ledger.receipts(str(tmp_path / "none")) == []


def test_receipts_are_found_by_subject_newest_first(folder):
    ledger.append(folder, {**record("2"), "kind": "acceptance"})
    assert [row["kind"] for row in ledger.receipts(folder, {"run_id": "run_2"})] == ["acceptance", "run"]
    assert [row["n"] for row in ledger.receipts(folder, limit=2)] == [6, 5]
    assert ledger.receipts(folder, {"run_id": "run_2"}, kind="delivery") == []


def test_a_receipt_asked_for_once_is_written_once(folder):
    again = ledger.append(folder, record("3"), once=True)
    assert again["n"] == 4
    assert ledger.append(folder, record("new"), once=True)["n"] == 6


def test_a_value_that_is_no_json_leaves_the_ledger_as_it_was(folder):
    with pytest.raises(ValueError, match="JSON"):
        ledger.append(folder, {**record("x"), "observed": {"cost": float("nan")}})
    with pytest.raises(ValueError, match="kind"):
        ledger.append(folder, {**record("x"), "kind": "rumour"})
    assert audit.check_ledger(folder) == audit.LedgerReport(True, 5, [], [])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda rows: [rows[0].replace(b"succeeded", b"failed!!!"), *rows[1:]], "not a sound record"),
        (lambda rows: [*rows[:2], *rows[3:]], "records 3 to 3 are missing"),
        (lambda rows: rows[1:], "records 1 to 1 are missing"),
        (lambda rows: [*rows[:2], rows[1], *rows[2:]], "inserted again or out of order"),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "missing before it"),
        (lambda rows: [*rows[:2], b"", *rows[2:]], "not a sound record"),
        (lambda rows: [*rows[:2], ledger.seal(record("forged"), 3, "0" * 64)[1], *rows[3:]], "does not continue"),
        (lambda rows: rows[:-1], "records 5 to 5 are cut off"),
        (lambda rows: rows[:1], "records 2 to 5 are cut off"),
        (lambda rows: [*rows[:-1], ledger.seal(record("forged"), 5, json.loads(rows[-1])["prev"])[1]], "head names"),
    ],
    ids=[
        "changed",
        "removed",
        "first",
        "repeated",
        "reordered",
        "blank",
        "forged",
        "cut",
        "cut-more",
        "rewritten-last",
    ],
)
def test_damage_is_found_and_named(folder, damage, says):
    put_bytes(files(folder)[0], b"".join(row + b"\n" for row in damage(lines(folder))))
    report = audit.check_ledger(folder)
    assert not report.ok
    assert any(says in problem.what for problem in report.problems), report.problems


def test_damage_stays_visible_after_the_ledger_went_on(folder):
    put_bytes(files(folder)[0], b"".join(row + b"\n" for row in lines(folder)[:-2]))
    ledger.append(folder, record("later"))
    report = audit.check_ledger(folder)
    assert [problem.what for problem in report.problems] == ["record 6 follows 3: records 4 to 5 are missing before it"]


def test_a_missing_head_is_a_problem_and_stays_one(folder):
    os.unlink(os.path.join(folder, "head.json"))
    assert not audit.check_ledger(folder).ok
    ledger.append(folder, record("later"))
    report = audit.check_ledger(folder)
    assert [problem.what for problem in report.problems] == ["the head was missing when this was written"]


def test_a_line_torn_by_a_crash_is_told_by_the_next_record(folder):
    _, line = ledger.seal(record("torn"), 6, "0" * 64)
    with open(files(folder)[0], "ab") as file:
        file.write(line[:100])
    assert audit.check_ledger(folder).ok
    ledger.append(folder, record("after"))
    report = audit.check_ledger(folder)
    assert report.ok
    assert "100 bytes torn by a crash" in report.notes[0]
    assert [row["kind"] for row in ledger.receipts(folder, limit=2)] == ["run", "torn"]
    put_bytes(files(folder)[0], open_bytes(files(folder)[0]).replace(line[:100] + b"\n", b""))
    assert not audit.check_ledger(folder).ok


def test_a_crash_before_the_head_was_written_loses_no_record(folder):
    before = open_bytes(os.path.join(folder, "head.json"))
    ledger.append(folder, record("last words"))
    put_bytes(os.path.join(folder, "head.json"), before)
    assert audit.check_ledger(folder).ok
    ledger.append(folder, record("after"))
    assert audit.check_ledger(folder) == audit.LedgerReport(True, 7, [], [])


def test_a_crash_that_lost_only_the_newline_keeps_the_record(folder):
    before = open_bytes(os.path.join(folder, "head.json"))
    ledger.append(folder, record("last words"))
    put_bytes(os.path.join(folder, "head.json"), before)
    put_bytes(files(folder)[0], open_bytes(files(folder)[0])[:-1])
    ledger.append(folder, record("after"))
    assert audit.check_ledger(folder) == audit.LedgerReport(True, 7, [], [])


def test_the_chain_goes_on_over_months_and_never_back(folder):
    ledger.append(folder, record("next", NOVEMBER + MONTH))
    ledger.append(folder, record("clock set back", NOVEMBER))
    assert len(files(folder)) == 2
    assert audit.check_ledger(folder) == audit.LedgerReport(True, 7, [], [])
    os.unlink(files(folder)[0])
    assert "records 1 to 5 are missing" in audit.check_ledger(folder).problems[0].what


def test_a_line_torn_at_the_end_of_a_month_is_told_in_the_next(folder):
    with open(files(folder)[0], "ab") as file:
        file.write(b'{"v":1,')
    ledger.append(folder, record("next", NOVEMBER + MONTH))
    report = audit.check_ledger(folder)
    assert report.ok
    assert "7 bytes torn" in report.notes[0]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_is_found(folder, data):
    path = data.draw(st.sampled_from([files(folder)[0], os.path.join(folder, "head.json")]))
    original = open_bytes(path)
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    put_bytes(path, bytes(changed))
    try:
        assert not audit.check_ledger(folder).ok
    finally:
        put_bytes(path, original)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_tail_cut_off_anywhere_is_found(folder, data):
    path = files(folder)[0]
    original = open_bytes(path)
    put_bytes(path, original[: data.draw(st.integers(0, len(original) - 2))])
    try:
        assert not audit.check_ledger(folder).ok
    finally:
        put_bytes(path, original)


@pytest.mark.process
def test_eight_processes_that_append_at_once_lose_nothing(tmp_path):
    folder = str(tmp_path / "ledger")
    code = (
        "import sys; from cc_orchestrator.store import ledger\n"
        "for i in range(25): ledger.append(sys.argv[1], {'kind': 'run', 'ts': 1795000000.0, 'subject': "
        "{'run_id': f'run_{sys.argv[2]}_{i}'}})"
    )
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(ledger.__file__))))
    env = {**os.environ, "PYTHONPATH": source}
    writers = [subprocess.Popen([sys.executable, "-c", code, folder, str(index)], env=env) for index in range(8)]
    assert [writer.wait(50) for writer in writers] == [0] * 8
    assert audit.check_ledger(folder) == audit.LedgerReport(True, 200, [], [])
    subjects = {row["subject"]["run_id"] for row in ledger.receipts(folder, limit=500)}
    assert subjects == {f"run_{writer}_{index}" for writer in range(8) for index in range(25)}
