"""What a Python test file tests, read by its syntax tree: cases, their assertions and how strong these are, skips. Pure.

Only what would run counts: nothing after an unconditional end, below a constant false, or in a `try` or `suppress` that swallows it.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cc_orchestrator.verify.inlining import inline, learn
from cc_orchestrator.verify.skips import block_skips, call_skips, decorator_skips, last_name, live_statements

Function = ast.FunctionDef | ast.AsyncFunctionDef
#: Strengths: an exact comparison, a looser one, mere truth; 0 proves nothing.
EXACT, LOOSE, TRUTH, NOTHING = 3, 2, 1, 0
_EXACT_CALLS = frozenset({
    "assertEqual", "assertEquals", "assertIs", "assertRaises", "assertRaisesRegex", "assertListEqual", "assertDictEqual", "assertSetEqual",
    "assertTupleEqual", "assertCountEqual", "assertSequenceEqual", "assertMultiLineEqual", "assertAlmostEqual", "assert_equal",
    "assert_array_equal", "assert_allclose", "assert_frame_equal", "assert_called_once_with", "assert_called_with", "assert_has_calls",
    "assertWarns", "assertLogs", "raises", "warns", "assert_raises",
})  # fmt: skip
_TRUTH_CALLS = frozenset(
    {"assertTrue", "assertIsNotNone", "assertIsInstance", "assertNotEqual", "assert_", "assertIsNot", "assert_called"}
)
#: Calls that keep little of what they are given; and what is equal to anything.
_LOSSY = frozenset({"len", "abs", "bool", "type", "any", "all", "hasattr", "callable", "isinstance", "round"})
_ANYTHING = frozenset({"ANY", "Anything", "IsAnything", "anything"})
_SWALLOWS = frozenset({"Exception", "BaseException", "AssertionError"})


class Assertion(NamedTuple):
    """`text` is its normal form; `constants` what it compares with; `names` what it calls or reads."""

    text: str
    strength: int
    constants: frozenset[str]
    names: frozenset[str]


class Case(NamedTuple):
    """One collected test. `cases` counts its parameter sets; `body` is the normal form of what it does.

    `patched` are names that it replaces by something else while it runs.
    """

    name: str
    assertions: tuple[Assertion, ...]
    skips: tuple[str, ...]
    cases: int
    constants: frozenset[str]
    names: frozenset[str]
    body: str
    patched: frozenset[str]


def is_collected(path: str) -> bool:
    """Whether pytest or unittest would look into a file of this name."""
    name = os.path.basename(path)
    stem = name[:-3]
    return name.endswith(".py") and (stem.startswith("test") or stem.endswith(("_test", "_tests")))


def read_cases(text: bytes) -> dict[str, Case]:
    """Its cases by name. Raises SyntaxError, ValueError, RecursionError for what is no Python."""
    module = ast.parse(text)
    found: dict[str, Case] = {}
    shared = block_skips(module.body, toplevel=True)
    helpers = _find_helpers(module)
    for node in live_statements(module.body):
        if isinstance(node, Function) and node.name.startswith("test"):
            found[node.name] = _case(node.name, node, shared, helpers, frozenset())
        elif isinstance(node, ast.ClassDef) and _holds_tests(node):
            skips = [*shared, *decorator_skips(node.decorator_list), *block_skips(node.body, toplevel=False)]
            for name in [name for name in found if name.startswith(f"{node.name}.")]:
                del found[name]
            patched = _find_patched([item for item in node.body if not _is_test(item)], node.decorator_list)
            for item in node.body:
                if isinstance(item, Function) and item.name.startswith("test"):
                    name = f"{node.name}.{item.name}"
                    found[name] = _case(name, item, skips, helpers, patched)
    return found


def defined_names(text: bytes) -> set[str]:
    """Functions, classes, methods and module variables that a Python file defines. Raises as `read_cases`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _holds_tests(node: ast.ClassDef) -> bool:
    return node.name.startswith("Test") or any(last_name(base) not in ("object", "") for base in node.bases)


def _is_test(node: ast.stmt) -> bool:
    return isinstance(node, Function) and node.name.startswith("test")


def _find_helpers(module: ast.Module) -> dict[str, int]:
    """Functions of a test file that assert for its tests: `{name: the strongest of their assertions}`."""
    found: dict[str, int] = {}
    for node in ast.walk(module):
        if isinstance(node, Function) and not node.name.startswith("test"):
            strength = max((entry.strength for entry in _assertions(node.body, {}, {})), default=NOTHING)
            if strength:
                found[node.name] = strength
    return found


