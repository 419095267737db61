"""The one table of modules that are loaded when they are first needed instead of at the start.

A supervisor lives as long as its worker and waits nearly all of that time: what it needs at its end only would cost each one
that memory for hours. A door or a command that reads no foreign file should not pay for its parser at every start.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any, Literal

#: Names the folder of third-party modules for a process that was started without site-packages.
PACKAGES = "CC_ORCHESTRATOR_PACKAGES"

#: sqlite3 (1.5 MB): the index row at the end of a run. shutil (0.7 MB, with its compressors): trees that are taken back.
#: yaml (19 ms): scripts that are YAML. tomlkit (15 ms): the config of Codex.
#: kingfisher_sdk (0.5 s, an extra): secrets, in a verification only.
#: cedarpy (80 ms): policies, at the first tool request of a worker.
#: psutil: processes on systems without /proc. git (GitPython, 100 ms): the log of a result, for reports.
Late = Literal["sqlite3", "shutil", "yaml", "tomlkit", "psutil", "git", "kingfisher_sdk", "cedarpy"]


def load(name: Late) -> Any:
    """The module. Raises ImportError when it is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        folder = os.environ.get(PACKAGES)
        if not folder or folder in sys.path:
            raise
    # At the end: nothing there takes the place of a module of the library.
    sys.path.append(folder)
    return import_module(name)
