"""New or emptied functions that do nothing of what their name says: stubs that are called done. Pure.

Python is read by its syntax tree, brace languages roughly, shell scripts line by line. What is empty on purpose is left alone: abstract
and overloaded functions, protocols, null objects, what a subclass fills in, what says of itself that it does nothing.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.pyfunctions import Defined, find_defined
from cc_orchestrator.verify.rules import Rules

_SHOWN = 5
_QUIET_CALLS = frozenset({"print", "sleep", "info", "debug", "warning", "error", "log", "echo", "write"})
_ADMITS = re.compile(
    r"\b(?:TODO|FIXME|XXX|HACK)\b|placeholder|not (?:yet )?implemented|\b(?:mock|dummy|fake|stub)(?:bed|ed)?\b|for now|simulat|hard-?coded",
    re.IGNORECASE,
)
_ON_PURPOSE = re.compile(
    r"no[- ]?op\b|nothing|on purpose|intentional|deliberate|subclass|overrid|default|ignore|discard|hook|optional|never called",
    re.IGNORECASE,
)
_NAMED_SO = re.compile(
    r"no_?op|nothing|ignore|discard|null|empty|identity|dummy|always|never|constant|default", re.IGNORECASE
)
_NULL = re.compile(
    r"^_?(?:Null|No|Noop|NoOp|Dummy|Fake|Stub|Empty|Base|Abstract|Mixin)|(?:Base|Mixin|Protocol|Interface|Stub|Null)$"
)
_UNDONE = re.compile(
    r"throw\s+(?:new\s+)?\w*(?:Error|Exception)\s*\([^)]*(?:not\s+(?:yet\s+)?implemented|unimplemented|TODO)"
    r"|\b(?:todo|unimplemented)!\s*[\(\[{]|\bpanic!?\(\s*[\"'`][^\"'`]*(?:not\s+(?:yet\s+)?implemented|unimplemented|TODO)"
    r"|\bNotImplementedException\b|\bfatalError\(\s*\"[^\"]*not\s+(?:yet\s+)?implemented|\bTODO\(\s*(?:\"|\))"
    r"|UnsupportedOperationException\(\s*(?:\)|\"[^\"]*not\s+(?:yet\s+)?impl)|^\s*raise\s+NotImplementedError",
    re.IGNORECASE | re.MULTILINE,
)
_CONSTANT = re.compile(
    r"""^(?:return\s*)?(?:true|false|null|nil|None|undefined|void 0|-?[\d.]+|"[^"]*"|'[^']*'|`[^`$]*`|\[\s*\]|\{\s*\}|Ok\(\(\)\)|"[^"]*", nil)?"""
    r"\s*;?$"
)
_PRINTS = re.compile(r"^(?:console\.\w+|print(?:ln!?|f)?|fmt\.Print\w*|System\.out\.print\w*|log\.\w+|echo)\b[^\n]*$")
_BOASTS = re.compile(
    r"complet|success|done\b|finish|deployed|passed|\bok\b|ready|migrated|installed|created|saved|✓|✔", re.IGNORECASE
)
_SHELL_IDLE = re.compile(r"^(?:echo|printf|exit|true|:|set|sleep|return)\b|^:$")


def check_stubs(evidence: Evidence, rules: Rules) -> Check:
    """Source only: what tests leave empty is told by other checks."""
    bad: list[str] = []
    for path, pair in evidence.contents.texts.items():
        if pair.after is None or rules.is_test(path) or pair.before == pair.after:
            continue
        bad += [f"{line(path, 80)}: {why}" for why in _find(path, pair.before, pair.after)]
    return Check("stubs", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]), "proxy")


def _find(path: str, before: bytes | None, after: bytes) -> Iterator[str]:
    extension = braces.extension_of(path)
    if extension == "py":
        yield from _find_python(before, after)
    elif extension in braces.EXTENSIONS:
        yield from _find_braces(before, after, extension)
    elif extension == "rb":
        was, now = braces.decode(before), braces.decode(after)
        yield from (f"`{match[0].strip()[:60]}`" for match in _UNDONE.finditer(now) if match[0] not in was)
    elif extension in ("sh", "bash"):
        yield from _find_shell(before, after)


def _find_python(before: bytes | None, after: bytes) -> Iterator[str]:
    try:
        known = {item.name: item for item in find_defined(before)} if before is not None else {}
        now = list(find_defined(after))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    hollow = _hollow_classes(now)
    for item in now:
        if (
            item.owner
            and item.owner not in hollow
            and not _ADMITS.search(item.comments)
            and item.name not in known
            and _is_idle(item.statements)
        ):
            # One method without work among others is a default of something that is used like it.
            continue
        old = known.get(item.name)
        if old is not None and old.body == item.body:
            continue
        why = _judge(item)
        if why and (old is None or not _judge(old)):
            yield f"{item.name} {why if old is None else f'was emptied: it {why}'}"


def _hollow_classes(now: list[Defined]) -> set[str]:
    """Classes in which no method that takes something does anything."""
    working = {
        item.owner for item in now if item.owner and item.params and not item.exempt and not _is_idle(item.statements)
    }
    return {item.owner for item in now if item.owner} - working


def _judge(item: Defined) -> str:
    """Why a function does nothing, "" when it does something or is empty on purpose."""
    if (
        item.exempt
        or _ON_PURPOSE.search(item.doc)
        or _NAMED_SO.search(item.name.rpartition(".")[2])
        or _NULL.search(item.owner)
    ):
        return ""
    body = item.statements
    if all(isinstance(node, ast.Pass) or _is_dots(node) for node in body):
        return "" if item.owner_bases and not item.doc else "has an empty body"
    if isinstance(body[0], ast.Raise) and _name(body[0].exc) == "NotImplementedError":
        return "" if item.has_heirs else "only raises NotImplementedError"
    if not _is_idle(body):
        return ""
    if _ADMITS.search(item.comments):
        return "returns a made-up value and says so in a comment"
    if item.owner_bases or item.decorated or not item.params or item.used & set(item.params):
        return ""
    returns = [node for node in body if isinstance(node, ast.Return)]
    if len(body) > len(returns) or returns:
        return f"uses nothing of what it takes ({', '.join(item.params[:3])}) and gives a constant"
    return ""


def _is_idle(body: list[ast.stmt]) -> bool:
    """Only output, sleeping and the return of a literal."""
    return bool(body) and all(
        isinstance(node, ast.Pass)
        or (isinstance(node, ast.Return) and (node.value is None or _is_literal(node.value)))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _name(node.value) in _QUIET_CALLS)
        for node in body
    )


def _is_literal(node: ast.expr) -> bool:
    return not any(isinstance(part, (ast.Name, ast.Call, ast.Attribute, ast.Lambda)) for part in ast.walk(node))


def _is_dots(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def _name(node: ast.AST | None) -> str:
    if isinstance(node, ast.Call):
        return _name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _find_braces(before: bytes | None, after: bytes, extension: str) -> Iterator[str]:
    was, now = braces.decode(before), braces.decode(after)
    known = {(item.name, item.params): item.body for item in braces.find_functions(was)}
    plain, past = braces.blank(now, texts=False), braces.blank(was, texts=False)
    yield from (f"`{match[0].strip()[:60]}`" for match in _UNDONE.finditer(plain) if match[0] not in past)
    for item in braces.find_functions(now):
        old = known.get((item.name, item.params))
        if old == item.body or _left_alone(item, now, extension):
            continue
        rows = [row.strip() for row in braces.blank(item.body, texts=False).split("\n") if row.strip()]
        idle = all(_CONSTANT.match(row) or _PRINTS.match(row) for row in rows)
        used = any(re.search(rf"\b{re.escape(name)}\b", row) for name in item.params for row in rows)
        if idle and not used and (old is None or not _is_empty(old)):
            yield f"{item.name} (line {item.line}) uses nothing of what it takes"


def _left_alone(item: braces.Function, source: str, extension: str) -> bool:
    """Constructors, overriding methods, functions without named parameters, and what is called a no-op."""
    if not item.params or all(name.startswith("_") for name in item.params):
        return True
    if item.name in ("constructor", "init", "main") or re.search(
        r"no_?op|ignore|null|empty|identity", item.name, re.IGNORECASE
    ):
        return True
    if re.search(r"override|abstract|virtual|default|extern", item.head) or _ON_PURPOSE.search(item.body):
        return True
    if extension in ("c", "cc", "cpp"):
        return True
    rows = source.split("\n")
    above = "\n".join(rows[max(0, item.line - 4) : item.line - 1])
    return "@Override" in above or bool(
        re.search(r"\b(?:extends|implements|impl \w[^{]* for)\b", source) and item.head.startswith((" ", "\t"))
    )


def _is_empty(body: str) -> bool:
    return not braces.blank(body, texts=False).strip()


def _find_shell(before: bytes | None, after: bytes) -> Iterator[str]:
    def commands(text: bytes | None) -> list[str]:
        rows = [row.strip() for row in braces.decode(text).split("\n")]
        return [row for row in rows if row and not row.startswith("#")]

    now = commands(after)
    says = [row for row in now if row.startswith(("echo", "printf")) and _BOASTS.search(row)]
    idle = says and all(_SHELL_IDLE.match(row) and not re.search(r"[$`|>]", row) for row in now)
    if idle and (before is None or not all(_SHELL_IDLE.match(row) for row in commands(before))):
        yield "the script only says that it did something"