def _find_patched(body: Sequence[ast.stmt], decorators: Sequence[ast.expr]) -> frozenset[str]:
    """Last parts of names that mocks or assignments to attributes replace."""
    found: set[str] = set()
    for node in [item for part in (*body, *decorators) for item in ast.walk(part)]:
        if isinstance(node, ast.Call) and last_name(node) in ("patch", "object", "setattr", "multiple"):
            values = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            found |= {value.rpartition(".")[2] for value in values if isinstance(value, str)}
        elif isinstance(node, ast.Assign):
            found |= {
                target.attr
                for target in node.targets
                if isinstance(target, ast.Attribute) and last_name(target.value) != "self"
            }
    return frozenset(found)


def _case(name: str, node: Function, skips: Sequence[str], helpers: Mapping[str, int], patched: frozenset[str]) -> Case:
    own = [*skips, *decorator_skips(node.decorator_list), *call_skips(node.body)]
    inside = [item for part in (*node.body, *node.decorator_list) for item in ast.walk(part)]
    body = "\n".join(ast.dump(part) for part in node.body)
    plain = not _never_runs(node)
    own += [] if plain else ["never runs"]
    return Case(
        name, tuple(_assertions(node.body, helpers, {}) if plain else ()), tuple(sorted(own)), _count_parameters(node.decorator_list, node.body),
        frozenset(_constants(inside)), frozenset(_names(inside)), body, patched | _find_patched(node.body, node.decorator_list),
    )  # fmt: skip


def _never_runs(node: Function) -> bool:
    """A generator: whoever calls it runs nothing of it."""
    return any(isinstance(part, (ast.Yield, ast.YieldFrom)) for item in node.body for part in walk_own(item))


def walk_own(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what it holds, without the bodies of functions inside."""
    yield node
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.GeneratorExp)):
            yield from walk_own(inner)


def _constants(nodes: Sequence[ast.AST]) -> set[str]:
    return {repr(node.value) for node in nodes if isinstance(node, ast.Constant)}


def _names(nodes: Sequence[ast.AST]) -> set[str]:
    found = {node.id for node in nodes if isinstance(node, ast.Name)}
    found |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.name for alias in node.names}
    return found


def _count_parameters(decorators: Sequence[ast.expr], body: Sequence[ast.stmt]) -> int:
    count = 1
    for node in decorators:
        if isinstance(node, ast.Call) and last_name(node) in ("parametrize", "expand") and node.args:
            values = node.args[-1]
            if isinstance(values, (ast.List, ast.Tuple, ast.Set)):
                count *= len(values.elts)
    for node in body:
        if isinstance(node, ast.For) and isinstance(node.iter, (ast.List, ast.Tuple)):
            count *= len(node.iter.elts)
    return count


def _assertions(
    body: Sequence[ast.stmt], helpers: Mapping[str, int], known: dict[str, ast.expr]
) -> Iterator[Assertion]:
    """`known` holds what names stand for, where that is plain."""
    for node in body:
        if isinstance(node, ast.Assert):
            yield _assertion(node, judge_expression(inline(node.test, known)))
        elif isinstance(node, ast.Expr):
            strength = _judge_statement(node, helpers, known)
            if strength is not None:
                yield _assertion(node, strength)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            yield from _with_assertions(node, helpers, known)
        else:
            # What stands under a condition need not run.
            most = TRUTH if isinstance(node, ast.If) and not isinstance(node.test, ast.Constant) else EXACT
            for block in _inner_blocks(node):
                for entry in _assertions(block, helpers, known):
                    yield entry._replace(strength=min(entry.strength, most))
        if _ends(node):
            return
        learn(node, known)


def _judge_statement(node: ast.Expr, helpers: Mapping[str, int], known: dict[str, ast.expr]) -> int | None:
    call = node.value.value if isinstance(node.value, ast.Await) else node.value
    given = inline(call, known)
    return (_judge_call(given) if isinstance(given, ast.Call) else None) or helpers.get(last_name(call))


def _inner_blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a compound statement that run, and whose failures reach the runner."""
    if isinstance(node, ast.If):
        yield list(live_statements([node]))
    elif isinstance(node, (ast.For, ast.AsyncFor)):
        if not (isinstance(node.iter, (ast.List, ast.Tuple)) and not node.iter.elts):
            yield node.body
    elif isinstance(node, ast.While):
        if not (isinstance(node.test, ast.Constant) and not node.test.value):
            yield node.body
    elif isinstance(node, ast.Try):
        if not any(_swallows(handler) for handler in node.handlers):
            yield node.body
        yield node.orelse
        yield node.finalbody


def _with_assertions(
    node: ast.With | ast.AsyncWith, helpers: Mapping[str, int], known: dict[str, ast.expr]
) -> Iterator[Assertion]:
    for item in node.items:
        call = item.context_expr
        if isinstance(call, ast.Call):
            if last_name(call) == "suppress" and any(last_name(arg) in _SWALLOWS for arg in call.args):
                return
            strength = _judge_call(call)
            if strength is not None:
                broad = bool(call.args) and last_name(call.args[0]) in ("Exception", "BaseException")
                yield _assertion(node, TRUTH if broad else strength)
    yield from _assertions(node.body, helpers, known)


def _ends(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Return, ast.Raise)):
        return True
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and last_name(node.value) in ("skip", "skipTest", "xfail", "_exit", "exit")
    )


