"""The log between two commits, by GitPython. For doors that show it; never in a supervisor."""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.core.errors import Unavailable
from cc_orchestrator.core.late import load
from cc_orchestrator.core.text import line


class Commit(NamedTuple):
    """One commit; `when` is epoch seconds; author and subject are as somebody wrote them, cut to one line."""

    commit: str
    author: str
    when: float
    subject: str


def commits_between(repository: str, base: str, head: str, most: int = 100) -> list[Commit]:
    """What `head` has and `base` has not, oldest first, at most `most` of the newest. Raises Unavailable."""
    git: Any = load("git")
    try:
        with git.Repo(repository) as repo:
            found = list(repo.iter_commits(f"{base}..{head}", max_count=most))
            return [
                Commit(
                    entry.hexsha,
                    line(str(entry.author.name), 80),
                    float(entry.committed_date),
                    line(str(entry.summary), 160),
                )
                for entry in reversed(found)
            ]
    except (git.exc.GitError, git.exc.NoSuchPathError, ValueError, OSError) as error:
        raise Unavailable(
            f"the log {base[:12]}..{head[:12]} of {repository} cannot be read: {line(str(error), 200)}"
        ) from error
