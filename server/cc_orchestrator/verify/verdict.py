"""The verdict over all checks. Pure. The table, read from the top:

| when | verdict |
|---|---|
| no required check was made | ESCALATE |
| a required check failed or is unverified, and the worker cannot mend it (its tool is missing, the store or the rules cannot be read) | ESCALATE |
| a policy path was touched (`policy_paths`: CI, owners, lock files, …) | ESCALATE |
| the same check did not pass on N results of the task (`fail_limit`, 5) | ESCALATE |
| an override of a soft check was asked for | ESCALATE |
| a live proof is asked for that nobody here can give | ESCALATE |
| a required check failed or is unverified | HOLD |
| all required checks passed | APPROVE |

Unverified is never a pass, and neither is a pass whose label is `blocked`. Checks that are not required are warnings: shown, never
counted. `tests` is required when test commands were given, and under preset strict; else it is shown as unverified and not required.
Labels rank direct > proxy > local > blocked; they are set by whoever collected the evidence, never by the worker.
Risk = min(100, 50 x blocking + 10 x warnings). A verdict holds for one result (commit and tree) and one rule set (their hash):
another result or other rules expire it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cc_orchestrator.core.states import VerdictWord
from cc_orchestrator.verify.check import RANK, Check

#: Raised when a check's meaning changes, so that older verdicts expire.
RULES_VERSION = 2


def _passed(check: Check) -> bool:
    return check.outcome == "pass" and RANK.get(check.label, 0) > 0


def decide_verdict(checks: Sequence[Check]) -> VerdictWord:
    """The word for these checks."""
    required = [check for check in checks if check.required]
    open_ = [check for check in required if not _passed(check)]
    if not required or any(check.override or not check.fixable for check in open_):
        return "ESCALATE"
    return "HOLD" if open_ else "APPROVE"


def measure_risk(checks: Sequence[Check]) -> dict[str, Any]:
    """`{risk, blocking_ok, has_warnings, max_severity, blocking, warnings, labels}`."""
    blocking = [check for check in checks if check.required and not _passed(check)]
    warnings = [check for check in checks if not check.required and check.outcome == "fail"]
    severity = (
        "critical"
        if any(check.name in ("secrets", "repository", "outside") for check in blocking)
        else "high"
        if blocking
        else ""
    )
    labels = {label: sum(check.label == label for check in checks if check.required) for label in RANK}
    return {
        "risk": min(100, 50 * len(blocking) + 10 * len(warnings)), "blocking_ok": not blocking, "has_warnings": bool(warnings),
        "max_severity": severity or ("medium" if warnings else "none"), "blocking": len(blocking), "warnings": len(warnings),
        "labels": {label: count for label, count in labels.items() if count},
    }  # fmt: skip


def hash_rules(*, scope: dict[str, Any], commands: Sequence[str], timeout_seconds: float, key: dict[str, Any]) -> str:
    """SHA-256 hex over everything that decides a verdict beside the result itself. `key` is `rulekey.rules_key`."""
    rules = {
        "v": RULES_VERSION,
        "scope": scope,
        "commands": list(commands),
        "timeout_seconds": timeout_seconds,
        "key": key,
    }
    return hashlib.sha256(json.dumps(rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_current(
    result: dict[str, Any], *, commit: str | None, tree: str | None, scope: dict[str, Any], key: dict[str, Any]
) -> bool:
    """Whether a stored verification speaks of this result and of today's rules (`key`)."""
    rules = hash_rules(
        scope=scope,
        commands=result.get("commands") or [],
        timeout_seconds=float(result.get("timeout_seconds") or 0.0),
        key=key,
    )
    return (
        result.get("status") == "succeeded"
        and result.get("commit") == commit
        and result.get("tree") == tree
        and result.get("rules") == rules
    )
