"""What is wrong with policy files, with the line of each policy. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core.late import load
from cc_orchestrator.core.text import line
from cc_orchestrator.policy.engine import Source


class Problem(NamedTuple):
    """One mistake."""

    file: str
    line: int
    message: str


class _Statement(NamedTuple):
    text: str
    line: int


def find_problems(sources: Sequence[Source], schema: str) -> list[Problem]:
    """All mistakes: each policy is parsed and checked by itself, so that one does not hide the others."""
    cedar: Any = load("cedarpy")
    found: list[Problem] = []
    names: dict[str, str] = {}
    for source in sources:
        for statement in split_policies(source.text):
            checked = cedar.validate_policies(statement.text, schema)
            found += [Problem(source.name, statement.line, _plain(str(error.error))) for error in checked.errors]
            named = re.search(r'@id\("([^"]*)"\)', statement.text)
            if named is None:
                continue
            if named[1] in names:
                found.append(
                    Problem(source.name, statement.line, f"the id {named[1]} is used in {names[named[1]]} already")
                )
            names[named[1]] = f"{source.name} line {statement.line}"
    return list(dict.fromkeys(found))


def _plain(text: str) -> str:
    return line(re.sub(r"for policy `policy\d+`, ", "", text), 300)


def split_policies(text: str) -> list[_Statement]:
    """Policies one by one, each with the line it begins in; comments and strings are heeded."""
    found: list[_Statement] = []
    start, at, row, first = 0, 0, 1, 0
    while at < len(text):
        char = text[at]
        if char == "\n":
            row += 1
        elif text.startswith("//", at):
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        elif char == '"':
            at = _end_of_string(text, at)
        elif char == ";":
            found.append(_Statement(text[start : at + 1], first or row))
            start, first = at + 1, 0
        if not first and not char.isspace() and char != ";":
            first = row
        at += 1
    if first:
        found.append(_Statement(text[start:], first))
    return found


def _end_of_string(text: str, at: int) -> int:
    at += 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at
