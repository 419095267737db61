"""Small bounded questions to the machine: a program's version, whether bytecode is used. Starts nothing that outlives the call."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence


def ask(argv: Sequence[str], *, env: Mapping[str, str], timeout: float = 15.0) -> tuple[bool, str]:
    """`(exit 0, first line of its output)` of a short command; a sentence instead of the line when it cannot run."""
    try:
        done = subprocess.run(
            list(argv), env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        return False, "not found"
    except subprocess.TimeoutExpired:
        return False, f"no answer in {timeout:g} s"
    except OSError as error:
        return False, error.strerror or str(error)
    text = (done.stdout or done.stderr).decode("utf-8", "replace").strip()
    return done.returncode == 0, text.splitlines()[0][:200] if text else f"exit {done.returncode}"


def has_bytecode(module: str) -> bool:
    """Whether compiled bytecode of `module` lies beside it, so that starts do not compile anew."""
    spec = importlib.util.find_spec(module)
    return bool(spec and spec.cached and os.path.exists(spec.cached))


def writes_bytecode() -> bool:
    """False when PYTHONDONTWRITEBYTECODE (or -B) keeps Python from caching."""
    return not sys.dont_write_bytecode
