"""A write scope looked at before a run starts: what it covers of the repository as it is, and which live runs it meets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from cc_orchestrator.core.errors import CcError, InvalidRequest
from cc_orchestrator.core.text import line
from cc_orchestrator.policy.globs import matches_any
from cc_orchestrator.runs.reading import read_spec
from cc_orchestrator.runs.spec import Scope
from cc_orchestrator.store import index
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.contents import read_tree
from cc_orchestrator.verify.diff import sealed_git
from cc_orchestrator.verify.rules import POLICY_PATHS
from cc_orchestrator.verify.scope import find_outside

_SHOWN = 10


def make_scope(repository: str, allowed: Sequence[str], denied: Sequence[str], max_diff_lines: int | None) -> Scope:
    """Globs from the repository's root; absolute paths are made such. InvalidRequest for what leads out of it."""
    return Scope(
        tuple(_relative(repository, path) for path in allowed),
        tuple(_relative(repository, path) for path in denied),
        max_diff_lines=max_diff_lines,
    )


def _relative(repository: str, path: str) -> str:
    root = os.path.realpath(repository)
    if path.startswith(root + os.sep) or path == root:
        path = "/" + os.path.relpath(path, root).replace(os.sep, "/")
    parts = path.replace("\\", "/").split("/")
    if ".." in parts or path.startswith("~") or "\0" in path or not path.strip():
        raise InvalidRequest(
            f"the scope {line(path, 80)!a} leads out of {root}",
            hint="globs from the repository's root, as src/** or /README.md",
        )
    if path.startswith("/") and os.path.exists(path) and not os.path.exists(os.path.join(root, path.lstrip("/"))):
        raise InvalidRequest(
            f"{line(path, 80)} lies outside {root}", hint="globs from the repository's root, as src/** or /README.md"
        )
    return path


def preflight(workspace: Workspace, scope: Scope) -> dict[str, Any]:
    """What the scope covers at HEAD. Raises InvalidRequest (no repository or commit), GitError, DiffError."""
    if workspace.repository is None:
        raise InvalidRequest(
            f"{workspace.root} has no git: a scope holds for write runs, and these need it", hint="git init"
        )
    git = sealed_git(workspace.repository)
    status, out, _err = git.try_run("rev-parse", "--verify", "-q", "HEAD^{commit}")
    if status:
        raise InvalidRequest(f"{workspace.root} has no commit yet", hint="make a first commit")
    files = list(read_tree(git, out.decode("ascii", "replace").strip()))
    outside = set(find_outside(files, scope))
    writable = [path for path in files if path not in outside]
    unused = [glob for glob in (*scope.allow, *scope.deny) if len(find_outside(files, Scope((), (glob,)))) == 0]
    found: dict[str, Any] = {
        "files": len(files), "writable": len(writable), "sample": [line(path, 100) for path in writable[:_SHOWN]],
        "matches_nothing": [line(glob, 100) for glob in unused[:_SHOWN]],
        "policy_paths": [line(path, 100) for path in writable if matches_any(path, POLICY_PATHS)][:_SHOWN],
        "meets": _find_meetings(workspace, set(writable), files),
    }  # fmt: skip
    return {key: value for key, value in found.items() if value not in ([], None)}


def _find_meetings(workspace: Workspace, writable: set[str], files: Sequence[str]) -> list[dict[str, Any]]:
    """Live write runs that may write some of the same files."""
    found: list[dict[str, Any]] = []
    for row in index.select(workspace.index, "finished_at is null and allow_write = 1", limit=_SHOWN):
        run = RunDir(workspace.run(str(row["run_id"])))
        try:
            scope = read_spec(run.spec).scope
        except CcError:
            continue
        shared = writable - set(find_outside(files, scope))
        if shared and run.is_owned():
            found.append({"run_id": run.run_id, "files": len(shared)})
    return found
