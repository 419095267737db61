"""The project's own gates: scripts and targets that can no longer fail, checkers and thresholds that ask for less than before. Pure.

Unlike `test_gate` this is about files that the commands of this verification need not use: whoever runs the gate next is let down.
"""

from __future__ import annotations

import configparser
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from cc_orchestrator.core.late import load
from cc_orchestrator.core.text import line
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence

_SHOWN = 5
_SCRIPT = re.compile(
    r"(?:^|/)(?:[Mm]akefile|GNUmakefile|[Jj]ustfile|noxfile\.py|tox\.ini|Taskfile\.ya?ml|Rakefile|package\.json|tasks\.py)$"
)
_GATE = re.compile(r"(?:test|check|lint|verif|gate|ci\b|coverage|qa\b)", re.IGNORECASE)
_LETS_PASS = re.compile(
    r"\|\|\s*(?:true|:|exit 0|echo)\b|\|\|\s*:|;\s*true\s*$|^\s*exit\s+0\s*$|^\s*set\s+\+e|^\t-\S|--exit-zero|--no-fail|--passWithNoTests"
    r"|--if-present|continue-on-error:\s*true|allow_failure:\s*true|ignore_outcome\s*=\s*true|commands\s*=\s*-|success_codes|--warn-only|--no-error-on",
    re.IGNORECASE,
)
_RUNNERS = re.compile(
    r"\b(?:pytest|unittest|nosetests|jest|vitest|mocha|ava|go test|cargo (?:test|clippy)|go vet|mypy|pyright|ruff|eslint|flake8|pylint|tsc|"
    r"phpunit|rspec|mvn|gradle|dotnet test|ctest|bats|tox|nox|shellcheck|golangci-lint|biome|black --check|coverage|npm (?:run )?test|yarn test)\b"
)
#: Settings of checkers where more, or off, asks for less.
_LENIENT_WHEN_TRUE = re.compile(
    r"^(?:ignore_errors|allow_\w+|skipLibCheck|allowJs|suppress\w*|skip_\w+|noEmitOnError_off)$"
)
_STRICT = re.compile(
    r"^(?:strict\w*|disallow_\w+|check_untyped_defs|warn_\w+|no_implicit_\w+|no[A-Z]\w+|exactOptional\w+|alwaysStrict|useUnknown\w+|fail_on\w*|xfail_strict)$"
)
_LISTS_OUT = re.compile(
    r"^(?:ignore|extend-ignore|extend_ignore|exclude|extend-exclude|omit|disable|per-file-ignores|ignorePatterns|ignore-patterns|skip|exclude_lines|ignores)$"
)
_LISTS_IN = re.compile(r"^(?:select|extend-select|extend_select|enable|include|files|packages|source|plugins|extends)$")
_THRESHOLD = re.compile(
    r"^(?:target|fail_under|fail-under|min_coverage|minimum|threshold|branches|functions|lines|statements)$"
)
_CONFIG = re.compile(
    r"(?:^|/)(?:mypy\.ini|\.mypy\.ini|\.flake8|\.?ruff\.toml|\.?pylintrc|\.bandit|setup\.cfg|tox\.ini|pyproject\.toml|pyrightconfig\.json|tsconfig[\w.]*\.json|"
    r"\.eslintrc(?:\.json|\.ya?ml)?|biome\.json|\.?codecov\.ya?ml|\.golangci\.ya?ml|\.rubocop\.yml|phpstan\.neon|\.nycrc(?:\.json)?|clippy\.toml|\.stylelintrc(?:\.json)?)$"
)
_TOOLS = ("mypy", "flake8", "ruff", "pylint", "bandit", "pyright", "coverage", "interrogate", "black", "isort")


def check_gate_files(evidence: Evidence) -> Check:
    """Only files that were there before: a new gate takes nothing away."""
    bad: list[str] = []
    for path, pair in evidence.contents.texts.items():
        if pair.before is None or pair.before == pair.after:
            continue
        if _SCRIPT.search(path) or (
            _GATE.search(path) and braces.extension_of(path) in ("sh", "bash", "ps1", "cmd", "bat", "mk", "yml", "yaml")
        ):
            bad += [f"{line(path, 80)}: {why}" for why in _find_script(path, pair)]
        if _CONFIG.search(path):
            bad += [f"{line(path, 80)}: {why}" for why in _find_config(path, pair)]
    return Check("gate_files", "fail" if bad else "pass", len(bad), 0, "; ".join(dict.fromkeys(bad[:_SHOWN])))


