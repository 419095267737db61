"""Do the tests still test what they tested? Base and result compared, test by test for Python, by counts for others. Pure.

A test may go when what it tested went, and may be renamed, split or put into parameters as long as its names and constants live on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.diff import Change
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.linetests import Tested, language_of, read_tested
from cc_orchestrator.verify.pytests import EXACT, Assertion, Case, defined_names, is_collected, read_cases
from cc_orchestrator.verify.rules import Rules
from cc_orchestrator.verify.staging import find_staged

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_SHOWN = 6
#: Tests in languages that nothing here reads: only that they are there is known.
_TEST_PROGRAMS = (".sh", ".bats", ".t", ".feature", ".robot", ".exs", ".dart", ".swift", ".c", ".cc", ".cpp")
_COMPARES = re.compile(
    rb"={1,2}(?=\s)|-(?:eq|ne|lt|gt|le)\b|!=|\b(?:diff|cmp|grep|assert_\w+|is_deeply|is|ok|like)\b|^\s*(?:Then|And|But)\b|(?<=[^=!<>])==",
    re.M,
)
_EXCUSES = re.compile(rb"\|\|\s*(?:true|:)|^\s*(?:exit|return) 0|set \+e|\bskip\b", re.M)
_WORD = re.compile(rb"[A-Za-z_]\w*")
_DEFINED = re.compile(
    rb"\b(?:function|const|let|var|class|func|fn|def|interface|struct)\s+(?:\([^)\n]*\)\s*)?([A-Za-z_]\w*)"
)


class Side(NamedTuple):
    """All cases of the changed Python test files on one side, by `path::name`."""

    cases: dict[str, Case]
    broken: tuple[str, ...]


def check_integrity(evidence: Evidence, rules: Rules) -> list[Check]:
    """`test_integrity`, and `expectations` where expected values changed together with the source."""
    changes = [
        change
        for change in evidence.changes
        if any(_is_test(path, rules) for path in change.paths) or _holds_tests(change, evidence)
    ]
    staged = list(find_staged(evidence, rules))
    if not changes and not staged:
        return [Check("test_integrity", "pass", {"test_files": 0})]
    unread = sorted(path for path in evidence.contents.unread if _is_test(path, rules))
    if unread:
        return [
            Check("test_integrity", "unverified", None, None, f"too big to be read: {line(unread[0], 100)}", "blocked")
        ]
    gone = _find_gone(evidence, rules)
    found = [*_compare_python(changes, evidence, gone), *_compare_others(changes, evidence, gone, rules), *staged]
    retuned = list(_find_retuned(changes, evidence))
    sources = [change for change in evidence.changes if not _is_test(change.path, rules) and _is_source(change.path)]
    measured = {"test_files": len(changes), "problems": len(found)}
    out: list[Check] = []
    if retuned and not sources:
        found += [f"{place}: what it expects was changed, and no source was" for place in retuned]
        measured["problems"] = len(found)
    elif retuned:
        text = f"expected values changed: {'; '.join(line(place, 100) for place in retuned[:_SHOWN])}"
        out.append(Check("expectations", "unverified", len(retuned), None, text, "proxy", required=False))
    if found:
        text = "; ".join(line(entry, 160) for entry in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return [Check("test_integrity", "fail", measured, {"problems": 0}, f"{text}{more}"), *out]
    return [Check("test_integrity", "pass", measured), *out]


def _holds_tests(change: Change, evidence: Evidence) -> bool:
    """Rust keeps tests beside what they test; scenarios are tests wherever they stand."""
    pair = evidence.contents.texts.get(change.path)
    return change.path.endswith((".feature", ".bats")) or (
        change.path.endswith(".rs") and pair is not None and b"#[test]" in (pair.before or b"")
    )


def _is_test(path: str, rules: Rules) -> bool:
    return rules.is_test(path)


def _is_source(path: str) -> bool:
    return (
        path.endswith((".py", ".pyi", ".sh", ".c", ".h", ".cpp", ".sql", ".json", ".toml", ".yaml", ".yml"))
        or language_of(path) is not None
    )


def _pairs(changes: Sequence[Change], evidence: Evidence) -> Iterator[tuple[Change, Pair]]:
    for change in changes:
        yield change, evidence.contents.texts.get(change.path, Pair(None, None))


def _find_gone(evidence: Evidence, rules: Rules) -> frozenset[str]:
    """Names that the source no longer defines: what tested them may go with them."""
    before: set[str] = set()
    after: set[str] = set()
    for change, pair in _pairs(evidence.changes, evidence):
        if change.path.endswith(".rs"):
            # Rust keeps its tests at the end of what they test.
            pair = Pair(*(None if text is None else text.split(b"#[cfg(", 1)[0] for text in pair))
        if any(_is_test(path, rules) for path in change.paths) or not change.path.endswith(".py"):
            if language_of(change.path) and not any(_is_test(path, rules) for path in change.paths):
                before |= {name.decode("utf-8", "replace") for name in _DEFINED.findall(pair.before or b"")}
                after |= {name.decode("utf-8", "replace") for name in _DEFINED.findall(pair.after or b"")}
                if change.status == "D":
                    before.add(_stem(change.path))
            continue
        try:
            before |= defined_names(pair.before) if pair.before is not None else set()
            after |= defined_names(pair.after) if pair.after is not None else set()
        except _UNREADABLE:
            continue
        if change.status == "D" or change.old_path:
            before.add(_stem(change.old_path or change.path))
    return frozenset(before - after)


def _stem(path: str) -> str:
    return path.rpartition("/")[2].split(".", 1)[0]


def _read_side(changes: Sequence[Change], evidence: Evidence, *, after: bool) -> Side:
    cases: dict[str, Case] = {}
    broken: list[str] = []
    for change, pair in _pairs(changes, evidence):
        path = change.path if after else change.old_path or change.path
        text = pair.after if after else pair.before
        if text is None or not is_collected(path):
            continue
        try:
            cases.update({f"{change.path}::{name}": case for name, case in read_cases(text).items()})
        except _UNREADABLE:
            broken.append(path)
    return Side(cases, tuple(broken))


def _compare_python(changes: Sequence[Change], evidence: Evidence, gone: frozenset[str]) -> Iterator[str]:
    before, after = _read_side(changes, evidence, after=False), _read_side(changes, evidence, after=True)
    for path in after.broken:
        if path not in before.broken:
            yield f"{path} is no Python any more"
    fresh = [case for place, case in after.cases.items() if place not in before.cases]
    for place, case in before.cases.items():
        now = after.cases.get(place)
        if now is not None:
            yield from (f"{place}: {why}" for why in _find_weaker(case, now, fresh))
        elif not _lives_on(case, [*fresh, *after.cases.values()]) and not (case.names & gone):
            yield f"{place} is gone or no longer collected"


def _lives_on(case: Case, others: Sequence[Case]) -> bool:
    """Whether another test does what this one did: the same body, or its assertions' constants on the same names."""
    if not case.assertions:
        return any(other.body == case.body for other in others)
    for other in others:
        if other.skips and not case.skips:
            continue
        if other.body == case.body:
            return True
        tested = {name for entry in case.assertions for name in entry.names if not name.startswith(("assert", "self"))}
        wanted = {constant for entry in case.assertions for constant in entry.constants}
        strong = any(entry.strength >= max(part.strength for part in case.assertions) for entry in other.assertions)
        if strong and tested & other.names and wanted <= other.constants:
            return True
    return False


