"""Who may answer a worker's question, by the risk of a wrong yes. Pure.

A no is free to everybody. A yes above the controller's class is for a person: through the client that the controller runs in
(elicitation), or at a terminal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from cc_orchestrator.core.asking import RISKS, Risk

Channel = Literal["controller", "elicitation", "person"]


class Reach(NamedTuple):
    """The highest class of risk that each channel may say yes to. A person may say yes to all."""

    controller: Risk = "high"
    elicitation: Risk = "critical"


def read_reach(raw: Mapping[str, Any] | None) -> Reach:
    """From `{"controller": "medium", "elicitation": "high"}`. ValueError that names what is wrong."""
    if raw is None:
        return Reach()
    unknown = sorted(set(raw) - set(Reach._fields))
    if unknown:
        raise ValueError(f"unknown field {unknown[0][:60]!a}; known: {', '.join(Reach._fields)}")
    for name, value in raw.items():
        if value not in RISKS:
            raise ValueError(f"{name} must be one of {', '.join(RISKS)}")
    return Reach(**cast("dict[str, Risk]", dict(raw)))


def may_answer(risk: str, reach: Reach) -> list[Channel]:
    """Channels that may say yes. A risk that is not known counts as the highest."""
    height = RISKS.index(risk) if risk in RISKS else len(RISKS) - 1
    found: list[Channel] = []
    if height <= RISKS.index(reach.controller):
        found.append("controller")
    if height <= RISKS.index(reach.elicitation):
        found.append("elicitation")
    found.append("person")
    return found
