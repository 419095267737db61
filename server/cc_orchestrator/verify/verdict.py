"""The verdict over all checks. Pure. The table, read from the top:

| when | verdict |
|---|---|
| no required check was made | ESCALATE |
| a required check failed or is unverified, and the worker cannot mend it | ESCALATE |
| a required check failed or is unverified | HOLD |
| all required checks passed | APPROVE |

Unverified is never a pass. Checks that are not required are warnings: shown, never counted. `tests` is required when test
commands were given; without any it is shown as unverified and not required.
A verdict holds for one result (commit and tree) and one rule set (their hash): another result or other rules expire it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from cc_orchestrator.core.states import VerdictWord
from cc_orchestrator.verify.check import Check

#: Raised when a check's meaning changes, so that older verdicts expire.
RULES_VERSION = 1


def decide_verdict(checks: Sequence[Check]) -> VerdictWord:
    """The word for these checks."""
    required = [check for check in checks if check.required]
    open_ = [check for check in required if check.outcome != "pass"]
    if not required or any(not check.fixable for check in open_):
        return "ESCALATE"
    return "HOLD" if open_ else "APPROVE"


def hash_rules(*, scope: dict[str, Any], commands: Sequence[str], timeout_seconds: float) -> str:
    """SHA-256 hex over everything that decides a verdict beside the result itself."""
    rules = {"v": RULES_VERSION, "scope": scope, "commands": list(commands), "timeout_seconds": timeout_seconds}
    return hashlib.sha256(json.dumps(rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_current(result: dict[str, Any], *, commit: str | None, tree: str | None, scope: dict[str, Any]) -> bool:
    """Whether a stored verification speaks of this result and of today's rules."""
    rules = hash_rules(
        scope=scope,
        commands=result.get("commands") or [],
        timeout_seconds=float(result.get("timeout_seconds") or 0.0),
    )
    return (
        result.get("status") == "succeeded"
        and result.get("commit") == commit
        and result.get("tree") == tree
        and result.get("rules") == rules
    )
