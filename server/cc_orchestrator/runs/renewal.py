"""What follows a run by itself, where its settings say so: after a silence a run in its conversation, then one afresh; after a
provider's limit a run in its conversation, when the limit is over.

Pure. The plan is told in the journal before the end; carrying it out is a process of its own (`workflow/renewing.py`).
"""

from __future__ import annotations

from typing import Literal

from cc_orchestrator.adapters.base import Capabilities
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from cc_orchestrator.runs.failures import rule_of
from cc_orchestrator.runs.fold import State
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.spec import RunSpec

Renewal = Literal["resume", "replace", "later"]
CODE = "renewal"
_TEXTS: dict[str, Renewal] = {
    "a run in the same conversation follows": "resume",
    "a run with a conversation of its own follows": "replace",
    "a run in the same conversation follows when the provider's limit is over": "later",
}


def request_of(run_id: str, renewal: Renewal, tries: int = 0) -> str:
    """The request id of a follow-up: it starts once, whoever tries how often. `tries` counts those that waited for a limit."""
    return f"{renewal}{tries + 1 if renewal == 'later' else ''}-{run_id}"


def tries_of(spec: RunSpec) -> int:
    """How many runs of this chain waited for a limit before this one."""
    made_as = (spec.client_request_id or "").partition("-run_")[0]
    count = made_as.removeprefix("later")
    return int(count) if made_as.startswith("later") and count.isdigit() else 0


def plan_later(
    spec: RunSpec, state: State, stop: Stop | None, reason: str, capabilities: Capabilities
) -> Renewal | None:
    """Whether it goes on when the provider's limit is over: asked for at its start, and its conversation can be taken up."""
    rule = rule_of(reason)
    if stop is not None or rule is None or rule.name != "provider_limit" or not spec.limits.resume_on_limit:
        return None
    return "later" if capabilities.resume and state["session_id"] and tries_of(spec) < rule.tries else None


def plan_renewal(spec: RunSpec, state: State, stop: Stop | None, capabilities: Capabilities) -> Renewal | None:
    """What follows a silence: at most one resumption, then one replacement, then nothing more."""
    if stop is None or stop.reason != "silence" or spec.limits.on_stall != "recover":
        return None
    made_as = (spec.client_request_id or "").partition("-run_")[0]
    if made_as == "replace":
        return None
    if made_as != "resume" and capabilities.resume and state["session_id"]:
        return "resume"
    return "replace"


def announce(renewal: Renewal) -> Fact:
    """The plan, for the journal."""
    text = next(text for text, planned in _TEXTS.items() if planned == renewal)
    return Fact(ev.SYSTEM_NOTICE, {"code": CODE, "text": text})


def planned_renewal(state: State) -> Renewal | None:
    """What the journal says will follow."""
    return next(
        (_TEXTS.get(str(notice.get("text"))) for notice in state["notices"] if notice.get("code") == CODE), None
    )
