"""All that somebody needs who judges a result: one bundle, bound to its head. What we observed stands apart from what was claimed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, cast

from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.digest import sha256
from cc_orchestrator.core.errors import CcError, InvalidRequest, Unavailable
from cc_orchestrator.core.redact import mask
from cc_orchestrator.core.text import clean, cut, line
from cc_orchestrator.delivery.reviewed import find_standing
from cc_orchestrator.host.git import GitError
from cc_orchestrator.runs.fold import claimed
from cc_orchestrator.runs.risk import find_flags
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic, ledger
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.tasks.record import read_task
from cc_orchestrator.verify.diff import DiffError, read_changes, sealed_git
from cc_orchestrator.verify.evidence import read_ended_run
from cc_orchestrator.verify.findings import Finding
from cc_orchestrator.verify.job import read_job
from cc_orchestrator.verify.record import current_result, read_result, speaks_of_now, verifications
from cc_orchestrator.verify.standing import Standing

MAX_FILES = 300
MAX_PATCH = 400_000
Pack = dict[str, Any]


def collect_pack(workspace: Workspace, run_id: str, now: float) -> tuple[Pack, str]:
    """The pack, and the patch (masked, cut). Raises NotFound, Conflict (live), InvalidRequest (no result), Corrupt, Unavailable."""
    spec, state = read_ended_run(workspace, run_id)
    commit, tree = current_result(spec, state)
    if commit is None or spec.repository is None or spec.base is None:
        raise InvalidRequest(
            f"{run_id} has no result: only a run that writes leaves a commit to review",
            hint="start one with allow_write=true",
        )
    change, patch = _collect_change(spec, commit)
    result = latest_result(workspace, run_id)
    pack: Pack = {
        "v": 1, "run_id": run_id, "task_id": spec.task_id, "made_at": now,
        "head": {"commit": commit, "tree": tree, "base": spec.base, "branch": spec.branch},
        "task": _describe_task(workspace, spec),
        "change": change,
        "observed": {
            "run": {key: state[key] for key in ("status", "reason", "actual_model", "model", "turns")} | {"adapter": spec.adapter},
            "verification": _describe_verification(spec, state, result),
            "risk_flags": [flag._asdict() for flag in find_flags(state, now)],
            "review": describe_standing(find_standing(workspace, spec, state, result, now)),
            "receipts": _describe_receipts(workspace, run_id),
        },
        "claimed": {"untrusted_text": cut(clean(str(claimed(state).get("text", ""))), 8_000), "outbox": claimed(state).get("outbox") or []},
    }  # fmt: skip
    pack["digest"] = sha256(json.dumps({**pack, "made_at": 0, "patch": patch}, sort_keys=True).encode()).hexdigest()
    return pack, patch


def _collect_change(spec: RunSpec, commit: str) -> tuple[dict[str, Any], str]:
    git = sealed_git(str(spec.repository))
    try:
        changes = read_changes(git, str(spec.base), commit)
        raw = git.run(
            "diff-tree", "-p", "-r", "-M", "--no-ext-diff", "--no-textconv", "--no-color", str(spec.base), commit
        )
    except (GitError, DiffError, CcError) as error:
        raise Unavailable(f"the change of {spec.run_id} cannot be read: {error}", hint="cc_verify says more") from error
    masked = mask(raw)[0].decode("utf-8", "replace")
    files = [
        {"path": line(row.path, 300), "status": row.status, "added": row.added, "deleted": row.deleted, "binary": row.binary}
        | ({"from": line(row.old_path, 300)} if row.old_path else {})
        for row in changes
    ]  # fmt: skip
    return {
        "files": files[:MAX_FILES], "file_count": len(files), "added": sum(row.added for row in changes),
        "deleted": sum(row.deleted for row in changes), "patch_bytes": len(raw), "patch_cut": len(masked.encode()) > MAX_PATCH,
    }, cut(masked, MAX_PATCH)  # fmt: skip


def _describe_task(workspace: Workspace, spec: RunSpec) -> dict[str, Any]:
    record = read_task(workspace, spec.task_id)
    return {"goal": record.get("goal") or spec.task, "scope": spec.scope._asdict(), "risk": record.get("risk") or "low"}


def latest_result(workspace: Workspace, run_id: str) -> dict[str, Any] | None:
    """The run's latest verification that has a result. Raises Corrupt."""
    for job in verifications(workspace, run_id):
        result = read_result(job, read_job(job))
        if result is not None:
            return result
    return None


