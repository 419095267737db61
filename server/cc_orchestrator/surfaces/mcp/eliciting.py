"""A question that only a person may say yes to, brought to the person behind the client: by elicitation, in both protocol eras.

Up to 2025-11-25 the door sends `elicitation/create` while the call is open. From 2026-07-28 on the call ends with
`input_required` and the client calls again with the answer; what was asked is sealed in `requestState` with a key that
outlives the door.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from cc_orchestrator.core.errors import CcError, Conflict
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.registry import find, invoke
from cc_orchestrator.operations.statekey import request_state_key

_Ctx = ServerRequestContext[dict[str, Any]]
_MODERN = "2026-07-28"
#: A person thinks; a sealed question is good for as long as any question may be open.
STATE_SECONDS = 86_400.0
#: A call ends before clients give up; the question stays open and can be asked again.
MOST_SECONDS = 240.0
_FORM = types.ClientCapabilities(elicitation=types.ElicitationCapability(form=types.FormElicitationCapability()))


class Personal(NamedTuple):
    """One open question for a person."""

    run_id: str
    question_id: str
    message: str
    schema: dict[str, Any]
    kind: str
    seconds: float


def boundary() -> RequestStateBoundary:
    """What seals and checks `requestState`."""
    key = request_state_key(dict(os.environ))
    security = RequestStateSecurity(keys=[key], ttl=STATE_SECONDS) if key else RequestStateSecurity.ephemeral()
    return RequestStateBoundary(security, default_audience="cc-orchestrator")


def can_ask(ctx: _Ctx) -> bool:
    """Whether the client can bring a form before its user."""
    return ctx.session.check_client_capability(_FORM)


def find_personal(base: Context, answer: dict[str, Any]) -> Personal | None:
    """The first open question of a run that woke the wait, if only a person may say yes to it. Blocking."""
    for row in answer.get("woke") or ():
        if row.get("woke_by") != "question":
            continue
        try:
            found = invoke(find("cc_questions"), base, {"run_id": row["id"]})
        except CcError:
            continue
        for question in found["questions"]:
            channels = question.get("may_answer") or ()
            if "elicitation" in channels and "controller" not in channels:
                left = question.get("seconds_left")
                return _personal(question, MOST_SECONDS if left is None else float(left))
    return None


def _personal(question: dict[str, Any], seconds: float) -> Personal:
    kind, options = question["kind"], [str(option) for option in question.get("options") or ()]
    about = f"{question.get('tool') or kind}: {question.get('untrusted_target') or question.get('untrusted_text') or ''}".strip()
    why = f"\nWhy it asks: {question['why']}" if question.get("why") else ""
    message = (
        f"A worker ({question['run_id']}) asks, risk {question['risk']}. Its words, not ours:\n{about}{why}\n"
        f"Unanswered it is denied at {question.get('deadline')}."
    )
    properties: dict[str, Any] = {
        "decision": {"type": "string", "enum": ["allow", "deny"], "title": "Allow it?"},
        "text": {"type": "string", "title": "Reason or answer", "maxLength": 2000},
    }
    if kind == "choice" and options:
        properties["choice"] = {"type": "string", "enum": options, "title": "Choice"}
    schema = {"type": "object", "properties": properties, "required": ["decision"]}
    return Personal(question["run_id"], question["question_id"], message, schema, kind, seconds)


async def ask_person(
    ctx: _Ctx, params: types.CallToolRequestParams, personal: Personal, base: Context
) -> types.InputRequiredResult | bool:
    """Whether the question is closed now; or, in the modern era, the result that makes the client ask and call again."""
    if _is_modern(ctx):
        reply = (params.input_responses or {}).get(personal.question_id)
        if reply is None or params.request_state != _state(personal):
            request = types.ElicitRequest(
                params=types.ElicitRequestFormParams(message=personal.message, requested_schema=personal.schema)
            )
            return types.InputRequiredResult(
                input_requests={personal.question_id: request}, request_state=_state(personal)
            )
    else:
        reply = None
        if personal.seconds <= 0:
            return False
        # No form outlives its question; a moment more, so that whoever denies it then has done so.
        with anyio.move_on_after(min(MOST_SECONDS, personal.seconds + 0.5)) as open_form:
            try:
                reply = await ctx.session.elicit_form(personal.message, personal.schema, ctx.request_id)
            except MCPError:
                # The client said that it can and then did not: the question stays open.
                return False
        if open_form.cancelled_caught:
            return personal.seconds < MOST_SECONDS
    if not isinstance(reply, types.ElicitResult) or reply.action == "cancel":
        return False
    return await anyio.to_thread.run_sync(partial(_record, base, personal, reply))


def is_cancelled(params: types.CallToolRequestParams, personal: Personal) -> bool:
    """Whether the user closed the form without an answer (modern era): the call then ends with the question open."""
    reply = (params.input_responses or {}).get(personal.question_id)
    return (
        params.request_state == _state(personal) and isinstance(reply, types.ElicitResult) and reply.action == "cancel"
    )


def _record(base: Context, personal: Personal, reply: types.ElicitResult) -> bool:
    content = dict(reply.content or {})
    allowed = reply.action == "accept" and content.get("decision") == "allow"
    given: dict[str, Any] = {
        "run_id": personal.run_id, "question_id": personal.question_id, "decision": "allow" if allowed else "deny",
        "text": str(content.get("text") or "")[:2000],
    }  # fmt: skip
    if allowed and personal.kind == "choice" and content.get("choice"):
        given["choices"] = {"choice": content["choice"]}
    try:
        invoke(find("cc_answer"), _elicited(base), given)
    except Conflict:
        # Somebody else was faster, or its time was over: it is closed.
        return True
    except CcError:
        return False
    return True


def _elicited(base: Context) -> Context:
    return base.through("elicitation")


def _state(personal: Personal) -> str:
    return json.dumps({"asked": personal.question_id, "run": personal.run_id}, separators=(",", ":"))


def _is_modern(ctx: _Ctx) -> bool:
    version = getattr(ctx, "protocol_version", None) or getattr(ctx.session, "protocol_version", None) or ""
    return str(version) >= _MODERN
