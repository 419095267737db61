"""Findings of a task's reviews and their life: open → fixed, waived or rejected; and open again. Pure.

A finding is known by its fingerprint: its path and its text without case, digits and punctuation. It is `fixed` only by a later
review of another result that says so; `waived` and `rejected` only by somebody who is named and gives a reason; a waiver ends.
One that was fixed and came back twice goes round in circles (`oscillates`): then nobody should go on fixing it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core.text import cut
from cc_orchestrator.verify.opinion import Opinion, Remark, Ruling

#: How often a finding may come back after it was fixed.
MOST_RETURNS = 2
_NOISE = re.compile(r"[\W\d_]+")


class Finding(NamedTuple):
    """One finding. `state` is as last recorded: `open`, `fixed`, `waived`, `rejected`; `expires_at` is of a waiver."""

    id: str
    fingerprint: str
    severity: str
    path: str
    line: int | None
    text: str
    evidence: str
    state: str
    head: str
    returns: int = 0
    owner: str = ""
    reason: str = ""
    expires_at: float | None = None

    def state_at(self, now: float) -> str:
        """The state at `now` (epoch seconds): an expired waiver is open."""
        expired = self.state == "waived" and self.expires_at is not None and self.expires_at <= now
        return "open" if expired else self.state

    @property
    def oscillates(self) -> bool:
        """Whether it was fixed and came back too often."""
        return self.returns >= MOST_RETURNS


Findings = Mapping[str, Finding]
Event = dict[str, Any]


def take_fingerprint(path: str, text: str) -> str:
    """16 hex digits."""
    plain = _NOISE.sub(" ", text.casefold()).strip()
    return hashlib.sha256(f"{path.strip()}\n{plain}".encode("utf-8", "replace")).hexdigest()[:16]


def fold_findings(events: Iterable[Event]) -> dict[str, Finding]:
    """`{id: finding}` after the events."""
    out: dict[str, Finding] = {}
    for event in events:
        kind, name = event.get("kind"), str(event.get("finding_id"))
        if kind == "reported":
            out[name] = _report(out.get(name), name, event)
        elif name in out and kind in ("fixed", "waived", "rejected", "reopened"):
            out[name] = out[name]._replace(
                state="open" if kind == "reopened" else kind, owner=str(event.get("owner", "")),
                reason=str(event.get("reason", "")), expires_at=event.get("expires_at"), head=str(event.get("head") or out[name].head),
            )  # fmt: skip
    return out


def _report(old: Finding | None, name: str, event: Event) -> Finding:
    new = Finding(
        name, str(event["fingerprint"]), str(event["severity"]), str(event["path"]), event.get("line"), str(event["text"]),
        str(event.get("evidence", "")), "open", str(event["head"]),
    )  # fmt: skip
    if old is None:
        return new
    if old.state in ("waived", "rejected"):
        # What somebody decided stays decided; a waiver ends by itself.
        return old._replace(head=new.head)
    return new._replace(returns=old.returns + (old.state == "fixed"))


def list_news(findings: Findings, opinions: Sequence[Opinion], *, review_id: str, head: str, now: float) -> list[Event]:
    """The events that one review of the result `head` adds. An opinion that cannot be read adds nothing and closes nothing."""
    base: Event = {"ts": now, "review_id": review_id, "head": head}
    by_print = {finding.fingerprint: finding for finding in findings.values()}
    reported: dict[str, Event] = {}
    for remark, evidence in _complaints(opinions):
        mark = take_fingerprint(remark.path, remark.text)
        if mark not in reported:
            name = by_print[mark].id if mark in by_print else f"F{len(by_print) + 1}"
            if mark not in by_print:
                by_print[mark] = _report(None, name, {**remark._asdict(), "fingerprint": mark, **base})
            reported[mark] = {
                **base, "kind": "reported", "finding_id": name, "fingerprint": mark, **remark._asdict(), "evidence": cut(evidence, 500),
            }  # fmt: skip
    closed = [
        {**base, "kind": "fixed", "finding_id": finding.id, "reason": why}
        for finding in findings.values()
        if finding.state == "open" and finding.fingerprint not in reported and finding.head != head
        for why in [_find_proof(finding, opinions)]
        if why
    ]
    return [*reported.values(), *closed]


def as_remark(ruling: Ruling) -> Remark:
    """A step that failed, as a finding."""
    return Remark("blocker", "", None, f"Acceptance step: {ruling.step.text}")


def _complaints(opinions: Sequence[Opinion]) -> Iterable[tuple[Remark, str]]:
    for opinion in opinions:
        for ruling in opinion.rulings:
            if not ruling.passed:
                yield as_remark(ruling), ruling.evidence
        for remark in opinion.remarks:
            yield remark, ""


def _find_proof(finding: Finding, opinions: Sequence[Opinion]) -> str:
    """Why it is fixed: some reviewer says so with evidence and none says that it is open. "" when it is not."""
    said: list[tuple[bool, str]] = []
    for opinion in opinions:
        said += [(recall.fixed, recall.evidence) for recall in opinion.recalls if recall.finding_id == finding.id]
        for ruling in opinion.rulings:
            if take_fingerprint("", as_remark(ruling).text) == finding.fingerprint:
                said.append((ruling.passed, ruling.evidence))
    if not said or not all(fixed for fixed, _evidence in said):
        return ""
    return cut(said[0][1], 500)


def list_open(findings: Findings, now: float, *severities: str) -> list[Finding]:
    """Those that are open at `now`, of these severities (of all), in the order of their ids."""
    rows = [finding for finding in findings.values() if finding.state_at(now) == "open"]
    return sorted(
        (row for row in rows if not severities or row.severity in severities), key=lambda row: int(row.id[1:])
    )
