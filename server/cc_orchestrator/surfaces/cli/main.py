"""The command line: parse, invoke, print, and an exit status from the error tree."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import Any

from cc_orchestrator.core.errors import CcError, InvalidRequest
from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import find, invoke
from cc_orchestrator.surfaces.cli.parser import arguments, build_parser
from cc_orchestrator.surfaces.cli.render import render
from cc_orchestrator.surfaces.cli.terminal import Terminal
from cc_orchestrator.surfaces.docs import reference

_COMPLETION = {
    "bash": 'complete -W "{words}" cc-orchestrator\n',
    "zsh": "#compdef cc-orchestrator\n_arguments '1: :({words})'\n",
}


def main(argv: list[str]) -> int:
    """Run one command; the exit status. 0 well done, 1 an answer that says `ok: false`, others by the error tree."""
    if argv[:1] == ["docs"]:
        return reference.main(argv[1:])
    if argv[:1] == ["completion"]:
        return _completion(argv[1:])
    as_json = "--json" in argv
    try:
        answer = _run(argv)
    except CcError as error:
        _fail(error, as_json=as_json)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    _print(json.dumps(answer, ensure_ascii=False, default=str) if as_json else render(answer))
    return 1 if answer.get("ok") is False else 0


def _run(argv: list[str]) -> dict[str, Any]:
    given = build_parser().parse_args(argv)
    op = find(given._op)
    terminal = Terminal()
    ctx = replace(Context.here("cli"), terminal=terminal)
    if given.directory:
        ctx = replace(ctx, cwd=_directory(given.directory))
    answer = invoke(op, ctx, arguments(op, given))
    return {**answer, "notes": terminal.notes} if terminal.notes else answer


def _directory(text: str) -> str:
    path = os.path.abspath(text)
    if not os.path.isdir(path):
        raise InvalidRequest(f"-C {path} is not a folder")
    return path


def _fail(error: CcError, *, as_json: bool) -> None:
    if as_json:
        _print(json.dumps({"error": error.to_dict()}, ensure_ascii=False))
        return
    sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))


def _print(text: str) -> None:
    try:
        # Halves of surrogate pairs in a worker's text cannot be written.
        sys.stdout.write(text.encode("utf-8", "replace").decode("utf-8") + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # `| head` went away: not our failure; keep Python from failing once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _completion(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0] not in _COMPLETION:
        sys.stderr.write("error: usage: cc-orchestrator completion bash|zsh\n")
        return 2
    words: Any = " ".join(sorted({" ".join(op.words) for op in operations()} | {"engine", "mcp"}))
    _print(_COMPLETION[argv[0]].format(words=words).rstrip("\n"))
    return 0
