"""Reads coverage reports (coverage.py JSON, lcov, Cobertura XML) and judges total, changed lines and drop. Pure."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.diff import Change
from cc_orchestrator.verify.reports import Report, read_xml
from cc_orchestrator.verify.rules import CoverageRules

#: `{file: {line: ran}}`
Lines = dict[str, dict[int, bool]]


class Covered(NamedTuple):
    """`changed` is None when no changed line can run by the report."""

    total: float | None
    changed: float | None
    missed: tuple[str, ...]


def read_coverage(data: bytes) -> Lines:
    """Raises ValueError for what is none of the three formats."""
    head = data[:4_096].lstrip()
    if head.startswith(b"{"):
        return _read_json(data)
    if head.startswith(b"<"):
        return _read_cobertura(data)
    if head.startswith((b"TN:", b"SF:")):
        return _read_lcov(data)
    raise ValueError("it is no coverage.json, lcov or Cobertura file")


def _read_json(data: bytes) -> Lines:
    try:
        raw = json.loads(data)
        files = cast("dict[str, Any]", raw["files"])
        return {
            path: {
                **{int(number): True for number in entry["executed_lines"]},
                **{int(number): False for number in entry["missing_lines"]},
            }
            for path, entry in files.items()
        }
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is no coverage.py report: {error!r:.80}") from None


def _read_lcov(data: bytes) -> Lines:
    found: Lines = {}
    current: dict[int, bool] = {}
    for row in data.decode("utf-8", "replace").splitlines():
        if row.startswith("SF:"):
            current = found.setdefault(row[3:].strip(), {})
        elif row.startswith("DA:"):
            number, _comma, hits = row[3:].partition(",")
            ran = int(hits.split(",", 1)[0]) > 0
            current[int(number)] = current.get(int(number), False) or ran
    return found


def _read_cobertura(data: bytes) -> Lines:
    # Its usual head names a DTD by address, which nothing here fetches.
    root = read_xml(data)
    if root.tag != "coverage":
        raise ValueError(f"its root is {root.tag[:40]!a}")
    sources = [posixpath.normpath(text) for node in root.iter("source") if (text := (node.text or "").strip())]
    found: Lines = {}
    for node in root.iter("class"):
        name = node.get("filename", "")
        place = posixpath.join(sources[0], name) if len(sources) == 1 and not sources[0].startswith("/") else name
        lines = found.setdefault(place, {})
        for entry in node.iter("line"):
            number = int(entry.get("number", "0"))
            lines[number] = lines.get(number, False) or int(entry.get("hits", "0")) > 0
    return found


def measure(lines: Lines, changes: Sequence[Change], root: str, subfolder: str = "") -> Covered:
    """Percentages over all lines that can run, and over those of them that the change added."""
    ran = sum(sum(entry.values()) for entry in lines.values())
    all_ = sum(len(entry) for entry in lines.values())
    known = {_relative(path, root, subfolder): entry for path, entry in lines.items()}
    hit = can = 0
    missed: list[str] = []
    for change in changes:
        entry = _find(known, change.path)
        for number, _text in change.lines:
            if number in entry:
                can += 1
                hit += entry[number]
                if not entry[number]:
                    missed.append(f"{line(change.path, 80)}:{number}")
    return Covered(100.0 * ran / all_ if all_ else None, 100.0 * hit / can if can else None, tuple(missed))


def _relative(path: str, root: str, subfolder: str) -> str:
    path = path.replace("\\", "/")
    if path.startswith("/"):
        return posixpath.relpath(path, root)
    return posixpath.normpath(posixpath.join(subfolder, path))


def _find(known: Mapping[str, dict[int, bool]], path: str) -> dict[int, bool]:
    found = known.get(path)
    if found is not None:
        return found
    # A report may name paths from a source folder.
    ends = [entry for name, entry in known.items() if path.endswith(f"/{name}")]
    return ends[0] if len(ends) == 1 else {}


def check_coverage(
    reports: Sequence[Report], rules: CoverageRules, changes: Sequence[Change], root: str, subfolder: str
) -> Check:
    """All reports together against the rules."""
    limit = {
        key: value
        for key in ("total", "changed_lines", "max_drop", "baseline")
        if (value := getattr(rules, key)) is not None
    }
    if not reports:
        return Check(
            "coverage",
            "unverified",
            None,
            limit,
            f"the commands wrote no file {', '.join(rules.files)}"[:300],
            "blocked",
        )
    stale = [report.path for report in reports if not report.fresh]
    if stale:
        text = f"older than the commands, so they did not write it: {line(stale[0], 100)}"
        return Check("coverage", "unverified", None, limit, text, "proxy")
    lines: Lines = {}
    for report in reports:
        try:
            for path, entry in read_coverage(report.data).items():
                mine = lines.setdefault(path, {})
                for number, ran in entry.items():
                    mine[number] = mine.get(number, False) or ran
        except ValueError as error:
            return Check(
                "coverage", "unverified", None, limit, f"{line(report.path, 100)}: {line(str(error), 120)}", "blocked"
            )
    return judge_coverage(measure(lines, changes, root, subfolder), rules, limit)


def judge_coverage(found: Covered, rules: CoverageRules, limit: dict[str, float]) -> Check:
    """The figures against the limits."""
    measured = {
        key: round(value, 2)
        for key, value in (("total", found.total), ("changed_lines", found.changed))
        if value is not None
    }
    if found.total is None:
        return Check("coverage", "unverified", None, limit, "the reports name no line that can run", "blocked")
    reasons: list[str] = []
    if rules.total is not None and found.total < rules.total:
        reasons.append(f"total {found.total:.1f} % is below {rules.total:g} %")
    if rules.changed_lines is not None and found.changed is not None and found.changed < rules.changed_lines:
        reasons.append(
            f"changed lines {found.changed:.1f} % are below {rules.changed_lines:g} %: {', '.join(found.missed[:4])}"
        )
    if rules.max_drop is not None and rules.baseline is None:
        return Check("coverage", "unverified", measured, limit, "max_drop needs a baseline", "blocked", fixable=False)
    if rules.max_drop is not None and rules.baseline is not None and rules.baseline - found.total > rules.max_drop:
        reasons.append(f"total fell by {rules.baseline - found.total:.1f} points from {rules.baseline:g} %")
    return Check("coverage", "fail" if reasons else "pass", measured, limit, "; ".join(reasons))
