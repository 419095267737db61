"""Finds `skill/` and `prompt_pack/` in a checkout or in an installed wheel; they are never copied."""

from __future__ import annotations

import os

from cc_orchestrator.core.errors import Unavailable

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def asset_folder(name: str) -> str:
    """The folder `skill` or `prompt_pack`; Unavailable when the installation lacks it."""
    for candidate in (os.path.join(_PACKAGE, "_assets", name), os.path.join(_PACKAGE, "..", "..", name)):
        if os.path.isdir(candidate):
            return os.path.realpath(candidate)
    raise Unavailable(f"the folder {name} is missing from this installation", hint="install cc-orchestrator again")
