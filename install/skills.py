"""The skill in a client's skills folder: a link to ours, or a copy where links cannot be had. Never over anybody's own folder."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import Literal, NamedTuple

#: In a copied skill: the files that were copied, with their hashes, so that only those are taken away again.
LIST = ".cc-orchestrator-copy.json"


class SkillError(Exception):
    """A folder that is not ours stands in the way."""


class Move(NamedTuple):
    """What is to be done about one skill folder."""

    what: Literal["link", "unlink", "remove copy", "nothing"]
    target: str
    source: str

    def __str__(self) -> str:
        return f"{self.what}: {self.target}" + (f" -> {self.source}" if self.what == "link" else "")


def plan(target: str, source: str, uninstall: bool) -> Move:
    """What to do. Raises SkillError when something that is not ours has that name."""
    if os.path.islink(target):
        same = os.path.realpath(target) == os.path.realpath(source)
        if not same and not _ours(target):
            raise SkillError(f"{target} is a link to {os.readlink(target)}, which is not this skill: move it away")
        return Move("unlink" if uninstall else "nothing" if same else "link", target, source)
    if os.path.isdir(target):
        if not os.path.isfile(os.path.join(target, LIST)):
            raise SkillError(f"{target} exists and was not made by this installer: move it away")
        return Move("remove copy" if uninstall else "nothing" if _fresh(target, source) else "link", target, source)
    if os.path.lexists(target):
        raise SkillError(f"{target} is in the way: move it away")
    return Move("nothing" if uninstall else "link", target, source)


def do(move: Move, *, copy: bool) -> None:
    """Carry it out. Raises OSError."""
    if os.path.islink(move.target):
        os.unlink(move.target)
    elif os.path.isdir(move.target):
        _remove_copy(move.target)
    if move.what == "link":
        os.makedirs(os.path.dirname(move.target), exist_ok=True)
        if copy or not _linked(move):
            _copy(move.source, move.target)
        return
    skills = os.path.dirname(move.target)
    try:
        os.rmdir(skills)
        os.rmdir(os.path.dirname(skills))
    except OSError:
        pass  # other things live there


def _linked(move: Move) -> bool:
    try:
        os.symlink(move.source, move.target, target_is_directory=True)
    except (OSError, NotImplementedError):
        return False
    return True


def _ours(link: str) -> bool:
    """A link that leads nowhere now, or to another installation of this skill."""
    try:
        with open(os.path.join(link, "SKILL.md"), encoding="utf-8") as file:
            return "\nname: cc-orchestrator\n" in file.read(2_000)
    except OSError:
        return not os.path.exists(link) and os.path.basename(os.readlink(link)) == "skill"


def _copy(source: str, target: str) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
    with open(os.path.join(target, LIST), "w", encoding="utf-8") as file:
        json.dump(_hashes(target), file, indent=1)


def _hashes(folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path, _folders, files in os.walk(folder):
        for name in files:
            full = os.path.join(path, name)
            if name != LIST:
                with open(full, "rb") as file:
                    found[os.path.relpath(full, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def _fresh(target: str, source: str) -> bool:
    return _hashes(target) == _hashes(source)


def _remove_copy(target: str) -> None:
    """Take away what was copied and is unchanged; anything else stays, and is named."""
    with open(os.path.join(target, LIST), encoding="utf-8") as file:
        listed: dict[str, str] = json.load(file)
    now = _hashes(target)
    for name, digest in listed.items():
        if now.get(name) == digest:
            os.unlink(os.path.join(target, name))
    os.unlink(os.path.join(target, LIST))
    for path, _folders, _files in os.walk(target, topdown=False):
        try:
            os.rmdir(path)
        except OSError:
            pass
    if os.path.isdir(target):
        raise SkillError(f"{target} holds files that are not ours or were changed; they were left there")
