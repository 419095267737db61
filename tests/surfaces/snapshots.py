"""What clients see, kept as files so that a change of it is seen in review. `python tests/surfaces/snapshots.py` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cc_orchestrator.operations.catalog import listed, operations
from cc_orchestrator.operations.schemas import params_schema
from cc_orchestrator.surfaces.mcp.instructions import INSTRUCTIONS
from cc_orchestrator.surfaces.mcp.server import describe

FOLDER = Path(__file__).parent / "snapshots"
COMMAND = "python tests/surfaces/snapshots.py"


def collect() -> dict[str, Any]:
    """File name -> what is in it."""
    return {
        "operations.json": {op.name: _operation(op) for op in operations()},
        "tools.json": [
            describe(op).model_dump(by_alias=True, exclude_none=True, mode="json") for op in listed(frozenset())
        ],
        "instructions.json": INSTRUCTIONS.splitlines(),
    }


def _operation(op: Any) -> dict[str, Any]:
    return {
        "command": " ".join(op.words), "aliases": list(op.aliases), "effect": op.effect, "toolset": op.toolset,
        "listed": op.default_on, "result_cap": op.result_cap, "parameters": params_schema(op),
    }  # fmt: skip


def render(value: Any) -> str:
    """As it stands in the file."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write all."""
    FOLDER.mkdir(exist_ok=True)
    for name, value in collect().items():
        (FOLDER / name).write_text(render(value), encoding="utf-8")


if __name__ == "__main__":
    main()
