"""Writes the generated parts of README.md, skill/references/operations.md and server/README.md; `--check` only compares.

`cc-orchestrator docs [--check] [--root DIR]`, run in a checkout.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, cast

from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.operations.registry import Operation
from cc_orchestrator.operations.schemas import params_schema
from cc_orchestrator.surfaces.docs.house import modules

BEGIN, END = "<!-- operations:begin -->", "<!-- operations:end -->"


def main(argv: list[str]) -> int:
    """0 when everything is (or now is) fresh, 1 when `--check` found something stale."""
    root = argv[argv.index("--root") + 1] if "--root" in argv else os.getcwd()
    check = "--check" in argv
    targets = {
        "README.md": table(),
        os.path.join("skill", "references", "operations.md"): reference(),
        os.path.join("server", "README.md"): modules(),
    }
    stale = [name for name, text in targets.items() if _put(os.path.join(root, name), text, check=check)]
    if stale and check:
        sys.stderr.write(f"stale: {', '.join(stale)}; run `cc-orchestrator docs`\n")
        return 1
    sys.stdout.write(f"{'fresh' if check else 'written'}: {', '.join(targets)}\n")
    return 0


def _put(path: str, text: str, *, check: bool) -> bool:
    """Whether the file differs; writes it unless `check`."""
    with open(path, encoding="utf-8") as file:
        old = file.read()
    if BEGIN not in old or END not in old:
        raise SystemExit(f"error: {path} lacks the markers {BEGIN} {END}")
    new = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: f"{BEGIN}\n{text}\n{END}", old, flags=re.DOTALL)
    if new != old and not check:
        with open(path, "w", encoding="utf-8") as file:
            file.write(new)
    return new != old


def table() -> str:
    """One row per operation."""
    rows = ["| tool | command | does | effect | listed |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| `{op.name}` | `{' '.join(op.words)}` | {op.summary} | {op.effect} | {'yes' if op.default_on else op.toolset} |"
        for op in operations()
    ]
    return "\n".join(rows)


def reference() -> str:
    """Each operation with its parameters."""
    return "\n\n".join(_section(op) for op in operations())


def _section(op: Operation) -> str:
    names = f" (also {', '.join(f'`{alias}`' for alias in op.aliases)})" if op.aliases else ""
    rows = [f"## {op.name}", "", f"{op.description or op.summary}{names} Effect: {op.effect}."]
    schema = params_schema(op)
    required = cast("list[str]", schema.get("required", []))
    fields = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
    if fields:
        rows += ["", "| parameter | type | default | |", "| --- | --- | --- | --- |"]
        rows += [_row(name, field, name in required) for name, field in fields.items()]
    return "\n".join(rows)


def _row(name: str, field: dict[str, Any], required: bool) -> str:
    default = "required" if required else f"`{field['default']}`" if "default" in field else ""
    return f"| `{name}` | {_type(field)} | {default} | {field.get('description', '')} |"


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " \\| ".join(f"`{value}`" for value in field["enum"])
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"list of {_type(field.get('items', {}))}"
    low, high = field.get("minimum", field.get("exclusiveMinimum")), field.get("maximum")
    bounds = (
        f" {low if low is not None else ''}..{high if high is not None else ''}"
        if low is not None or high is not None
        else ""
    )
    return kind + (bounds if kind in ("integer", "number") else "")
