"""The one list of what can be asked, and the one door to it.

An `Operation` is a value. MCP tools, the CLI, the reference tables and the snapshots are derived from it. `invoke` is the
only way in: recursion guard → validate → handler → result within its cap, or a typed error.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from cc_orchestrator.core.errors import CcError, Internal, InvalidRequest, NotFound, PolicyDenied, Unavailable
from cc_orchestrator.core.text import cut, line
from cc_orchestrator.operations import inherited
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.guarding import Act, guard
from cc_orchestrator.operations.size import fit

Effect = Literal["read", "write", "destructive", "open_world"]


class Params(BaseModel):
    """Base of all parameter models: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False, defer_build=True)


Handler = Callable[[Context, Any], dict[str, Any]]


@dataclass(frozen=True)
class Operation:
    """One thing that can be asked. `guarded` operations are refused to a worker (recursion guard).

    `result_cap` is the most bytes of JSON that its answer may have: what is more is cut, and said to be.
    `long_texts` are parameters that the command line also takes from a file or stdin.
    `act` is what the workspace's policies know it by; "" for what they have no say in.
    """

    name: str
    summary: str
    params: type[Params]
    handler: Handler
    effect: Effect
    toolset: str
    words: tuple[str, ...]
    default_on: bool = False
    hot: bool = False
    guarded: bool = True
    aliases: tuple[str, ...] = ()
    description: str = ""
    positional: str | None = None
    result_cap: int = 8192
    search_hint: str = ""
    idempotent: bool = False
    long_texts: tuple[str, ...] = ()
    act: Act = ""

    @property
    def reads(self) -> bool:
        """Whether it only reads."""
        return self.effect == "read"


_OPERATIONS: dict[str, Operation] = {}
_ALIASES: dict[str, str] = {}


def register(op: Operation) -> Operation:
    """Add an operation; a name or alias may exist once."""
    for name in (op.name, *op.aliases):
        if name in _OPERATIONS or name in _ALIASES:
            raise ValueError(f"{name} is registered twice")
    _OPERATIONS[op.name] = op
    for alias in op.aliases:
        _ALIASES[alias] = op.name
    return op


def operations() -> Iterable[Operation]:
    """All operations in the order of registration."""
    return tuple(_OPERATIONS.values())


def find(name: str) -> Operation:
    """By name or alias, with or without the `cc_` prefix."""
    for candidate in (name, f"cc_{name}"):
        op = _OPERATIONS.get(_ALIASES.get(candidate, candidate))
        if op is not None:
            return op
    if name in inherited.NOT_YET or f"cc_{name}" in inherited.NOT_YET:
        raise NotFound(
            f"{name} is not available yet in this version", hint=f'cc_tools {{"query": "{name}"}} finds what comes near'
        )
    raise NotFound(f"there is no operation {name[:60]!a}", hint='cc_tools {"query": "…"} finds one')


def validate(op: Operation, raw: dict[str, Any]) -> Params:
    """The typed parameters, or InvalidRequest that names each wrong field."""
    if set(raw) == {"params"} and isinstance(raw["params"], dict) and "params" not in op.params.model_fields:
        raw = cast("dict[str, Any]", raw["params"])
    raw = inherited.translate(op.name, raw, set(op.params.model_fields))
    try:
        return op.params.model_validate(raw)
    except ValidationError as error:
        raise InvalidRequest(
            f"{op.name}: {_explain(op, error)}", hint=f'cc_tools {{"query": "{op.name}"}} shows its parameters'
        ) from None


def _explain(op: Operation, error: ValidationError) -> str:
    parts: list[str] = []
    unknown = False
    for item in error.errors(include_url=False, include_input=False)[:8]:
        where = cut(".".join(str(part) for part in item["loc"]), 80) or "arguments"
        unknown = unknown or (item["type"] == "extra_forbidden" and len(item["loc"]) == 1)
        parts.append(f"{where}: {'unknown field' if item['type'] == 'extra_forbidden' else cut(str(item['msg']), 240)}")
    if unknown:
        parts.append(f"known fields: {', '.join(op.params.model_fields) or 'none'}")
    return "; ".join(parts)


def tell_fields(error: ValidationError, most: int) -> str:
    """`path: message` of the first wrong fields, for settings that are no call's arguments."""
    return "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors()[:most])


def invoke(op: Operation, ctx: Context, raw: dict[str, Any]) -> dict[str, Any]:
    """Run an operation. Raises CcError only."""
    if ctx.worker_run_id and op.guarded and not op.reads:
        raise PolicyDenied(
            f"{op.name} is refused inside a worker (run {ctx.worker_run_id}): a worker starts, answers, accepts and delivers nothing",
            hint="finish the task and hand over by the final answer; the controller decides",
        )
    params = validate(op, raw)
    try:
        if op.act:
            ctx = guard(op.name, op.act, op.effect, ctx, params)
        return fit(op.handler(ctx, params), op.result_cap)
    except CcError:
        raise
    except OSError as error:
        raise _from_os(op, error) from error
    except Exception as error:
        raise Internal(f"{op.name}: {line(repr(error), 300)}", hint="report this; cc_doctor") from error


def _from_os(op: Operation, error: OSError) -> CcError:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"{op.name}: no space left on the disk{where}; nothing was recorded",
            hint="free space, then repeat the call",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Unavailable(
            f"{op.name}: not allowed to write or read{where}: {error.strerror}",
            hint="check the owner and mode of the folder",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return Unavailable(
            f"{op.name}: something else stands where a folder or file of ours must be{where}: {error.strerror}",
            hint="move it away",
        )
    return Internal(f"{op.name}: {error.strerror or error}{where}", hint="cc_doctor")
