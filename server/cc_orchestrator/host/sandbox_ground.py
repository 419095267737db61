"""Makes ready what one sandbox needs on disk: private folders, the branch's private copy, the task's CLI home; and takes it away."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.late import load
from cc_orchestrator.host.bell import runtime_folder
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.process import SpawnError
from cc_orchestrator.host.sandbox import GitPaths, Ground, SandboxError
from cc_orchestrator.host.tree import HELPER

_PROXY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sandbox_proxy.py")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_HEX = frozenset("0123456789abcdef")
_MOST_COPY = 16_000_000


def look(path: str) -> Literal["dir", "file", ""]:
    """What is there. A link counts as what it leads to only where it leads nowhere else, so as nothing."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    return "dir" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) or stat.S_ISSOCK(mode) else ""


def is_root() -> bool:
    """Whether we run as the system's administrator."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def needed_paths(executable: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Folders that the command itself needs to be readable: its program's, ours, the interpreter's, those of PATH."""
    real = os.path.realpath(executable)
    found = [sys.prefix, sys.base_prefix, _PACKAGE, os.path.dirname(os.path.abspath(executable)), os.path.dirname(real)]
    head, mark, _tail = real.partition(f"{os.sep}node_modules{os.sep}")
    if mark:
        found.append(head + mark.rstrip(os.sep))
    found += [path for path in env.get("PATH", "").split(os.pathsep) if os.path.isabs(path)]
    return tuple(dict.fromkeys(os.path.realpath(path) for path in found))


def hidden_by_environment(env: Mapping[str, str]) -> tuple[str, ...]:
    """Folders that the user's own variables name: configuration, state, sockets, temporary files."""
    names = (
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "XDG_RUNTIME_DIR",
        "TMPDIR",
        "TEMP",
        "TMP",
    )
    found = [env.get(name, "") for name in names]
    try:
        found.append(runtime_folder())
    except (OSError, CcError):
        pass
    return tuple(dict.fromkeys(os.path.realpath(path) for path in found if os.path.isabs(path) and os.path.isdir(path)))


def git_paths(tree: str, branch: str | None) -> GitPaths:
    """The folders of git for a worktree (or a checkout that is only read), without asking git. Raises SandboxError."""
    admin = os.path.join(tree, ".git")
    try:
        if os.path.isfile(admin):
            with open(admin, encoding="utf-8", errors="surrogateescape") as file:
                admin = os.path.realpath(os.path.join(tree, file.read().partition("gitdir:")[2].strip()))
        common = admin
        if os.path.isfile(os.path.join(admin, "commondir")):
            with open(os.path.join(admin, "commondir"), encoding="utf-8", errors="surrogateescape") as file:
                common = os.path.realpath(os.path.join(admin, file.read().strip()))
    except OSError as error:
        raise SandboxError(f"where git's files are cannot be read: {error}") from error
    folder, name = os.path.split(os.path.join("refs", "heads", branch or "cc/none"))
    return GitPaths(common, admin, os.path.join(common, folder), os.path.join(common, "logs", folder), name)


def prepare(ground: Ground, copies: Sequence[str]) -> None:
    """Make the private folders. `copies`: files of the user's home that the private home begins with. Raises OSError, GitError."""
    for name in ("home", "tmp", "heads", "logs"):
        os.makedirs(os.path.join(ground.private, name), mode=0o700, exist_ok=True)
    for path in copies:
        _copy(path, os.path.join(ground.private, "home", os.path.relpath(path, ground.home)))
    if ground.cli is not None:
        os.makedirs(ground.cli.store, mode=0o700, exist_ok=True)
    if ground.git is not None and ground.may_write:
        _prepare_git(ground, ground.git)


def _prepare_git(ground: Ground, git: GitPaths) -> None:
    for name in ("pack", "info"):
        os.makedirs(os.path.join(git.common, "objects", name), exist_ok=True)
    os.makedirs(git.heads, exist_ok=True)
    if os.path.isdir(os.path.join(git.common, "logs")):
        os.makedirs(git.logs, exist_ok=True)
    with open(os.path.join(git.common, "config"), encoding="utf-8", errors="replace") as file:
        if "worktreeconfig" in file.read().lower():
            # Made by the worker, it would be configuration of ours.
            os.close(os.open(os.path.join(git.admin, "config.worktree"), os.O_WRONLY | os.O_CREAT, 0o600))
    name = git.branch
    try:
        with open(os.path.join(git.heads, name), encoding="ascii") as file:
            commit = file.read().strip()
    except OSError:
        # Packed, or a worktree that is on no branch.
        commit = Git(ground.tree).text("rev-parse", "--verify", "HEAD^{commit}")
    with open(os.path.join(ground.private, "heads", name), "w", encoding="ascii") as file:
        file.write(commit + "\n")


def _copy(path: str, target: str) -> None:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST_COPY)
    except OSError:
        return
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def bring_branch(worktree: str, branch: str, private: str) -> None:
    """Move the run's branch to where the worker's private copy of it stands. Raises GitError, OSError; then it has not moved."""
    path = os.path.join(private, "heads", os.path.basename(branch))
    if look(path) != "file":
        return
    with open(path, encoding="ascii", errors="replace") as file:
        commit = file.read(100).strip()
    git = Git(worktree, as_orchestrator=True)
    ref = f"refs/heads/{branch}"
    old = git.text("rev-parse", "--verify", f"{ref}^{{commit}}")
    if commit == old:
        return
    if len(commit) not in (40, 64) or not _HEX.issuperset(commit):
        raise GitError(("update-ref", ref), 1, "the worker's branch holds no commit")
    # Everything that it leads to must be there: the worker could write the name of anything.
    git.run("rev-list", "--objects", "--quiet", commit, "--not", old, timeout=60.0)
    git.run("update-ref", "-m", "cc-orchestrator: the worker's commits", ref, commit, old)


def remove_private(private: str) -> None:
    """Take away what was the sandbox's own."""
    if os.path.lexists(private):
        load("shutil").rmtree(private, ignore_errors=True)


class Proxy(NamedTuple):
    """The running way out: its socket's path and its process."""

    path: str
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls, run_id: str, hosts: Sequence[str]) -> Proxy:
        """Listen, then start it. Raises SpawnError."""
        path = os.path.join(runtime_folder(), f"px-{run_id[-20:]}")
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
                listener.bind(path)
                listener.listen(64)
                process = subprocess.Popen(
                    [os.path.realpath(sys.executable), "-I", "-S", _PROXY, str(listener.fileno()), *hosts],
                    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(listener.fileno(),),
                    start_new_session=True, env={"PATH": os.environ.get("PATH", os.defpath), HELPER: run_id},
                )  # fmt: skip
        except OSError as error:
            raise SpawnError(f"the way out of the sandbox could not be made: {error}") from error
        return cls(path, process)

    def close(self) -> None:
        """End it and take its socket away."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        try:
            os.unlink(self.path)
        except OSError:
            pass
