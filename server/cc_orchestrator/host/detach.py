"""Starts a module of ours that outlives the caller: own session, no ties, no zombie, nothing on our stdio.

The interpreter that is started forks at once and its first process ends, so that the caller waits a few milliseconds and then
has no child. The caller itself never forks: it may have threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec

from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.core.late import PACKAGES

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
#: "" is the folder of the caller, a user's project: a module of its own must not be found in place of the library's.
_BOOT = (
    "import sys\n"
    "sys.path[:] = [sys.argv[1], *filter(None, sys.path)]\n"
    "import os\n"
    "if hasattr(os, 'fork') and os.fork(): os._exit(0)\n"
    "if hasattr(os, 'setsid'): os.setsid()\n"
    "import importlib\n"
    "sys.exit(importlib.import_module(sys.argv[2]).main(sys.argv[3:]))\n"
)
#: The forked parent ends within milliseconds; longer means a machine in trouble.
_START_SECONDS = 20.0


def detach_light(
    module: str, args: Sequence[str], *, cwd: str, env: Mapping[str, str], stdin_fd: int | None, pass_fds: Sequence[int],
    stderr_path: str,
) -> None:  # fmt: skip
    """Start `module.main(args)` in `env`; on Linux with the standard library only. Raises OSError, Unavailable."""
    # -S and -E: no site-packages, no PYTHON* variables; twice as fast and a third of the memory. Elsewhere psutil is needed.
    lean = ["-S"] if sys.platform == "linux" else []
    told = {**env, PACKAGES: _packages()} if lean else env
    _start([*lean, "-E", "-X", "utf8"], module, args, cwd, told, stdin_fd, pass_fds, stderr_path)


@cache
def _packages() -> str:
    """Where third-party modules lie for this interpreter: seen by the policy engine, which every installation has."""
    spec = find_spec("cedarpy")
    return (
        os.path.dirname(os.path.dirname(spec.origin))
        if spec is not None and spec.origin
        else os.environ.get(PACKAGES, "")
    )


def detach(
    module: str,
    args: Sequence[str],
    *,
    cwd: str,
    stderr_path: str,
    stdin_fd: int | None = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> None:
    """Start `module.main(args)` with all installed packages, in `env` (None: our own). Raises OSError, Unavailable."""
    _start(["-X", "utf8"], module, args, cwd, env, stdin_fd, pass_fds, stderr_path)


def _start(
    flags: list[str],
    module: str,
    args: Sequence[str],
    cwd: str,
    env: Mapping[str, str] | None,
    stdin_fd: int | None,
    pass_fds: Sequence[int],
    stderr_path: str,
) -> None:
    creation = 0
    if sys.platform == "win32":
        creation = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    log = os.open(stderr_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        child = subprocess.Popen(
            [sys.executable, *flags, "-c", _BOOT, _ROOT, module, *args], cwd=cwd, env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL if stdin_fd is None else stdin_fd, stdout=subprocess.DEVNULL, stderr=log,
            pass_fds=tuple(pass_fds), start_new_session=True, creationflags=creation,
        )  # fmt: skip
    finally:
        os.close(log)
    if sys.platform == "win32":
        # Nothing forks there: the process itself stays, and nobody has to reap it.
        child.returncode = 0
        return
    try:
        status = child.wait(_START_SECONDS)
    except subprocess.TimeoutExpired as error:
        child.kill()
        child.wait()
        raise Unavailable(f"{module} did not start within {_START_SECONDS:g} s", hint="cc_doctor") from error
    if status:
        raise Unavailable(f"{module} ended with {status} before it started; see {stderr_path}", hint="cc_doctor")


def take_stdin() -> bytes:
    """In a detached process: all of stdin, which is a file that only it has; then stdin is empty for good."""
    parts: list[bytes] = []
    while chunk := os.read(0, 1 << 20):
        parts.append(chunk)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return b"".join(parts)
