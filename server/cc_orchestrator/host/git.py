"""Plain `git` by argv: bounded, without prompts, pagers, hooks' surprises or the caller's GIT_* variables.

Never stashes, resets or cleans. Standard library only, because supervisors use it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from cc_orchestrator.core.errors import Unavailable

_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "LC_ALL": "C.UTF-8",
}
_IDENTITY = {
    "GIT_AUTHOR_NAME": "cc-orchestrator",
    "GIT_AUTHOR_EMAIL": "cc-orchestrator@localhost",
    "GIT_COMMITTER_NAME": "cc-orchestrator",
    "GIT_COMMITTER_EMAIL": "cc-orchestrator@localhost",
}


class GitError(Exception):
    """A git command failed: `argv` (without git), `status`, `stderr` (cut)."""

    def __init__(self, argv: Sequence[str], status: int, stderr: str) -> None:
        super().__init__(f"git {' '.join(argv[:4])}: {stderr.strip()[:400] or f'exit {status}'}")
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr


class Git:
    """Runs git in one folder. `as_orchestrator` makes commits carry our name, unsigned and without hooks."""

    def __init__(self, cwd: str, *, env: Mapping[str, str] | None = None, as_orchestrator: bool = False) -> None:
        self.cwd = cwd
        base = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        self._env = {**base, **_QUIET, **(_IDENTITY if as_orchestrator else {}), **(env or {})}
        self._config: tuple[str, ...] = (
            ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgSign=false", "-c", "gc.auto=0")
            if as_orchestrator
            else ()
        )

    def try_run(
        self, *args: str, input: bytes | None = None, timeout: float = 30.0, env: Mapping[str, str] | None = None,
        source: str | None = None,
    ) -> tuple[int, bytes, str]:  # fmt: skip
        """`(exit status, stdout, stderr)`; `source` is a file for stdin. Raises Unavailable: no git, over its time; OSError."""
        if source is None:
            return self._start(args, input, subprocess.DEVNULL if input is None else None, timeout, env)
        with open(source, "rb") as file:
            return self._start(args, None, file.fileno(), timeout, env)

    def _start(
        self, args: Sequence[str], input: bytes | None, stdin: int | None, timeout: float, env: Mapping[str, str] | None
    ) -> tuple[int, bytes, str]:
        argv = ["git", "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", *self._config, *args]
        try:
            done = subprocess.run(
                argv, cwd=self.cwd, env={**self._env, **(env or {})}, capture_output=True, timeout=timeout,
                check=False, input=input, stdin=stdin,
            )  # fmt: skip
        except FileNotFoundError as error:
            if os.path.isdir(self.cwd):
                raise Unavailable("git is not on PATH", hint="install git >= 2.38") from error
            raise Unavailable(f"the folder {self.cwd} does not exist") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"git {' '.join(args[:3])} took longer than {timeout:g} s in {self.cwd}") from error
        return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")

    def run(
        self, *args: str, input: bytes | None = None, timeout: float = 30.0, env: Mapping[str, str] | None = None,
        source: str | None = None,
    ) -> bytes:  # fmt: skip
        """stdout; raises GitError on a non-zero exit."""
        status, out, err = self.try_run(*args, input=input, timeout=timeout, env=env, source=source)
        if status:
            raise GitError(args, status, err)
        return out

    def text(
        self, *args: str, input: bytes | None = None, timeout: float = 30.0, env: Mapping[str, str] | None = None
    ) -> str:
        """stdout as text, stripped."""
        return self.run(*args, input=input, timeout=timeout, env=env).decode("utf-8", "replace").strip()
