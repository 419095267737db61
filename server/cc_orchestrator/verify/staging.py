"""What a change sets up so that tests pass whatever the source does: stand-ins for what they test, helpers that no longer compare. Pure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.pyfunctions import last_part
from cc_orchestrator.verify.pytests import Case, is_collected, read_cases, strongest
from cc_orchestrator.verify.rules import Rules

_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
_HELPER = re.compile(r"^_?(?:assert|check|expect|verify|ensure|should|compare|must)")
_JS_MOCK = re.compile(rb"(?:jest|vi)\.(?:mock|doMock)\(\s*['\"](\.{1,2}/[^'\"]+)['\"]")
_DESELECTS = re.compile(rb"\bnot\s+(\w+)")
_WEB = (".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs")


def find_staged(evidence: Evidence, rules: Rules) -> Iterator[str]:
    """One text for each."""
    modules = _project_modules(evidence, rules)
    left_out = _left_out(evidence)
    for path, pair in evidence.contents.texts.items():
        if pair.after is None or pair.before == pair.after:
            continue
        shown = line(path, 80)
        if path.endswith(".py"):
            try:
                yield from (f"{shown}: {why}" for why in _find_python(path, pair, modules, rules))
                if left_out and is_collected(path) and pair.before is not None:
                    yield from (f"{shown}: {why}" for why in _find_marked(pair, left_out))
            except _UNREADABLE:
                continue
        elif path.endswith(_WEB) and rules.is_test(path):
            yield from (f"{shown}: {why}" for why in _find_web(path, pair))


def _project_modules(evidence: Evidence, rules: Rules) -> frozenset[str]:
    """Names under which tests import the project's own source."""
    found: set[str] = set()
    for path in evidence.contents.tree:
        if path.endswith(".py") and not rules.is_test(path):
            parts = path[:-3].split("/")
            found |= {part for part in (*parts[:-1], parts[-1]) if part not in ("__init__", "src", "lib")}
    return frozenset(found)


def _find_python(path: str, pair: Pair, modules: frozenset[str], rules: Rules) -> Iterator[str]:
    before = ast.parse(pair.before) if pair.before is not None else ast.Module([], [])
    after = ast.parse(pair.after or b"")
    if rules.is_test(path) or path.rpartition("/")[2] in ("conftest.py", "sitecustomize.py"):
        had = set(_stand_ins(before, modules))
        yield from sorted(set(_stand_ins(after, modules)) - had)
    if is_collected(path) and pair.before is not None:
        lost = (_imported(before) - _imported(after)) & modules
        # A test that tests something else of the project now has moved on with its subject.
        if (
            lost
            and not (_imported(after) - _imported(before)) & modules
            and _cases(pair.before).keys() & _cases(pair.after).keys()
        ):
            yield f"no longer imports {min(lost)}, and its tests are still there"
    else:
        yield from _weaker_helpers(before, after)
    yield from _never_awaited(before, after)


def _left_out(evidence: Evidence) -> frozenset[str]:
    """Marks that the project's test settings leave out."""
    after = {path: pair.after for path, pair in evidence.contents.texts.items() if pair.after is not None}
    settings = {
        path: text
        for path, text in {**evidence.contents.around, **after}.items()
        if path.endswith((".ini", ".cfg", ".toml"))
    }
    return frozenset(mark.decode("ascii", "replace") for text in settings.values() for mark in _DESELECTS.findall(text))


def _find_marked(pair: Pair, left_out: frozenset[str]) -> Iterator[str]:
    """Tests that were there and have such a mark now."""
    before, after = _marks(pair.before or b"", left_out), _marks(pair.after or b"", left_out)
    yield from (
        f"{name} is left out by the mark {min(marks - before[name])}"
        for name, marks in after.items()
        if marks - before.get(name, marks)
    )


def _marks(text: bytes, left_out: frozenset[str]) -> dict[str, set[str]]:
    module = ast.parse(text)
    shared = {last_part(part) for node in module.body if isinstance(node, ast.Assign) and last_part(node.targets[0]) == "pytestmark"
              for part in ast.walk(node.value)}  # fmt: skip
    found: dict[str, set[str]] = {}
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name.lower().startswith(
            "test"
        ):
            found[node.name] = ({last_part(mark) for mark in node.decorator_list} | shared) & left_out
    return found


