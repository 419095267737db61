"""A parameter model as the smallest JSON Schema that still says all: what an agent reads, it pays for."""

from __future__ import annotations

from typing import Any, cast

from cc_orchestrator.operations.registry import Operation

_cache: dict[str, dict[str, Any]] = {}


def params_schema(op: Operation) -> dict[str, Any]:
    """JSON Schema of the flat arguments: no titles, no nulls for "may be left out", references resolved."""
    found = _cache.get(op.name)
    if found is None:
        raw = op.params.model_json_schema()
        found = _cache[op.name] = _slim(raw, cast("dict[str, Any]", raw.get("$defs", {})), top=True)
    return found


def _slim(node: Any, defs: dict[str, Any], *, top: bool = False) -> Any:
    if isinstance(node, list):
        return [_slim(entry, defs) for entry in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    raw = cast("dict[str, Any]", node)
    if "$ref" in raw:
        target = cast("dict[str, Any]", defs[str(raw["$ref"]).rpartition("/")[2]])
        return _slim({**target, **{key: value for key, value in raw.items() if key != "$ref"}}, defs)
    out: dict[str, Any] = {}
    for key, value in raw.items():
        if key in ("title", "$defs") or (key == "default" and value in (None, "", [], {})):
            continue
        if key == "description" and (top or "properties" in raw):
            continue
        if key == "additionalProperties" and value is True:
            continue
        if key == "properties":
            out[key] = {name: _slim(entry, defs) for name, entry in cast("dict[str, Any]", value).items()}
        else:
            out[key] = _slim(value, defs)
    return _without_null(out)


def _without_null(node: dict[str, Any]) -> dict[str, Any]:
    """`anyOf: [X, null]` is X: leaving the field out means the same."""
    options = node.get("anyOf")
    if not isinstance(options, list):
        return node
    real = [option for option in cast("list[dict[str, Any]]", options) if option != {"type": "null"}]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    return {**real[0], **rest} if len(real) == 1 else {**rest, "anyOf": real}