def _find_weaker(before: Case, now: Case, fresh: Sequence[Case]) -> Iterator[str]:
    added = Counter(now.skips) - Counter(before.skips)
    if added:
        yield f"left out by {', '.join(sorted(added))}"
    tested = {name for entry in before.assertions for name in _tested(entry)}
    if replaced := (now.patched - before.patched) & tested:
        yield f"what it tests is replaced: {min(replaced)}"
    if now.cases < before.cases and not before.constants <= now.constants:
        yield f"{before.cases} sets of parameters, now {now.cases}"
    lost = list((Counter(before.assertions) - Counter(now.assertions)).elements())
    for strength in (EXACT, 2, 1):
        had = sum(entry.strength >= strength for entry in before.assertions)
        has = sum(entry.strength >= strength for entry in now.assertions)
        if has < had and any(entry.strength >= strength and not _kept(entry, [now, *fresh]) for entry in lost):
            kinds = {EXACT: "exact assertions", 2: "assertions that compare", 1: "assertions"}
            yield f"{had} {kinds[strength]}, now {has}"
            return


def _kept(entry: Assertion, cases: Sequence[Case]) -> bool:
    """Whether an assertion's constants are still compared with what it called, as strongly."""
    for case in cases:
        strong = [other for other in case.assertions if other.strength >= entry.strength]
        if (
            strong
            and entry.constants <= case.constants
            and _tested(entry) <= case.names
            and (entry.constants or len(strong) >= 1)
        ):
            return bool(entry.constants) or any(_tested(entry) & other.names for other in strong)
    return False


