"""Answers as text for people: the same facts as the JSON, indented, without braces."""

from __future__ import annotations

from typing import Any, cast

from cc_orchestrator.core.text import clean


def render(value: Any, indent: int = 0) -> str:
    """Lines `key: value`; lists as `- …`; long texts as blocks."""
    pad = "  " * indent
    if isinstance(value, dict):
        return "\n".join(_pair(str(key), entry, indent) for key, entry in cast("dict[str, Any]", value).items())
    if isinstance(value, list):
        rows = [_row(entry, indent) for entry in cast("list[Any]", value)]
        return "\n".join(rows) if rows else f"{pad}(none)"
    return pad + _scalar(value)


def _pair(key: str, value: Any, indent: int) -> str:
    pad = "  " * indent
    if isinstance(value, dict | list) and value:
        return f"{pad}{key}:\n{render(value, indent + 1)}"
    if isinstance(value, str) and "\n" in value:
        block = "\n".join(f"{pad}  | {line}" for line in clean(value).splitlines())
        return f"{pad}{key}:\n{block}"
    return f"{pad}{key}: {_scalar(value)}"


def _row(entry: Any, indent: int) -> str:
    pad = "  " * indent
    if isinstance(entry, dict):
        row = cast("dict[str, Any]", entry)
        if all(not isinstance(part, dict | list) for part in row.values()):
            return f"{pad}- " + "  ".join(f"{key}={_scalar(part)}" for key, part in row.items())
        return f"{pad}-\n{render(row, indent + 1)}"
    return f"{pad}- {_scalar(entry)}"


def _scalar(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return "(none)"
    return clean(str(value))
