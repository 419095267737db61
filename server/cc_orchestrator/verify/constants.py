"""Texts that a Python file hides in pieces: joined, turned round, given as numbers or escapes; folded to what they are. Pure.

Nothing is run: only a few known ways of putting constants together are followed.
"""

from __future__ import annotations

import ast
import base64
import binascii
import codecs
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

_MOST = 20_000


def fold_text(node: ast.AST) -> str | None:
    """What an expression of constants gives, None for anything else."""
    try:
        value = _fold(node, 0)
    except (ValueError, TypeError, LookupError, OverflowError, UnicodeError):
        return None
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value if isinstance(value, str) and len(value) <= _MOST else None


def folded_texts(text: bytes) -> Iterator[tuple[int, str]]:
    """`(line, text)` of every expression of constants that is more than one literal. Raises SyntaxError, ValueError, RecursionError."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.BinOp, ast.Call, ast.JoinedStr, ast.Subscript)):
            folded = fold_text(node)
            if folded:
                yield node.lineno, folded
        elif isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
            value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            yield node.lineno, value


def _fold(node: ast.AST | None, depth: int) -> Any:
    if depth > 40:
        raise ValueError("too deep")
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_fold(item, depth + 1) for item in node.elts]
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(_fold(part.value if isinstance(part, ast.FormattedValue) else part, depth + 1)) for part in node.values
        )
    if isinstance(node, ast.BinOp):
        left, right = _fold(node.left, depth + 1), _fold(node.right, depth + 1)
        if isinstance(node.op, ast.Add) and isinstance(left, (str, bytes)):
            return left + right  # pyright: ignore[reportOperatorIssue, reportUnknownVariableType]
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            return left % (tuple(right) if isinstance(right, list) else right)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        raise ValueError("no text")
    if isinstance(node, ast.Subscript):
        return _fold_slice(node, depth)
    if isinstance(node, ast.Call):
        return _fold_call(node, depth)
    raise ValueError("no constant")


def _fold_slice(node: ast.Subscript, depth: int) -> Any:
    value = _fold(node.value, depth + 1)
    if not isinstance(node.slice, ast.Slice) or not isinstance(value, (str, bytes)):
        raise ValueError("no slice of a text")
    bounds = [None if part is None else _number(part) for part in (node.slice.lower, node.slice.upper, node.slice.step)]
    return value[slice(*bounds)]


def _number(node: ast.expr) -> int:
    return int(ast.literal_eval(node))


def _fold_call(node: ast.Call, depth: int) -> Any:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    args = [_fold(arg, depth + 1) for arg in node.args]
    if name in ("bytes", "bytearray") and args and isinstance(args[0], list):
        return bytes(args[0])  # pyright: ignore[reportUnknownArgumentType]
    if name == "fromhex":
        return bytes.fromhex(args[0])
    if name == "chr":
        return chr(args[0])
    if name in ("reversed", "list", "str", "tuple") and len(args) == 1:
        return list(reversed(args[0])) if name == "reversed" else args[0]
    if name in ("b64decode", "urlsafe_b64decode", "b32decode", "unhexlify", "a85decode", "b85decode", "b16decode"):
        return _decode(name, args)
    if name == "decode" and isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "codecs":
        return codecs.decode(args[0], args[1]) if args[1] in ("rot13", "rot_13", "hex", "base64") else args[0]
    if name in ("unquote", "unquote_plus"):
        return unquote(args[0])
    if isinstance(node.func, ast.Attribute):
        return _fold_method(name, _fold(node.func.value, depth + 1), args)
    raise ValueError("no known call")


def _decode(name: str, args: Sequence[Any]) -> bytes:
    return (getattr(base64, name, None) or getattr(binascii, name))(args[0])


def _fold_method(name: str, owner: Any, args: Sequence[Any]) -> Any:
    if name == "join" and isinstance(owner, (str, bytes)):
        return owner.join(args[0])
    if name in ("decode", "encode") and isinstance(owner, (str, bytes)):
        return owner
    if name == "format" and isinstance(owner, str):
        return owner.format(*args)
    if name in ("replace", "strip", "lower", "upper", "swapcase", "lstrip", "rstrip") and isinstance(
        owner, (str, bytes)
    ):
        return getattr(owner, name)(*args)
    raise ValueError("no known method")
