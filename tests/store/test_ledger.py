"""The ledger: every finished thing once, in order, and no byte changed without being found."""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store import audit, head, ledger
from cc_orchestrator.store.anchor import Anchor, Anchors, make_note, read_note, recall, remember

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


def sound(count: int) -> audit.LedgerReport:
    return audit.LedgerReport(count, [], [], count)


def whole(folder: str) -> dict[str, bytes]:
    return {name: open_bytes(os.path.join(folder, name)) for name in os.listdir(folder) if name != "lock"}


def restore(folder: str, state: dict[str, bytes]) -> None:
    for name in os.listdir(folder):
        if name not in state and name != "lock":
            os.unlink(os.path.join(folder, name))
    for name, data in state.items():
        put_bytes(os.path.join(folder, name), data)


def announce(folder: str, entry: dict) -> tuple[str, bytes, dict[str, bytes]]:
    """`(file, data, state)`: what an append of `entry` writes where, and the folder as it is when the head announces it."""
    at = ledger.adopt(folder, head.read_head(folder) or head.START)
    before = whole(folder)
    if ledger.lacks_newline(folder, at):
        before[at.file] += b"\n"
    ledger.append(folder, entry)
    name = os.path.basename(files(folder)[-1])
    start = len(before.get(name, b""))
    data = open_bytes(os.path.join(folder, name))[start:]
    restore(folder, before)
    pending = head.Pending(name, start, len(data), hashlib.sha256(data).hexdigest())
    head.write_head(folder, at._replace(pending=pending))
    return name, data, whole(folder)


def crash(folder: str, entry: dict, written: int, *, headed: bool = False) -> None:
    """Leave the folder as a crash does after `written` bytes of the append (`headed`: and after the head too)."""
    if headed:
        ledger.append(folder, entry)
        return
    name, data, _state = announce(folder, entry)
    with open(os.path.join(folder, name), "ab") as file:
        file.write(data[:written])


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
    assert audit.check_ledger(folder) == sound(5)


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
    assert audit.check_ledger(folder) == sound(5)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda rows: [rows[0].replace(b"succeeded", b"failed!!!"), *rows[1:]], "not a sound record"),
        (lambda rows: [*rows[:2], *rows[3:]], "records 3 to 3 are missing"),
        (lambda rows: rows[1:], "records 1 to 1 are missing"),
        (lambda rows: [*rows[:2], rows[1], *rows[2:]], "inserted again or out of order"),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], "missing before it"),
        (lambda rows: [*rows[:2], b"", *rows[2:]], "not a sound record"),
        (lambda rows: [*rows[:2], ledger.make_line(record("forged"), 3, "0" * 64)[1], *rows[3:]], "does not continue"),
        (lambda rows: rows[:-1], "records 5 to 5 are cut off"),
        (lambda rows: rows[:1], "records 2 to 5 are cut off"),
        (
            lambda rows: [*rows[:-1], ledger.make_line(record("forged"), 5, json.loads(rows[-1])["prev"])[1]],
            "head names",
        ),
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
    assert [problem.what for problem in report.problems] == ["the head was missing or changed when this was written"]


def test_a_line_torn_by_a_crash_is_told_by_the_next_record(folder):
    crash(folder, record("torn"), 100)
    report = audit.check_ledger(folder)
    assert report.ok
    assert "100 bytes that a crash cut short" in report.notes[0]
    ledger.append(folder, record("after"))
    report = audit.check_ledger(folder)
    assert report.ok, report.problems
    assert "100 bytes torn by a crash, told by record 6" in report.notes[0]
    assert [row["kind"] for row in ledger.receipts(folder, limit=2)] == ["run", "torn"]
    torn = ledger.receipts(folder, kind="torn")[0]["observed"]
    data = open_bytes(files(folder)[0])
    put_bytes(files(folder)[0], data[: torn["start"]] + data[torn["start"] + torn["bytes"] + 1 :])
    assert "gone or changed" in str(audit.check_ledger(folder).problems)


def test_a_torn_tail_is_told_from_a_cut_one(folder):
    state = whole(folder)
    crash(folder, record("torn"), 100)
    assert audit.check_ledger(folder).ok
    restore(folder, state)
    name = os.path.basename(files(folder)[0])
    put_bytes(files(folder)[0], state[name][: -len(lines(folder)[-1]) + 99])
    assert [problem.what for problem in audit.check_ledger(folder).problems] == [
        "not a sound record: changed or inserted",
        "records 5 to 5 are cut off: the head is record 5",
    ]


