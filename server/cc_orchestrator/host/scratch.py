"""Temporary folders without the standard library's tempfile, which brings a supervisor what it does not need."""

from __future__ import annotations

import os
from types import TracebackType

from cc_orchestrator.core.late import load

#: What is made in it is 0700 and has a random name.
_USUAL = os.path.join(os.sep, "tmp")


def temp_root() -> str:
    """The folder for temporary files, by the usual variables; /tmp, else the current folder."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        path = os.environ.get(name)
        if path and os.path.isdir(path):
            return os.path.abspath(path)
    return _USUAL if os.path.isdir(_USUAL) else os.getcwd()


class ScratchFolder:
    """`with ScratchFolder(parent, prefix) as path: …`: a private folder, removed with all that is in it. Raises OSError."""

    def __init__(self, parent: str, prefix: str) -> None:
        self.path = os.path.join(parent, f"{prefix}{os.urandom(8).hex()}")

    def __enter__(self) -> str:
        os.mkdir(self.path, 0o700)
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        load("shutil").rmtree(self.path, ignore_errors=True)
