"""What names of a test stand for, followed only where it is plain: a constant, or the result of a call that nothing touched since. Pure."""

from __future__ import annotations

import ast
from copy import deepcopy

_DEEP = 4


def learn(node: ast.stmt, known: dict[str, ast.expr]) -> None:
    """Take in one statement: what it assigns is known, what it may change is forgotten."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name, value = node.targets[0].id, inline(node.value, known)
        known.pop(name, None)
        if isinstance(value, (ast.Constant, ast.Call)) and not any(
            isinstance(part, ast.Name) and part.id == name for part in ast.walk(value)
        ):
            known[name] = value
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _asserts(node.value):
        return
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            known.pop(part.id, None)


def _asserts(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name.startswith("assert")


def inline(node: ast.expr, known: dict[str, ast.expr]) -> ast.expr:
    """The expression with known names replaced."""
    if not known or not any(isinstance(part, ast.Name) and part.id in known for part in ast.walk(node)):
        return node
    return _Inline(known).visit(deepcopy(node))


class _Inline(ast.NodeTransformer):
    def __init__(self, known: dict[str, ast.expr], depth: int = 0) -> None:
        self._known = known
        self._depth = depth

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Names that are called or assigned stay."""
        value = self._known.get(node.id)
        return node if value is None or self._depth > _DEEP or not isinstance(node.ctx, ast.Load) else value
