"""Source that knows the inputs of its tests: answers looked up or branched to, instead of worked out. Pure.

A function is told only when every tested call of it is answered so: a base case or a guard beside real work is none.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core.text import line
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.inlining import inline, learn
from cc_orchestrator.verify.pyfunctions import last_part
from cc_orchestrator.verify.rules import Rules

_SHOWN = 5
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
#: Inputs and answers that any function may single out.
_PLAIN = (0, 1, -1, "", None, True, False, 0.0)
_PLAIN_WEB = frozenset({"0", "1", "''", '""', "null", "true", "false"})
_JS_CALL = re.compile(
    r"expect\(\s*(?:\w+\.)?(\w+)\(([^()]*)\)\s*\)\s*\.(?:toBe|toEqual|toStrictEqual)\(\s*([^()]+?)\s*\)"
)
_SINGLES_OUT = re.compile(rb"={2,3}\s*[\"'`\d]")
_WEB = frozenset({"js", "jsx", "ts", "tsx", "mjs", "cjs"})


Function = ast.FunctionDef | ast.AsyncFunctionDef


class Suspects(NamedTuple):
    """Functions of one file that may know their inputs, and the file's tables of constants by name."""

    functions: list[Function]
    tables: dict[str, dict[Any, Any]]


class Tried(NamedTuple):
    """One tested call: plain arguments, plain expected answer."""

    args: tuple[Any, ...]
    wanted: Any


def check_memorised(evidence: Evidence, rules: Rules) -> Check:
    """Changed source against all tests of the result that are read."""
    texts = {path: pair.after for path, pair in evidence.contents.texts.items() if pair.after is not None}
    sources = {
        path: text
        for path, text in texts.items()
        if not rules.is_test(path) and evidence.contents.texts[path].before != text
    }
    python = {
        path: suspects for path, text in sources.items() if path.endswith(".py") and (suspects := _find_suspects(text))
    }
    web = {
        path: braces.decode(text)
        for path, text in sources.items()
        if braces.extension_of(path) in _WEB and _SINGLES_OUT.search(text)
    }
    names = {node.name.encode() for suspects in python.values() for node in suspects.functions}
    tried: dict[str, list[Tried]] = defaultdict(list)
    called: dict[str, list[tuple[list[str], str]]] = defaultdict(list)
    for path, text in {**evidence.contents.around, **texts}.items():
        if not rules.is_test(path):
            continue
        if path.endswith(".py") and any(name in text for name in names):
            _collect(text, {name.decode() for name in names}, tried)
        elif web and braces.extension_of(path) in _WEB:
            for name, args, wanted in _JS_CALL.findall(braces.decode(text)):
                called[name].append(([arg.strip() for arg in args.split(",") if arg.strip()], wanted))
    bad = [f"{line(path, 80)}: {why}" for path, suspects in python.items() for why in _find_python(suspects, tried)]
    bad += [f"{line(path, 80)}: {why}" for path, text in web.items() for why in _find_web(text, called)]
    return Check("memorised", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]), "proxy")


def _find_suspects(text: bytes) -> Suspects | None:
    """Functions that branch to literals or use a table of them; None when there are none."""
    try:
        module = ast.parse(text)
    except _UNREADABLE:
        return None
    tables = _tables(module)
    functions = [
        node
        for node in ast.walk(module)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _may_know(node, tables)
    ]
    return Suspects(functions, tables) if functions else None


def _may_know(node: Function, tables: dict[str, dict[Any, Any]]) -> bool:
    return any(
        isinstance(part, (ast.IfExp, ast.match_case, ast.Dict))
        or (isinstance(part, ast.Name) and part.id in tables)
        or (
            isinstance(part, ast.If)
            and any(isinstance(item, ast.Return) and item.value is not None for item in part.body)
        )
        for part in ast.walk(node)
    )


def _collect(text: bytes, names: set[str], tried: dict[str, list[Tried]]) -> None:
    try:
        module = ast.parse(text)
    except _UNREADABLE:
        return
    for function in ast.walk(module):
        if not isinstance(function, Function) or not any(
            last_part(part) in names for part in ast.walk(function) if isinstance(part, ast.Call)
        ):
            continue
        known: dict[str, ast.expr] = {}
        for node in function.body:
            for pair in _compared(node, known):
                _note(pair, tried)
            learn(node, known)


def _compared(node: ast.stmt, known: dict[str, ast.expr]) -> Iterator[tuple[ast.expr, ast.expr]]:
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and len(part.ops) == 1 and isinstance(part.ops[0], (ast.Eq, ast.Is)):
            yield inline(part.left, known), inline(part.comparators[0], known)
        elif isinstance(part, ast.Call) and last_part(part).startswith("assert") and len(part.args) >= 2:
            yield inline(part.args[0], known), inline(part.args[1], known)


