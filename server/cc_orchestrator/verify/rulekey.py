"""Where a project keeps its rules, their bytes, and the digests by which a verdict expires when they change."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from cc_orchestrator.core.errors import Corrupt
from cc_orchestrator.store.paths import Workspace

NAME = "verify.yaml"
MAX_FILE = 256_000
_MAX_HOLDOUT = 16_000_000


def rule_path(workspace: Workspace) -> str:
    """The project's rule file, there or not."""
    return workspace.at("policies", NAME)


def holdout_folder(workspace: Workspace) -> str:
    """Where a project keeps what hold-out commands need; no part of any worker's tree."""
    return workspace.at("policies", "holdout")


def read_rule_file(workspace: Workspace) -> bytes | None:
    """Its bytes, None where there is none. Raises Corrupt."""
    path = rule_path(workspace)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Corrupt(f"the rules {path} cannot be read: {error.strerror}", hint="mend or remove the file") from error
    if len(data) > MAX_FILE:
        raise Corrupt(f"the rules {path} are over {MAX_FILE} bytes", hint="mend or remove the file")
    return data


def digest_asked(asked: dict[str, Any]) -> str | None:
    """One digest for what a caller asked for: no hold-out check is told by it."""
    return hashlib.sha256(repr(sorted(asked.items())).encode("utf-8", "surrogatepass")).hexdigest() if asked else None


def rules_key(workspace: Workspace, asked: str | None) -> dict[str, Any]:
    """What decides beside scope and commands. `asked` is a `digest_asked`."""
    try:
        data = read_rule_file(workspace)
    except Corrupt:
        data = b"unreadable"
    file = None if data is None else hashlib.sha256(data).hexdigest()
    return {"file": file, "asked": asked, "holdout": _digest_folder(holdout_folder(workspace))}


def _digest_folder(folder: str) -> str | None:
    """Over names and contents; None where there is none."""
    digest = hashlib.sha256()
    count = 0
    for here, names, files in os.walk(folder):
        names.sort()
        for name in sorted(files):
            path = os.path.join(here, name)
            if path.endswith(".pyc"):
                continue
            digest.update(os.path.relpath(path, folder).encode("utf-8", "surrogateescape") + b"\0")
            try:
                with open(path, "rb") as file:
                    digest.update(hashlib.sha256(file.read(_MAX_HOLDOUT)).digest())
            except OSError:
                digest.update(b"unreadable")
            count += 1
    return digest.hexdigest() if count else None
