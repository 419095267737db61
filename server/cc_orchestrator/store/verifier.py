"""What is kept of a person's passphrase: a salted scrypt verifier in the per-user folder, and the wrong tries, which are bounded.

The file is `approver.json`, for its user's eyes only: `{v, salt, verifier, n, r, p, since, wrong, locks, locked_until}`.

It keeps an agent from passing for a person by calling us. It does not hold against a process of the same user that reads the
terminal or the keyboard, reads our memory, or takes the file away: for that, run workers in a sandbox or as another user.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Any

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import Conflict, Corrupt, InvalidRequest, LimitReached, PolicyDenied
from cc_orchestrator.store.atomic import read_json, write_json
from cc_orchestrator.store.lock import Exclusive
from cc_orchestrator.store.paths import state_home

SHORTEST = 8
#: Wrong tries in a row until it is locked; the first lock's seconds, doubled by every further one.
TRIES, FIRST_LOCK, LONGEST_LOCK = 5, 60.0, 86_400.0
_N, _R, _P = 1 << 14, 8, 1
_HINT = "a person looks at the file and, if it was not they who changed it, asks who did"


def verifier_path(env: Mapping[str, str]) -> str:
    """Where it lies."""
    return os.path.join(state_home(env), "approver.json")


def is_enrolled(env: Mapping[str, str]) -> bool:
    """Whether this user has a passphrase. Raises Corrupt, OSError: then nobody is a person."""
    return _read(env) is not None


def enroll(env: Mapping[str, str], new: str, now: float, *, proved: bool) -> None:
    """Keep the verifier of `new`. `proved`: the old passphrase was checked just now. Raises InvalidRequest, Conflict, OSError, Busy."""
    if len(new) < SHORTEST:
        raise InvalidRequest(f"a passphrase has {SHORTEST} characters at least; nothing was changed")
    salt = os.urandom(16)
    kept = {
        "v": 1, "salt": salt.hex(), "verifier": _derive(new, salt, _N, _R, _P).hex(), "n": _N, "r": _R, "p": _P,
        "since": now, "wrong": 0, "locks": 0, "locked_until": 0.0,
    }  # fmt: skip
    os.makedirs(state_home(env), mode=0o700, exist_ok=True)
    with _locked(env):
        if not proved and _read(env) is not None:
            raise Conflict("there is a passphrase already; it is changed by who knows it")
        write_json(verifier_path(env), kept)


def check_passphrase(env: Mapping[str, str], given: str, now: float) -> None:
    """Return when it is right. PolicyDenied when it is wrong, LimitReached while locked; Corrupt, OSError, Busy.

    A try counts before it is looked at, so that killing us in between wins nothing.
    """
    with _locked(env):
        kept = _read(env)
        if kept is None:
            raise Conflict("no passphrase is enrolled", hint="a person: cc-orchestrator approvals enroll")
        if now < kept["locked_until"]:
            raise LimitReached(
                f"too many wrong passphrases: locked until {iso(kept['locked_until'])}",
                hint="wait; nothing was asked for",
            )
        kept["wrong"] += 1
        locks = kept["wrong"] >= TRIES
        if locks:
            kept["locked_until"] = now + min(FIRST_LOCK * 2.0 ** min(kept["locks"], 30), LONGEST_LOCK)
            kept["locks"] += 1
            kept["wrong"] = 0
        write_json(verifier_path(env), kept)
        try:
            derived = _derive(given, bytes.fromhex(kept["salt"]), kept["n"], kept["r"], kept["p"])
        except (ValueError, MemoryError) as error:
            raise Corrupt(f"{verifier_path(env)} holds numbers that cannot be used: {error}", hint=_HINT) from error
        if not hmac.compare_digest(derived.hex(), kept["verifier"]):
            until = f"; locked until {iso(kept['locked_until'])}" if locks else f"; {TRIES - kept['wrong']} tries left"
            raise PolicyDenied(f"that is not the passphrase{until}", hint="nothing was changed")
        write_json(verifier_path(env), {**kept, "wrong": 0, "locks": 0, "locked_until": 0.0})


def _locked(env: Mapping[str, str]) -> Exclusive:
    return Exclusive(verifier_path(env) + ".lock")


def _derive(text: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(text.encode("utf-8", "surrogateescape"), salt=salt, n=n, r=r, p=p, maxmem=1 << 27, dklen=32)


def _read(env: Mapping[str, str]) -> dict[str, Any] | None:
    kept = read_json(verifier_path(env))
    if kept is None:
        return None
    numbers = all(isinstance(kept.get(key), int | float) for key in ("n", "r", "p", "wrong", "locks", "locked_until"))
    if not numbers or not all(isinstance(kept.get(key), str) for key in ("salt", "verifier")):
        raise Corrupt(f"{verifier_path(env)} is not what was written", hint=_HINT)
    return kept
