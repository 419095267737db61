"""Which results would conflict with their target, with each other, and with what other tasks have made: told before any merge.

Trees are merged in the object database, two at a time, within a bound of pairs and seconds; what was not compared is counted.
Of a live run only what it has committed can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.host.candidate import Conflicts, contains, merge_trees
from cc_orchestrator.host.git import Git, GitError
from cc_orchestrator.runs.tree import result_ref
from cc_orchestrator.store import index, ledger
from cc_orchestrator.store.paths import Workspace

MAX_OTHERS = 60
MAX_PAIRS = 600
MAX_NAMED = 6


class Result(NamedTuple):
    """What a run has made so far. `live`: it goes on."""

    run_id: str
    task_id: str
    commit: str
    live: bool


class Clash(NamedTuple):
    """Two that do not merge; `other` is a run or the target."""

    run_id: str
    other: str
    paths: list[str]

    def to_json(self) -> dict[str, Any]:
        """With a few of the paths."""
        shown = [line(path, 120) for path in self.paths[:MAX_NAMED]]
        more = {"more": len(self.paths) - MAX_NAMED} if len(self.paths) > MAX_NAMED else {}
        return {"run_id": self.run_id, "with": self.other, "paths": shown, **more}


class Forecast(NamedTuple):
    """`pairs` were compared, `left_out` were not (no time, or git could not)."""

    clashes: list[Clash]
    pairs: int
    left_out: int


def open_results(workspace: Workspace, git: Git, target: str) -> list[Result]:
    """The newest result of every other task that is not in `target` and was neither rejected nor abandoned. Raises Corrupt."""
    refs = _read_refs(git, target)
    dropped = _find_dropped(workspace)
    found: dict[str, Result] = {}
    for row in index.select(workspace.index, "allow_write = 1", limit=MAX_OTHERS * 4):
        run_id, task_id = str(row["run_id"]), str(row["task_id"])
        if task_id in found or run_id in dropped:
            continue
        live = row["status"] in LIVE
        commit = refs.get(f"refs/heads/cc/{task_id}" if live else result_ref(run_id))
        if commit is not None:
            found[task_id] = Result(run_id, task_id, commit, live)
    return list(found.values())[:MAX_OTHERS]


def _read_refs(git: Git, target: str) -> dict[str, str]:
    """Refs of runs that the target does not hold."""
    status, out, _err = git.try_run(
        "for-each-ref",
        "--format=%(refname) %(objectname)",
        f"--no-merged=refs/heads/{target}",
        "refs/cc/runs",
        "refs/heads/cc",
    )
    rows = out.decode("utf-8", "replace").splitlines() if status == 0 else []
    return {name: commit for name, _, commit in (row.partition(" ") for row in rows)}


def _find_dropped(workspace: Workspace) -> set[str]:
    """Runs whose latest decision takes them out of the game."""
    latest: dict[str, str] = {}
    for receipt in ledger.receipts(workspace.ledger, kind="acceptance", limit=2_000):
        latest.setdefault(str(receipt["subject"].get("run_id")), str(receipt["observed"].get("decision")))
    return {run_id for run_id, decision in latest.items() if decision in ("reject", "abandon")}


def forecast(
    git: Git, results: Sequence[Result], others: Sequence[Result], target: str, clock: Clock, *, seconds: float
) -> Forecast:  # fmt: skip
    """Compare `results` with the target (a branch), with each other and with `others`. Raises Unavailable (no git)."""
    ours = {result.run_id for result in results}
    rest = [other for other in others if other.run_id not in ours]
    pairs = [(result, target, f"refs/heads/{target}") for result in results]
    pairs += [(one, two.run_id, two.commit) for number, one in enumerate(results) for two in results[number + 1 :]]
    pairs += [
        (result, other.run_id, other.commit) for result in results for other in rest if other.task_id != result.task_id
    ]
    deadline = clock.mono() + seconds
    clashes: list[Clash] = []
    compared = 0
    for result, name, commit in pairs[:MAX_PAIRS]:
        if clock.mono() > deadline:
            break
        try:
            merged = merge_trees(git, commit, result.commit)
        except (GitError, CcError):
            continue
        compared += 1
        if isinstance(merged, Conflicts):
            clashes.append(Clash(result.run_id, name, merged.paths))
    return Forecast(clashes, compared, len(pairs) - compared)


def is_delivered(git: Git, target: str, commit: str) -> bool:
    """Whether the target holds it. Raises Unavailable."""
    return contains(git, f"refs/heads/{target}", commit)