def test_a_crash_before_the_head_was_written_loses_no_record(folder):
    name, data, _state = announce(folder, record("last words"))
    with open(os.path.join(folder, name), "ab") as file:
        file.write(data)
    report = audit.check_ledger(folder)
    assert (report.ok, report.count) == (True, 6)
    assert "1 behind" in report.notes[0]
    ledger.append(folder, record("after"))
    assert audit.check_ledger(folder) == sound(7)


def test_a_record_that_nobody_announced_is_found_though_it_continues_the_chain(folder):
    rows = lines(folder)
    _row, forged = ledger.make_line(record("forged"), 6, hashlib.sha256(rows[-1]).hexdigest())
    with open(files(folder)[0], "ab") as file:
        file.write(forged + b"\n")
    assert "inserted by somebody else" in str(audit.check_ledger(folder).problems)
    ledger.append(folder, record("after"))
    report = audit.check_ledger(folder)
    assert [problem.what for problem in report.problems] == [
        f"{len(forged) + 1} bytes were inserted by somebody else, told by record 6"
    ]
    assert (report.count, report.last) == (7, 7)


def test_the_chain_goes_on_over_months_and_never_back(folder):
    ledger.append(folder, record("next", NOVEMBER + MONTH))
    ledger.append(folder, record("clock set back", NOVEMBER))
    assert len(files(folder)) == 2
    assert audit.check_ledger(folder) == sound(7)
    os.unlink(files(folder)[0])
    assert "records 1 to 5 are missing" in audit.check_ledger(folder).problems[0].what


def test_a_line_torn_at_the_end_of_a_month_is_told_in_the_next(folder):
    crash(folder, record("torn"), 7)
    ledger.append(folder, record("next", NOVEMBER + MONTH))
    ledger.append(folder, record("more", NOVEMBER + MONTH))
    report = audit.check_ledger(folder)
    assert report.ok, report.problems
    assert (report.count, len(files(folder))) == (8, 2)
    assert "7 bytes torn" in report.notes[0]


# ---------------------------------------------------------------- properties

PATIENT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def long(tmp_path):
    """A ledger over two months that survived two crashes."""
    path = str(tmp_path / "long")
    for index in range(4):
        ledger.append(path, record(str(index)))
    crash(path, record("torn"), 120)
    ledger.append(path, record("after"))
    for index in range(3):
        ledger.append(path, record(f"next {index}", NOVEMBER + MONTH))
    crash(path, record("torn again", NOVEMBER + MONTH), 33)
    ledger.append(path, record("last", NOVEMBER + MONTH))
    assert audit.check_ledger(path).ok
    return path


def spoiled(folder: str, name: str, data: bytes) -> list[audit.Problem]:
    """What is found when a file holds `data`; the file is as before afterwards."""
    path = os.path.join(folder, name)
    original = open_bytes(path)
    assert data != original
    put_bytes(path, data)
    try:
        return audit.check_ledger(folder).problems
    finally:
        put_bytes(path, original)


def names(folder: str) -> list[str]:
    return [os.path.basename(path) for path in files(folder)]


@PATIENT
@given(data=st.data())
def test_one_changed_byte_anywhere_is_found(long, data):
    name = data.draw(st.sampled_from([*names(long), "head.json"]))
    original = open_bytes(os.path.join(long, name))
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    problems = spoiled(long, name, bytes(changed))
    assert problems
    assert any(name in problem.where for problem in problems), problems


@PATIENT
@given(data=st.data())
def test_a_tail_cut_off_anywhere_is_found(long, data):
    name = data.draw(st.sampled_from(names(long)))
    original = open_bytes(os.path.join(long, name))
    assert spoiled(long, name, original[: data.draw(st.integers(0, len(original) - 1))])


@PATIENT
@given(data=st.data())
def test_whole_records_cut_off_the_end_are_named(long, data):
    name = names(long)[-1]
    rows = open_bytes(os.path.join(long, name)).splitlines(keepends=True)
    gone = data.draw(st.integers(1, len(rows)))
    problems = spoiled(long, name, b"".join(rows[: len(rows) - gone]))
    assert any("are cut off: the head is record" in problem.what for problem in problems)


