"""Which sandbox works on this machine, found by trying it: a few milliseconds, and the answer holds for the process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache

from cc_orchestrator.host.sandbox import Backend

#: Names one backend and allows no other.
VARIABLE = "CC_ORCHESTRATOR_SANDBOX"
_SECONDS = 10.0
_ABI = 6
_CREATE_RULESET = 444
_TRIAL = (
    "--unshare-pid",
    "--unshare-net",
    "--cap-drop",
    "ALL",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    "--",
    "true",
)
_LANDLOCK_GAPS = (
    "landlock: sockets by path (docker, D-Bus) are hidden by nothing but their permissions",
    "landlock: the names of other processes can be seen (not their memory or environment, and no signal reaches them)",
    "landlock: git is read-only, so the worker cannot commit: its tree becomes the result",
)
_FIX = "apt install bubblewrap (dnf, pacman: the same name); in a container, allow user namespaces"


def find_sandbox(env: Mapping[str, str]) -> tuple[Backend | None, str]:
    """The best backend that works, or None and why."""
    return _find(env.get("PATH", os.defpath), env.get(VARIABLE, ""))


@lru_cache(maxsize=8)
def _find(path: str, only: str) -> tuple[Backend | None, str]:
    if sys.platform != "linux":
        return None, "no sandbox for this system yet: bubblewrap and Landlock are Linux"
    reasons: list[str] = []
    if only in ("", "bubblewrap"):
        backend, why = _find_bubblewrap(path)
        if backend is not None:
            return backend, ""
        reasons.append(why)
    if only in ("", "landlock"):
        abi = landlock_abi()
        if abi >= _ABI:
            return Backend("landlock", "", gaps=_LANDLOCK_GAPS), ""
        reasons.append(f"Landlock {_ABI} is needed, this kernel has {abi or 'none'}")
    return None, "; ".join(reasons) or f"{VARIABLE}={only} names no sandbox that there is"


def landlock_abi() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def user_namespace(locks: bool) -> tuple[str, ...]:
    """The flags with which bubblewrap can lock user namespaces afterwards."""
    return ("--unshare-user",) if locks else ()


def find_program(name: str, path: str) -> str | None:
    """The absolute path of a program; folders of the path that are relative do not count."""
    for folder in path.split(os.pathsep):
        full = os.path.join(folder, name)
        if os.path.isabs(folder) and os.path.isfile(full) and os.access(full, os.X_OK):
            return full
    return None


def _find_bubblewrap(path: str) -> tuple[Backend | None, str]:
    program = find_program("bwrap", path)
    if program is None:
        return None, f"bubblewrap is not installed: {_FIX}"
    said = ""
    # The second: bubblewrap before 0.8, or one that is setuid.
    for locks in (True, False):
        flags = user_namespace(locks)
        extra = ("--disable-userns",) if locks else ()
        try:
            done = subprocess.run(
                [program, *flags, *extra, *_TRIAL], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
                env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{program} could not be started: {error}"
        if done.returncode == 0:
            gaps = () if locks else ("bubblewrap: this version lets the worker make user namespaces of its own",)
            return Backend("bubblewrap", program, flags, locks, gaps), ""
        said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit {done.returncode}"])[-1]
    return None, f"{program} does not work here: {said[:200]}; {_FIX}"