def _cases(text: bytes | None) -> dict[str, Case]:
    return read_cases(text) if text is not None else {}


def _imported(module: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            found |= {part for part in (node.module or "").split(".") if part} | {alias.name for alias in node.names}
    return found


def _stand_ins(module: ast.Module, modules: frozenset[str]) -> Iterator[str]:
    """Attributes of the project's modules that are replaced for good, and modules that are put in place of them."""
    names = _bound(module, modules)
    for node in _live_for_all(module):
        for target in node.targets:
            if isinstance(target, ast.Subscript) and last_part(target.value) == "modules":
                key = target.slice.value if isinstance(target.slice, ast.Constant) else None
                if isinstance(key, str) and key.split(".")[-1] in modules:
                    yield f"puts something in place of the module {key}"
            elif (
                isinstance(target, ast.Attribute)
                and isinstance(target.value, ast.Name)
                and target.value.id in names
                and (isinstance(node.value, (ast.Lambda, ast.Call)) or _is_local_function(node.value, module))
            ):
                yield f"replaces {target.value.id}.{target.attr}"


def _bound(module: ast.Module, modules: frozenset[str]) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            own = isinstance(node, ast.ImportFrom) and any(part in modules for part in (node.module or "").split("."))
            found |= {
                alias.asname or alias.name.split(".")[0]
                for alias in node.names
                if own or alias.name.split(".")[0] in modules
            }
    return found


def _live_for_all(module: ast.Module) -> Iterator[ast.Assign]:
    """Assignments that hold for more than one test: of the module, and of set-up functions."""
    for node in module.body:
        if isinstance(node, ast.Assign):
            yield node
        elif isinstance(node, (ast.If, ast.Try)):
            yield from (inner for inner in node.body if isinstance(inner, ast.Assign))
        elif isinstance(node, ast.FunctionDef) and node.name in (
            "setUpModule",
            "setup_module",
            "pytest_configure",
            "pytest_sessionstart",
        ):
            yield from (inner for inner in ast.walk(node) if isinstance(inner, ast.Assign))


def _is_local_function(node: ast.expr, module: ast.Module) -> bool:
    return isinstance(node, ast.Name) and any(
        isinstance(item, (ast.FunctionDef, ast.ClassDef)) and item.name == node.id for item in module.body
    )


def _weaker_helpers(before: ast.Module, after: ast.Module) -> Iterator[str]:
    """Functions that compare for tests, by their names."""
    now = {node.name: strongest(node) for node in ast.walk(after) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(before):
        if (
            isinstance(node, ast.FunctionDef)
            and _HELPER.match(node.name)
            and node.name in now
            and now[node.name] < strongest(node)
        ):
            yield f"{node.name} compares less than before"


def _never_awaited(before: ast.Module, after: ast.Module) -> Iterator[str]:
    """Coroutines in a class of unittest that awaits none."""
    had = set(_coroutines(before))
    yield from (
        f"{name} is never awaited: its class is a plain TestCase" for name in _coroutines(after) if name not in had
    )


def _coroutines(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef) and any(last_part(base) == "TestCase" for base in node.bases):
            yield from (
                f"{node.name}.{item.name}"
                for item in node.body
                if isinstance(item, ast.AsyncFunctionDef) and item.name.startswith("test")
            )


def _find_web(path: str, pair: Pair) -> Iterator[str]:
    """A test file that mocks the very module it is named after."""
    stem = path.rpartition("/")[2].split(".", 1)[0]
    had = set(_JS_MOCK.findall(pair.before or b""))
    for name in sorted(set(_JS_MOCK.findall(pair.after or b"")) - had):
        mocked = name.decode("utf-8", "replace").rpartition("/")[2].split(".", 1)[0]
        if mocked == stem:
            yield f"replaces what it tests: {line(mocked, 40)}"