@PATIENT
@given(data=st.data())
def test_a_removed_repeated_moved_or_forged_line_is_found_and_named(long, data):
    name = data.draw(st.sampled_from(names(long)))
    rows = open_bytes(os.path.join(long, name)).splitlines(keepends=True)
    at = data.draw(st.integers(0, len(rows) - 1))
    to = data.draw(st.integers(0, len(rows)))
    act = data.draw(st.sampled_from(["remove", "repeat", "move", "forge", "replace", "blank"]))
    row = rows[at]
    parsed = ledger.parse_line(row[:-1])
    n, prev = (parsed["n"], parsed["prev"]) if parsed is not None else (at + 1, "0" * 64)
    forged = ledger.make_line(record("forged"), n, prev)[1] + b"\n"
    after = list(rows)
    if act == "remove":
        del after[at]
    elif act == "repeat":
        after.insert(to, row)
    elif act == "move":
        after.insert(to - 1 if to > at else to, after.pop(at))
    elif act == "forge":
        after.insert(to, forged)
    elif act == "replace":
        after[at] = forged
    else:
        after.insert(to, b"\n")
    if after == rows:
        return
    problems = spoiled(long, name, b"".join(after))
    assert problems, act
    assert all(
        problem.what and (":" in problem.where or "byte" in problem.where or problem.where == "head.json")
        for problem in problems
    )


@PATIENT
@given(data=st.data())
def test_the_ledger_goes_on_after_a_crash_at_any_point_and_loses_nothing_that_was_told(folder, data):
    start = whole(folder)
    kept = 5
    try:
        for number in range(data.draw(st.integers(1, 3))):
            name, entry, _state = announce(folder, record(f"crash {number}"))
            written = data.draw(st.one_of(st.integers(0, len(entry)), st.integers(len(entry) - 1, len(entry))))
            with open(os.path.join(folder, name), "ab") as file:
                file.write(entry[:written])
            assert audit.check_ledger(folder).ok, audit.check_ledger(folder).problems
        ledger.append(folder, record("after", NOVEMBER + data.draw(st.sampled_from([0, MONTH]))))
        report = audit.check_ledger(folder)
        assert report.ok, report.problems
        rows = ledger.receipts(folder, limit=100)
        assert [row["n"] for row in rows] == list(range(len(rows), 0, -1))
        told = [row["subject"]["run_id"] for row in rows if row["kind"] == "run"]
        assert {f"run_{index}" for index in range(kept)} | {"run_after"} <= set(told)
        assert len(told) == len(set(told))
    finally:
        restore(folder, start)


# ---------------------------------------------------------------- reading


def test_receipts_are_found_by_actor_time_and_number(folder):
    ledger.append(folder, {**record("6", NOVEMBER + 60), "actor": "reviewer"})
    assert [row["n"] for row in ledger.receipts(folder, actor="reviewer")] == [6]
    assert [row["n"] for row in ledger.receipts(folder, since=NOVEMBER + 1)] == [6]
    assert [row["n"] for row in ledger.receipts(folder, until=NOVEMBER + 1, limit=2)] == [5, 4]
    assert [row["n"] for row in ledger.receipts(folder, before=4)] == [3, 2, 1]


def test_a_ledger_of_many_blocks_is_read_from_its_end_whole_and_in_order(tmp_path):
    folder = str(tmp_path / "many")
    big = {**record("big"), "claimed": {"text": "x" * 700_000}}
    for index in range(6):
        ledger.append(folder, big if index % 2 else record(str(index)))
    ledger.append(folder, {**record("huge"), "claimed": {"text": "y" * 3_000_000}})
    assert [row["n"] for row in ledger.receipts(folder)] == [7, 6, 5, 4, 3, 2, 1]
    assert [row["n"] for row in ledger.receipts(folder, {"run_id": "run_big"})] == [6, 4, 2]
    assert [row["n"] for row in ledger.receipts(folder, {"run_id": "run_0"})] == [1]
    assert ledger.receipts(folder, {"run_id": "run_none"}) == []


# ---------------------------------------------------------------- anchors


def anchor_of(folder: str, n: int, commit: str) -> Anchor:
    return Anchor(n, hashlib.sha256(lines(folder)[n - 1]).hexdigest(), commit)


def test_a_note_carries_an_anchor_and_a_changed_one_none(folder):
    anchor = anchor_of(folder, 3, "c3")
    note = make_note(anchor.n, anchor.line, NOVEMBER)
    assert read_note("c3", note) == anchor
    assert read_note("c3", note.replace('"n":3', '"n":4')) is None