def _swallows(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    broad = any(kind is None or last_name(kind) in _SWALLOWS for kind in kinds)
    return broad and not any(
        isinstance(node, (ast.Raise, ast.Assert)) or _is_fail(node) for part in handler.body for node in ast.walk(part)
    )


def _is_fail(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and (last_name(node) == "fail" or _judge_call(node) is not None)


def _assertion(node: ast.stmt, strength: int) -> Assertion:
    inside = list(ast.walk(node))
    return Assertion(ast.dump(node), strength, frozenset(_constants(inside)), frozenset(_names(inside)))


def judge_expression(node: ast.expr) -> int:
    """How much a true expression proves."""
    if isinstance(node, ast.BoolOp):
        parts = [judge_expression(value) for value in node.values]
        if isinstance(node.op, ast.And):
            return max(parts)
        return (
            NOTHING
            if any(isinstance(value, ast.Constant) and value.value for value in node.values)
            else min(min(parts), LOOSE)
        )
    if isinstance(node, ast.UnaryOp):
        return NOTHING if isinstance(node.operand, ast.Constant) else min(judge_expression(node.operand), LOOSE)
    if isinstance(node, ast.Compare):
        return _judge_compare(node)
    if isinstance(node, (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Lambda, ast.JoinedStr)):
        return NOTHING
    return TRUTH


def _judge_compare(node: ast.Compare) -> int:
    sides = [node.left, *node.comparators]
    if all(isinstance(side, ast.Constant) for side in sides) or len({ast.dump(side) for side in sides}) < len(sides):
        return NOTHING
    op = node.ops[0]
    if any(last_name(side) in _ANYTHING for side in sides):
        return NOTHING
    if isinstance(op, (ast.Eq, ast.Is)):
        return LOOSE if any(_is_vague(side) for side in sides) else EXACT
    if (
        isinstance(op, ast.GtE)
        and last_name(node.left) == "len"
        and isinstance(sides[1], ast.Constant)
        and sides[1].value == 0
    ):
        return NOTHING
    return TRUTH if isinstance(op, (ast.NotEq, ast.IsNot)) else LOOSE


def _is_vague(node: ast.expr) -> bool:
    """Whether a side of a comparison keeps little of what it is about."""
    if isinstance(node, ast.BinOp):
        return _is_vague(node.left) or _is_vague(node.right)
    return isinstance(node, ast.Call) and (
        _is_wide(node) or (isinstance(node.func, ast.Name) and node.func.id in _LOSSY)
    )


def _judge_call(node: ast.Call) -> int | None:
    """None for a call that is no assertion."""
    name = last_name(node)
    if not (name.startswith("assert") or name in ("raises", "warns", "fail")):
        return None
    args = node.args
    if name in ("assertTrue", "assertFalse", "assert_") and args:
        return judge_expression(args[0])
    if name not in ("assertRaises", "assertRaisesRegex", "raises") and _says_nothing(args):
        return NOTHING
    if args and isinstance(args[0], ast.Constant) and len(args) == 1 and name != "fail":
        return NOTHING
    if any(last_name(arg) in _ANYTHING for arg in args[:2]):
        return NOTHING
    if _is_wide(node) or (name not in ("assertRaises", "raises") and any(_is_vague(arg) for arg in args[:2])):
        return LOOSE
    return EXACT if name in _EXACT_CALLS else TRUTH if name in _TRUTH_CALLS else LOOSE


def _is_wide(node: ast.Call) -> bool:
    """Whether a comparison of numbers allows so much that it is no exact one."""
    for keyword in node.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if not isinstance(value, (int, float)):
            continue
        if (keyword.arg == "places" and value < 3) or (
            keyword.arg in ("delta", "abs", "rel", "atol", "rtol", "rel_tol", "abs_tol") and value > 0.01
        ):
            return True
    return False


def _says_nothing(args: Sequence[ast.expr]) -> bool:
    if len(args) < 2:
        return False
    return all(isinstance(arg, ast.Constant) for arg in args[:2]) or ast.dump(args[0]) == ast.dump(args[1])


def strongest(node: ast.FunctionDef) -> int:
    """The strength of the strongest assertion of a function."""
    return max((entry.strength for entry in _assertions(node.body, {}, {})), default=NOTHING)
