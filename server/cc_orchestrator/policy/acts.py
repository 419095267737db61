"""What one tool call would do, as acts that a policy can judge: an action and what it is done to. Pure."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

#: `code`: a program text that is given on the spot. `history`: git acts that rewrite or drop what is there. `publish`: reaches others.
Action = Literal[
    "read", "write", "delete", "execute", "code", "network", "commit", "history", "publish", "install", "signal", "privilege",
    "orchestrate", "delegate", "question", "other",
]  # fmt: skip
ACTIONS: tuple[Action, ...] = (
    "read", "write", "delete", "execute", "code", "network", "commit", "history", "publish", "install", "signal", "privilege",
    "orchestrate", "delegate", "question", "other",
)  # fmt: skip


class Act(NamedTuple):
    """One act. `path` for read, write, delete (relative ones count from each of `bases`); `host` for network; else `program`.

    `own`: a signal to a job of its own shell.
    """

    action: Action
    program: str = ""
    path: str = ""
    host: str = ""
    bases: tuple[str, ...] = ()
    own: bool = False


class Told(NamedTuple):
    """All acts of a call; `untold` says what of it cannot be known beforehand, "" when all is."""

    acts: tuple[Act, ...]
    untold: str = ""


_HOST = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*)://([^\s/'\"<>|;&)]+)")
_SCP = re.compile(r"^(?:[\w.-]+@)?([\w.-]+):(?!//)")


def normalise_host(text: str) -> str:
    """`Example.COM.:443` → `example.com`: lower case, without user, port and last dot; numbers as dotted quads. "" for none."""
    name = text.rpartition("@")[2].strip().strip("[]").lower()
    if name.count(":") == 1:
        name = name.partition(":")[0]
    name = name.rstrip(".")
    if re.fullmatch(r"0x[0-9a-f]{1,8}|[0-9]{1,10}", name):
        number = int(name, 0) if name.startswith("0x") or not name.startswith("0") or name == "0" else int(name, 8)
        if number <= 0xFFFFFFFF:
            return ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    try:
        return name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        return name


def hosts_in(text: str) -> list[str]:
    """Hosts of all URLs in a text."""
    return [host for found in _HOST.findall(text) if (host := normalise_host(found))]


def host_of_word(word: str) -> str:
    """The host that a word names: a URL, `user@host:path`, or a bare name with a dot; "" when it names none."""
    if "://" in word:
        return normalise_host(re.split(r"[/?#\\]", word.partition("://")[2], maxsplit=1)[0]) or "?"
    found = _SCP.match(word)
    if found:
        return normalise_host(found[1])
    bare = word.partition("/")[0]
    return normalise_host(bare) if re.fullmatch(r"(?:[\w-]+\.)+[\w-]+(?::\d+)?|localhost(?::\d+)?", bare) else ""