def test_a_ledger_rewritten_whole_is_found_by_its_anchors(folder, tmp_path):
    anchors = Anchors("refs/x", (anchor_of(folder, 4, "c4"), anchor_of(folder, 2, "c2")))
    assert audit.check_ledger(folder, anchors).anchored == 4
    other = str(tmp_path / "other")
    for index in range(6):
        ledger.append(other, record("0" if index < 2 else f"other {index}"))
    for name in ("head.json", os.path.basename(files(folder)[0])):
        put_bytes(os.path.join(folder, name), open_bytes(os.path.join(other, name)))
    assert audit.check_ledger(folder).ok
    assert [problem.what for problem in audit.check_ledger(folder, anchors).problems] == [
        "records from 1 on were rewritten: git holds another record 2 (commit c2)"
    ]


def test_a_ledger_set_back_to_an_older_copy_is_found_by_its_anchors(folder):
    state = whole(folder)
    ledger.append(folder, record("6"))
    anchors = Anchors("refs/x", (anchor_of(folder, 6, "c6"), anchor_of(folder, 2, "c2")))
    restore(folder, state)
    assert audit.check_ledger(folder).ok
    report = audit.check_ledger(folder, anchors)
    assert [problem.what for problem in report.problems] == [
        "records 6 to 6 are cut off: git holds record 6 (commit c6)"
    ]
    assert report.anchored == 2
    assert not audit.check_ledger(folder + "/gone", anchors).ok


def test_an_anchor_that_was_remembered_and_is_gone_is_found(folder):
    anchor = anchor_of(folder, 5, "c5")
    remember(folder, anchor)
    assert recall(folder) == anchor
    assert audit.check_ledger(folder, Anchors("refs/x", (anchor,), recalled=anchor)).ok
    gone = Anchors("refs/x", recalled=anchor)
    assert "is gone: it held record 5" in str(audit.check_ledger(folder, gone).problems)
    older = Anchors("refs/x", (anchor_of(folder, 3, "c3"),), recalled=anchor)
    assert "was rewritten" in str(audit.check_ledger(folder, older).problems)
    unread = Anchors("refs/x", recalled=anchor, problems=(("refs/x", "cannot be read"),))
    assert audit.check_ledger(folder, unread).problems == [audit.Problem("refs/x", "cannot be read")]
    path = os.path.join(folder, "anchored.json")
    put_bytes(path, open_bytes(path).replace(b"c5", b"c6"))
    with pytest.raises(Corrupt, match=r"anchored\.json was changed"):
        recall(folder)


# ---------------------------------------------------------------- many at once


@pytest.mark.process
def test_eight_processes_that_append_at_once_lose_nothing(tmp_path):
    folder = str(tmp_path / "ledger")
    code = (
        "import sys; from cc_orchestrator.store import ledger\n"
        "for i in range(10): ledger.append(sys.argv[1], {'kind': 'run', 'ts': 1795000000.0, 'subject': "
        "{'run_id': f'run_{sys.argv[2]}_{i}'}})"
    )
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(ledger.__file__))))
    env = {**os.environ, "PYTHONPATH": source}
    writers = [subprocess.Popen([sys.executable, "-c", code, folder, str(index)], env=env) for index in range(8)]
    assert [writer.wait(50) for writer in writers] == [0] * 8
    assert audit.check_ledger(folder) == sound(80)
    subjects = {row["subject"]["run_id"] for row in ledger.receipts(folder, limit=100)}
    assert subjects == {f"run_{writer}_{index}" for writer in range(8) for index in range(10)}


def test_receipts_since_a_time_leave_the_files_of_earlier_months_unread(tmp_path: pathlib.Path) -> None:
    folder = str(tmp_path / "ledger")
    for ts in (1_700_000_000.0, 1_710_000_000.0):
        ledger.append(folder, {"kind": "run", "ts": ts, "subject": {}, "actor": "x"})
    oldest = tmp_path / "ledger" / ledger.ledger_files(folder)[0]
    oldest.unlink()
    oldest.mkdir()
    assert [row["n"] for row in ledger.receipts(folder, kind="run", since=1_709_999_999.0)] == [2]
    with pytest.raises(IsADirectoryError):
        ledger.receipts(folder, kind="run")
