"""The checks that need no command, cheap first. Pure: evidence in, outcomes out."""

from __future__ import annotations

from typing import Any, cast

from cc_orchestrator.host.sandbox import at_least
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.diff import GITLINK
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.scope import check_scope
from cc_orchestrator.verify.secrets import check_secrets, check_stream, find_secrets

#: Sandboxes that leave no way around the file system's rules.
_SEALED = ("bubblewrap",)
_FILE_KEYS = ("files_changed", "changed_files", "files")


def run_checks(evidence: Evidence) -> list[Check]:
    """All of them, in order. A read-only run has no result to look into."""
    checks = [check_finished(evidence), check_result(evidence)]
    if evidence.spec.allow_write:
        if evidence.commit is not None and "diff" not in evidence.problems:
            checks += _check_diff(evidence)
        checks.append(check_claims(evidence))
    checks += [check_repository(evidence), check_outside(evidence), check_stream(evidence.state["masked"])]
    return checks


def _check_diff(evidence: Evidence) -> list[Check]:
    scope = check_scope(
        evidence.changes, evidence.spec.scope, ignored=evidence.ignored, ignored_complete=evidence.ignored_complete,
        links=evidence.links,
    )  # fmt: skip
    secrets = check_secrets(find_secrets(evidence.changes, evidence.history))
    if "history" in evidence.problems and secrets.outcome == "pass":
        secrets = Check("secrets", "unverified", None, None, evidence.problems["history"], "blocked", fixable=False)
    return [scope, check_diff_size(evidence), secrets]


def check_finished(evidence: Evidence) -> Check:
    """Did the run end well, by what we saw of it?"""
    state = evidence.state
    measured = f"{state['status']} ({state['reason']})" if state["reason"] else str(state["status"])
    outcome = "pass" if state["status"] == "succeeded" else "fail"
    return Check("finished", outcome, measured, "succeeded", str(state["detail"] or "") if outcome == "fail" else "")


def check_result(evidence: Evidence) -> Check:
    """A write run has a result commit that is what was recorded; a read-only run left its checkout as it was."""
    if not evidence.spec.allow_write:
        return _check_unchanged(evidence)
    if evidence.state["snapshot"] is None:
        notices = [
            str(notice.get("text", "")) for notice in evidence.state["notices"] if notice.get("code") == "no_result"
        ]
        return Check("result", "fail", "no result commit", "a commit", notices[0] if notices else "")
    if evidence.problems.get("diff"):
        return Check("result", "unverified", None, "a commit", evidence.problems["diff"], "blocked", fixable=False)
    measured = {"commit": str(evidence.commit)[:12], "files": len(evidence.changes)}
    problem = _find_result_problem(evidence)
    if problem is not None:
        return Check("result", "fail", measured, None, problem[0], fixable=problem[1])
    links = [change.path for change in evidence.changes if change.mode == GITLINK and change.status != "D"]
    if links:
        text = f"nested repositories hold work that is not in the result: {name_some(links)}"
        return Check("result", "unverified", measured, None, text, "blocked")
    return Check("result", "pass", measured)


def _find_result_problem(evidence: Evidence) -> tuple[str, bool] | None:
    """What is wrong, and whether the worker can mend it."""
    if evidence.ref_commit != evidence.commit:
        return (
            f"the result's ref is at {str(evidence.ref_commit)[:10]}, recorded was {str(evidence.commit)[:10]}",
            False,
        )
    if evidence.base_is_ancestor is False:
        return f"the branch no longer builds on its base {str(evidence.spec.base)[:10]}", True
    incomplete = cast("dict[str, Any]", evidence.state["snapshot"] or {}).get("incomplete")
    if incomplete:
        return f"not all is as the worker left it: {incomplete}", True
    if not evidence.changes:
        return "the result changes nothing", True
    return None


