"""One check's outcome as a value: what was measured, against which limit, with which evidence, seen how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from cc_orchestrator.core.states import CheckOutcome
from cc_orchestrator.core.text import line

#: direct: we saw it ourselves on the result; proxy: concluded from traces; local: only what this machine shows;
#: blocked: could not be looked at.
Label = Literal["direct", "proxy", "local", "blocked"]
#: How much each label proves: a pass that nobody could look at proves nothing.
RANK: dict[str, int] = {"direct": 3, "proxy": 2, "local": 1, "blocked": 0}
Level = Literal["off", "advisory", "soft", "hard"]
EVIDENCE_BYTES = 500


@dataclass(frozen=True)
class Check:
    """`required`: the verdict needs it to pass. `fixable`: the worker can mend it by working on.

    `name` is the rule's id; `override` the reason with which the caller asked to let a failure through.
    """

    name: str
    outcome: CheckOutcome
    measured: Any = None
    limit: Any = None
    evidence: str = ""
    label: Label = "direct"
    required: bool = True
    fixable: bool = True
    level: Level = "hard"
    override: str = ""

    def to_json(self) -> dict[str, Any]:
        """`{check, outcome, measured?, limit?, evidence?, label, required, fixable, level, override?}`."""
        out: dict[str, Any] = {"check": self.name, "outcome": self.outcome}
        if self.measured is not None:
            out["measured"] = self.measured
        if self.limit is not None:
            out["limit"] = self.limit
        if self.evidence:
            out["evidence"] = line(self.evidence, EVIDENCE_BYTES)
        out.update(label=self.label, required=self.required, fixable=self.fixable, level=self.level)
        if self.override:
            out["override"] = line(self.override, EVIDENCE_BYTES)
        return out


def from_json(raw: dict[str, Any]) -> Check:
    """From `to_json`. A missing outcome is `unverified`: an unreadable check never passes."""
    outcome = raw.get("outcome")
    return Check(
        str(raw.get("check", "?")),
        outcome if outcome in ("pass", "fail") else "unverified",
        raw.get("measured"),
        raw.get("limit"),
        str(raw.get("evidence", "")),
        raw.get("label", "blocked"),
        bool(raw.get("required", True)),
        bool(raw.get("fixable", True)),
        raw.get("level", "hard"),
        str(raw.get("override", "")),
    )


def name_some(paths: list[str], count: int = 5) -> str:
    """`a, b and 3 more`, each cut and cleaned: paths are written by workers."""
    shown = ", ".join(line(path, 80) for path in paths[:count])
    return f"{shown} and {len(paths) - count} more" if len(paths) > count else shown
