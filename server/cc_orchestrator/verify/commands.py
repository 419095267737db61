"""A user's test commands: text to argv, never a shell; what their ends mean. `host.command` runs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.redact import mask
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command, Ran
from cc_orchestrator.verify.check import Check

MAX_COMMANDS = 20
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
#: What test programs print when they ended well and ran nothing.
_NOTHING_RAN = re.compile(
    r"(?im)^\W*(?:ran 0 tests in|no tests ran\b|collected 0 items|no tests found|(?:#|ℹ)\s*tests 0\s*$)"
)


def parse_commands(texts: Sequence[str]) -> list[Command]:
    """Split each into argv. InvalidRequest for what only a shell would understand."""
    return [_parse(text) for text in texts]


def _parse(text: str) -> Command:
    shown = line(mask(text.encode("utf-8", "replace"))[0].decode("utf-8", "replace"), 400)
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidRequest(f"test command {shown!a} cannot be split: {error}", hint="balance its quotes") from None
    if not argv or not argv[0] or "\0" in text:
        raise InvalidRequest("a test command is empty or holds a NUL", hint='test_commands=["pytest -q"]')
    if found := next((word for word in argv if word in _SHELL_WORDS), None):
        raise InvalidRequest(
            f"test command {shown!a} holds {found!r}, but no shell reads it",
            hint="one string for each command, or spell the shell out: bash -c '…'",
        )
    if _ASSIGNMENT.match(argv[0]):
        raise InvalidRequest(f"test command {shown!a} begins with an assignment", hint=f"env {shown}")
    return Command(shown, argv)


def is_repeatable(command: Command) -> bool:
    """Whether what is shown says all: nothing masked, cut or respaced. Pure."""
    try:
        return tuple(shlex.split(command.shown)) == command.argv
    except ValueError:
        return False


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
    return "pass", ""


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
