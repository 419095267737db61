"""What the checks look at, collected once: the run's spec and end, its result, the difference from its base, its traces.

The result is the commit that the journal names, never what a ref or a HEAD says now; the difference is from the base that
was recorded before the worker started. Reads only.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cc_orchestrator.core.errors import CcError, Conflict
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.runs.fold import part
from cc_orchestrator.runs.reading import read_run, read_spec
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.journal import START, read_page
from cc_orchestrator.store.paths import FOLDER, Workspace
from cc_orchestrator.store.rundir import RunDir
from cc_orchestrator.verify.contents import NOTHING, Contents, read_contents
from cc_orchestrator.verify.diff import LINK, Change, DiffError, read_changes, read_history_lines, sealed_git
from cc_orchestrator.verify.drift import list_ignored

MAX_LINK = 4_096
MAX_RECORD = 256_000
MAX_ARTIFACTS = 300
#: Folders that hold what a project needs and no worker wrote.
DEPENDENCIES = frozenset({
    "node_modules", ".venv", "venv", "vendor", "target", ".tox", ".nox", ".gradle", "Pods", ".bundle", "bower_components", "deps", "_build",
})  # fmt: skip
#: Configuration that makes git run a program of somebody's choice.
_EXECUTES = (
    "core.hookspath", "core.fsmonitor", "core.sshcommand", "core.gitproxy", "core.askpass", "core.editor", "core.pager",
    "core.worktree", "core.attributesfile", "sequence.editor", "gpg.", "credential.", "filter.", "diff.", "merge.",
    "mergetool.", "difftool.", "include.", "includeif.", "alias.", "url.", "uploadpack.", "receive.", "pager.", "submodule.",
)  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """Everything about one ended run. `problems` say what could not be collected: `{part: why}`."""

    spec: RunSpec
    state: dict[str, Any]
    commit: str | None = None
    tree: str | None = None
    ref_commit: str | None = None
    base_is_ancestor: bool | None = None
    changes: tuple[Change, ...] = ()
    history: tuple[tuple[str, bytes], ...] = ()
    links: dict[str, str] = field(default_factory=dict[str, str])
    ignored: tuple[str, ...] = ()
    ignored_complete: bool = True
    planted: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    outbox: dict[str, dict[str, Any]] = field(default_factory=dict[str, "dict[str, Any]"])
    contents: Contents = NOTHING
    uncommitted: tuple[str, ...] = ()
    artifacts: dict[str, bytes] = field(default_factory=dict[str, bytes])
    problems: dict[str, str] = field(default_factory=dict[str, str])


def read_ended_run(workspace: Workspace, run_id: str) -> tuple[RunSpec, dict[str, Any]]:
    """Spec and final state. Raises NotFound, Corrupt, and Conflict while the run is live."""
    run = RunDir(workspace.existing_run(run_id))
    spec = read_spec(run.spec)
    state = read_run(run).state
    if state["status"] in LIVE:
        raise Conflict(
            f"{run_id} is {state['status']}, not finished: there is nothing to verify yet",
            hint=f'cc_wait {{"ids": ["{run_id}"]}}',
        )
    return spec, state


def collect_evidence(workspace: Workspace, run_id: str) -> Evidence:
    """All of it. Raises what `read_ended_run` raises; whatever else cannot be had is named in `problems`."""
    spec, state = read_ended_run(workspace, run_id)
    facts: dict[str, Any] = {"problems": {}}
    _collect_result(spec, state, facts)
    _collect_tree(spec, state, facts)
    _collect_traces(workspace, spec, state, facts)
    return Evidence(spec, state, **facts)


def _collect_result(spec: RunSpec, state: dict[str, Any], facts: dict[str, Any]) -> None:
    snapshot = part(state, "snapshot")
    if not snapshot or spec.repository is None or spec.base is None:
        return
    git = sealed_git(spec.repository)
    commit, tree = str(snapshot["commit"]), str(snapshot["tree"])
    try:
        if git.text("rev-parse", "--verify", f"{commit}^{{tree}}") != tree:
            raise DiffError(f"commit {commit[:10]} does not hold the recorded tree {tree[:10]}")
        facts.update(commit=commit, tree=tree)
        facts["ref_commit"] = _rev(git, str(snapshot.get("ref")))
        facts["base_is_ancestor"] = git.try_run("merge-base", "--is-ancestor", spec.base, commit)[0] == 0
        changes = read_changes(git, spec.base, commit)
        facts["changes"] = tuple(changes)
        facts["links"] = {change.path: _read_link(git, change) for change in changes if _is_link(change)}
        facts["contents"] = read_contents(git, changes, commit)
        facts["uncommitted"] = _list_uncommitted(git, snapshot, commit)
    except (GitError, DiffError, CcError) as error:
        facts["problems"]["diff"] = str(error)
        return
    try:
        facts["history"] = tuple(read_history_lines(git, spec.base, commit))
    except (GitError, DiffError, CcError) as error:
        facts["problems"]["history"] = str(error)


def _list_uncommitted(git: Git, snapshot: dict[str, Any], commit: str) -> tuple[str, ...]:
    """Paths that the worker left uncommitted: told apart, though they are part of the result."""
    head = str(snapshot.get("head") or commit)
    if not snapshot.get("uncommitted") or head == commit:
        return ()
    out = git.run("diff-tree", "-r", "--name-only", "-z", "--no-renames", head, commit)
    return tuple(path.decode("utf-8", "surrogateescape") for path in out.split(b"\0") if path)


def _rev(git: Git, name: str) -> str | None:
    status, out, _err = git.try_run("rev-parse", "--verify", "-q", f"{name}^{{commit}}")
    return out.decode("ascii", "replace").strip() if status == 0 else None


def _is_link(change: Change) -> bool:
    return change.mode == LINK and change.status != "D"


def _read_link(git: Git, change: Change) -> str:
    return git.run("cat-file", "blob", change.blob)[:MAX_LINK].decode("utf-8", "surrogateescape")


def _collect_tree(spec: RunSpec, state: dict[str, Any], facts: dict[str, Any]) -> None:
    if not spec.allow_write or spec.worktree is None:
        return
    recorded = cast("list[str]", part(state, "snapshot").get("ignored") or [])
    try:
        present, complete = list_ignored(spec.worktree)
        facts["ignored"] = tuple(sorted({*present, *recorded}))
        facts["ignored_complete"] = complete
    except (GitError, CcError) as error:
        facts["ignored"] = tuple(recorded)
        facts["ignored_complete"] = False
        facts["problems"]["worktree"] = str(error)


def _collect_traces(workspace: Workspace, spec: RunSpec, state: dict[str, Any], facts: dict[str, Any]) -> None:
    since = float(state["started_at"] or spec.created_at) - 1.0
    until = float(state["finished_at"] or since) + 1.0
    if spec.repository is not None:
        try:
            facts["planted"] = tuple(find_planted(spec, since))
        except (GitError, CcError, OSError) as error:
            facts["problems"]["repository"] = str(error)
    facts["strays"] = (
        *(_find_strays(workspace, since, until) if spec.allow_write else ()),
        *_find_edits_outside(workspace, spec, state, since),
        *_find_rewritten(workspace, spec, state),
    )
    facts["outbox"] = read_outbox(workspace.run(spec.run_id))
    facts["artifacts"] = _read_artifacts(workspace, spec, facts.get("ignored", ()))
    try:
        if gap := find_gap(RunDir(workspace.run(spec.run_id)).journal):
            facts["problems"]["journal"] = gap
    except (CcError, OSError) as error:
        facts["problems"]["journal"] = str(error)


def find_gap(journal: str) -> str:
    """Whether events of a run's journal are missing or cannot be read; "" when all are there. Raises OSError, CcError."""
    cursor = START
    while True:
        page = read_page(journal, cursor)
        expected = cursor.seq
        for event in page.events:
            expected += 1
            if event["seq"] != expected:
                return f"event {expected} of the run's journal is missing or cannot be read"
        if not page.more or page.cursor == cursor:
            return ""
        cursor = page.cursor


