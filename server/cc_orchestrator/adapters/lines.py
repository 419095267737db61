"""Lines of JSON from a worker, read with suspicion: what has the wrong type is as if it were not there.

Texts for facts are cleaned and cut here, so that no adapter forgets. Pure; never raises on any bytes.
"""

from __future__ import annotations

import json
from typing import Any, cast

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from cc_orchestrator.core.text import clean, cut, line

Object = dict[str, Any]

MESSAGE_BYTES = 4_000
RESULT_BYTES = 8_000
#: What an ending keeps of the worker's final text; the run cuts it further.
FINAL_BYTES = 80_000
TARGET_BYTES = 400
_UNPARSED_BYTES = 300
_MAX_PATHS = 50


def read_object(data: bytes) -> Object | None:
    """The JSON object of a line, or None."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast("Object", value) if isinstance(value, dict) else None


def unparsed(data: bytes) -> Fact:
    """The fact of a stdout line that is no message."""
    return Fact(ev.SYSTEM_UNPARSED, {"text": shown(data, _UNPARSED_BYTES), "bytes": len(data)})


def stderr(data: bytes) -> Fact:
    """The fact of a stderr line."""
    return Fact(ev.SYSTEM_STDERR, {"text": shown(data, _UNPARSED_BYTES)})


def shown(data: bytes, max_bytes: int) -> str:
    """Bytes as one safe line."""
    return line(data[: max_bytes * 8].decode("utf-8", "replace"), max_bytes)


def text_at(value: Object, key: str) -> str:
    """A string, or an empty one."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def object_at(value: Object, key: str) -> Object:
    """An object, or an empty one."""
    found = value.get(key)
    return cast("Object", found) if isinstance(found, dict) else {}


def number_at(value: Object, key: str) -> float | int | None:
    """A finite, non-negative number, or None."""
    found = value.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return found if 0 <= found < 1e18 else None


def texts_at(value: Object, key: str) -> tuple[str, ...]:
    """The strings of a list, the first fifty."""
    found = value.get(key)
    if not isinstance(found, list):
        return ()
    return tuple(item for item in cast("list[Any]", found)[:_MAX_PATHS] if isinstance(item, str))


def message(text: str) -> Fact:
    """The fact of something said."""
    return Fact(ev.RUN_MESSAGE, {"text": cut(clean(text), MESSAGE_BYTES), "chars": len(text)})


def result(text: str, *, is_error: bool, index: int, reason: str | None = None, turns: int | None = None) -> Fact:
    """The fact of a result."""
    data: Object = {"text": cut(clean(text), RESULT_BYTES), "is_error": is_error, "index": index}
    if reason:
        data["reason"] = reason
    if turns is not None:
        data["turns"] = turns
    return Fact(ev.RUN_RESULT, data)


def tool_started(
    call_id: str, tool: str, kind: str, target: str, *, paths: tuple[str, ...] = (), parent: str = "", deadline_s: float | None = None,
) -> Fact:  # fmt: skip
    """The fact of a tool call's begin. `deadline_s`: after so many seconds the CLI itself ends the call."""
    data: Object = {"id": call_id, "tool": line(tool, 100), "kind": kind, "target": line(target, TARGET_BYTES)}
    if paths:
        data["paths"] = [cut(clean(path), TARGET_BYTES) for path in paths]
    if parent:
        data["parent"] = parent
    if deadline_s is not None:
        data["deadline_s"] = deadline_s
    return Fact(ev.TOOL_STARTED, data)


def tool_finished(call_id: str, *, ok: bool, note: str = "") -> Fact:
    """The fact of a tool call's end."""
    data: Object = {"id": call_id, "ok": ok}
    if note:
        data["note"] = line(note, TARGET_BYTES)
    return Fact(ev.TOOL_FINISHED, data)
