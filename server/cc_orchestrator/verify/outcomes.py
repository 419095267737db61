"""What an ended command means: only exit 0 of something that shows it tested is a pass. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Ran
from cc_orchestrator.runs.cell import Cell
from cc_orchestrator.verify.check import Check

#: What test programs print when they ended well and ran nothing.
_NOTHING_RAN = re.compile(
    r"(?im)^\W*(?:ran 0 tests in|no tests ran\b|collected 0 items|no tests found|(?:#|ℹ)\s*tests 0\s*$|(?:#|ℹ)\s*pass 0\s*$)"
)
_UNITTEST = re.compile(r"(?m)^Ran (\d+) tests? in ")
_UNITTEST_END = re.compile(r"(?m)^(?:OK|FAILED)(?: \((.*)\))?\s*$")
_PYTEST = re.compile(r"(\d+) (passed|failed|errors?|skipped|deselected|xfailed|xpassed)\b")
_SKIPPED = re.compile(r"(skipped|expected failures)=(\d+)")
_JEST = re.compile(r"(?m)^\s*Tests:?\s+(.*\btotal|.*\))\s*$")
_CARGO = re.compile(r"(?m)^test result: ok\. (\d+) passed")


def judge_command(ran: Ran) -> tuple[str, str]:
    """`(outcome of a check, why)`. Pure."""
    if ran.outcome in ("not_found", "not_started"):
        return "unverified", ran.detail
    if ran.outcome == "timeout":
        return "fail", ran.detail
    if ran.signal is not None:
        return "fail", f"ended by signal {ran.signal}"
    if ran.exit:
        notes = {
            5: " (pytest: no tests were collected)" if "pytest" in ran.command else "",
            127: " (a program was not found)",
        }
        return "fail", f"exit {ran.exit}{notes.get(ran.exit, '')}"
    if found := _NOTHING_RAN.search(ran.tail):
        return "unverified", f"exit 0, but it says {found.group(0).strip()!r}: nothing was tested"
    doubt = _find_doubt(ran.command, ran.tail)
    return ("unverified", f"exit 0, but {doubt}") if doubt else ("pass", "")


def _find_doubt(command: str, text: str) -> str:
    """Why exit 0 of a known test program proves nothing: it says nothing of what it ran, or left all of it out."""
    words = command.split()
    if "unittest" in words:
        return _doubt_unittest(text)
    if any(word.rpartition("/")[2] in ("pytest", "py.test") for word in words):
        return _doubt_pytest(text)
    if words[:2] == ["go", "test"] and "[no test files]" in text and not re.search(r"(?m)^ok\s", text):
        return "no package has test files"
    if words[:2] == ["cargo", "test"] and _CARGO.search(text) and not any(int(count) for count in _CARGO.findall(text)):
        return "no test passed"
    if (found := _JEST.search(text)) is not None and "passed" not in found[1]:
        return "no test passed"
    return ""


def _doubt_unittest(text: str) -> str:
    found = _UNITTEST.findall(text)
    if not found:
        return "it never says how many tests ran"
    ends = _UNITTEST_END.findall(text)
    if not ends:
        return "it never says that the tests are OK"
    left_out = sum(int(count) for _kind, count in _SKIPPED.findall(ends[-1]))
    return "every test was skipped" if left_out >= int(found[-1]) else ""


def _doubt_pytest(text: str) -> str:
    counts = {word: int(count) for count, word in _PYTEST.findall(text)}
    if counts.get("passed"):
        return ""
    if counts:
        return "no test passed"
    return "" if "[100%]" in text else "it never says how many tests ran"


def check_tests(ran: Sequence[Ran], asked: int, why_not: str = "") -> Check:
    """One check over all commands. `asked` of them were given; `why_not` says why they were not run. Pure."""
    if not asked:
        return Check("tests", "unverified", None, None, "no test_commands were given", "blocked", required=False)
    if why_not:
        return Check("tests", "unverified", {"commands": asked, "run": 0}, None, why_not, "blocked")
    judged = [(entry, *judge_command(entry)) for entry in ran]
    counts = {word: sum(outcome == word for _entry, outcome, _why in judged) for word in ("pass", "fail", "unverified")}
    measured = {"commands": asked, **{word: count for word, count in counts.items() if count}}
    bad = next((row for row in judged if row[1] == "fail"), None) or next(
        (row for row in judged if row[1] != "pass"), None
    )
    if bad is None:
        return Check("tests", "pass", measured)
    entry, outcome, why = bad
    said = f": {line(entry.tail[-300:], 300)}" if entry.tail else ""
    outcome = "fail" if counts["fail"] else "unverified"
    missing = entry.outcome in ("not_found", "not_started") and not counts["fail"]
    return Check("tests", outcome, measured, None, f"{line(entry.command, 120)}: {why}{said}", fixable=not missing)


def check_sandbox(cell: Cell, why_not: str) -> list[Check]:
    """What held the commands, where the run was held. Pure."""
    if why_not:
        return [
            Check(
                "sandbox",
                "unverified",
                cell.to_json(),
                None,
                f"no command was run: {why_not}",
                "blocked",
                fixable=False,
            )
        ]
    if cell.confines:
        return [Check("sandbox", "pass", cell.to_json())]
    if cell.run == cell.level:
        return []
    text = f"the rule file says sandbox: none, so the commands ran outside the {cell.run} that the run had"
    return [Check("sandbox", "unverified", cell.to_json(), None, text, "local", required=False)]
