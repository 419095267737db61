"""What tests of the sandbox need of the machine: in CI its absence is a failure, elsewhere an open skip."""

from __future__ import annotations

import os

import pytest

from cc_orchestrator.host.sandbox_find import VARIABLE, find_sandbox
from kit import clis

LANDLOCK = {VARIABLE: "landlock"}
NONO = {VARIABLE: "nono"}


def need(backend: str) -> None:
    """Go on only where this backend works."""
    found, why = find_sandbox({"PATH": os.environ.get("PATH", os.defpath), VARIABLE: backend})
    if found is None and clis.IN_CI and (backend == "bubblewrap" or "not installed" in why):
        pytest.fail(f"in CI {backend} must be there: {why}", pytrace=False)
    if found is None:
        pytest.skip(f"no {backend}: {why}")
