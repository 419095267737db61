"""The key that seals what a door asked its client, so that a door that was started anew still knows it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cc_orchestrator.store import atomic
from cc_orchestrator.store.paths import state_home

_BYTES = 32


def request_state_key(env: Mapping[str, str]) -> bytes | None:
    """32 bytes of this user, made at first use; None when they can be neither read nor kept."""
    path = os.path.join(state_home(env), "request-state.key")
    try:
        found = _read(path)
        if found is None:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            atomic.write_bytes(path, os.urandom(_BYTES))
            # Of two doors that made one, the later write is the key of both.
            found = _read(path)
        return found
    except OSError:
        return None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            data = file.read(_BYTES + 1)
    except FileNotFoundError:
        return None
    return data if len(data) == _BYTES else None
