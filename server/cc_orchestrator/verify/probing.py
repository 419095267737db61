"""Source that acts on its tests: asks whether one is looking, rewrites assertions, ends the run early, goes off on a date. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.constants import fold_text
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.pyfunctions import last_part
from cc_orchestrator.verify.rules import Rules
from cc_orchestrator.verify.sizes import language_of

_SHOWN = 5
_PROBES = re.compile(
    rb"PYTEST_CURRENT_TEST|PYTEST_XDIST_WORKER|[\"'](?:pytest|unittest|_pytest)[\"']\s+(?:not\s+)?in\s+sys\.modules|sys\.modules\.get\([\"'](?:pytest|unittest)"
    rb"|(?:pytest|unittest|test)[\w\"' ]{0,20}\s+in\s+sys\.argv|process\.env\.(?:JEST_WORKER_ID|VITEST)\b|inspect\.stack\(\)[^\n]*test"
    rb"|process\.env\.NODE_ENV\s*={2,3}\s*[\"']test[\"']|typeof\s+(?:jest|describe|it|vi)\s*!?==|testing\.Testing\(\)|flag\.Lookup\(\"test\.|cfg!\(test\)"
    rb"|__main__\.__file__|getattr\(__main__"
)
#: What rewrites the assertions themselves, in source or tests.
_REWRITES = re.compile(
    rb"TestCase\.(?:assert\w+|run|fail\w*)\s*=|setattr\((?:unittest\.)?TestCase|builtins\.(?:AssertionError|assert)|__builtins__\["
    rb"|(?:global|globalThis)\.expect\s*=|expect\.extend\(\{\s*to(?:Be|Equal|Match)\b|jest\.spyOn\(expect|assert\.\w+\s*=\s*(?:\(|function)"
)
#: What ends a test run before its end, in tests.
_ENDS = re.compile(
    rb"\bos\._exit\(|^(?:sys\.exit|exit|quit)\(|^raise SystemExit|os\.kill\(os\.getpid\(\)|^\s*process\.exit\(0?\)|^\s*os\.Exit\(0\)"
)
_LEAVES = re.compile(
    rb"\batexit\.register\([^\n]*_exit|^os\._exit\(0?\)|process\.on\(['\"]exit['\"][^\n]*exitCode\s*=\s*0"
)
_FRAMES = re.compile(
    r"\b(?:inspect\.(?:stack|currentframe)|sys\._getframe|traceback\.(?:extract|format)_stack|gc\.get_objects|gc\.get_referrers)\b"
)
_TEST_WORD = re.compile(r"^_?tests?(?:_|$)|pytest|unittest|TestCase|\btest_", re.IGNORECASE)
_TEST_FILE = re.compile(
    r"(?:^|/)(?:test_[\w*]*\.(?:py|\*)|[\w*]+_test\.(?:py|go)|conftest\.py)$|(?:^|/)tests?/(?:golden|expected|fixtures|snapshots|data)/|__snapshots__/"
)
_CLOCK = frozenset({"now", "today", "utcnow", "time", "time_ns", "gmtime", "localtime"})
_DATES = frozenset({"date", "datetime", "fromisoformat", "strptime", "fromtimestamp"})
_JS_DATE = re.compile(r"(?:Date\.now\(\)|new Date\(\))\s*[<>]=?\s*(?:new Date\(['\"\d]|Date\.parse|\d{10,})")
_MODULE = re.compile(r"^(?:tests?|conftest|test_\w+|\w+_test)(?:\.|$)")


def check_probing(evidence: Evidence, rules: Rules) -> Check:
    """Added lines by their words, Python also by its syntax tree."""
    bad = list(_find_probes(evidence, rules))
    text = f"acts on the test run itself: {', '.join(dict.fromkeys(bad[:_SHOWN]))}" if bad else ""
    return Check("test_probing", "fail" if bad else "pass", len(bad), 0, text, "proxy")


def _find_probes(evidence: Evidence, rules: Rules) -> Iterator[str]:
    for change in evidence.changes:
        if language_of(change.path) is None:
            continue
        shown, test = line(change.path, 80), rules.is_test(change.path)
        for number, row in change.lines:
            if _REWRITES.search(row) or (_ENDS if test else _PROBES).search(row) or (not test and _LEAVES.search(row)):
                yield f"{shown}:{number}"
        if not test:
            pair = evidence.contents.texts.get(change.path, Pair(None, None))
            yield from (f"{shown} ({why})" for why in _find_acts(change.path, pair))


def _find_acts(path: str, pair: Pair) -> Iterator[str]:
    if pair.after is None:
        return
    if braces.extension_of(path) != "py":
        if _JS_DATE.search(braces.decode(pair.after)) and not _JS_DATE.search(braces.decode(pair.before)):
            yield "goes off on a date"
        return
    try:
        before = set(_acts(pair.before)) if pair.before is not None else set[str]()
        yield from sorted(set(_acts(pair.after)) - before)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return


def _acts(text: bytes) -> Iterator[str]:
    module = ast.parse(text)
    texts = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    if _FRAMES.search(text.decode("utf-8", "replace")) and any(_TEST_WORD.search(value) for value in texts):
        yield "looks at who calls it"
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name == "__eq__" and _equals_all(node):
            yield "equal to everything"
        elif isinstance(node, ast.Compare) and _is_date_bomb(node):
            yield "goes off on a date"
        elif isinstance(node, (ast.Import, ast.ImportFrom)) and _imports_tests(node):
            yield "imports its tests"
        elif isinstance(node, (ast.BinOp, ast.Call, ast.JoinedStr)):
            folded = fold_text(node)
            if (
                folded is not None
                and re.search(r"pytest|unittest|TestCase|PYTEST_", folded)
                and not isinstance(node, ast.Constant)
            ):
                yield "hides the name of a test runner"
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and _TEST_FILE.search(node.value)
            and len(node.value) < 200
        ):
            yield "reads what its tests hold"


def _equals_all(node: ast.FunctionDef) -> bool:
    """Returns True alone, or changes itself while it compares."""
    body = [item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
    if (
        len(body) == 1
        and isinstance(body[0], ast.Return)
        and isinstance(body[0].value, ast.Constant)
        and body[0].value.value is True
    ):
        return True
    return any(
        isinstance(part, (ast.Assign, ast.AugAssign))
        and any(isinstance(target, ast.Attribute) for target in (part.targets if isinstance(part, ast.Assign) else [part.target]))
        for item in body for part in ast.walk(item)
    )  # fmt: skip


def _is_date_bomb(node: ast.Compare) -> bool:
    """The clock compared with a date that is written out."""
    sides = [node.left, *node.comparators]
    if not any(isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for op in node.ops):
        return False
    clock = any(isinstance(side, ast.Call) and last_part(side) in _CLOCK and not side.args for side in sides)
    fixed = any(
        (
            isinstance(side, ast.Call)
            and last_part(side) in _DATES
            and side.args
            and all(isinstance(arg, ast.Constant) for arg in side.args)
        )
        or (isinstance(side, ast.Constant) and isinstance(side.value, (int, float)) and side.value > 1_500_000_000)
        for side in sides
    )
    return clock and fixed


def _imports_tests(node: ast.Import | ast.ImportFrom) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return any(_MODULE.match(name) for name in names)
