"""Did the change move the gate itself: policy paths, what decides which tests run, the scripts and modules that the commands use. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command
from cc_orchestrator.policy.globs import matches_any
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.rules import Rules
from cc_orchestrator.verify.sizes import text_of
from cc_orchestrator.verify.testconfig import find_loosened, read_scripts

_SHOWN = 5
_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
_SCRIPT_RUNNERS = frozenset({"npm", "pnpm", "yarn", "bun"})
_RUNNER_FILES = {
    "tox": ("tox.ini",), "nox": ("noxfile.py",), "just": ("justfile", "Justfile"), "task": ("Taskfile.yml",), "invoke": ("tasks.py",),
    "rake": ("Rakefile",), "gradle": ("build.gradle",), "./gradlew": ("gradlew", "build.gradle"), "mvn": ("pom.xml",), "hatch": (), "pdm": (),
}  # fmt: skip
#: Modules that a Python test run imports by name from the folder where it starts.
_RUNNER_MODULES = frozenset({
    "unittest", "pytest", "_pytest", "pluggy", "doctest", "nose", "nose2", "coverage", "sitecustomize", "usercustomize", "site", "runpy",
    "argparse", "asyncio", "contextlib", "difflib", "fnmatch", "functools", "importlib", "inspect", "logging", "pprint", "re", "signal",
    "traceback", "types", "warnings", "weakref", "xdist",
})  # fmt: skip
_RULE = re.compile(r"^([A-Za-z0-9_.\-/%$() ]+?)\s*::?(?!=)")
_ASSIGN = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*(?::|\?|\+)?=")


def check_policy_paths(evidence: Evidence, rules: Rules) -> Check:
    """Files that a person decides over: CI, owners, lock files, what tools of the project run by themselves."""
    touched = sorted(
        {path for change in evidence.changes for path in change.paths if matches_any(path, rules.policy_paths)}
    )
    if touched:
        return Check(
            "policy_paths", "fail", len(touched), 0, f"a person decides over {name_some(touched)}", fixable=False
        )
    return Check("policy_paths", "pass", 0, 0)


def check_test_config(evidence: Evidence, rules: Rules) -> Check:
    """Configuration that leaves tests out, or lowers what must be covered."""
    tests = [path for path in evidence.contents.tree if rules.is_test(path)]
    bad = [
        f"{line(change.path, 80)}: {why}"
        for change in evidence.changes
        for why in find_loosened(change.path, text_of(evidence, change.path), tests)
    ]
    bad += [
        f"{line(change.old_path or change.path, 80)} is gone"
        for change in evidence.changes
        if change.status == "D" and change.path.rpartition("/")[2] in ("conftest.py", "pytest.ini", ".coveragerc")
        and not matches_any(change.path, ("docs",)) and any(path.endswith(".py") for path in tests)
    ]  # fmt: skip
    return Check("test_config", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]))


def check_test_gate(evidence: Evidence, commands: Sequence[Command]) -> Check:
    """The commands run what the base would have run: no script, target or module of theirs was made by this change."""
    bad: list[str] = []
    for command in commands:
        bad += _find_moved(evidence, command)
    if commands:
        bad += [
            f"{line(path, 80)} stands in the way of a module that a Python test run imports"
            for path in _find_shadows(evidence)
        ]
    return Check("test_gate", "fail" if bad else "pass", len(bad), 0, "; ".join(dict.fromkeys(bad[:_SHOWN])))


def _find_moved(evidence: Evidence, command: Command) -> Iterator[str]:
    changed = {change.path: change for change in evidence.changes}
    folder = evidence.spec.subfolder
    for word in command.argv:
        path = _place(folder, word)
        change = changed.get(path)
        if change is not None and change.old_blob and not _is_test_name(path):
            yield f"the command runs {line(path, 80)}, which this change edits"
    program = command.argv[0].rpartition("/")[2]
    if program in ("make", "gmake"):
        yield from _find_moved_targets(evidence, command)
    elif program in _SCRIPT_RUNNERS:
        yield from _find_moved_scripts(evidence, command)
    for name in _RUNNER_FILES.get(program, ()):
        change = changed.get(_place(folder, name))
        if change is not None and change.old_blob:
            yield f"{program} reads {name}, which this change edits"


def _place(folder: str, word: str) -> str:
    word = word.removeprefix("./")
    return f"{folder}/{word}" if folder else word


def _is_test_name(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith("test") or "_test." in name or ".test." in name or ".spec." in name


def _find_moved_targets(evidence: Evidence, command: Command) -> Iterator[str]:
    targets = [word for word in command.argv[1:] if not word.startswith("-") and "=" not in word]
    for name in _MAKEFILES:
        path = _place(evidence.spec.subfolder, name)
        pair = text_of(evidence, path)
        if pair.before is None and pair.after is None:
            continue
        before, after = _read_make(pair.before or b""), _read_make(pair.after or b"")
        if pair.before is None:
            if any(place in evidence.contents.tree for place in _MAKEFILES if place != name):
                yield f"{name} is new and hides another makefile"
            continue
        wanted = targets or list(before)[:1]
        for target in _closure(before, wanted):
            if before.get(target) != after.get(target):
                yield f"make {line(target, 40)}: this change edits what {name} does for it"


def _read_make(data: bytes) -> dict[str, str]:
    """`{target: its head and recipe}`; assignments stand under "=name" and belong to every target."""
    found: dict[str, str] = {}
    current = ""
    for row in data.decode("utf-8", "replace").splitlines():
        if row.startswith("\t"):
            if current:
                found[current] += f"\n{row}"
            continue
        if (assign := _ASSIGN.match(row)) is not None:
            found[f"={assign[1]}"] = found.get(f"={assign[1]}", "") + row
            current = ""
        elif (rule := _RULE.match(row)) is not None:
            current = rule[1].split(" ", 1)[0]
            found[current] = found.get(current, "") + row
        elif not row.strip() or row.startswith("#"):
            continue
        else:
            current = ""
    return found


def _closure(rules: dict[str, str], wanted: Sequence[str]) -> list[str]:
    """The targets, what they depend on, and every assignment."""
    seen = [name for name in rules if name.startswith("=")]
    open_ = list(wanted)
    while open_:
        target = open_.pop()
        if target in seen:
            continue
        seen.append(target)
        head = rules.get(target, "").split("\n", 1)[0].partition(":")[2]
        open_ += [word for word in head.split() if word in rules]
    return seen


def _find_moved_scripts(evidence: Evidence, command: Command) -> Iterator[str]:
    pair = text_of(evidence, _place(evidence.spec.subfolder, "package.json"))
    before, after = read_scripts(pair.before), read_scripts(pair.after)
    words = [word for word in command.argv[1:] if not word.startswith("-") and word not in ("run", "run-script")]
    script = "test" if words[:1] in ([], ["t"], ["test"]) else words[0]
    for name in (f"pre{script}", script, f"post{script}"):
        if pair.before is not None and before.get(name) != after.get(name):
            yield f"this change edits the script {line(name, 40)} of package.json"


def _find_shadows(evidence: Evidence) -> Iterator[str]:
    """New modules at the top of the tree, where a run finds them before its own."""
    folder = evidence.spec.subfolder
    prefix = f"{folder}/" if folder else ""
    for change in evidence.changes:
        if change.status not in ("A", "R", "C") or not change.path.startswith(prefix):
            continue
        parts = change.path.removeprefix(prefix).split("/")
        stem = parts[0].split(".", 1)[0]
        whole = (
            parts[0].endswith((".py", ".pth", ".so", ".pyd", ".pyc"))
            if len(parts) == 1
            else parts[1].startswith("__init__.")
        )
        if whole and (
            stem in _RUNNER_MODULES or (stem in sys.stdlib_module_names and len(parts) == 1 and stem.startswith("_"))
        ):
            yield change.path
