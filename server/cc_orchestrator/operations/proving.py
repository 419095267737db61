"""cc_evidence, cc_secret_scan_run, cc_check_write_scope, cc_preflight_write_scope: single parts of a verification, read-only."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any

from pydantic import Field

from cc_orchestrator.core.errors import CcError, Unavailable
from cc_orchestrator.core.text import line
from cc_orchestrator.host.git import GitError
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import locate_run, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.verify.checks import check_diff_size
from cc_orchestrator.verify.diff import DiffError
from cc_orchestrator.verify.encodings import find_disguised
from cc_orchestrator.verify.evidence import Evidence, collect_evidence
from cc_orchestrator.verify.history import latest_by_head, results_of_run
from cc_orchestrator.verify.preflight import make_scope, preflight
from cc_orchestrator.verify.scanner import find_version, make_scan
from cc_orchestrator.verify.scope import check_scope
from cc_orchestrator.verify.secrets import Finding, find_in_artifacts, find_secrets
from cc_orchestrator.verify.survey import summarize_evidence

_FILES_BYTES = 3_000
_HEADS = 5
_FINDINGS = 100
_SEVERITY = {"real": "critical", "unknown": "medium"}


class EvidenceParams(Params):
    """Which run."""

    run_id: str


def _evidence(ctx: Context, params: EvidenceParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    results = list(results_of_run(workspace, run.run_id))
    found = results[0]["evidence"] if results else summarize_evidence(collect_evidence(workspace, run.run_id))
    out: dict[str, Any] = {"run_id": run.run_id, "collected_by": results[0]["verify_id"] if results else "now"}
    out.update({key: found[key] for key in ("counts", "provenance", "ignored", "problems")})
    out["commits"] = found["commits"][:20]
    rows: list[dict[str, Any]] = []
    room = _FILES_BYTES
    for row in found["files"]:
        room -= len(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
        if room < 0:
            break
        rows.append(row)
    out.update(files=rows, truncated=found["truncated"] or len(rows) < len(found["files"]))
    if results:
        out["labels"] = results[0]["risk"]["labels"]
        out["heads"] = [_head(commit, checks) for commit, checks in list(latest_by_head(results).items())[:_HEADS]]
    else:
        out["next"] = f'cc_verify {{"run_id":"{run.run_id}","test_commands":["…"]}}'
    return out


def _head(commit: str, checks: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The latest word on one result: what is not a pass by name, the rest counted."""
    open_ = {name: entry["outcome"] for name, entry in checks.items() if entry["outcome"] != "pass"}
    return {"commit": commit, "passed": len(checks) - len(open_), "not_passed": open_}


class SecretScanParams(Params):
    """Which run, and whether its result is looked into too."""

    run_id: str
    include_diff: bool = True


