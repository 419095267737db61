"""What a delivery would make of its target: accepted results laid on each other in the object database, no checkout needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cc_orchestrator.core.errors import CcError, Conflict, Unavailable
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.acceptance import check_accepted
from cc_orchestrator.delivery.gates import Gate, gates_of
from cc_orchestrator.delivery.history import refuse_undone
from cc_orchestrator.delivery.progress import Row, as_row
from cc_orchestrator.delivery.request import Request
from cc_orchestrator.host.candidate import (
    Conflicts,
    adds_one_commit,
    commit_tree,
    contains,
    merge_trees,
    tree_of,
)
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.evidence import read_ended_run


class Entry(NamedTuple):
    """One accepted result on the stack. `after_tree` is the tree of the target with it and everything below it.

    `contained`: the target holds it already.
    """

    spec: RunSpec
    commit: str
    tree: str
    verify_id: str
    gates: tuple[Gate, ...]
    contained: bool
    after_tree: str


class Candidate(NamedTuple):
    """What the target would become. `how` is merged, fast_forward, already_contained or reverted."""

    commit: str
    tree: str
    how: str


def name_paths(paths: Sequence[str]) -> str:
    """The first of some paths, for a sentence."""
    shown = ", ".join(line(path, 100) for path in paths[:8])
    return shown + (f" and {len(paths) - 8} more" if len(paths) > 8 else "") or "its history"


def read_accepted(workspace: Workspace, git: Git, request: Request, run_id: str, before: str, now: float) -> Entry:
    """One run's accepted result as it is now. Raises Conflict, VerifyFailed, InvalidRequest, Busy, Corrupt, NotFound."""
    spec, state = read_ended_run(workspace, run_id)
    result = check_accepted(workspace, spec, state, now)
    commit, tree = str(result["commit"]), str(result["tree"])
    held = contains(git, before, commit)
    if held:
        refuse_undone(workspace, run_id, request.target, commit)
    gates = gates_of(workspace, spec, result, request)
    return Entry(spec, commit, tree, str(result["verify_id"]), gates, held, "")


def lay(
    workspace: Workspace, git: Git, request: Request, runs: Sequence[str], before: str, now: float
) -> tuple[list[Entry], list[Row]]:
    """Results that merge cleanly on `before` and on each other, in this order; and those that are handed back."""
    tip, tree = before, tree_of(git, before)
    entries: list[Entry] = []
    refused: list[Row] = []
    for run_id in runs:
        try:
            entry = read_accepted(workspace, git, request, run_id, before, now)
            if not entry.contained:
                tree = merge_onto(git, tip, entry, request.target, [other.spec.run_id for other in entries])
                tip = commit_tree(git, tree, (tip, entry.commit), "stacked")
            entries.append(entry._replace(after_tree=tree))
        except CcError as error:
            refused.append(as_row(run_id, error))
        except GitError as error:
            refused.append(as_row(run_id, Unavailable(f"{run_id} cannot be merged: {error}", hint="deliver it again")))
    return entries, refused


def merge_onto(git: Git, tip: str, entry: Entry, target: str, below: Sequence[str]) -> str:
    """The tree of a clean merge. Conflict names the files, and what its worker is to be told."""
    found = merge_trees(git, tip, entry.commit)
    if not isinstance(found, Conflicts):
        return found
    run_id = entry.spec.run_id
    also = f" (with {', '.join(below[-3:])} merged before it)" if below else ""
    raise Conflict(
        f"{run_id} conflicts with {target}{also} in {name_paths(found.paths)}; nothing was changed",
        hint=f'cc_send_instruction {{"run_id":"{run_id}","instruction":"Merge {target} into your branch and resolve the conflicts in '
        f'{name_paths(found.paths)}; keep what both sides meant."}}; then verify and accept the new run',
    )


def make_candidate(git: Git, request: Request, entries: Sequence[Entry], before: str) -> Candidate:
    """The commit that would stand on the target after these entries. Raises GitError.

    One result that adds one commit fast-forwards; all else becomes a single merge commit, so that no commit that was not
    tested as a whole becomes part of the target's first-parent history.
    """
    fresh = [entry for entry in entries if not entry.contained]
    if not fresh:
        return Candidate(before, tree_of(git, before), "already_contained")
    commits = list(dict.fromkeys(entry.commit for entry in fresh))
    if len(commits) == 1 and adds_one_commit(git, before, commits[0]):
        return Candidate(commits[0], fresh[0].tree, "fast_forward")
    if len(commits) > 1:
        free = set(git.text("merge-base", "--independent", *commits).split())
        commits = [commit for commit in commits if commit in free]
    tree = entries[-1].after_tree
    message = _message(request, fresh)
    return Candidate(commit_tree(git, tree, (before, *commits), message), tree, "merged")


def _message(request: Request, entries: Sequence[Entry]) -> str:
    one = f"the result of {entries[0].spec.run_id}" if len(entries) == 1 else f"{len(entries)} results"
    rows = [f"Merge {one} into {request.target}", "", f"CC-Delivery: {request.delivery_id}"]
    for entry in entries:
        rows += [f"CC-Run: {entry.spec.run_id}", f"CC-Task: {entry.spec.task_id}"]
    return "\n".join(rows) + "\n"
