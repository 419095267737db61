"""What follows a run that was given up for its silence, where its setting says so: a run in its conversation, then one afresh.

Pure. The plan is told in the journal before the end; carrying it out is a process of its own (`workflow/renewing.py`).
"""

from __future__ import annotations

from typing import Literal

from cc_orchestrator.adapters.base import Capabilities
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.events import Fact
from cc_orchestrator.runs.fold import State
from cc_orchestrator.runs.outcome import Stop
from cc_orchestrator.runs.spec import RunSpec

Renewal = Literal["resume", "replace"]
CODE = "renewal"
_TEXTS: dict[str, Renewal] = {
    "a run in the same conversation follows": "resume",
    "a run with a conversation of its own follows": "replace",
}


def request_of(run_id: str, renewal: Renewal) -> str:
    """The request id of a follow-up: it starts once, whoever tries how often."""
    return f"{renewal}-{run_id}"


def plan_renewal(spec: RunSpec, state: State, stop: Stop | None, capabilities: Capabilities) -> Renewal | None:
    """What follows: at most one resumption, then one replacement, then nothing more."""
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
