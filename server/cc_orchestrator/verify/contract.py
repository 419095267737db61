"""What was asked to be true of the result: claims about files and patterns, the completion record, live proofs. Pure.

Claims are judged on the result's objects, never on a disk: a claimed file that is a link is no file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.rules import Claim, Rules

_SHOWN = 5
#: `(outcome, why)`.
Judged = tuple[str, str]


def judge_claim(
    claim: Claim, evidence: Evidence, files: Mapping[str, bytes | None], ran: Mapping[str, Judged]
) -> Judged:
    """`files` holds what the result has at the claimed paths; `ran` how the claimed commands went."""
    if claim.kind == "command":
        return ran.get(claim.command, ("unverified", "it was not run"))
    path = claim.path.removeprefix("./")
    if claim.kind == "file_changed":
        changed = any(path in change.paths for change in evidence.changes)
        return ("pass", "") if changed else ("fail", f"{line(path, 100)} did not change")
    mode = evidence.contents.tree.get(path)
    text = files.get(path)
    if claim.kind == "no_pattern" and mode is None:
        return "pass", ""
    if mode is None:
        return "fail", f"{line(path, 100)} is not there"
    if mode not in ("100644", "100755"):
        return "fail", f"{line(path, 100)} is a link, no file" if mode == "120000" else f"{line(path, 100)} is no file"
    if text is None:
        return "unverified", f"{line(path, 100)} is too big to be read"
    if claim.kind == "file_exists":
        return ("pass", "") if text.strip() else ("fail", f"{line(path, 100)} is empty")
    found = re.search(claim.pattern, text.decode("utf-8", "replace"), re.M) is not None
    if found == (claim.kind == "pattern_match"):
        return "pass", ""
    return "fail", f"{line(path, 100)} {'holds' if found else 'does not hold'} {claim.pattern[:80]!a}"


def check_contract(claims: Sequence[Claim], judged: Sequence[Judged]) -> Check:
    """All claims of the rules."""
    bad = [why for outcome, why in judged if outcome == "fail"]
    open_ = [why for outcome, why in judged if outcome == "unverified"]
    measured = {"claims": len(claims), "false": len(bad), "unverified": len(open_)}
    if bad:
        return Check("contract", "fail", measured, {"false": 0}, "; ".join(bad[:_SHOWN]))
    if open_:
        return Check("contract", "unverified", measured, {"false": 0}, "; ".join(open_[:_SHOWN]), "blocked")
    return Check("contract", "pass", measured)


def check_holdout(judged: Sequence[Judged]) -> Check:
    """Numbers only: what a worker may be told of these checks is that they did not all pass."""
    bad = sum(outcome == "fail" for outcome, _why in judged)
    open_ = sum(outcome == "unverified" for outcome, _why in judged)
    measured = {"checks": len(judged), "failed": bad, "unverified": open_}
    if bad:
        return Check("holdout", "fail", measured, None, f"{bad} of {len(judged)} hold-out checks failed")
    if open_:
        return Check(
            "holdout",
            "unverified",
            measured,
            None,
            f"{open_} of {len(judged)} hold-out checks could not be made",
            "blocked",
            fixable=False,
        )
    return Check("holdout", "pass", measured)


def check_live_proof(rules: Rules, judged: Mapping[str, Judged]) -> Check:
    """Each proof by its command; one without a command is nobody's to see here."""
    missing = [proof.name for proof in rules.live_proof if not proof.command]
    bad = [
        f"{line(proof.name, 60)}: {why}"
        for proof in rules.live_proof
        if proof.command and (why := _why_not(judged.get(proof.command)))
    ]
    measured = {"proofs": len(rules.live_proof), "missing": len(missing), "failed": len(bad)}
    if bad:
        return Check("live_proof", "fail", measured, None, "; ".join(bad[:_SHOWN]))
    if missing:
        text = f"a person must have seen: {', '.join(line(name, 60) for name in missing[:_SHOWN])}"
        return Check("live_proof", "unverified", measured, None, text, "blocked", fixable=False)
    return Check("live_proof", "pass", measured)


def _why_not(judged: Judged | None) -> str:
    if judged is None:
        return "it was not run"
    return "" if judged[0] == "pass" else judged[1] or judged[0]


def check_completion(evidence: Evidence, rules: Rules) -> Check:
    """The record that the rules ask for: there, readable, with its fields, and no other than what was observed."""
    record = evidence.outbox.get(rules.completion)
    limit = {"record": rules.completion, "fields": list(rules.completion_fields)}
    if record is None:
        why = f"no readable {line(rules.completion, 60)} lies in the outbox"
        return Check("completion", "fail", None, limit, why)
    missing = [field for field in rules.completion_fields if record.get(field) in (None, "", [], {})]
    if missing:
        return Check(
            "completion",
            "fail",
            {"fields": len(record)},
            limit,
            f"it lacks {', '.join(line(name, 40) for name in missing[:8])}",
        )
    return Check("completion", "pass", {"fields": len(record)}, limit)


def find_false_claims(evidence: Evidence) -> list[str]:
    """What the worker's own records say that is not so: files changed, commits made, tests that it says failed."""
    changed = {path: change for change in evidence.changes for path in change.paths}
    false: list[str] = []
    for record in evidence.outbox.values():
        for path in sorted(claimed_paths(record, str(evidence.spec.worktree or ""), evidence.spec.subfolder)):
            change = changed.get(path)
            if change is None:
                false.append(f"claimed but unchanged: {line(path, 80)}")
            elif change.mode == "120000" and change.status != "D":
                false.append(f"claimed as a file, but a link: {line(path, 80)}")
        commit: Any = record.get("commit") or record.get("head")
        if (
            isinstance(commit, str)
            and re.fullmatch(r"[0-9a-f]{7,64}", commit)
            and not any(name.startswith(commit) for name in _commits(evidence))
        ):
            false.append(f"claimed commit {commit[:10]} is not in the result")
        if record.get("committed") is True and not _is_committed(evidence):
            false.append("claimed to be committed, but left uncommitted")
    return false


def _commits(evidence: Evidence) -> list[str]:
    return [name for name, _text in evidence.history] + [str(evidence.commit)]


def _is_committed(evidence: Evidence) -> bool:
    snapshot = cast("dict[str, Any]", evidence.state.get("snapshot") or {})
    return not snapshot.get("uncommitted")


def claimed_paths(record: Mapping[str, Any], worktree: str, subfolder: str) -> set[str]:
    """Paths from the repository's root that a record says were changed."""
    found: set[str] = set()
    for key in ("files_changed", "changed_files", "files_modified", "files_created"):
        value: Any = record.get(key)
        for item in cast("list[Any]", value)[:200] if isinstance(value, list) else []:
            path: Any = cast("dict[str, Any]", item).get("path") if isinstance(item, dict) else item
            if isinstance(path, str) and path:
                found.add(path.removeprefix(f"{worktree}/").removeprefix("./"))
    return found