def _read_artifacts(workspace: Workspace, spec: RunSpec, ignored: Sequence[str]) -> dict[str, bytes]:
    """What lies beside the result: files of the outbox, small ignored files of the worktree."""
    found: dict[str, bytes] = {}
    outbox = RunDir(workspace.run(spec.run_id)).outbox
    wanted = [(f"outbox/{name}", os.path.join(outbox, name)) for name in _listed(outbox)]
    if spec.worktree is not None:
        own = [path for path in ignored if not any(part in DEPENDENCIES for part in path.split("/"))]
        wanted += [(path, os.path.join(spec.worktree, path)) for path in own]
    for shown, path in wanted[:MAX_ARTIFACTS]:
        data = _read_regular(path, MAX_RECORD)
        if data is not None and b"\0" not in data[:1_000]:
            found[shown] = data
    return found


def _read_regular(path: str, most: int) -> bytes | None:
    """The beginning of a regular file; None for anything else. Links are not followed."""
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            return os.read(fd, most) if stat.S_ISREG(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)
    except OSError:
        return None


def find_planted(spec: RunSpec, since: float) -> list[str]:
    """Hooks, attributes and program-running configuration of the repository that were written after `since`.

    Times of inode change are used: a worker cannot set them back.
    """
    git = sealed_git(spec.worktree if spec.worktree and os.path.isdir(spec.worktree) else str(spec.repository))
    common = os.path.join(git.cwd, git.text("rev-parse", "--git-common-dir"))
    own = os.path.join(git.cwd, git.text("rev-parse", "--git-dir"))
    found = [
        f"hooks/{name}"
        for name in _listed(os.path.join(common, "hooks"))
        if not name.endswith(".sample") and _changed_after(os.path.join(common, "hooks", name), since)
    ]
    rules = (os.path.join(common, "info", "attributes"), os.path.join(common, "info", "grafts"))
    found += [os.path.relpath(path, common) for path in rules if _changed_after(path, since)]
    if any(
        _changed_after(path, since) for path in (os.path.join(common, "config"), os.path.join(own, "config.worktree"))
    ):
        found += [f"config {key}" for key in _executing_keys(git)]
    return found


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _changed_after(path: str, since: float) -> bool:
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return info.st_ctime >= since and (stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode))


