"""New tests that test nothing: no assertion, only constants, only their own mocks, all left out, or where nothing collects them. Pure."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.linetests import find_idle, language_of
from cc_orchestrator.verify.pyfunctions import last_part
from cc_orchestrator.verify.pytests import NOTHING, Case, is_collected, read_cases
from cc_orchestrator.verify.rules import Rules

_SHOWN = 5
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_MOCKS = frozenset({"mock", "Mock", "MagicMock", "AsyncMock", "patch", "unittest", "pytest", "create_autospec"})
_TEST_FUNCTION = re.compile(rb"^(?:async )?def test_\w+\(.*\n(?:[ \t]+.*\n|\n)*?[ \t]+assert\b", re.MULTILINE)


def check_idle_tests(evidence: Evidence, rules: Rules) -> Check:
    """Tests that are new with this change; what older ones lost is told by `test_integrity`."""
    bad: list[str] = []
    for change in evidence.changes:
        pair = evidence.contents.texts.get(change.path, Pair(None, None))
        if pair.after is None or pair.before == pair.after:
            continue
        if change.path.endswith(".py"):
            bad += _find_python(change.path, pair, change.status, rules)
        elif rules.is_test(change.path) and language_of(change.path) is not None:
            had = set(find_idle(change.path, pair.before)) if pair.before is not None else set[str]()
            bad += [
                f"{line(change.path, 80)}: {line(title, 60)} asserts nothing"
                for title in find_idle(change.path, pair.after)
                if title not in had
            ]
    return Check("idle_tests", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]))


def _find_python(path: str, pair: Pair, status: str, rules: Rules) -> Iterator[str]:
    shown, after = line(path, 80), pair.after or b""
    if not is_collected(path):
        if status == "A" and not path.endswith("conftest.py") and _TEST_FUNCTION.search(after):
            yield f"{shown} holds tests, and nothing collects a file of that name"
        return
    try:
        cases = read_cases(after)
        known = read_cases(pair.before) if pair.before is not None else {}
        module = ast.parse(after)
    except _UNREADABLE:
        return
    if status == "A" and not module.body and b"#" in after:
        yield f"{shown} holds comments only"
    fresh = {name: case for name, case in cases.items() if name not in known}
    if not fresh:
        return
    if all(case.skips for case in fresh.values()):
        yield f"{shown}: every new test is left out ({', '.join(sorted({skip for case in fresh.values() for skip in case.skips})[:3])})"
        return
    own, local = _own_names(module), _defined(module)
    idle = {name: why for name, case in fresh.items() if (why := _judge(case, own, local))}
    # A test that only calls, beside others that assert, shows that nothing is raised.
    if len(idle) == len(fresh) or any(why == "is empty" for why in idle.values()):
        yield from (f"{shown}: {line(name, 60)} {why}" for name, why in idle.items())


def _judge(case: Case, own: frozenset[str], local: frozenset[str]) -> str:
    if case.body in ("", "Pass()") or case.body.startswith("Expr(value=Constant(value=Ellipsis"):
        return "is empty"
    if not any(entry.strength > NOTHING for entry in case.assertions):
        return "" if case.names & local else "asserts nothing"
    if not case.names & own and not case.names & local and not case.patched:
        return "touches nothing of the project"
    return ""


def _own_names(module: ast.Module) -> frozenset[str]:
    """Names bound by imports that are neither the standard library's nor a mock's; `self` and arguments may hold anything."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {
                (alias.asname or alias.name).split(".")[0] for alias in node.names
                if alias.name.split(".")[0] not in sys.stdlib_module_names and alias.name.split(".")[0] not in _MOCKS
            }  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            root = (node.module or "").split(".")[0]
            if node.level or (root not in sys.stdlib_module_names and root not in _MOCKS):
                found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and node.id in (
            "subprocess",
            "importlib",
            "runpy",
            "open",
            "Path",
            "urllib",
            "__import__",
            "exec",
            "eval",
            "os",
        ):
            found.add(node.id)
    return frozenset(found)


def _defined(module: ast.Module) -> frozenset[str]:
    """What the file itself defines, takes or keeps: helpers, fixtures, attributes of `self`."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not node.name.startswith("test"):
                found.add(node.name)
            found |= {arg.arg for arg in (*node.args.args, *node.args.kwonlyargs) if arg.arg not in ("self", "cls")}
        elif isinstance(node, ast.Assign):
            found |= {
                target.attr
                for target in node.targets
                if isinstance(target, ast.Attribute) and last_part(target.value) in ("self", "cls")
            }
    found |= {
        target.id
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(found)
