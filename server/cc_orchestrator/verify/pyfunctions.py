"""Functions of a Python file as values: what they take, use and do, and whether they are empty by their nature. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef
_EXEMPT = frozenset(
    {
        "abstractmethod",
        "abstractproperty",
        "overload",
        "property",
        "cached_property",
        "singledispatch",
        "fixture",
        "setter",
    }
)
_ABSTRACT = frozenset({"ABC", "Protocol", "ABCMeta", "Enum", "TypedDict", "NamedTuple"})


class Defined(NamedTuple):
    """`params` without self and those that begin with `_`; `used` are names that the body reads; `body` its normal form.

    `exempt`: abstract, overloaded, special or a property. `has_heirs`: another class of the file builds on its owner.
    """

    name: str
    owner: str
    owner_bases: tuple[str, ...]
    params: tuple[str, ...]
    statements: list[ast.stmt]
    used: frozenset[str]
    body: str
    doc: str
    comments: str
    exempt: bool
    has_heirs: bool
    decorated: bool


def last_part(node: ast.AST | None) -> str:
    """The last part of a name, an attribute or what is called."""
    if isinstance(node, ast.Call):
        return last_part(node.func)
    if isinstance(node, ast.Subscript):
        return last_part(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def find_defined(text: bytes) -> Iterator[Defined]:
    """Functions and methods of the file, nested ones apart. Raises SyntaxError, ValueError, RecursionError."""
    module = ast.parse(text)
    rows = text.decode("utf-8", "replace").split("\n")
    heirs = {last_part(base) for node in ast.walk(module) if isinstance(node, ast.ClassDef) for base in node.bases}
    yield from _walk(module.body, None, rows, heirs)


def _walk(body: list[ast.stmt], owner: ast.ClassDef | None, rows: list[str], heirs: set[str]) -> Iterator[Defined]:
    for node in body:
        if isinstance(node, Function):
            yield _define(node, owner, rows, heirs)
        elif isinstance(node, ast.ClassDef):
            yield from _walk(node.body, node, rows, heirs)
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _walk([*node.body, *node.orelse], owner, rows, heirs)


def _define(
    node: ast.FunctionDef | ast.AsyncFunctionDef, owner: ast.ClassDef | None, rows: list[str], heirs: set[str]
) -> Defined:
    doc = ast.get_docstring(node) or ""
    statements = node.body[1:] if doc else list(node.body)
    bases = tuple(last_part(base) for base in (*owner.bases, *(word.value for word in owner.keywords))) if owner else ()
    marks = {last_part(mark) for mark in node.decorator_list}
    used = {part.id for item in statements for part in ast.walk(item) if isinstance(part, ast.Name)}
    special = node.name.startswith("__") and node.name.endswith("__")
    given = node.args
    params = [arg.arg for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    params += [arg.arg for arg in (given.vararg, given.kwarg) if arg is not None]
    if owner is not None and "staticmethod" not in marks:
        params = params[1:]
    return Defined(
        f"{owner.name}.{node.name}" if owner else node.name, owner.name if owner else "", tuple(base for base in bases if base != "object"),
        tuple(name for name in params if not name.startswith("_")), statements, frozenset(used),
        "\n".join(ast.dump(item) for item in statements), doc, _comments(rows[node.lineno - 1 : node.end_lineno]),
        special or bool(marks & _EXEMPT) or bool(set(bases) & _ABSTRACT), owner is not None and owner.name in heirs,
        bool(marks - {"staticmethod", "classmethod"}),
    )  # fmt: skip


def _comments(rows: list[str]) -> str:
    return "\n".join(row[row.index("#") :] for row in rows if "#" in row)
