"""Which sandbox works on this machine, found by trying it: a few milliseconds, and the answer holds for the process."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.machinery import PathFinder

from cc_orchestrator.host.sandbox import Backend, inside_command
from cc_orchestrator.host.scratch import ScratchFolder, temp_root

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
#: Of whatever holds by rules and not by mounts.
_GAPS = (
    "sockets by path (docker, D-Bus) are hidden by nothing but their permissions",
    "the names of other processes can be seen (not their memory or environment, and no signal reaches them)",
    "user namespaces can be made inside; the rules hold in them too",
    "modes and times of the user's own files can be changed outside, never their text",
    "the link .git of its own tree can be replaced",
    "git is read-only, so the worker cannot commit: its tree becomes the result",
)
#: Seatbelt is set up by nono as its authors made it; the rest of what a worker is promised was never tried on macOS.
_GAPS_MACOS = (
    "sockets by path and services of the system (launchd, keychain) are hidden by nothing but their permissions",
    "other processes can be seen, and signals may reach them",
    "the link .git of its own tree can be replaced",
    "git is read-only, so the worker cannot commit: its tree becomes the result",
    "Seatbelt is untested by us: each start tries that a closed file cannot be read or written, no more",
)
_FIX = "apt install bubblewrap (dnf, pacman: the same name); in a container, allow user namespaces"


def find_sandbox(env: Mapping[str, str]) -> tuple[Backend | None, str]:
    """The best backend that works, or None and why."""
    return _find(env.get("PATH", os.defpath), env.get(VARIABLE, ""))


@lru_cache(maxsize=8)
def _find(path: str, only: str) -> tuple[Backend | None, str]:
    if sys.platform not in ("linux", "darwin"):
        return None, "no sandbox for this system yet: bubblewrap and Landlock are Linux, Seatbelt is macOS"
    reasons: list[str] = []
    if only in ("", "bubblewrap") and sys.platform == "linux":
        backend, why = _find_bubblewrap(path)
        if backend is not None:
            return backend, ""
        reasons.append(why)
    if only in ("", "nono"):
        backend, why = _find_nono()
        if backend is not None:
            return backend, ""
        reasons.append(why)
    if only in ("", "landlock") and sys.platform == "linux":
        abi = landlock_abi()
        if abi >= _ABI:
            return Backend("landlock", "", gaps=tuple(f"landlock: {gap}" for gap in _GAPS)), ""
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


def _find_nono() -> tuple[Backend | None, str]:
    """nono is an extra. It is never imported here: a child takes its rules and tries them."""
    here = os.path.realpath(os.getcwd())
    # Not from the folder we were started in: that may be the project of somebody else.
    places = [path for path in sys.path if os.path.isabs(path) and os.path.realpath(path) != here]
    spec = PathFinder.find_spec("nono_py", places)
    if spec is None or not spec.submodule_search_locations:
        return None, "nono is not installed: pip install 'cc-orchestrator[nono]'"
    package = os.path.realpath(next(iter(spec.submodule_search_locations)))
    try:
        why = _try_nono(package)
    except (OSError, subprocess.TimeoutExpired) as error:
        why = str(error)
    if why:
        return None, f"nono does not work here: {why[:200]}"
    gaps = _GAPS_MACOS if sys.platform == "darwin" else _GAPS
    return Backend("nono", package, gaps=tuple(f"nono: {gap}" for gap in gaps)), ""


def _try_nono(package: str) -> str:
    """Why its rules do not hold; empty when an open folder can be written, and a closed one neither read nor written."""
    with ScratchFolder(os.path.realpath(temp_root()), "cc-nono-") as folder:
        opened, closed = os.path.join(folder, "open"), os.path.join(folder, "closed")
        for path in (opened, closed):
            os.mkdir(path)
        with open(os.path.join(closed, "secret"), "w", encoding="ascii") as file:
            file.write("secret")
        config = {"package": package, "closed": [folder, "/dev"], "read": [], "write": [opened]}
        tries = 'echo x > "$1/made" || exit 3; cat "$2/secret" && exit 4; echo x > "$2/made" && exit 5; exit 0'
        argv = ("/bin/sh", "-c", f"({tries}) 2>/dev/null >&2", "sh", opened, closed)
        done = subprocess.run(
            inside_command("nono", json.dumps(config), argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS,
            check=False, cwd=opened, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        leaked = os.path.exists(os.path.join(closed, "made"))
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode or leaked:
        return said or ("a closed folder was open" if leaked else f"its trial ended with {done.returncode}")
    return ""
