"""Pure edits of other programs' settings: one table in a TOML text, one member in a JSON text, everything else as it was.

TOML: our table is a block between two marker comments at the end of the file, so that taking it out gives back the very bytes.
JSON: one member is inserted, replaced or cut out of the text; no other byte is written anew. A result that would say anything
else about anything else than our entry is refused (`EditError`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError

BEGIN = "# >>> cc-orchestrator: written by its installer; `install.sh --uninstall` takes it out"
END = "# <<< cc-orchestrator"
_BLOCK = re.compile(r"\n# >>> cc-orchestrator[^\n]*\n.*?\n# <<< cc-orchestrator\r?\n", re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")


class EditError(Exception):
    """The text cannot be edited safely; the message says why."""


# ---------------------------------------------------------------- TOML


def put_toml(text: str, table: str, key: str, lines: Sequence[str]) -> str:
    """`text` with the table `[table.key]` made of `lines` (as they shall stand) in our block at the end."""
    bare = cut_toml(text, table, key)
    new = "\n".join([f"{bare}\n{BEGIN}", f"[{table}.{key}]", *lines, END, ""])
    if _others(_toml(new), table, key) != _others(_toml(text), table, key):
        raise EditError(f"adding [{table}.{key}] would change other settings")
    return new


def cut_toml(text: str, table: str, key: str) -> str:
    """`text` without our block, and without the table where somebody else wrote it."""
    before = _toml(text)
    bare = _BLOCK.sub("", text, count=1)
    document = _toml(bare)
    if key in document.get(table, {}):
        del document[table][key]
        bare = tomlkit.dumps(document)
    if _others(_toml(bare), table, key) != _others(before, table, key):
        raise EditError(f"taking out [{table}.{key}] would change other settings")
    return bare


def _toml(text: str) -> Any:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise EditError(f"it is no valid TOML: {error}") from error


def _others(document: Any, table: str, key: str) -> dict[str, Any]:
    plain: dict[str, Any] = document.unwrap()
    rest = {name: value for name, value in plain.get(table, {}).items() if name != key}
    return {**{name: value for name, value in plain.items() if name != table}, **({table: rest} if rest else {})}


# ---------------------------------------------------------------- JSON


class Member(NamedTuple):
    """One `"key": value` of an object: offsets of the key's quote, of the value, and of what follows it."""

    key: str
    start: int
    value: int
    end: int


def put_json(text: str, path: Sequence[str], value: Any) -> str:
    """`text` with the member at `path` set to `value`; objects on the way are made. Empty text is an empty object."""
    text = text if text.strip("\ufeff \t\r\n") else "{}\n"
    before = _json(text)
    new = _put(text, _open(text), list(path), value, 0)
    if _without(_json(new), path) != _without(before, path):
        raise EditError(f"adding {'.'.join(path)} would change other settings")
    return new


def cut_json(text: str, path: Sequence[str]) -> str:
    """`text` without the member at `path`; the same text when it is not there."""
    before = _json(text)
    at = _open(text)
    for number, key in enumerate(path):
        found = _members(text, at)
        here = [member.key for member in found]
        if key not in here:
            return text
        at = found[here.index(key)].value
        if number < len(path) - 1:
            continue
        new = _cut(text, found, here.index(key))
        if _without(_json(new), path) != _without(before, path):
            raise EditError(f"taking out {'.'.join(path)} would change other settings")
        return new
    return text


def same_but_for(one: str, other: str, path: Sequence[str]) -> bool:
    """Whether two JSON texts say the same apart from the member at `path` and an empty object around it."""
    return _without(_json(one), path) == _without(_json(other), path)


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text.lstrip("\ufeff") or "{}")
    except ValueError as error:
        raise EditError(f"it is no valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise EditError("it holds no JSON object")
    return value


def _without(value: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    head, *rest = path
    if head not in value:
        return value
    if not rest:
        return {key: entry for key, entry in value.items() if key != head}
    if not isinstance(value[head], dict):
        raise EditError(f"{head} is no JSON object")
    inner = _without(value[head], rest)
    kept = {key: entry for key, entry in value.items() if key != head}
    return {**kept, head: inner} if inner else kept


def _open(text: str) -> int:
    return text.index("{")


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _members(text: str, at: int) -> list[Member]:
    """The members of the object whose brace is at `at`, of a text that is valid JSON."""
    if text[at] != "{":
        raise EditError("a value on the way to our entry is no JSON object")
    found: list[Member] = []
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, after = scanstring(text, at + 1, True)
        value = _skip(text, _skip(text, after) + 1)
        _parsed, end = json.JSONDecoder().raw_decode(text, value)
        found.append(Member(key, at, value, end))
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _put(text: str, at: int, path: list[str], value: Any, depth: int) -> str:
    found = _members(text, at)
    step = _indent(text)
    for member in found:
        if member.key != path[0]:
            continue
        if len(path) > 1:
            return _put(text, member.value, path[1:], value, depth + 1)
        return text[: member.value] + _render(value, step, depth + 1) + text[member.end :]
    for key in reversed(path[1:]):
        value = {key: value}
    line = f"\n{step * (depth + 1)}" if step else ""
    entry = f"{line}{json.dumps(path[0])}:{' ' if step else ''}{_render(value, step, depth + 1)}"
    if found:
        return text[: found[-1].end] + "," + entry + text[found[-1].end :]
    close = text.index("}", at)
    return text[: at + 1] + entry + (f"\n{step * depth}" if step else "") + text[close:]


def _cut(text: str, found: list[Member], index: int) -> str:
    if index:
        return text[: found[index - 1].end] + text[found[index].end :]
    if len(found) > 1:
        return text[: found[0].start] + text[found[1].start :]
    return text[: text.rindex("{", 0, found[0].start) + 1] + text[text.index("}", found[0].end) :]


def _indent(text: str) -> str:
    """The file's step of indentation; empty for one that stands on one line."""
    match = re.search(r"\{\r?\n([ \t]+)\"", text)
    return match.group(1) if match else "" if re.search(r"\{[^\n]*\"", text) else "  "


def _render(value: Any, step: str, depth: int) -> str:
    if not step:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json.dumps(value, ensure_ascii=False, indent=step).replace("\n", "\n" + step * depth)