def _note(pair: tuple[ast.expr, ast.expr], tried: dict[str, list[Tried]]) -> None:
    for call, wanted in (pair, pair[::-1]):
        if isinstance(call, ast.Call) and not call.keywords:
            try:
                args = tuple(ast.literal_eval(arg) for arg in call.args)
                answer = ast.literal_eval(wanted)
            except (ValueError, TypeError, SyntaxError):
                continue
            if args:
                tried[last_part(call)].append(Tried(args, answer))


def _find_python(suspects: Suspects, tried: dict[str, list[Tried]]) -> Iterator[str]:
    for node in suspects.functions:
        calls = tried.get(node.name)
        if not calls:
            continue
        if all(_branches_to(node, call) for call in calls) and any(_telling(call) for call in calls):
            yield f"{node.name} knows the {len(calls)} inputs that its tests try"
        elif _looks_up(node, calls, suspects.tables):
            yield f"{node.name} looks up the {len(calls)} inputs that its tests try"


def _telling(call: Tried) -> bool:
    """More than one argument, or one that nobody singles out by chance."""
    return len(call.args) > 1 or any(arg not in _PLAIN for arg in call.args)


def _branches_to(node: Function, call: Tried) -> bool:
    """A branch whose condition names every argument, and which returns the expected answer."""
    for part in ast.walk(node):
        if isinstance(part, ast.If):
            test, answers = part.test, [item.value for item in part.body if isinstance(item, ast.Return)]
        elif isinstance(part, ast.IfExp):
            test, answers = part.test, [part.body]
        elif isinstance(part, ast.match_case):
            test, answers = part.pattern, [item.value for item in part.body if isinstance(item, ast.Return)]
        else:
            continue
        named = [value for inner in ast.walk(test) for value in _constants(inner)]
        if all(any(_same(arg, value) for value in named) for arg in call.args) and any(
            _is_value(answer, call.wanted) for answer in answers
        ):
            return True
    return False


def _constants(node: ast.AST) -> Iterator[Any]:
    if isinstance(node, ast.Constant):
        yield node.value
    elif isinstance(node, (ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp)):
        try:
            yield ast.literal_eval(node)
        except (ValueError, TypeError):
            return


def _same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


def _is_value(node: ast.expr | None, wanted: Any) -> bool:
    if node is None:
        return False
    try:
        return bool(ast.literal_eval(node) == wanted)
    except (ValueError, TypeError, SyntaxError):
        return False


def _tables(module: ast.Module) -> dict[str, dict[Any, Any]]:
    """Dictionaries of constants by the names they are given; "" holds those without a name."""
    found: dict[str, dict[Any, Any]] = {}
    for node in ast.walk(module):
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        if (
            isinstance(target, ast.Name)
            and isinstance(node, (ast.Assign, ast.AnnAssign))
            and isinstance(node.value, ast.Dict)
        ):
            table = _read_table(node.value)
            if table:
                found[target.id] = table
    return found


def _read_table(node: ast.Dict) -> dict[Any, Any]:
    try:
        return dict(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError):
        return {}


def _looks_up(node: Function, calls: Sequence[Tried], tables: dict[str, dict[Any, Any]]) -> bool:
    """A table that holds every tested input and little else, with the expected answers."""
    used = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    near = [table for name, table in tables.items() if name in used]
    near += [table for part in ast.walk(node) if isinstance(part, ast.Dict) and (table := _read_table(part))]
    for table in near:
        keys = [call.args[0] if len(call.args) == 1 else call.args for call in calls]
        try:
            hit = all(key in table and table[key] == call.wanted for key, call in zip(keys, calls, strict=True))
        except TypeError:
            continue
        numbers = all(isinstance(value, (int, float, tuple)) for pair in table.items() for value in pair)
        if hit and set(table) <= set(keys) and (len(table) == 1 or numbers):
            return True
    return False


def _find_web(source: str, web: dict[str, list[tuple[list[str], str]]]) -> Iterator[str]:
    plain = braces.blank(source, texts=False)
    for name, calls in web.items():
        if not re.search(rf"\b{re.escape(name)}\b", plain):
            continue
        known = [
            all(re.search(rf"={{2,3}}\s*{re.escape(arg)}(?![\w.])", plain) for arg in args)
            and re.search(rf"(?:return|\?|:|=>)\s*{re.escape(wanted)}\s*[;:)}}\n]", plain) is not None
            for args, wanted in calls if args
        ]  # fmt: skip
        telling = any(not set(args) <= _PLAIN_WEB for args, _wanted in calls)
        if known and all(known) and telling:
            yield f"{name} knows the {len(known)} inputs that its tests try"
