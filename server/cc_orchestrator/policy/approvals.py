"""Approvals as rows: who asked for what, who decided, whether it was used. Pure.

Deny wins, an approval is used once, decided once, stale when its target moved, gone at its end; the same open request is one row.
A chain is a person's consent to several acts: bounded by run or task, kinds, commands, paths, steps, cost and time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, cast

from cc_orchestrator.core.asking import RISKS, Risk, ToolCall
from cc_orchestrator.core.digest import sha256
from cc_orchestrator.policy.globs import matches_any

Row = Mapping[str, Any]
Status = Literal["open", "allowed", "denied", "used", "expired", "stale", "revoked"]
#: An approval that nobody decides, or that nobody uses, ends after this.
DEFAULT_SECONDS = 3600.0
LONGEST_SECONDS = 7 * 86_400.0
_JOINTS = (";", "|", "&", "`", "$(", "\n", ">", "<")


class Approval(NamedTuple):
    """One approval as its rows say now. Times are epoch seconds; `latency` from the request to the decision."""

    approval_id: str
    request_hash: str
    what: str
    risk: str
    target: str
    requested_by: str
    requested_at: float
    expires: float
    run_id: str = ""
    task_id: str = ""
    decision: str = ""
    approver: str = ""
    channel: str = ""
    decided_at: float | None = None
    used: int = 0
    revoked: bool = False
    chain: Chain | None = None

    @property
    def latency(self) -> float | None:
        """Seconds from request to decision."""
        return None if self.decided_at is None else max(0.0, self.decided_at - self.requested_at)


class Chain(NamedTuple):
    """What one consent covers. Empty kinds, commands or paths mean none of that sort is bounded by it; `steps` at most."""

    kinds: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    steps: int = 1
    cost_usd: float | None = None
    risk: Risk = "high"


def hash_request(what: Mapping[str, Any]) -> str:
    """The same request has the same hash, however its fields are ordered."""
    text = json.dumps(what, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=str)
    return sha256(text.encode()).hexdigest()


def read_approvals(rows: Iterable[Row]) -> dict[str, Approval]:
    """By id. The first decision counts, but a deny that comes with or after an allow wins while it is not used."""
    found: dict[str, Approval] = {}
    for row in rows:
        approval_id = str(row.get("approval_id") or "")
        known = found.get(approval_id)
        if known is None:
            if row.get("what") is not None:
                found[approval_id] = _opened(approval_id, row)
        elif row.get("revoked") is True:
            found[approval_id] = known._replace(revoked=True)
        elif row.get("used") is True:
            found[approval_id] = known._replace(used=known.used + 1)
        elif (row.get("decision") == "deny" and not known.used) or (
            row.get("decision") == "allow" and not known.decision
        ):
            found[approval_id] = known._replace(
                decision=str(row["decision"]), approver=str(row.get("by") or ""), channel=str(row.get("channel") or ""),
                decided_at=float(row.get("ts") or 0.0),
            )  # fmt: skip
    return found


def _opened(approval_id: str, row: Row) -> Approval:
    raw: Any = row.get("chain")
    return Approval(
        approval_id, str(row.get("request_hash") or ""), str(row["what"]), str(row.get("risk") or "high"), str(row.get("target") or ""),
        str(row.get("by") or ""), float(row.get("ts") or 0.0), float(row.get("expires") or 0.0), str(row.get("run_id") or ""),
        str(row.get("task_id") or ""), chain=_chain(cast("Row", raw)) if isinstance(raw, dict) else None,
    )  # fmt: skip


def _chain(raw: Row) -> Chain:
    risk = str(raw.get("risk") or "high")
    cost = raw.get("cost_usd")
    return Chain(
        tuple(map(str, raw.get("kinds") or ())), tuple(map(str, raw.get("commands") or ())), tuple(map(str, raw.get("paths") or ())),
        int(raw.get("steps") or 1), float(cost) if isinstance(cost, int | float) else None, risk if risk in RISKS else "low",
    )  # fmt: skip


def status_of(approval: Approval, now: float, target: str | None = None) -> Status:
    """What it is worth now; `target` is what its target is now (None: not looked at)."""
    most = approval.chain.steps if approval.chain is not None else 1
    if approval.revoked:
        return "revoked"
    if approval.decision == "deny":
        return "denied"
    if approval.used >= most:
        return "used"
    if now >= approval.expires:
        return "expired"
    if approval.target and target is not None and target != approval.target:
        return "stale"
    return "allowed" if approval.decision == "allow" else "open"


def find_open(approvals: Mapping[str, Approval], request_hash: str, now: float) -> Approval | None:
    """The request that is the same and still open."""
    return next(
        (entry for entry in approvals.values() if entry.request_hash == request_hash and status_of(entry, now) == "open"), None
    )  # fmt: skip


def match_chain(
    call: ToolCall,
    risk: Risk,
    approvals: Iterable[Approval],
    *,
    run_id: str,
    task_id: str,
    now: float,
    cost: float | None,
) -> Approval | None:
    """The consent that covers a call, the one that ends first; None when none does.

    Paths of the call are real: relative for what lies in the run's tree, absolute for the rest.
    """
    fitting = [
        entry for entry in approvals
        if entry.chain is not None and status_of(entry, now) == "allowed" and (entry.run_id or entry.task_id)
        and entry.run_id in ("", run_id) and entry.task_id in ("", task_id) and _covers(entry.chain, call, risk, cost)
    ]  # fmt: skip
    return min(fitting, key=lambda entry: entry.expires, default=None)


def _covers(chain: Chain, call: ToolCall, risk: Risk, cost: float | None) -> bool:
    if RISKS.index(risk) > RISKS.index(chain.risk) or (chain.kinds and call.kind not in chain.kinds):
        return False
    if chain.cost_usd is not None and (cost is None or cost > chain.cost_usd):
        # A cost that nobody knows is within no bound.
        return False
    if call.kind == "command":
        text = " ".join((call.command or call.target).split())
        plain = not any(mark in text for mark in _JOINTS)
        return plain and any(text == entry or text.startswith(entry + " ") for entry in chain.commands)
    if call.kind in ("read", "edit"):
        return bool(call.paths) and bool(chain.paths) and all(_is_within(path, chain.paths) for path in call.paths)
    return call.kind in chain.kinds


def _is_within(path: str, globs: Iterable[str]) -> bool:
    """A path of the run's tree by globs; one outside of it only by a glob that is absolute too."""
    if path.startswith("/"):
        return matches_any(path.lstrip("/"), [entry for entry in globs if entry.startswith("/")])
    return matches_any(path, [entry for entry in globs if not entry.startswith("/")])
