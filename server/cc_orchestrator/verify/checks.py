"""The checks that need no command, cheap first. Pure: evidence in, outcomes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from cc_orchestrator.host.command import Command
from cc_orchestrator.host.sandbox import at_least
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.contract import check_completion, find_false_claims
from cc_orchestrator.verify.diff import GITLINK
from cc_orchestrator.verify.encodings import find_disguised
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.gatefiles import check_gate_files
from cc_orchestrator.verify.gates import check_policy_paths, check_test_config, check_test_gate
from cc_orchestrator.verify.goldens import check_goldens
from cc_orchestrator.verify.hiding import check_suppressions, check_swallowed
from cc_orchestrator.verify.idle import check_idle_tests
from cc_orchestrator.verify.integrity import check_integrity
from cc_orchestrator.verify.memorised import check_memorised
from cc_orchestrator.verify.probing import check_probing
from cc_orchestrator.verify.rules import Rules
from cc_orchestrator.verify.scanner import find_version
from cc_orchestrator.verify.scope import check_scope
from cc_orchestrator.verify.secrets import (
    Scan,
    check_artifacts,
    check_scanner,
    check_secrets,
    check_stream,
    find_in_artifacts,
    find_secrets,
)
from cc_orchestrator.verify.sizes import (
    check_file_bytes,
    check_file_size,
    check_function_size,
    check_net_deletion,
    check_test_delta,
)
from cc_orchestrator.verify.stubs import check_stubs
from cc_orchestrator.verify.texts import (
    check_executables,
    check_markers,
    check_modes,
    check_names,
    check_syntax,
    check_unicode,
)
from cc_orchestrator.verify.words import check_words

#: Sandboxes that leave no way around the file system's rules.
_SEALED = ("bubblewrap",)


def run_checks(evidence: Evidence, rules: Rules, commands: Sequence[Command], scan: Scan | None = None) -> list[Check]:
    """All of them, in order, each at its level. A read-only run has no result to look into."""
    checks = [check_finished(evidence), check_result(evidence)]
    if evidence.spec.allow_write:
        if evidence.commit is not None and "diff" not in evidence.problems:
            checks += _check_diff(evidence, rules, scan)
            checks += _check_contents(evidence, rules, commands)
        checks += [check_claims(evidence), check_provenance(evidence)]
    if rules.completion:
        checks.append(check_completion(evidence, rules))
    checks += [check_repository(evidence), check_outside(evidence), check_stream(evidence.state["masked"])]
    checks.append(check_artifacts(find_in_artifacts(evidence.artifacts)))
    return checks


def _check_diff(evidence: Evidence, rules: Rules, scan: Scan | None) -> list[Check]:
    scope = check_scope(
        evidence.changes, evidence.spec.scope, ignored=evidence.ignored, ignored_complete=evidence.ignored_complete,
        links=evidence.links,
    )  # fmt: skip
    secrets = check_secrets([*find_secrets(evidence.changes, evidence.history, scan), *find_disguised(evidence)])
    if "history" in evidence.problems and secrets.outcome == "pass":
        secrets = Check("secrets", "unverified", None, None, evidence.problems["history"], "blocked", fixable=False)
    scanner = check_scanner(find_version() if scan is not None else None, rules.scanner)
    return [scope, check_policy_paths(evidence, rules), check_diff_size(evidence), secrets, scanner]


def _check_contents(evidence: Evidence, rules: Rules, commands: Sequence[Command]) -> list[Check]:
    return [
        check_net_deletion(evidence, rules), check_file_size(evidence, rules), check_function_size(evidence, rules),
        check_file_bytes(evidence, rules), check_names(evidence), check_unicode(evidence), check_markers(evidence),
        check_syntax(evidence), check_executables(evidence), check_probing(evidence, rules), *check_integrity(evidence, rules),
        check_test_config(evidence, rules), check_test_gate(evidence, commands), check_test_delta(evidence, rules),
        check_modes(evidence), check_stubs(evidence, rules), check_swallowed(evidence, rules), check_suppressions(evidence),
        check_gate_files(evidence), check_goldens(evidence, rules), check_words(evidence), check_memorised(evidence, rules),
        check_idle_tests(evidence, rules),
    ]  # fmt: skip


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
    level, backend = str(evidence.state.get("sandbox")), evidence.state.get("sandbox_backend")
    confined = at_least(level, "fs")
    if confined and backend in _SEALED:
        return Check("outside", "pass", 0, 0, f"sandbox {level} ({backend}): nothing else could be written")
    checkout = cast("dict[str, Any] | None", evidence.state["checkout"])
    held = f"sandbox {level} ({backend}) leaves ways out" if confined else "no sandbox"
    text = f"{held}: writes of commands outside the worktree are not seen"
    if evidence.spec.allow_write and checkout is not None:
        same = (
            "your checkout changed meanwhile, by you or by the worker"
            if checkout.get("changed")
            else "your checkout is unchanged"
        )
        text = f"{same}; {text}"
    return Check("outside", "unverified", None, None, text, "local", required=False)


def check_claims(evidence: Evidence) -> Check:
    """What the worker's hand-over says of its work, beside what was observed. Without a record there is nothing to hold it to."""
    if not evidence.outbox:
        return Check("claims", "unverified", None, None, "no record in the outbox", "blocked", required=False)
    false = find_false_claims(evidence)
    measured = {"records": len(evidence.outbox), "false": len(false)}
    if false:
        return Check("claims", "fail", measured, {"false": 0}, "; ".join(false[:5]))
    return Check("claims", "pass", measured)


def check_provenance(evidence: Evidence) -> Check:
    """How the worker left its tree: CLEAN, DIRTY_LOW (1-20 files uncommitted), DIRTY_HIGH. All of it is part of the result."""
    count = len(evidence.uncommitted)
    label = (
        "NO_REPO"
        if evidence.spec.repository is None
        else "CLEAN"
        if not count
        else "DIRTY_LOW"
        if count <= 20
        else "DIRTY_HIGH"
    )
    measured = {"label": label, "uncommitted": count, "in_worktree": evidence.spec.worktree is not None}
    text = f"left uncommitted: {name_some(list(evidence.uncommitted))}" if count else ""
    return Check(
        "provenance", "fail" if label in ("DIRTY_HIGH", "NO_REPO") else "pass", measured, None, text, required=False
    )
