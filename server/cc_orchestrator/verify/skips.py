"""What leaves a Python test out: marks, calls, early ends, whole modules; and which statements of a block can run at all. Pure."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SKIP_WORDS = frozenset({"skip", "skipif", "skipIf", "skipUnless", "xfail", "expectedFailure"})
_SKIP_CALLS = frozenset({"skip", "skipTest", "xfail", "importorskip"})


def last_name(node: ast.AST) -> str:
    """The last part of a name, an attribute or what is called; "" for anything else."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def live_statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a block that can run, those of constant branches and of `with` and `try` included."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Constant):
            yield from live_statements(node.body if node.test.value else node.orelse)
            continue
        if isinstance(node, ast.If):
            yield from live_statements(node.body)
            yield from live_statements(node.orelse)
            continue
        yield node


def decorator_skips(decorators: Sequence[ast.expr]) -> list[str]:
    """Marks that leave a test out."""
    found = [last_name(node) for node in decorators if last_name(node) in _SKIP_WORDS and not _runs_here(node)]
    for mark in decorators:
        # Single sets of parameters: `pytest.param(…, marks=pytest.mark.skip)`.
        for node in ast.walk(mark) if isinstance(mark, ast.Call) and last_name(mark) == "parametrize" else ():
            if isinstance(node, ast.keyword) and node.arg == "marks":
                found += [
                    name
                    for part in ast.walk(node.value)
                    if (name := last_name(part)) in _SKIP_WORDS and not isinstance(part, ast.Call)
                ]
    return found


def call_skips(body: Sequence[ast.stmt]) -> list[str]:
    """Statements that end a test before its end."""
    found: list[str] = []
    for node in live_statements(body):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and last_name(node.value) in _SKIP_CALLS:
            found.append(last_name(node.value))
        elif isinstance(node, ast.Raise) and node.exc is not None and last_name(node.exc) in ("SkipTest", "Skipped"):
            found.append("SkipTest")
        elif isinstance(node, ast.Return):
            found.append("return")
            break
    if found[-1:] == ["return"] and body and isinstance(body[-1], ast.Return):
        found.pop()
    return found


def block_skips(body: Sequence[ast.stmt], *, toplevel: bool) -> list[str]:
    """What skips all tests of a module or class."""
    found: list[str] = []
    for node in live_statements(body):
        if isinstance(node, ast.Assign) and any(last_name(target) == "pytestmark" for target in node.targets):
            marks = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
            found += decorator_skips(marks)
        elif isinstance(node, ast.Assign) and any(last_name(target) == "__test__" for target in node.targets):
            found += ["__test__"] if isinstance(node.value, ast.Constant) and not node.value.value else []
        elif isinstance(node, Function) and node.name in (
            "setUp",
            "setUpClass",
            "setUpModule",
            "asyncSetUp",
            "setup_method",
            "load_tests",
        ):
            found += ["load_tests"] if node.name == "load_tests" and toplevel else call_skips(node.body)
    return [*found, *call_skips(body)] if toplevel else found


def _runs_here(node: ast.expr) -> bool:
    """Whether a skip's condition plainly names a platform or version that is not this one."""
    if not (isinstance(node, ast.Call) and node.args and last_name(node) in ("skipif", "skipIf", "skipUnless")):
        return False
    verdict = _evaluate(node.args[0])
    return verdict is not None and verdict == (last_name(node) == "skipUnless")


def _evaluate(node: ast.expr) -> bool | None:
    """The truth of a plain question about platform or version, None for any other."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "startswith"
        and node.args
    ):
        known, value = _platform(node.func.value), node.args[0]
        if isinstance(known, str) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            return known.startswith(value.value)
        return None
    if not (isinstance(node, ast.Compare) and len(node.ops) == 1):
        return None
    known, other = _platform(node.left), node.comparators[0]
    if isinstance(known, str) and isinstance(other, ast.Constant) and isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
        return (known == other.value) == isinstance(node.ops[0], ast.Eq)
    if isinstance(known, tuple) and isinstance(other, ast.Tuple) and isinstance(node.ops[0], (ast.Lt, ast.GtE)):
        numbers = tuple(
            item.value for item in other.elts if isinstance(item, ast.Constant) and isinstance(item.value, int)
        )
        return (known < numbers) == isinstance(node.ops[0], ast.Lt)
    return None


def _platform(node: ast.expr) -> str | tuple[int, ...] | None:
    if not isinstance(node, ast.Attribute):
        return None
    owner = last_name(node.value)
    facts: dict[tuple[str, str], str | tuple[int, ...]] = {
        ("sys", "platform"): sys.platform, ("os", "name"): os.name, ("sys", "version_info"): tuple(sys.version_info[:3]),
    }  # fmt: skip
    return facts.get((owner, node.attr))
