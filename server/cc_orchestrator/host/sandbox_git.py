"""Git for a worker in a sandbox: it commits on private copies, and what it made is taken over when it is gone.

Inside, the objects of the repository are seen through `info/alternates` of an object folder of the run's own, and the branch
lies in a private folder. So nothing that the user has can be lost or moved; every object that comes over is hashed anew.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Literal

from cc_orchestrator.core.late import load
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.host.sandbox import BASE_OBJECTS, GitPaths, Ground, SandboxError

_HEX = frozenset("0123456789abcdef")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_REST = re.compile(r"[0-9a-f]{38}|[0-9a-f]{62}")
_SECONDS = 300.0


def look(path: str) -> Literal["dir", "file", ""]:
    """What is there. A link counts as what it leads to only where it leads nowhere else, so as nothing."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return ""
    return "dir" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) or stat.S_ISSOCK(mode) else ""


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


def copy_admin(admin: str, private: str) -> str:
    """A copy of git's folder of a worktree, for commands whose commits and index nobody keeps. Raises OSError."""
    target = os.path.join(private, "admin")
    skipped = load("shutil").ignore_patterns("*.lock", "modules")
    load("shutil").copytree(admin, target, symlinks=True, ignore=skipped, dirs_exist_ok=True)
    return target


def prepare_git(ground: Ground, git: GitPaths) -> None:
    """The private copies of what a commit writes. Raises OSError, GitError."""
    objects = os.path.join(ground.private, "objects")
    for name in ("pack", "info"):
        os.makedirs(os.path.join(objects, name), mode=0o700, exist_ok=True)
    _lead(objects, BASE_OBJECTS)
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


def _lead(objects: str, where: str) -> None:
    with open(os.path.join(objects, "info", "alternates"), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(where + "\n")


def objects_of(private: str) -> dict[str, str]:
    """Variables with which git sees what a live worker has made."""
    folder = os.path.join(private, "objects")
    return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": folder} if os.path.isdir(folder) else {}


def bring_branch(worktree: str, branch: str, private: str) -> None:
    """Take over what the worker committed: its objects, then its branch. Raises GitError, OSError; then nothing has moved."""
    bring_objects(worktree, private)
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


def bring_objects(worktree: str, private: str) -> None:
    """Put the objects that the worker made into the repository. Raises GitError, OSError.

    They go through a pack: git computes the name of each from its content, so none can stand for another.
    """
    folder = os.path.join(private, "objects")
    names = _loose(folder)
    packs = [name for name in _names(os.path.join(folder, "pack")) if name.endswith(".pack")]
    if not names and not packs:
        return
    git = Git(worktree, as_orchestrator=True)
    # What the worker may have put there would have us read objects of other repositories.
    load("shutil").rmtree(os.path.join(folder, "info"), ignore_errors=True)
    os.makedirs(os.path.join(folder, "info"))
    _lead(folder, git.text("rev-parse", "--path-format=absolute", "--git-path", "objects"))
    sources = [os.path.join(folder, "pack", name) for name in packs]
    if names:
        made = os.path.join(private, "import")
        listed = "".join(f"{name}\n" for name in names).encode()
        found = git.text(
            "pack-objects", "-q", made, input=listed, timeout=_SECONDS, env={"GIT_OBJECT_DIRECTORY": folder},
        )  # fmt: skip
        sources += [f"{made}-{name}.pack" for name in found.split()]
    for path in sources:
        if look(path) == "file":
            git.run("unpack-objects", "-q", source=path, timeout=_SECONDS)


def mend_worktree(worktree: str, branch: str) -> None:
    """Have a worktree forget what did not come over: back on its branch, index and log made anew. Its files stay."""
    try:
        admin = git_paths(worktree, None).admin
        for name in ("index", "HEAD.lock", os.path.join("logs", "HEAD")):
            path = os.path.join(admin, name)
            if os.path.lexists(path):
                os.unlink(path)
        head = os.path.join(admin, "HEAD.cc")
        with open(head, "w", encoding="utf-8") as file:
            file.write(f"ref: refs/heads/{branch}\n")
        os.replace(head, os.path.join(admin, "HEAD"))
    except (SandboxError, OSError):
        pass


def _loose(folder: str) -> list[str]:
    found: list[str] = []
    for name in _names(folder):
        if _FOLDER.fullmatch(name) and look(os.path.join(folder, name)) == "dir":
            rests = [rest for rest in _names(os.path.join(folder, name)) if _REST.fullmatch(rest)]
            found += [name + rest for rest in rests if look(os.path.join(folder, name, rest)) == "file"]
    return found


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