def _check_unchanged(evidence: Evidence) -> Check:
    checkout = cast("dict[str, Any] | None", evidence.state["checkout"])
    if checkout is None:
        why = (
            "without git nobody can tell whether files changed"
            if evidence.spec.repository is None
            else "no fence was taken"
        )
        return Check("result", "unverified", None, "unchanged checkout", why, "blocked", fixable=False)
    if checkout.get("changed"):
        why = "the checkout changed during a read-only run: by the worker or by somebody else"
        return Check("result", "fail", "changed", "unchanged checkout", why, "proxy", fixable=False)
    return Check("result", "pass", "unchanged", "unchanged checkout")


def check_diff_size(evidence: Evidence) -> Check:
    """Added and deleted lines of all files, new ones included; binary files are counted apart."""
    text = [change for change in evidence.changes if not change.binary]
    added, deleted = sum(change.added for change in text), sum(change.deleted for change in text)
    limit = evidence.spec.scope.max_diff_lines
    measured = {
        "added": added,
        "deleted": deleted,
        "files": len(evidence.changes),
        "binary": len(evidence.changes) - len(text),
    }
    over = limit is not None and added + deleted > limit
    return Check("diff_size", "fail" if over else "pass", measured, limit)


def check_repository(evidence: Evidence) -> Check:
    """Nothing was planted where git would run it later."""
    if evidence.spec.repository is None:
        return Check("repository", "unverified", None, None, "no git repository", "blocked", required=False)
    if evidence.problems.get("repository"):
        return Check("repository", "unverified", None, None, evidence.problems["repository"], "blocked", fixable=False)
    if evidence.planted:
        text = f"written during the run: {name_some(list(evidence.planted))}; look at it before any git command runs it"
        return Check("repository", "fail", len(evidence.planted), 0, text, "proxy", fixable=False)
    return Check("repository", "pass", label="proxy")


def check_outside(evidence: Evidence) -> Check:
    """What was seen outside the tree. It never passes without a sandbox: commands can write where nobody looks."""
    if evidence.strays:
        text = f"outside the worktree: {name_some(list(evidence.strays))}"
        return Check("outside", "fail", len(evidence.strays), 0, text, fixable=False)
    backend = evidence.state.get("sandbox_backend")
    if at_least(str(evidence.state.get("sandbox")), "fs") and backend in _SEALED:
        return Check(
            "outside", "pass", 0, 0, f"sandbox {evidence.state['sandbox']} ({backend}): nothing else could be written"
        )
    checkout = cast("dict[str, Any] | None", evidence.state["checkout"])
    text = "no sandbox: writes of commands outside the worktree are not seen"
    if evidence.spec.allow_write and checkout is not None:
        same = (
            "your checkout changed meanwhile, by you or by the worker"
            if checkout.get("changed")
            else "your checkout is unchanged"
        )
        text = f"{same}; {text}"
    return Check("outside", "unverified", None, None, text, "local", required=False)


def check_claims(evidence: Evidence) -> Check:
    """Files that the worker's hand-over says it changed, beside those that did change. A warning."""
    claimed: set[str] = set()
    for record in evidence.outbox.values():
        for key in _FILE_KEYS:
            claimed.update(_paths_in(record.get(key)))
    if not claimed:
        return Check(
            "claims", "unverified", None, None, "no record in the outbox names changed files", "blocked", required=False
        )
    changed = {path for change in evidence.changes for path in change.paths}
    false = sorted(claimed - changed)
    measured = {"claimed": len(claimed), "false": len(false)}
    if false:
        return Check(
            "claims", "fail", measured, {"false": 0}, f"claimed but unchanged: {name_some(false)}", required=False
        )
    return Check("claims", "pass", measured, required=False)


def _paths_in(value: Any) -> set[str]:
    if not isinstance(value, list):
        return set()
    found: set[str] = set()
    for item in cast("list[Any]", value)[:200]:
        path: Any = cast("dict[str, Any]", item).get("path") if isinstance(item, dict) else item
        if isinstance(path, str) and path:
            found.add(path.removeprefix("./"))
    return found
