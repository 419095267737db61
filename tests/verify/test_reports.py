"""JUnit and coverage reports are counted, not believed. Pure."""

from __future__ import annotations

import pytest

from cc_orchestrator.verify.coverage import check_coverage, read_coverage
from cc_orchestrator.verify.diff import Change
from cc_orchestrator.verify.junit import check_junit, read_junit
from cc_orchestrator.verify.reports import Report
from cc_orchestrator.verify.rules import CoverageRules

JSON = b'{"files": {"src/a.py": {"executed_lines": [1, 2], "missing_lines": [3]}}}'
LCOV = b"TN:\nSF:src/a.py\nDA:1,4\nDA:2,1\nDA:3,0\nend_of_record\n"
COBERTURA = (
    b'<?xml version="1.0" ?>\n<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">\n'
    b'<coverage><sources><source>src</source></sources><packages><package><classes><class filename="a.py"><lines>'
    b'<line number="1" hits="4"/><line number="2" hits="1"/><line number="3" hits="0"/>'
    b"</lines></class></classes></package></packages></coverage>"
)


def changed(*numbers: int) -> list[Change]:
    return [Change("src/a.py", "M", "100644", "1" * 40, lines=[(number, b"x") for number in numbers])]


@pytest.mark.parametrize("data", [JSON, LCOV, COBERTURA], ids=["json", "lcov", "cobertura"])
def test_the_three_formats_say_the_same(data: bytes) -> None:
    assert read_coverage(data) == {"src/a.py": {1: True, 2: True, 3: False}}
    rules = CoverageRules(("c",), 60.0, 90.0, None, None)
    check = check_coverage([Report("c", data, True)], rules, changed(2, 3, 9), "/tree", "")
    assert (check.outcome, check.measured) == ("fail", {"total": 66.67, "changed_lines": 50.0})
    assert "src/a.py:3" in check.evidence


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"<html/>", b"100 %", b'<!DOCTYPE x [<!ENTITY a "b">]><coverage>&a;</coverage>']
)
def test_what_is_no_report_is_unverified(data: bytes) -> None:
    rules = CoverageRules(("c",), 60.0, None, None, None)
    assert check_coverage([Report("c", data, True)], rules, changed(1), "/tree", "").outcome == "unverified"
    assert check_junit([Report("j", data, True)], ["j"]).outcome == "unverified"


def test_a_drop_is_counted_from_a_baseline_and_not_without_one() -> None:
    report = [Report("c", JSON, True)]
    assert check_coverage(report, CoverageRules(("c",), None, None, 1.0, 70.0), changed(1), "/t", "").outcome == "fail"
    assert check_coverage(report, CoverageRules(("c",), None, None, 5.0, 70.0), changed(1), "/t", "").outcome == "pass"
    assert (
        check_coverage(report, CoverageRules(("c",), None, None, 5.0, None), changed(1), "/t", "").outcome
        == "unverified"
    )


def test_cases_are_counted_and_not_the_attributes() -> None:
    lying = b'<testsuites tests="9" failures="0"><testsuite><testcase name="a"/><testcase name="b"><error/></testcase></testsuite></testsuites>'
    assert read_junit(lying)[:4] == (2, 0, 1, 0)
    broken = b'<testsuite tests="1" errors="1"><system-err/></testsuite>'
    assert check_junit([Report("j", broken, True)], ["j"]).outcome == "fail"
    skipped = b'<testsuite><testcase name="a"><skipped/></testcase></testsuite>'
    assert check_junit([Report("j", skipped, True)], ["j"]).outcome == "unverified"
    assert check_junit([Report("j", skipped, False)], ["j"]).outcome == "unverified"
    assert check_junit([], ["j"]).outcome == "unverified"
