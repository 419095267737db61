"""Files that are either old or new, never half: temp + fsync + rename + fsync of the folder."""

from __future__ import annotations

import json
import os
from typing import Any, cast

from cc_orchestrator.core.errors import Corrupt


def write_bytes(path: str, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` by `data`. `durable=False` skips both fsyncs, for caches that can be rebuilt. Raises OSError."""
    folder = os.path.dirname(path)
    temp = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temp, path)
    except OSError:
        try:
            os.unlink(temp)
        except OSError:
            pass
        raise
    if durable:
        sync_folder(folder)


def write_json(path: str, value: Any, *, durable: bool = True, indent: int | None = 2) -> None:
    """Replace `path` by `value` as JSON, UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=None if indent else (",", ":"))
    write_bytes(path, text.encode("utf-8", "replace") + b"\n", durable=durable)


def write_text(path: str, text: str, *, durable: bool = False) -> None:
    """Replace `path` by `text`."""
    write_bytes(path, text.encode("utf-8", "replace"), durable=durable)


def read_json(path: str) -> dict[str, Any] | None:
    """The object in `path`; None when there is no such file; Corrupt when it is no JSON object."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{path} is not JSON: {error}", hint="the journal beside it is the truth; cc_doctor") from error
    if not isinstance(value, dict):
        raise Corrupt(f"{path} holds no JSON object", hint="the journal beside it is the truth; cc_doctor")
    return cast("dict[str, Any]", value)


def sync_folder(folder: str) -> None:
    """Make a rename durable; where folders cannot be opened (Windows) there is nothing to do."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)