def _executing_keys(git: Git) -> list[str]:
    keys: set[str] = set()
    for scope in ("--local", "--worktree"):
        status, out, _err = git.try_run("config", scope, "--list", "--name-only", "-z", "--no-includes")
        if status == 0:
            keys |= {key.decode("utf-8", "replace").lower() for key in out.split(b"\0") if key}
    return sorted(key for key in keys if key.startswith(_EXECUTES) and not _harmless(key))


def _harmless(key: str) -> bool:
    last = key.rpartition(".")[2]
    return key.startswith(("submodule.", "diff.", "merge.", "credential.", "receive.", "url.")) and last in (
        "url", "active", "ignore", "branch", "algorithm", "renames", "conflictstyle", "ff", "log", "usehttppath",
        "denycurrentbranch", "denynonfastforwards", "recurse", "username", "tool", "mnemonicprefix", "colormoved",
    )  # fmt: skip


def _find_strays(workspace: Workspace, since: float, until: float) -> list[str]:
    """What lies between the worktrees and belongs to nobody: where `../escaped` of a worker ends up."""
    folder = workspace.at("worktrees")
    found: list[str] = []
    for name in _listed(folder):
        if name.startswith("task_"):
            continue
        try:
            changed = os.lstat(os.path.join(folder, name)).st_ctime
        except OSError:
            continue
        if since <= changed <= until:
            found.append(f"{FOLDER}/worktrees/{name}")
    return found


def _find_rewritten(workspace: Workspace, spec: RunSpec, state: dict[str, Any]) -> list[str]:
    """The run's spec, when it was written again after the worker had started: its scope is not the one that was asked for."""
    path = RunDir(workspace.run(spec.run_id)).spec
    if state["started_at"] and _changed_after(path, float(state["started_at"])):
        return [f"{spec.run_id}/spec.json"]
    return []


def _find_edits_outside(workspace: Workspace, spec: RunSpec, state: dict[str, Any], since: float) -> list[str]:
    """Files that the worker's edit tools named, that lie outside the folders it may write, and that did change.

    Relative paths count from the worker's folder. A refused attempt leaves no change and is not listed.
    """
    start = os.path.join(spec.worktree, spec.subfolder) if spec.worktree else spec.cwd
    allowed = [os.path.realpath(os.path.join(workspace.run(spec.run_id), "outbox"))]
    if spec.worktree:
        allowed.append(os.path.realpath(spec.worktree))
    found: list[str] = []
    for raw in cast("dict[str, Any]", state["files"]):
        path = os.path.realpath(os.path.join(start, os.path.expanduser(str(raw))))
        inside = any(path == root or path.startswith(root + os.sep) for root in allowed)
        if not inside and _changed_after(path, since):
            found.append(path)
    return found


def read_outbox(run_folder: str) -> dict[str, dict[str, Any]]:
    """`{name: object}` of the JSON records that the worker handed over. Links and big files are not followed or read."""
    folder = os.path.join(run_folder, "outbox")
    found: dict[str, dict[str, Any]] = {}
    for name in [name for name in _listed(folder) if name.endswith(".json")][:10]:
        data = _read_regular(os.path.join(folder, name), MAX_RECORD)
        try:
            record = json.loads(data) if data is not None else None
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            found[name] = cast("dict[str, Any]", record)
    return found