def _secret_scan(ctx: Context, params: SecretScanParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    evidence = collect_evidence(workspace, run.run_id)
    scan = make_scan()
    found = find_in_artifacts(evidence.artifacts)
    if params.include_diff:
        found = [*find_secrets(evidence.changes, evidence.history, scan), *find_disguised(evidence), *found]
    counts = Counter(finding.grade for finding in found)
    masked = {kind: count for kind, count in evidence.state["masked"].items() if count}
    problems = [line(evidence.problems[name], 200) for name in ("diff", "history") if name in evidence.problems]
    blocking = counts["real"]
    unknown = evidence.spec.allow_write and params.include_diff and (evidence.commit is None or bool(problems))
    severity = "critical" if blocking else "medium" if counts["unknown"] or masked else "low" if found else "none"
    return {
        "run_id": run.run_id, "status": "blocked" if blocking else "unverified" if unknown else "passed",
        "finding_count": len(found), "blocking_count": blocking, "max_severity": severity,
        "classification_counts": dict(counts), "masked_in_output": masked,
        "scanner": f"own patterns, kingfisher {find_version()}" if scan is not None else "own patterns (kingfisher is not installed)",
        "findings": [_row(finding) for finding in sorted(found, key=lambda finding: not finding.real)[:_FINDINGS]],
        **({"problems": problems} if problems else {}),
    }  # fmt: skip


def _row(finding: Finding) -> dict[str, Any]:
    row: dict[str, Any] = {
        "place": finding.place,
        "kind": finding.kind,
        "class": finding.grade,
        "severity": _SEVERITY.get(finding.grade, "low"),
    }
    return {
        **row,
        **({"encoded": True} if finding.encoded else {}),
        **({"by": finding.by} if finding.by != "own" else {}),
    }


class CheckScopeParams(Params):
    """Which run."""

    run_id: str


def _check_scope(ctx: Context, params: CheckScopeParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    evidence = collect_evidence(workspace, run.run_id)
    scope = evidence.spec.scope
    out: dict[str, Any] = {"run_id": run.run_id, "scope": scope._asdict()}
    if not evidence.spec.allow_write:
        return {**out, "status": "read_only", "next": f'cc_verify {{"run_id":"{run.run_id}"}} says whether it wrote'}
    if evidence.commit is None or "diff" in evidence.problems:
        return {**out, "status": "unverified", "why": evidence.problems.get("diff", "the run has no result commit")}
    size, found = check_diff_size(evidence), _scope_of(evidence)
    bad = "fail" in (size.outcome, found.outcome)
    empty = not (scope.allow or scope.deny or scope.max_diff_lines)
    out["status"] = (
        "blocked" if bad else "unverified" if found.outcome == "unverified" else "no_scope" if empty else "passed"
    )
    out.update(measured=found.measured, diff=size.measured)
    reasons = [
        check.evidence or f"{check.name} over {check.limit}" for check in (found, size) if check.outcome != "pass"
    ]
    if reasons:
        out["violations"] = reasons
    out["changed_paths"] = [line(path, 120) for change in evidence.changes[:50] for path in change.paths]
    return out


def _scope_of(evidence: Evidence) -> Any:
    return check_scope(
        evidence.changes, evidence.spec.scope, ignored=evidence.ignored, ignored_complete=evidence.ignored_complete,
        links=evidence.links,
    )  # fmt: skip


class PreflightParams(Params):
    """A scope as cc_run_streaming would take it."""

    cwd: str | None = None
    allowed_paths: Annotated[list[str], Field(max_length=200)] = []
    denied_paths: Annotated[list[str], Field(max_length=200)] = []
    max_diff_lines: Annotated[int | None, Field(ge=1, le=1_000_000)] = None


def _preflight(ctx: Context, params: PreflightParams) -> dict[str, Any]:
    workspace = workspace_of(ctx, params.cwd)
    scope = make_scope(workspace.root, params.allowed_paths, params.denied_paths, params.max_diff_lines)
    try:
        found = preflight(workspace, scope)
    except (GitError, DiffError) as error:
        raise Unavailable(f"{workspace.root} cannot be looked at: {error}", hint="cc_doctor") from error
    except CcError:
        raise
    asked = {"allow": list(scope.allow), "deny": list(scope.deny), "max_diff_lines": scope.max_diff_lines}
    given = {key: value for key, value in asked.items() if value}
    return {
        "workspace": workspace.root, "scope": given, **found,
        "next": f'cc_run_streaming {{"task":"…","allow_write":true,"scope":{json.dumps(given, ensure_ascii=False)}}}',
    }  # fmt: skip


register(Operation(
    name="cc_evidence", words=("evidence",), toolset="review", effect="read",
    summary="What a run's verification rests on: commits, files with hashes, provenance, labels, the latest word per result and check.",
    params=EvidenceParams, handler=_evidence, positional="run_id", idempotent=True, search_hint="evidence provenance files commits labels",
))  # fmt: skip
register(Operation(
    name="cc_secret_scan_run", words=("secret-scan-run",), toolset="review", effect="read",
    summary="Secrets in an ended run's result, its history, hand-over and ignored files; places and kinds, never values.",
    params=SecretScanParams, handler=_secret_scan, positional="run_id", idempotent=True, search_hint="secret scan leak key token",
))  # fmt: skip
register(Operation(
    name="cc_check_write_scope", words=("check-write-scope",), toolset="review", effect="read",
    summary="Whether an ended run stayed within its write scope: paths, ignored files, links, lines.",
    params=CheckScopeParams, handler=_check_scope, positional="run_id", idempotent=True, search_hint="scope allow deny violation paths",
))  # fmt: skip
register(Operation(
    name="cc_preflight_write_scope", words=("preflight-write-scope",), toolset="review", effect="read",
    summary="What a write scope would cover of the repository, globs that match nothing, and live runs that it meets.",
    params=PreflightParams, handler=_preflight, idempotent=True, search_hint="scope preflight allow deny globs before run",
))  # fmt: skip