def _describe_verification(
    spec: RunSpec, state: dict[str, Any], result: dict[str, Any] | None
) -> dict[str, Any] | None:
    if result is None:
        return None
    keys = ("verify_id", "verdict", "checks", "commands", "commit", "tree", "rules")
    return {key: result[key] for key in keys} | {"current": speaks_of_now(result, spec, state)}


def describe_standing(standing: Standing) -> dict[str, Any]:
    """As plain values."""
    return {
        "risk": standing.risk, "needed": standing.needed, "passed": [vote._asdict() for vote in standing.passed],
        "failed": [vote._asdict() for vote in standing.failed], "stale": standing.stale,
        "open_blockers": [row.id for row in standing.blockers], "problems": standing.problems,
    }  # fmt: skip


def _describe_receipts(workspace: Workspace, run_id: str) -> list[dict[str, Any]]:
    rows = ledger.receipts(workspace.ledger, {"run_id": run_id}, limit=30)
    return [{"n": row["n"], "kind": row["kind"], "at": iso(row["ts"]), "hash": row["hash"]} for row in rows]


def write_pack(workspace: Workspace, pack: Pack, patch: str) -> str:
    """`pack.json`, `pack.md` and `change.patch`; the folder. A pack of the same head is replaced. Raises OSError."""
    folder = os.path.join(workspace.reviews(pack["task_id"]), "packs", str(pack["head"]["commit"])[:12])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    atomic.write_text(os.path.join(folder, "change.patch"), patch)
    atomic.write_text(os.path.join(folder, "pack.md"), render_pack(pack))
    atomic.write_json(os.path.join(folder, "pack.json"), pack)
    return folder


def render_pack(pack: Pack) -> str:
    """The pack as Markdown for people."""
    head, observed = pack["head"], pack["observed"]
    parts = [
        f"# Review pack of {pack['run_id']}",
        f"Head `{head['commit']}`, tree `{head['tree']}`, base `{head['base']}`. Digest `{pack['digest']}`. "
        "A new head makes this pack stale.",
        "## Task", quote(str(pack["task"]["goal"])), f"Risk: {pack['task']['risk']}. Scope: `{json.dumps(pack['task']['scope'])}`",
        "## Change", render_files(pack["change"]),
        "## Observed", f"The run ended as {observed['run']['status']} ({observed['run']['reason']}).",
        render_checks(observed["verification"]),
        "Risk flags: " + ("; ".join(f"{flag['code']} ({flag['severity']})" for flag in observed["risk_flags"]) or "none"),
        "Review: " + ("; ".join(observed["review"]["problems"]) or "as the risk asks for"),
        "Receipts: " + (", ".join(f"{row['n']} {row['kind']}" for row in observed["receipts"]) or "none"),
        "## Claimed by the maker (untrusted)", quote(str(pack["claimed"]["untrusted_text"]) or "(nothing)"),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def quote(text: str) -> str:
    """As a Markdown quotation, so that no line of it poses as ours."""
    return "\n".join(f"> {row}" for row in clean(text).splitlines())


def render_files(change: dict[str, Any]) -> str:
    """One line a file."""
    rows = cast("list[dict[str, Any]]", change["files"])
    head = f"{change['file_count']} files, +{change['added']} -{change['deleted']}"
    shown = [f"- {row['status']} {row['path']} +{row['added']} -{row['deleted']}" for row in rows[:100]]
    return "\n".join([head, *shown])


def render_checks(verification: dict[str, Any] | None) -> str:
    """The verdict and what does not pass, in words."""
    if verification is None:
        return "It was never verified."
    rows = [
        f"- {check['check']}: {check['outcome']}" + (f" ({line(str(check['evidence']), 200)})" if check.get("evidence") else "")
        for check in verification["checks"]
    ]  # fmt: skip
    now = "" if verification["current"] else " about an earlier result"
    return "\n".join([f"Verification {verification['verify_id']}: {verification['verdict']}{now}", *rows])


def render_findings(findings: Sequence[Finding]) -> str:
    """One JSON object a line, for a worker's prompt."""
    keys = ("id", "severity", "path", "line", "text", "evidence")
    rows = [{key: value for key, value in row._asdict().items() if key in keys and value} for row in findings]
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) or "none"
