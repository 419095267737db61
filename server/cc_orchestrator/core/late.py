"""The one table of modules that are loaded when they are first needed instead of at the start.

A supervisor lives as long as its worker and waits nearly all of that time: what it needs at its end only would cost each one
that memory for hours. A door or a command that reads no foreign file should not pay for its parser at every start.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

#: sqlite3 (1.5 MB): the index row at the end of a run. shutil (0.7 MB, with its compressors): trees that are taken back.
#: yaml (19 ms): scripts that are YAML. tomlkit (15 ms): the config of Codex.
#: kingfisher_sdk (0.5 s, an extra): secrets, in a verification only.
#: psutil: processes on systems without /proc. git (GitPython, 100 ms): the log of a result, for reports.
Late = Literal["sqlite3", "shutil", "yaml", "tomlkit", "psutil", "git", "kingfisher_sdk"]


def load(name: Late) -> Any:
    """The module."""
    return import_module(name)
