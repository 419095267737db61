"""The schemas that clients see are those that were last looked at."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def load() -> ModuleType:
    path = Path(__file__).parent / "snapshots.py"
    spec = importlib.util.spec_from_file_location("surface_snapshots", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


snapshots = load()


@pytest.mark.parametrize("name", sorted(snapshots.collect()))
def test_what_clients_see_is_what_was_agreed(name: str) -> None:
    kept = (snapshots.FOLDER / name).read_text(encoding="utf-8")
    assert kept == snapshots.render(snapshots.collect()[name]), f"after a wanted change run: {snapshots.COMMAND}"


def test_no_snapshot_is_left_over() -> None:
    assert {path.name for path in snapshots.FOLDER.iterdir()} == set(snapshots.collect())
