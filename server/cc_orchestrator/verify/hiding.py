"""What hides trouble instead of mending it: checkers told to look away, errors swallowed in silence, code that can no longer run. Pure.

Only what this change adds counts. A single line that is excused by a named rule is the project's own business.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.rules import Rules
from cc_orchestrator.verify.sizes import language_of

_SHOWN = 5
_WHOLE_FILE = re.compile(
    rb"^\s*#\s*(?:type:\s*ignore|mypy:\s*ignore-errors|(?:flake8|ruff):\s*noqa|pylint:\s*(?:disable=all|skip-file))\s*$"
    rb"|^\s*#\s*pyright:\s*(?:basic|ignore|off)\s*$|/\*\s*(?:eslint-disable|biome-ignore-all|jshint ignore:start)\s*\*/"
    rb"|^\s*//\s*@ts-nocheck|^\s*/\*\s*@ts-nocheck|^\s*#!\[allow\((?:warnings|clippy::all|dead_code)|//\s*nolint(?::\s*all)?\s*$"
    rb"|@SuppressWarnings\(\"all\"\)|swiftlint:disable all|phpcs:ignoreFile|rubocop:disable all|@phpstan-ignore-file"
)
_NOT_COVERED = re.compile(
    rb"pragma:\s*no\s*cover|(?:istanbul|c8|v8)\s+ignore|#\[coverage\(off\)\]|LCOV_EXCL|@codeCoverageIgnore|:nocov:|tarpaulin::skip"
    rb"|ExcludeFromCodeCoverage"
)
#: Lines that no test reaches by their nature.
_NEVER_COVERED = re.compile(
    rb"if __name__|TYPE_CHECKING|NotImplementedError|except (?:Import|ModuleNotFound)Error|\.\.\.\s*#|sys\.(?:platform|version_info)"
    rb"|os\.name|@overload|abstractmethod"
)
_EMPTY_CATCH = re.compile(r"\bcatch\s*(?:\([^)]*\))?\s*\{\s*\}")
_SILENT = (ast.Pass, ast.Continue, ast.Break, ast.Return)
_BROAD = ("Exception", "BaseException")


def check_suppressions(evidence: Evidence) -> Check:
    """Marks by which linters, type checkers and coverage leave whole files or new code out."""
    bad: list[str] = []
    for change in evidence.changes:
        if language_of(change.path) is None:
            continue
        before = evidence.contents.texts.get(change.path, Pair(None, None)).before or b""
        for number, row in change.lines:
            if _WHOLE_FILE.search(row) and row.strip() not in before:
                bad.append(f"{line(change.path, 80)}:{number} turns a checker off for the whole file")
            elif _NOT_COVERED.search(row) and not _NEVER_COVERED.search(row) and row.strip() not in before:
                bad.append(f"{line(change.path, 80)}:{number} leaves new code out of coverage")
    return Check("suppressions", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]))


def check_swallowed(evidence: Evidence, rules: Rules) -> Check:
    """New handlers of every error that say nothing; working code that became a comment or stands below a constant false."""
    bad: list[str] = []
    for path, pair in evidence.contents.texts.items():
        if pair.after is None or rules.is_test(path) or pair.before == pair.after:
            continue
        shown = line(path, 80)
        extension = braces.extension_of(path)
        if extension == "py":
            bad += [f"{shown}: {why}" for why in _find_python(pair)]
        elif extension in braces.EXTENSIONS:
            had, has = (len(_EMPTY_CATCH.findall(braces.blank(braces.decode(text)))) for text in pair)
            bad += [f"{shown}: an empty catch swallows every error"] if has > had else []
        bad += [f"{shown}: {why}" for why in _find_commented(pair, extension)]
    return Check("swallowed", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]), "proxy")


def _find_python(pair: Pair) -> Iterator[str]:
    try:
        had = _silences(pair.before) if pair.before is not None else Counter[str]()
        has = _silences(pair.after or b"")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for kind, count in (has - had).items():
        if count:
            yield kind


def _silences(text: bytes) -> Counter[str]:
    found: Counter[str] = Counter()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ExceptHandler) and _is_broad(node) and _is_silent(node.body):
            found["a handler swallows every error in silence"] += 1
        elif isinstance(node, (ast.If, ast.While)) and isinstance(node.test, ast.Constant) and not node.test.value:
            found["code stands below a constant false"] += 1
        elif isinstance(node, (ast.With, ast.AsyncWith)) and any(_suppresses(item.context_expr) for item in node.items):
            found["suppress() swallows every error in silence"] += 1
    return found


def _is_broad(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or (isinstance(kind, ast.Name) and kind.id in _BROAD) for kind in kinds)


def _is_silent(body: list[ast.stmt]) -> bool:
    """Neither raises nor calls nor keeps anything of the error."""
    return all(
        (isinstance(node, _SILENT) and not any(isinstance(part, (ast.Call, ast.Name)) for part in ast.walk(node)))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in body
    )


def _suppresses(node: ast.expr) -> bool:
    if not (isinstance(node, ast.Call) and node.args):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name == "suppress" and any(isinstance(arg, ast.Name) and arg.id in _BROAD for arg in node.args)


def _find_commented(pair: Pair, extension: str) -> Iterator[str]:
    """Statements that are gone and stand in comments now."""
    mark = "#" if extension in ("py", "rb", "sh", "bash") else "//" if extension in braces.EXTENSIONS else ""
    if not mark or pair.before is None:
        return
    before, after = (Counter(row.strip() for row in braces.decode(text).split("\n")) for text in pair)
    gone = {row for row in before - after if len(row) > 8 and not row.startswith(mark)}
    comments = {row.lstrip(mark).strip() for row in after - before if row.startswith(mark)}
    if len(gone & comments) >= 2 or (len(gone) == 1 and gone & comments):
        yield f"working code became a comment: {line(min(gone & comments), 60)}"
