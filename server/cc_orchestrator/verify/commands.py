"""A user's test commands: text to argv, never a shell; what their ends mean. `host.command` runs them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import line
from cc_orchestrator.host.command import Command

MAX_COMMANDS = 20
_SHELL_WORDS = frozenset({"&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def parse_commands(texts: Sequence[str]) -> list[Command]:
    """Split each into argv. InvalidRequest for what only a shell would understand."""
    return [_parse(text) for text in texts]


def _parse(text: str) -> Command:
    shown = line(mask_text(text), 400)
    try:
        argv = tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidRequest(f"test command {shown!a} cannot be split: {error}", hint="balance its quotes") from None
    if not argv or not argv[0] or "\0" in text:
        raise InvalidRequest("a test command is empty or holds a NUL", hint='test_commands=["pytest -q"]')
    if found := next((word for word in argv if word in _SHELL_WORDS), None):
        raise InvalidRequest(
            f"test command {shown!a} holds {found!r}, but no shell reads it",
            hint="one string for each command, or spell the shell out: bash -c '…'",
        )
    if _ASSIGNMENT.match(argv[0]):
        raise InvalidRequest(f"test command {shown!a} begins with an assignment", hint=f"env {shown}")
    return Command(shown, argv)


def is_repeatable(command: Command) -> bool:
    """Whether what is shown says all: nothing masked, cut or respaced. Pure."""
    try:
        return tuple(shlex.split(command.shown)) == command.argv
    except ValueError:
        return False
