"""Scratch git repositories: fast, with a fixed identity and fixed dates, blind to the machine's own git configuration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

Content = str | bytes | None
WHEN = "2026-01-01T00:00:00+0000"
DEFAULT_FILES: Mapping[str, Content] = {"README.md": "# scratch\n", "src/app.py": "def add(a, b):\n    return a - b\n"}


def git_env() -> dict[str, str]:
    """An environment in which git sees no configuration but the repository's own."""
    base = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return {
        **base,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": WHEN,
        "GIT_COMMITTER_DATE": WHEN,
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
    }


def git(path: str | Path, *args: str) -> str:
    """stdout of one git command, stripped. Raises AssertionError with git's words when it fails."""
    done = subprocess.run(["git", *args], cwd=path, env=git_env(), capture_output=True, timeout=30, check=False)
    if done.returncode:
        raise AssertionError(f"git {' '.join(args)} in {path}: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout.decode("utf-8", "replace").strip()


def write(path: str | Path, files: Mapping[str, Content]) -> None:
    """Write files below a folder; None removes one."""
    for name, content in files.items():
        target = Path(path) / name
        if content is None:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)


def commit(path: str | Path, files: Mapping[str, Content], message: str = "change") -> str:
    """Write files and commit everything; the commit's id."""
    write(path, files)
    git(path, "add", "-A")
    git(path, "commit", "-q", "--allow-empty", "-m", message)
    return git(path, "rev-parse", "HEAD")


def make_repo(
    path: str | Path, files: Mapping[str, Content] | None = None, commits: Sequence[Mapping[str, Content]] = ()
) -> Path:
    """A repository on branch `main` with one commit of `files` and one more for each of `commits`. `files={}`: no commit yet."""
    root = Path(path)
    root.mkdir(parents=True, exist_ok=True)
    git(root, "init", "-q", "-b", "main", "--template=")
    with open(root / ".git" / "config", "a", encoding="utf-8") as config:
        config.write(
            "[user]\n\tname = Scratch\n\temail = scratch@localhost\n[commit]\n\tgpgsign = false\n[gc]\n\tauto = 0\n"
        )
    (root / ".git" / "info").mkdir(exist_ok=True)
    first = DEFAULT_FILES if files is None else files
    if first:
        commit(root, first, "first")
    for number, more in enumerate(commits, 2):
        commit(root, more, f"commit {number}")
    return root


def fingerprint(path: str | Path) -> dict[str, str]:
    """What must not change in a user's checkout: branch, HEAD, index, files as git sees them."""
    return {
        "branch": git(path, "symbolic-ref", "-q", "HEAD"),
        "head": git(path, "rev-parse", "HEAD"),
        "index": git(path, "write-tree"),
        "status": git(path, "status", "--porcelain=v1", "--untracked-files=all"),
        "diff": git(path, "diff", "HEAD"),
    }