def _tested(entry: Assertion) -> frozenset[str]:
    return frozenset(name for name in entry.names if not name.startswith("assert") and name != "self")


def _find_retuned(changes: Sequence[Change], evidence: Evidence) -> Iterator[str]:
    """Tests that are still there and compare with other constants than before, which no test compares with any more."""
    before, after = _read_side(changes, evidence, after=False), _read_side(changes, evidence, after=True)
    fresh = [case for place, case in after.cases.items() if place not in before.cases]
    for place, case in before.cases.items():
        now = after.cases.get(place)
        if now is None or now.body == case.body:
            continue
        lost = [entry for entry in case.assertions if entry not in now.assertions and entry.strength == EXACT]
        if any(entry.constants - now.constants and not _kept(entry, [now, *fresh]) for entry in lost):
            yield place


def _compare_others(changes: Sequence[Change], evidence: Evidence, gone: frozenset[str], rules: Rules) -> Iterator[str]:
    """By language: titles, assertions and skips of all changed test files together."""
    totals: dict[str, tuple[list[Tested], list[Tested]]] = {}
    for change, pair in _pairs(changes, evidence):
        language = language_of(change.path)
        if language is None:
            if change.path.endswith(_TEST_PROGRAMS) and not _belongs_to(change.path, gone):
                yield from _compare_programs(change, pair)
            continue
        if (change.status == "D" and _belongs_to(change.path, gone)) or _lost_with(pair, gone):
            continue
        sides = totals.setdefault(language, ([], []))
        if pair.before is not None:
            sides[0].append(read_tested(change.old_path or change.path, pair.before))
        if pair.after is not None:
            sides[1].append(read_tested(change.path, pair.after))
    retuned = not any(not _is_test(change.path, rules) and _is_source(change.path) for change in evidence.changes)
    for language, (before, after) in totals.items():
        yield from _compare_counts(language, before, after)
        if retuned and (lost := _lost_literals(before, after)):
            yield f"{language}: what is expected was changed ({line(lost, 40)}), and no source was"


def _lost_literals(before: Sequence[Tested], after: Sequence[Tested]) -> str:
    had, has = (sum((side.literals for side in sides), Counter[str]()) for sides in (before, after))
    return min((had - has).elements(), default="")


def _compare_programs(change: Change, pair: Pair) -> Iterator[str]:
    """Tests that are programs or scenarios: what they compare, by count."""
    if change.status == "D":
        yield f"{change.path} is gone"
        return
    if pair.before is None or pair.after is None:
        return
    had, has = len(_COMPARES.findall(pair.before)), len(_COMPARES.findall(pair.after))
    if has < had:
        yield f"{change.path}: {had} comparisons, now {has}"
    elif len(_EXCUSES.findall(pair.after)) > len(_EXCUSES.findall(pair.before)):
        yield f"{change.path}: failures are excused"


def _lost_with(pair: Pair, gone: frozenset[str]) -> bool:
    """Whether a test file no longer names something that the source no longer defines."""
    before, after = set(_WORD.findall(pair.before or b"")), set(_WORD.findall(pair.after or b""))
    return any(name.encode("utf-8", "replace") in before - after for name in gone)


def _belongs_to(path: str, gone: frozenset[str]) -> bool:
    stem = _stem(path).removeprefix("test_").removesuffix("_test").removesuffix("_spec").removesuffix("Test")
    return stem in gone


def _compare_counts(language: str, before: Sequence[Tested], after: Sequence[Tested]) -> Iterator[str]:
    had, has = (
        sum((side.titles for side in before), Counter[str]()),
        sum((side.titles for side in after), Counter[str]()),
    )
    if has.total() < had.total():
        lost = list((had - has).elements())
        yield f"{language}: {had.total()} tests, now {has.total()}: {lost[0] if lost else ''} is gone"
    asserted, asserts = sum(side.assertions for side in before), sum(side.assertions for side in after)
    if asserts < asserted:
        yield f"{language}: {asserted} assertions, now {asserts}"
    skipped, skips = sum(side.skips for side in before), sum(side.skips for side in after)
    if skips > skipped and before:
        yield f"{language}: marks that leave tests out: {skipped}, now {skips}"
    compared, compares = sum(side.exact for side in before), sum(side.exact for side in after)
    if compares < compared:
        yield f"{language}: {compared} assertions that compare with a value, now {compares}"
    hidden, hides = sum(side.guards for side in before), sum(side.guards for side in after)
    if hides > hidden and before and asserts <= asserted:
        yield f"{language}: assertions stand behind conditions, catches or early ends: {hidden}, now {hides}"
