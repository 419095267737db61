"""Sizes: net deletion, lines of files and functions, bytes of files; and whether source changed without tests. Pure.

A limit is judged only where this change crosses it or goes further beyond it: what was big before is nobody's fault now.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.policy.globs import matches, matches_any
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.rules import Rules, SizeLimits

LANGUAGES: dict[str, str] = {
    "py": "python", "pyi": "python", "sh": "shell", "bash": "shell", "js": "javascript", "jsx": "javascript", "mjs": "javascript",
    "cjs": "javascript", "ts": "typescript", "tsx": "typescript", "go": "go", "rs": "rust", "java": "java", "kt": "kotlin", "cs": "csharp",
    "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "hpp": "cpp", "rb": "ruby", "php": "php", "swift": "swift", "scala": "scala", "sql": "sql",
}  # fmt: skip
#: Made by programs: their length says nothing.
GENERATED = (
    "*.min.js",
    "*_pb2.py",
    "*_pb2_grpc.py",
    "*.pb.go",
    "*.generated.*",
    "*.snap",
    "vendor",
    "third_party",
    "node_modules",
    "dist",
)
_SHELL_FUNCTION = re.compile(rb"^(?:function\s+)?([A-Za-z_][\w-]*)\s*\(\)\s*\{\s*$")
_MANY = 6


def check_net_deletion(evidence: Evidence, rules: Rules) -> Check:
    """Files deleted, and lines removed beyond those added."""
    files = [change.path for change in evidence.changes if change.status == "D"]
    lines = sum(change.deleted - change.added for change in evidence.changes if not change.binary)
    limit = {"deleted_files": rules.limits.deleted_files, "deleted_lines": rules.limits.deleted_lines}
    measured = {"deleted_files": len(files), "deleted_lines": max(0, lines)}
    over = [key for key, most in limit.items() if most is not None and measured[key] > most]
    return Check("net_deletion", "fail" if over else "pass", measured, limit, name_some(files) if over else "")


def language_of(path: str) -> str | None:
    """By the name's ending; None for what is no source."""
    return LANGUAGES.get(path.rpartition(".")[2].lower())


def _limit_of(path: str, limits: SizeLimits, *, function: bool) -> int | None:
    language = language_of(path)
    if language is None or matches_any(path, GENERATED):
        return None
    for override in limits.overrides:
        if matches(path, override.glob):
            return override.function_lines if function else override.file_lines
    table = limits.function_lines if function else limits.file_lines
    return table.get(language, table.get("default"))


def _count(text: bytes | None) -> int:
    return 0 if text is None else text.count(b"\n") + (not text.endswith(b"\n") and text != b"")


def check_file_size(evidence: Evidence, rules: Rules) -> Check:
    """Lines of changed source files."""
    over: list[str] = []
    most = 0
    for path, pair in evidence.contents.texts.items():
        limit = _limit_of(path, rules.limits, function=False)
        lines, before = _count(pair.after), _count(pair.before)
        most = max(most, lines if limit is not None else 0)
        if limit is not None and lines > limit and lines > before:
            over.append(f"{line(path, 100)}: {lines} lines, limit {limit}")
    limits = dict(rules.limits.file_lines)
    return Check(
        "file_size", "fail" if over else "pass", {"longest": most, "over": len(over)}, limits, "; ".join(over[:_MANY])
    )


def check_function_size(evidence: Evidence, rules: Rules) -> Check:
    """Lines of functions that this change made or made longer: Python by its syntax tree, shell by its braces in column one."""
    over: list[str] = []
    for path, pair in evidence.contents.texts.items():
        limit = _limit_of(path, rules.limits, function=True)
        if limit is not None and pair.after is not None:
            before = _longest(path, pair.before)
            over += [
                f"{line(path, 80)} {line(name, 60)}: {lines} lines, limit {limit}"
                for name, lines in _longest(path, pair.after).items()
                if lines > limit and lines > before.get(name, 0)
            ]
    limits = dict(rules.limits.function_lines)
    return Check("function_size", "fail" if over else "pass", {"over": len(over)}, limits, "; ".join(over[:_MANY]))


def _longest(path: str, text: bytes | None) -> dict[str, int]:
    if text is None:
        return {}
    if language_of(path) == "shell":
        return dict(_shell_functions(text))
    if language_of(path) != "python":
        return {}
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    return {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in nodes
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }


def _shell_functions(text: bytes) -> Iterator[tuple[str, int]]:
    name, begun = "", 0
    for number, row in enumerate(text.split(b"\n"), 1):
        match = _SHELL_FUNCTION.match(row)
        if match and not name:
            name, begun = match[1].decode("ascii", "replace"), number
        elif name and row.rstrip() == b"}":
            yield name, number - begun + 1
            name = ""


def check_file_bytes(evidence: Evidence, rules: Rules) -> Check:
    """Bytes of each file that the result adds or changes."""
    limit = rules.limits.file_bytes
    sizes = evidence.contents.sizes
    over = sorted(path for path, size in sizes.items() if limit is not None and size > limit)
    measured = {"largest": max(sizes.values(), default=0), "over": len(over)}
    return Check("file_bytes", "fail" if over else "pass", measured, limit, name_some(over))


def check_test_delta(evidence: Evidence, rules: Rules) -> Check:
    """Source changed, and no test did."""
    sources = [
        change.path
        for change in evidence.changes
        if language_of(change.path) and not rules.is_test(change.path) and change.status != "D"
    ]
    tests = [change.path for change in evidence.changes if rules.is_test(change.path) and change.status != "D"]
    measured = {"source_files": len(sources), "test_files": len(tests)}
    if sources and not tests:
        return Check("test_delta", "fail", measured, None, f"changed without a test: {name_some(sources)}", "proxy")
    return Check("test_delta", "pass", measured, label="proxy")


def text_of(evidence: Evidence, path: str) -> Pair:
    """A changed file before and after."""
    return evidence.contents.texts.get(path, Pair(None, None))
