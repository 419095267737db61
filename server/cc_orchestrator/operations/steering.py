"""cc_stop, cc_send_instruction, cc_answer: change what a worker does."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, cast

from pydantic import Field

from cc_orchestrator.adapters.catalog import adapter as find_adapter
from cc_orchestrator.core import events as ev
from cc_orchestrator.core.errors import ApprovalRequired, Busy, CcError, Conflict, InvalidRequest, NotFound
from cc_orchestrator.core.states import LIVE
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.launches import started
from cc_orchestrator.operations.persons import require_person
from cc_orchestrator.operations.place import locate_run, spec_of
from cc_orchestrator.operations.questioning import reach_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.policy.answering import may_answer
from cc_orchestrator.runs.approvals import record_approval
from cc_orchestrator.runs.control import append_control, poke
from cc_orchestrator.runs.fold import State, part
from cc_orchestrator.runs.reading import read_run
from cc_orchestrator.runs.risk import same_model
from cc_orchestrator.runs.summary import next_call
from cc_orchestrator.runs.wait import Look, WatchedRun, wait_for
from cc_orchestrator.store.journal import Cursor, read_page
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.rundir import RunDir, later_runs
from cc_orchestrator.workflow.workers import Caller, continue_run

#: A supervisor takes a request up at once; more than this means that something is wrong.
TAKE_UP_SECONDS = 5.0


class WatchedEvent(WatchedRun):
    """Wakes at the first event that a test accepts."""

    def __init__(self, run: RunDir, wanted: tuple[str, str, str]) -> None:
        super().__init__(run, frozenset())
        self._type, self._field, self._value = wanted
        self._from: Cursor = self.reading.cursor
        self.found: dict[str, Any] | None = None

    def look(self, now: float) -> Look:
        """The run now."""
        page = read_page(run_journal(self), self._from, 1 << 22)
        self._from = page.cursor
        for event in page.events:
            if event["type"] == self._type and str(event["data"].get(self._field)) == self._value:
                self.found = event["data"]
        # The state after the event: one read before would be told beside an event that it does not know.
        base = super().look(now)
        return base._replace(woke="found" if self.found is not None else base.woke)


def run_journal(watched: WatchedRun) -> str:
    """The journal of a watched run."""
    return RunDir(watched.bell_path.rpartition("/")[0] or watched.bell_path.rpartition("\\")[0]).journal


class StopParams(Params):
    """Which run, how hard, why."""

    run_id: str
    force: Annotated[bool, Field(description="Kill at once instead of interrupt, TERM, KILL.")] = False
    reason: Annotated[str, Field(max_length=2_000)] = ""


def _stop(ctx: Context, params: StopParams) -> dict[str, Any]:
    _workspace, run = locate_run(ctx, params.run_id)
    before = read_run(run).state
    if before["status"] not in LIVE and run.run_id in later_runs(os.path.dirname(run.path)):
        append_control(run, "stop", ctx.clock, reason=params.reason, actor="controller", channel=ctx.channel)
        return {
            "run_id": run.run_id, "status": before["status"], "reason": before["reason"], "stopped": False,
            "note": "it had ended; it is not gone on with when the limit is over", "next": next_call(before),
        }  # fmt: skip
    if before["status"] not in LIVE:
        return {
            "run_id": run.run_id, "status": before["status"], "reason": before["reason"], "stopped": False,
            "note": "it had already ended", "next": next_call(before),
        }  # fmt: skip
    watched = WatchedRun(run, frozenset({"finished"}))
    append_control(
        run, "stop", ctx.clock, force=params.force, reason=params.reason, actor="controller", channel=ctx.channel
    )
    poke(run)
    grace = spec_of(run).limits.grace_seconds
    bound = 6.0 if params.force else 3 * grace + 6.0
    wait_for([watched], "any", bound, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    state = read_run(run).state
    leftovers = part(state, "exit").get("leftovers")
    out: dict[str, Any] = {
        "run_id": run.run_id, "previous_status": before["status"], "status": state["status"], "reason": state["reason"],
        "stopped": state["status"] not in LIVE, "killed_leftovers": leftovers, "result": part(state, "snapshot").get("commit"),
        "next": next_call(state),
    }  # fmt: skip
    return {key: value for key, value in out.items() if value is not None}


class InstructParams(Params):
    """Which run, what to tell it."""

    run_id: str
    instruction: Annotated[str, Field(min_length=1, max_length=200_000)]
    force: Annotated[bool, Field(description="Live worker that cannot be steered: stop it and resume with this.")] = (
        False
    )


def _send_instruction(ctx: Context, params: InstructParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    state = read_run(run).state
    spec = spec_of(run)
    capabilities = find_adapter(spec.adapter).capabilities
    if state["status"] in LIVE:
        if capabilities.steer:
            return _steer(ctx, run, params.instruction)
        if not params.force:
            raise Conflict(
                f"{run.run_id} is live and {spec.adapter} takes no instructions while it works",
                hint=f'cc_wait for its end, or force=true to stop it and resume: cc_send_instruction {{"run_id":"{run.run_id}","force":true,…}}',
            )
        _stop(ctx, StopParams(run_id=run.run_id, reason="to be resumed with a new instruction"))
        state = read_run(run).state
        if state["status"] in LIVE:
            raise Busy(f"{run.run_id} did not end in time", hint=f'cc_stop {{"run_id":"{run.run_id}","force":true}}')
    if not capabilities.resume or not state["session_id"]:
        raise Conflict(
            f"{run.run_id} has ended ({state['status']}) and left no conversation that {spec.adapter} could resume",
            hint='start a new run: cc_run_streaming {"task":"…"}',
        )
    return _resume(ctx, workspace, run, state, params.instruction)


def _steer(ctx: Context, run: RunDir, text: str) -> dict[str, Any]:
    control_id = append_control(run, "instruct", ctx.clock, text=text, actor="controller", channel=ctx.channel)
    watched = WatchedEvent(run, (ev.RUN_INSTRUCTED, "control_id", control_id))
    poke(run)
    wait_for([watched], "any", TAKE_UP_SECONDS, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    state = watched.reading.state
    found = watched.found
    return {
        "run_id": run.run_id, "control_id": control_id, "status": state["status"], "delivered": bool(found and found.get("delivered")),
        "how": (found or {}).get("how", "recorded; the supervisor has not taken it up yet"), "next": next_call(state),
    }  # fmt: skip


def _resume(ctx: Context, workspace: Workspace, run: RunDir, state: State, instruction: str) -> dict[str, Any]:
    old = spec_of(run)
    if run.run_id in later_runs(workspace.runs):
        # One conversation is gone on with once: by this, not also by itself.
        append_control(run, "stop", ctx.clock, reason="gone on with by hand", actor="controller", channel=ctx.channel)
    launched = continue_run(workspace, run, instruction, Caller(ctx.env, ctx.clock, ctx.channel))
    answer = started(launched, ctx.clock.now())
    answer["resumed"] = run.run_id
    previous = state["actual_model"] or old.model
    answer["route_drift"] = {
        "changed": not same_model(previous, launched.spec.model or previous), "adapter": old.adapter, "model": old.model or "CLI default",
        "previous_actual_model": state["actual_model"] or "unknown",
    }  # fmt: skip
    return answer


class AnswerParams(Params):
    """Which question, and the answer."""

    run_id: str
    question_id: Annotated[str | None, Field(description="Not needed while only one is open.")] = None
    decision: Literal["allow", "deny"]
    text: Annotated[str, Field(max_length=20_000, description="Reason, or the answer to a clarification.")] = ""
    choices: Annotated[dict[str, Any], Field(description="For choices: question text -> option.")] = {}


def _answer(ctx: Context, params: AnswerParams) -> dict[str, Any]:
    workspace, run = locate_run(ctx, params.run_id)
    state = read_run(run).state
    question_id = _open_question(run, state, params.question_id)
    _check_answer(ctx, workspace, run.run_id, question_id, state["questions"][question_id], params)
    watched = WatchedEvent(run, (ev.QUESTION_ANSWERED, "question_id", question_id))
    append_control(
        run, "answer", ctx.clock, question_id=question_id, decision=params.decision, text=params.text, choices=params.choices,
        actor="person" if ctx.channel == "elicitation" else "controller", channel=ctx.channel,
    )  # fmt: skip
    poke(run)
    wait_for([watched], "any", TAKE_UP_SECONDS, ctx.clock, cancelled=ctx.cancelled, progress=ctx.progress)
    state = watched.reading.state
    found = watched.found
    if found is None:
        raise Busy(
            f"question {question_id} of {run.run_id} was not resolved in time",
            hint=f'cc_poll {{"run_id":"{run.run_id}"}}',
        )
    try:
        record_approval(workspace, spec_of(run), state["questions"].get(question_id, {}), ctx.channel, ctx.clock)
    except (OSError, CcError):
        # The end of the run makes it good.
        pass
    return {
        "run_id": run.run_id, "question_id": question_id, "decision": found["decision"], "by": found.get("by"),
        "status": state["status"], "next": next_call(state),
    }  # fmt: skip


def _chosen(choices: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for value in choices.values():
        found += [str(entry) for entry in cast("list[Any]", value)] if isinstance(value, list) else [str(value)]
    return found


def _check_answer(
    ctx: Context, workspace: Workspace, run_id: str, question_id: str, question: dict[str, Any], params: AnswerParams
) -> None:
    """ApprovalRequired for a yes that this channel may not give (as `require_person` on the command line).

    InvalidRequest for a choice that was not offered.
    """
    options = question.get("options") or ()
    if question.get("kind") == "choice" and options and params.decision == "allow":
        strange = next((entry for entry in _chosen(params.choices) if entry not in options), None)
        if strange is not None:
            raise InvalidRequest(
                f"{strange[:60]!a} is none of the options: {', '.join(map(str, options[:10]))}",
                hint='choices={"<question>":"<option>"}',
            )
    if params.decision == "deny":
        return
    risk = str(question.get("risk") or "medium")
    allowed = may_answer(risk, reach_of(workspace))
    if ctx.channel == "cli":
        # Any program may run the command line: what is above a controller's class takes what a person takes.
        if "controller" not in allowed:
            about = question.get("target") or question.get("text") or question_id
            require_person(ctx, f"a yes (risk {risk}) to {line(str(about), 80)!a}", f"answer {run_id} --decision allow")
        return
    if ("elicitation" if ctx.channel == "elicitation" else "controller") not in allowed:
        raise ApprovalRequired(
            f"{question_id} has risk {risk}: a yes is for {' or '.join(allowed)}",
            hint=f"cc_wait brings it to the user where the client can ask; or a person: cc-orchestrator answer {run_id} --decision allow",
        )


def _open_question(run: RunDir, state: State, wanted: str | None) -> str:
    entries = state["questions"]
    still = [key for key, entry in entries.items() if entry.get("decision") is None] if state["status"] in LIVE else []
    if wanted is None:
        if len(still) == 1:
            return still[0]
        raise Conflict(
            f"{run.run_id} has {len(still)} open questions: {', '.join(still) or 'none'}",
            hint="name one by question_id",
        )
    if wanted not in entries:
        raise NotFound(
            f"{run.run_id} has no question {wanted[:60]!a}; open: {', '.join(still) or 'none'}",
            hint="cc_poll shows open questions",
        )
    if wanted not in still:
        entry = entries[wanted]
        raise Conflict(
            f"question {wanted} was resolved: {entry.get('decision')} by {entry.get('by')}", hint=next_call(state)
        )
    return wanted


STOP = register(Operation(
    name="cc_stop", words=("stop",), toolset="core", effect="destructive", default_on=True,
    summary="End a run by steps (interrupt, TERM, KILL of the whole tree) and answer with its true end state.",
    params=StopParams, handler=_stop, aliases=("cc_stop_run",), positional="run_id", result_cap=1_536, idempotent=True,
    search_hint="stop kill cancel abort run",
))  # fmt: skip
SEND_INSTRUCTION = register(Operation(
    name="cc_send_instruction", words=("send-instruction",), toolset="core", effect="open_world", act="steer", default_on=True,
    summary="Steer a live run, or continue an ended one in the same conversation (a new run).",
    params=InstructParams, handler=_send_instruction, positional="run_id", result_cap=1_536,
    long_texts=("instruction",), search_hint="steer resume continue follow-up message",
))  # fmt: skip
ANSWER = register(Operation(
    name="cc_answer", words=("answer",), toolset="core", effect="open_world", act="steer", default_on=True,
    summary="Answer a worker's question or permission request; unanswered ones are denied at their deadline.",
    params=AnswerParams, handler=_answer, positional="run_id", result_cap=1_536, search_hint="answer question permission approve allow deny",
))  # fmt: skip
