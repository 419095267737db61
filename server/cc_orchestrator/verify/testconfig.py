"""What the configuration of test runners leaves out, before and after a change. Pure; a setting that was there before is not judged."""

from __future__ import annotations

import ast
import configparser
import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, cast

from cc_orchestrator.core.late import load
from cc_orchestrator.policy.globs import matches, matches_any
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.pytests import is_collected

_OPTIONS = ("-k", "-m", "--deselect", "--ignore", "--ignore-glob", "--collect-only", "--co", "--lf", "--last-failed", "--sw", "--stepwise",
            "--maxfail", "--exitfirst", "-x", "--noconftest", "--confcutdir", "--cov-fail-under", "--setup-plan", "--setup-only")  # fmt: skip
_HOOKS = frozenset({
    "collect_ignore", "collect_ignore_glob", "pytest_ignore_collect", "pytest_collection_modifyitems", "pytest_itemcollected",
    "pytest_collect_file", "pytest_pycollect_makeitem", "pytest_deselected", "pytest_runtest_protocol", "pytest_runtest_call",
    "pytest_runtest_makereport", "pytest_pyfunc_call", "pytest_sessionfinish", "pytest_runtest_setup", "pytest_exception_interact",
    "pytest_report_teststatus", "load_tests", "pytest_runtestloop", "pytest_cmdline_main", "pytest_collection", "pytest_make_collect_report",
})  # fmt: skip
_JS_KEYS = (
    "testPathIgnorePatterns", "testMatch", "testRegex", "testNamePattern", "passWithNoTests", "modulePathIgnorePatterns", "exclude", "bail",
    "coverageThreshold", "testIgnore", "grep", "grepInvert", "allowOnly", "dangerouslyIgnoreUnhandledErrors", "roots",
)  # fmt: skip
_JS_FILES = (
    "jest.config.*",
    "vitest.config.*",
    "vite.config.*",
    "playwright.config.*",
    ".mocharc*",
    "karma.conf.*",
    "cypress.config.*",
)


def find_loosened(path: str, pair: Pair, tests: Sequence[str]) -> Iterator[str]:
    """What a changed file leaves out of the test run since this change. `tests` are the test files of the result."""
    name = path.rpartition("/")[2]
    if pair.after is None:
        return
    if name == "conftest.py" or name == "noxfile.py" or (name == "__init__.py" and "test" in path):
        yield from _hooks(pair)
    elif name in ("pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", ".coveragerc"):
        before, after = read_settings(name, pair.before), read_settings(name, pair.after)
        yield from _settings(before, after, tests)
    elif name == "package.json":
        yield from _package(pair)
    elif matches_any(name, _JS_FILES):
        yield from _lines(pair)


def _hooks(pair: Pair) -> Iterator[str]:
    before, after = _hook_texts(pair.before), _hook_texts(pair.after)
    for name, text in after.items():
        if before.get(name) != text:
            yield f"{name} decides which tests run or how they count"


def _hook_texts(text: bytes | None) -> dict[str, str]:
    if text is None:
        return {}
    try:
        nodes = ast.walk(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, str] = {}
    for node in nodes:
        names: list[str] = []
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        elif (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("_exit", "exit")
        ):
            names = ["exit"]
        for name in names:
            if name in _HOOKS or name == "exit":
                found[name] = found.get(name, "") + ast.dump(node)
    return found


def read_settings(name: str, text: bytes | None) -> dict[str, dict[str, str]]:
    """`{pytest: {key: value}, coverage: {…}}` of one file; empty for what cannot be read."""
    if text is None:
        return {}
    source = text.decode("utf-8", "replace")
    try:
        if name.endswith(".toml"):
            return _read_toml(source)
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(source)
    # What tomlkit cannot parse is a ValueError too.
    except (configparser.Error, ValueError, RecursionError):
        return {"unreadable": {"file": "yes"}}
    found: dict[str, dict[str, str]] = {"pytest": {}, "coverage": {}}
    for section in parser.sections():
        values = dict(parser.items(section))
        if section in ("pytest", "tool:pytest"):
            found["pytest"].update(values)
        elif section.removeprefix("coverage:") in ("run", "report"):
            found["coverage"].update(values)
        elif section.startswith("testenv"):
            found.setdefault("tox", {}).update(
                {f"{section}.{key}": value for key, value in values.items() if key in ("commands", "commands_pre")}
            )
    return found