def _find_script(path: str, pair: Pair) -> Iterator[str]:
    if pair.after is None:
        yield "the gate is gone"
        return
    before, after = (Counter(braces.decode(text).split("\n")) for text in pair)
    gate = ""
    many = bool(_SCRIPT.search(path))
    for row in braces.decode(pair.after).split("\n"):
        if re.match(r"^[A-Za-z@\[][^=]*:|^\s*def |^\s*\"[\w:-]+\":", row):
            gate = row
        judged = not many or bool(_GATE.search(gate)) or bool(_RUNNERS.search(row))
        if row in after - before and judged and _LETS_PASS.search(row):
            yield f"can no longer fail: {line(row.strip(), 60)}"
    if any(re.match(r"set -\w*e", row) for row in before) and not any(
        re.match(r"set -\w*e|set -o errexit", row) for row in after
    ):
        yield "`set -e` is gone"
    had, has = (Counter(_RUNNERS.findall(braces.decode(text))) for text in pair)
    lost = had - has
    if lost and has.total() < had.total():
        yield f"no longer runs {min(lost)}"


def _find_config(path: str, pair: Pair) -> Iterator[str]:
    if pair.after is None:
        yield "the configuration of a checker is gone"
        return
    before, after = read_flat(path, pair.before), read_flat(path, pair.after)
    if before is None or after is None:
        return
    for key in sorted(before.keys() | after.keys()):
        yield from _compare(key, before.get(key), after.get(key))


def _compare(key: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    section, _dot, name = key.rpartition(".")
    if section.endswith("rules"):
        if _weight(new) < _weight(old) and old is not None:
            yield f"rule {name} is weaker"
    elif _STRICT.match(name) and _truth(old) and not _truth(new):
        yield f"{name} is off"
    elif _LENIENT_WHEN_TRUE.match(name) and _truth(new) and not _truth(old):
        yield f"{name} is on"
    elif _LISTS_OUT.match(name) and (added := _words(new) - _words(old)):
        yield f"{name} leaves out {min(added)[:40]}"
    elif _LISTS_IN.match(name) and old is not None and (lost := _words(old) - _words(new)) and new is not None:
        yield f"{name} no longer names {min(lost)[:40]}"
    elif _THRESHOLD.match(name) and old is not None and _number(new) < _number(old):
        yield f"{name} was lowered"
    elif name == "level" and str(old) in ("error", "strict") and str(new) not in ("error", "strict"):
        yield "level is lower"


def _truth(value: Any) -> bool:
    return str(value).strip().lower() in ("true", "1", "yes", "on", "error", "strict")


def _weight(value: Any) -> int:
    first: Any = cast("list[Any]", value)[0] if isinstance(value, list) and value else cast("Any", value)
    return {"off": 0, "0": 0, "none": 0, "false": 0, "warn": 1, "1": 1, "warning": 1}.get(str(first).lower(), 2)


def _words(value: Any) -> set[str]:
    if value is None:
        return set()
    items = cast("list[Any]", value) if isinstance(value, list) else re.split(r"[\s,]+", str(value))
    return {str(item).strip() for item in items if str(item).strip()}


def _number(value: Any) -> float:
    match = re.search(r"-?\d+(?:\.\d+)?", str(value))
    return float(match[0]) if match else 0.0


def read_flat(path: str, text: bytes | None) -> dict[str, Any] | None:
    """`{section.key: value}` of a configuration, lists whole; None for what cannot be read here."""
    source = braces.decode(text)
    name = path.rpartition("/")[2]
    try:
        if name.endswith((".json", ".eslintrc", ".nycrc", ".stylelintrc")):
            return _flatten(json.loads(re.sub(r"(?m)^\s*//.*$|,(?=\s*[}\]])", "", source)))
        if name.endswith(".toml"):
            raw = cast("dict[str, Any]", load("tomlkit").parse(source).unwrap())
            tools = cast("dict[str, Any]", raw.get("tool") or {})
            return _flatten({key: tools[key] for key in _TOOLS if key in tools} if name == "pyproject.toml" else raw)
        if name.endswith((".yml", ".yaml")):
            return _flatten(load("yaml").safe_load(source))
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
        parser.read_string(source)
    # What YAML, TOML or JSON cannot read is told by other checks.
    except (configparser.Error, ValueError, RecursionError, load("yaml").YAMLError):
        return None
    known = (*_TOOLS, "MASTER", "MESSAGES CONTROL", "testenv")
    return {
        f"{section}.{key}": value
        for section in parser.sections()
        if section.startswith(known)
        for key, value in parser.items(section)
    }


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, inner in cast("dict[Any, Any]", value).items():
        found.update(_flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return found
