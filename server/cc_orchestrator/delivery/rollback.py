"""Takes a delivery back by a revert commit on its target, never by a reset; only when what is recorded proves it safe."""

from __future__ import annotations

from typing import Any, NamedTuple

from cc_orchestrator.core.errors import Conflict, NotFound
from cc_orchestrator.delivery.history import Receipt, deliveries_of, is_undone, latest_delivery
from cc_orchestrator.delivery.landing import undo
from cc_orchestrator.delivery.promotion import Desk
from cc_orchestrator.delivery.stack import name_paths
from cc_orchestrator.delivery.target import check_target
from cc_orchestrator.host.candidate import Conflicts, changed_paths, commit_tree, contains, revert_trees, tree_of
from cc_orchestrator.host.git import Git
from cc_orchestrator.runs.reading import read_spec
from cc_orchestrator.runs.tree import result_ref
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir

Check = dict[str, str]


class Rollback(NamedTuple):
    """What taking a run's delivery back would do. It is safe when no check fails; `tree` is what the target would become.

    `before` and `after` are the commits between which the run's change lies; `later` names its files that changed since.
    """

    run_id: str
    task_id: str
    target: str
    undoes: str
    before: str
    after: str
    result: str
    tip: str
    tree: str | None
    paths: list[str]
    later: list[str]
    pushed_to: list[str]
    checks: list[Check]

    @property
    def safe(self) -> bool:
        """Whether it may be done."""
        return all(check["outcome"] == "pass" for check in self.checks)


def plan_rollback(workspace: Workspace, run_id: str, target: str | None) -> Rollback:
    """Look, change nothing. `target` None: where it was delivered last. Raises NotFound, Conflict, GitError, Corrupt."""
    receipt = latest_delivery(workspace, run_id, target)
    if receipt is None:
        where = f" to {target}" if target else ""
        raise NotFound(
            f"{run_id} was never delivered{where}: there is nothing to take back",
            hint=f'cc_read {{"name":"cc_receipts","arguments":{{"run_id":"{run_id}"}}}}',
        )
    observed = receipt["observed"]
    target = str(observed["target"])
    if is_undone(receipt):
        raise Conflict(
            f"{run_id} was rolled back from {target} already, by {receipt['subject'].get('delivery_id')}",
            hint=f'cc_read {{"name":"cc_receipts","arguments":{{"run_id":"{run_id}"}}}}',
        )
    if observed.get("how") == "already_contained":
        receipt = _find_real(workspace, run_id, target)
    return _look(workspace, Git(str(workspace.repository), as_orchestrator=True), receipt, run_id, target)


def _find_real(workspace: Workspace, run_id: str, target: str) -> Receipt:
    for receipt in deliveries_of(workspace, run_id):
        observed = receipt["observed"]
        if observed.get("target") == target and observed.get("how") in ("merged", "fast_forward"):
            return receipt
    raise Conflict(
        f"{target} held the result of {run_id} before it was delivered: we did not bring it", hint="git revert it"
    )


def _look(workspace: Workspace, git: Git, receipt: Receipt, run_id: str, target: str) -> Rollback:
    observed = receipt["observed"]
    result, before, after = (str(observed[key]) for key in ("result", "before", "after"))
    if observed.get("together"):
        # A batch is one commit: this run's part of it is what lies between the batch's ground and the run's result.
        before, after = git.text("merge-base", before, result), result
    checks: list[Check] = []
    try:
        tip = check_target(workspace, git, target)
        checks.append(_check("checkout", True, ""))
    except Conflict as error:
        tip = git.text("rev-parse", "--verify", f"refs/heads/{target}^{{commit}}")
        checks.append(_check("checkout", False, error.message))
    held = contains(git, tip, str(observed["after"]))
    checks.append(_check("contained", held, f"{target} does not hold {str(observed['after'])[:12]} any more"))
    kept = (
        git.try_run("rev-parse", "--verify", "-q", f"{result_ref(run_id)}^{{commit}}")[1]
        .decode("ascii", "replace")
        .strip()
    )
    checks.append(
        _check("snapshot", kept == result, f"{result_ref(run_id)} does not name {result[:12]}, which was delivered")
    )
    tree, paths, later = None, [], []
    if held:
        found = revert_trees(git, tip, after, before)
        paths = changed_paths(git, before, after)
        later = [path for path in changed_paths(git, str(observed["after"]), tip) if path in set(paths)]
        if isinstance(found, Conflicts):
            checks.append(
                _check("revert", False, f"the revert conflicts with later changes in {name_paths(found.paths)}")
            )
        else:
            tree = found
            checks.append(_check("revert", tree != tree_of(git, tip), "the revert would change nothing"))
    return Rollback(
        run_id, str(receipt["subject"].get("task_id", "")), target, str(receipt["subject"].get("delivery_id")), before, after, result,
        tip, tree, paths, later, _find_pushes(git, str(observed["after"])), checks,
    )  # fmt: skip


def _check(name: str, good: bool, why: str) -> Check:
    return {"check": name, "outcome": "pass"} if good else {"check": name, "outcome": "fail", "evidence": why}


def _find_pushes(git: Git, commit: str) -> list[str]:
    status, out, _err = git.try_run("for-each-ref", "--format=%(refname:short)", "--contains", commit, "refs/remotes")
    return out.decode("utf-8", "replace").split()[:5] if status == 0 else []


def refuse_unsafe(found: Rollback) -> None:
    """Conflict when a check fails."""
    failed = [check["evidence"] for check in found.checks if check["outcome"] != "pass"]
    if failed:
        raise Conflict(
            f"the delivery of {found.run_id} to {found.target} cannot be taken back safely: {'; '.join(failed)}; nothing was changed",
            hint=f'cc_rollback_run {{"run_id":"{found.run_id}"}} shows every check',
        )


def carry_out(desk: Desk) -> None:
    """Serve a rollback: look again, make the revert commit, gates, promotion. Raises CcError, GitError."""
    request = desk.request
    (run_id,) = request.runs
    found = plan_rollback(desk.workspace, run_id, request.target)
    refuse_unsafe(found)
    if request.undo is not None and request.undo.get("delivery_id") != found.undoes:
        raise Conflict(
            f"{run_id} was delivered again meanwhile, by {found.undoes}", hint="look at it again, then repeat"
        )
    message = (
        f"Revert the result of {run_id}\n\nCC-Delivery: {request.delivery_id}\nCC-Run: {run_id}\nCC-Task: {found.task_id}\n"
        f"CC-Reverts: {found.undoes}\n"
    )
    commit = commit_tree(desk.git, str(found.tree), (found.tip,), message)
    run: dict[str, Any] = {"run_id": run_id, "task_id": found.task_id, "result": found.result, "tested_tree": False}
    plan = {
        "target": found.target,
        "before": found.tip,
        "after": commit,
        "how": "reverted",
        "undoes": found.undoes,
        "runs": [run],
    }
    spec = read_spec(RunDir(desk.workspace.existing_run(run_id)).spec)
    undo(desk, plan, str(found.tree), spec)