def _read_toml(source: str) -> dict[str, dict[str, str]]:
    raw: dict[str, Any] = load("tomlkit").parse(source).unwrap()
    tool = cast("dict[str, Any]", raw.get("tool") or {})
    pytest = cast("dict[str, Any]", cast("dict[str, Any]", tool.get("pytest") or {}).get("ini_options") or {})
    coverage = cast("dict[str, Any]", tool.get("coverage") or {})
    merged = {
        **cast("dict[str, Any]", coverage.get("run") or {}),
        **cast("dict[str, Any]", coverage.get("report") or {}),
    }
    return {
        "pytest": {key: _flat(value) for key, value in pytest.items()},
        "coverage": {key: _flat(value) for key, value in merged.items()},
    }


def _flat(value: Any) -> str:
    return "\n".join(str(item) for item in cast("list[Any]", value)) if isinstance(value, list) else str(value)


def _settings(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], tests: Sequence[str]
) -> Iterator[str]:
    if "unreadable" in after and "unreadable" not in before:
        yield "cannot be read any more"
    old, new = before.get("pytest", {}), after.get("pytest", {})
    for key, value in new.items():
        if old.get(key) != value:
            yield from _pytest_key(key, old.get(key, ""), value, tests)
    if old.get("xfail_strict", "").lower() == "true" and new.get("xfail_strict", "").lower() != "true":
        yield "xfail_strict is off now"
    if any(word in old.get("addopts", "") for word in ("--strict", "-W error")) and "addopts" not in new:
        yield "addopts is gone"
    yield from _coverage_keys(before.get("coverage", {}), after.get("coverage", {}))
    for key, value in after.get("tox", {}).items():
        if key in before.get("tox", {}) and before["tox"][key] != value:
            yield f"{key} was changed"


def _pytest_key(key: str, old: str, value: str, tests: Sequence[str]) -> Iterator[str]:
    python = [path for path in tests if is_collected(path)]
    if key == "addopts":
        added = [word for word in _words(value) if word.split("=", 1)[0] in _OPTIONS and word not in _words(old)]
        if added:
            yield f"addopts leaves tests out: {added[0][:40]}"
    elif key == "testpaths":
        roots = [f"/{word.removeprefix('./').strip('/')}" for word in value.split()]
        left = [path for path in python if "/." not in roots and not matches_any(path, roots)]
        if left:
            yield f"testpaths leaves out {left[0][:80]}"
    elif key == "norecursedirs":
        left = [
            path
            for path in python
            if any(matches(part, word) for word in value.split() for part in path.split("/")[:-1])
        ]
        if left:
            yield f"norecursedirs leaves out {left[0][:80]}"
    elif key == "python_files":
        left = [path for path in python if not matches_any(path, value.split())]
        if left:
            yield f"python_files leaves out {left[0][:80]}"
    elif key in ("python_functions", "python_classes") and "test" not in value.lower().split():
        yield f"{key} is {value[:40]}"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _coverage_keys(old: dict[str, str], new: dict[str, str]) -> Iterator[str]:
    for key in ("omit", "exclude_lines", "exclude_also"):
        added = set(new.get(key, "").split("\n")) - set(old.get(key, "").split("\n")) - {""}
        if added and old:
            yield f"coverage.{key} leaves out {min(added)[:60]}"
    if "fail_under" in old:
        try:
            lowered = float(new.get("fail_under", "0")) < float(old["fail_under"])
        except ValueError:
            lowered = True
        if lowered:
            yield "coverage.fail_under was lowered"


def read_scripts(text: bytes | None) -> dict[str, Any]:
    """The scripts of a package.json; empty for what cannot be read."""
    return cast("dict[str, Any]", _package_part(text, "scripts") or {})


def _package_part(text: bytes | None, key: str) -> Any:
    try:
        raw: Any = json.loads(text) if text is not None else {}
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", raw).get(key) if isinstance(raw, dict) else {}


def _package(pair: Pair) -> Iterator[str]:
    before, after = read_scripts(pair.before), read_scripts(pair.after)
    for name, value in before.items():
        if (name == "test" or name.startswith(("test:", "pretest", "posttest"))) and after.get(name) != value:
            yield f"the script {name} was changed"
    for key in ("jest", "mocha", "vitest", "ava", "nyc", "c8"):
        old, new = _keys(_package_part(pair.before, key)), _keys(_package_part(pair.after, key))
        for word in _JS_KEYS:
            if new.get(word) != old.get(word):
                yield f"{key}.{word} was changed"


def _keys(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _lines(pair: Pair) -> Iterator[str]:
    before = set((pair.before or b"").decode("utf-8", "replace").splitlines())
    for row in (pair.after or b"").decode("utf-8", "replace").splitlines():
        if row not in before and pair.before is not None:
            for word in _JS_KEYS:
                if word in row:
                    yield f"{word} was changed"
