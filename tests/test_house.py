"""The laws of the house that import contracts cannot state. The map in `server/README.md` is held against the code."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "server" / "cc_orchestrator"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = (
    "core", "store", "host", "adapters", "routing", "policy", "runs", "tasks", "verify", "delivery", "workflow", "insight",
    "operations", "surfaces",
)  # fmt: skip
LINES = 400
#: Files over the limit. The list is empty and stays empty.
TOO_LONG: frozenset[str] = frozenset()
WORDLESS = re.compile(r"(?:^|_)(?:utils?|helpers?|common|managers?|misc)(?:$|_)")


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def attributes(path: Path) -> Iterator[tuple[str, str, int]]:
    """`(name, attribute, line)` of each `name.attribute` in a file."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.value.id, node.attr, node.lineno


def imports_in_functions(tree: ast.Module) -> Iterator[str]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                yield from imported(node)


def test_no_function_imports_our_own_package_but_the_table_of_surfaces() -> None:
    guilty = {
        name_of(path)
        for path in FILES
        for name in imports_in_functions(parse(path))
        if name.startswith("cc_orchestrator")
    }
    assert guilty == {"__main__.py"}


def test_only_host_starts_processes() -> None:
    modules = {"subprocess", "multiprocessing", "pty"}
    calls = re.compile(r"fork|forkpty|system|popen|exec\w*|spawn\w*|posix_spawn\w*")
    guilty = {
        name_of(path)
        for path in FILES
        if any(name.split(".")[0] in modules for node in ast.walk(parse(path)) for name in imported(node))
        or any(owner == "os" and calls.fullmatch(what) for owner, what, _line in attributes(path))
    }
    assert {name for name in guilty if not name.startswith(("host/", "fake_worker/"))} == set()


def test_only_core_clock_reads_the_time() -> None:
    readings = {"time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "sleep", "now", "utcnow", "today"}
    guilty = {
        name_of(path)
        for path in FILES
        for owner, what, _line in attributes(path)
        if owner in ("time", "datetime", "date") and what in readings
    }
    assert {name for name in guilty if not name.startswith("fake_worker/")} == {"core/clock.py"}


def test_only_store_names_the_workspace_folder() -> None:
    """In code: prose may say it. `host` needs it to keep git from looking into it."""
    guilty: set[str] = set()
    for path in FILES:
        tree = parse(path)
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
        ]
        if any(re.match(r"(?:/|:\(exclude\))?\.agent-workspace", text) for text in texts):
            guilty.add(name_of(path))
    assert guilty == {"store/paths.py", "host/worktree.py", "host/snapshot.py"}


def test_adapters_touch_neither_files_nor_processes() -> None:
    pure = {"path", "sep", "pathsep", "fspath"}
    guilty: list[str] = []
    for path in FILES:
        if room_of(path) == "adapters":
            guilty += [
                f"{name_of(path)}:{line} os.{what}"
                for owner, what, line in attributes(path)
                if owner == "os" and what not in pure
            ]
            guilty += [
                f"{name_of(path)}:{node.lineno} open"
                for node in ast.walk(parse(path))
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open"
            ]
    assert guilty == []


def test_no_file_is_longer_than_the_limit() -> None:
    long = {name_of(path) for path in FILES if len(path.read_text(encoding="utf-8").splitlines()) > LINES}
    assert long == TOO_LONG


def test_every_room_is_known_and_every_module_says_what_it_is() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name not in ("__pycache__", "_assets")}
    assert folders == {*ROOMS, "fake_worker"}
    assert [name_of(path) for path in FILES if not ast.get_docstring(parse(path))] == []


def test_no_module_has_a_name_without_meaning() -> None:
    assert [name_of(path) for path in FILES if WORDLESS.search(path.stem)] == []


def test_ratchets_only_fall() -> None:
    """Marks that weaken a check are counted; the number may fall, and then the record falls with it."""
    record = json.loads((ROOT / "tests" / "ratchets.json").read_text(encoding="utf-8"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    found = {
        "type: ignore": text.count("# type: ignore"),
        "noqa": text.count("# noqa"),
        "except Exception": len(re.findall(r"except (?:Base)?Exception", text)),
    }
    assert found == record, "more than recorded: mend it; fewer: lower tests/ratchets.json"


# ---------------------------------------------------------------- the map


def readme() -> str:
    return (ROOT / "server" / "README.md").read_text(encoding="utf-8")


def test_the_map_draws_the_floors_that_the_contracts_hold() -> None:
    layers = re.search(r"\nlayers = \[\n(.*?)\n\]", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.DOTALL)
    assert layers is not None
    held = [re.findall(r"\w+", row) for row in re.findall(r'"([^"]+)"', layers.group(1))]
    drawn = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| \d+ \|([^|\n]+)\|", readme(), re.MULTILINE)]
    assert drawn == held
    assert {room for floor in drawn for room in floor} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_names_every_module_of_a_room_and_no_other(room: str) -> None:
    section = re.search(rf"^### `{room}`.*?(?=^##|^<!--|\Z)", readme(), re.DOTALL | re.MULTILINE)
    assert section is not None, f"server/README.md has no section for {room}"
    drawn = set(re.findall(r"`([\w/]+\.py)`", section.group(0)))
    real = {
        path.relative_to(PACKAGE / room).as_posix()
        for path in FILES
        if room_of(path) == room and path.name != "__init__.py"
    }
    assert drawn == real


def test_paths_that_the_map_and_the_readme_name_exist() -> None:
    text = readme() + (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:server|skill|prompt_pack|tests|install|examples|\.ci)/[\w./-]+)`", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


# ---------------------------------------------------------------- the project speaks of itself alone


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_where_this_checkout_lies_or_a_registry() -> None:
    here = str(ROOT) + "/"
    # A clone in a scratch folder lies where everything may lie.
    places = [] if here.startswith(tempfile.gettempdir()) or len(here) < 5 else [re.escape(here)]
    foreign = re.compile("|".join([*places, r"https?://(?:registry\.|pypi\.|files\.pythonhosted)"]))
    guilty: list[str] = []
    for path in tracked():
        if path == Path(__file__).resolve() or path.suffix in (".png", ".bin"):
            continue
        for number, row in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if foreign.search(row):
                guilty.append(f"{path.relative_to(ROOT)}:{number}")
    assert guilty == []


def test_the_version_is_told_once_and_the_changelog_has_a_place_for_what_comes() -> None:
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    told = re.search(r'^__version__ = "([^"]+)"', (PACKAGE / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert told is not None
    assert version.group(1) == told.group(1)
    assert "## Unreleased" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
