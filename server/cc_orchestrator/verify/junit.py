"""Reads JUnit XML reports that the test commands wrote, and judges them. Pure but for the bytes it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.reports import Report, read_xml


class Counts(NamedTuple):
    """Of one report or of all."""

    tests: int
    failures: int
    errors: int
    skipped: int
    first: str


def read_junit(data: bytes) -> Counts:
    """Counted case by case, so that no attribute lies. Raises ValueError for what is no JUnit XML, or declares entities."""
    root = read_xml(data)
    if root.tag not in ("testsuites", "testsuite"):
        raise ValueError(f"its root is {root.tag[:40]!a}")
    tests = failures = errors = skipped = 0
    first = ""
    for case in root.iter("testcase"):
        tests += 1
        bad = case.find("failure") is not None or case.find("error") is not None
        failures += case.find("failure") is not None
        errors += case.find("error") is not None
        skipped += case.find("skipped") is not None and not bad
        if bad and not first:
            first = f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
    for suite in root.iter("testsuite"):
        # A suite may break before it has any case.
        told = sum(int(value) for key in ("failures", "errors") if (value := suite.get(key, "0")).isdigit())
        inside = sum(
            case.find("failure") is not None or case.find("error") is not None for case in suite.iter("testcase")
        )
        errors += max(0, told - inside) if told > inside else 0
    return Counts(tests, failures, errors, skipped, first)


def check_junit(reports: Sequence[Report], globs: Sequence[str]) -> Check:
    """All reports together."""
    limit = list(globs)
    if not reports:
        return Check(
            "junit",
            "unverified",
            {"reports": 0},
            limit,
            f"the commands wrote no file {', '.join(globs)}"[:300],
            "blocked",
        )
    stale = [report.path for report in reports if not report.fresh]
    total = Counts(0, 0, 0, 0, "")
    for report in reports:
        try:
            found = read_junit(report.data)
        except ValueError as error:
            return Check(
                "junit", "unverified", None, limit, f"{line(report.path, 100)}: {line(str(error), 120)}", "blocked"
            )
        total = Counts(
            total.tests + found.tests, total.failures + found.failures, total.errors + found.errors, total.skipped + found.skipped,
            total.first or found.first,
        )  # fmt: skip
    measured = {key: value for key, value in total._asdict().items() if key != "first"}
    if stale:
        text = f"older than the commands, so they did not write it: {line(stale[0], 100)}"
        return Check("junit", "unverified", measured, limit, text, "proxy")
    if total.failures or total.errors:
        return Check("junit", "fail", measured, limit, f"failed: {line(total.first, 120)}")
    if total.tests - total.skipped <= 0:
        return Check("junit", "unverified", measured, limit, "no test ran")
    return Check("junit", "pass", measured, limit)
