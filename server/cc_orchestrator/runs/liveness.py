"""What a run is at, by all the evidence there is. Pure: fold, time and what the supervisor measured in; one judgement out.

Naming is no killing: a run is ended by its limits, and of these silence counts only where nothing at all speaks for life.
A door judges by the fold alone: what the supervisor last told (`judged`), and what only time brings.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from cc_orchestrator.core.states import ENDS, Liveness
from cc_orchestrator.core.text import line

State = dict[str, Any]
Code = Literal[
    "", "silent", "dead_stream", "stream_closed", "tool_gone", "tool_hung", "retry_loop", "overdue_retry", "spinning", "prompt",
    "slow_tool", "slow_model", "no_news",
]  # fmt: skip

#: Seconds without any act of the worker after which it counts as slow.
SLOW_SECONDS = 180.0
#: Seconds without any event after which a door that knows no more calls a run slow.
UNHEARD_SECONDS = 600.0
#: A message that stopped half way, with nothing on the wire: pings come far more often than this.
DEAD_STREAM_SECONDS = 45.0
#: It closed its output and lives on.
CLOSED_SECONDS = 5.0
#: The processes of a command are gone, and its end is not told.
GONE_SECONDS = 20.0
#: A tool past its deadline that has no process and moves nothing.
HUNG_SECONDS = 60.0
#: What a tool may take beyond its own deadline to be told.
MARGIN_SECONDS = 30.0
#: More tries than CLIs make by themselves (ten).
MOST_TRIES = 12
#: Refused once is no outage.
DOWN_SECONDS = 5.0
#: CPU and I/O of its own, without an act and without a byte from outside, speak for a worker this many silences long.
PATIENCE = 3.0
#: Seconds that a call of its kind may take where it names no deadline of its own. Commands, subagents and questions: no bound.
DEADLINES = {"read": 60.0, "edit": 60.0, "network": 180.0}
#: Stalls that nobody comes out of by being left alone. A busy worker and a service that may come back are not among them.
STUCK: frozenset[str] = frozenset({"dead_stream", "stream_closed", "tool_gone", "tool_hung", "overdue_retry"})


class Vitals(NamedTuple):
    """What only the supervisor can measure. Ages in seconds; None: not known."""

    idle: float  # since the stream last said something that is life
    quiet: float | None = (
        None  # since the tree last did anything: CPU, I/O, bytes over a connection, processes come or gone
    )
    cpu: float | None = None  # share of one core, lately
    sockets: int | None = None  # open connections
    heard: float | None = None  # since bytes came over one of them
    streaming: bool = False  # the last sign of life was a piece of a message that has not ended
    closed: float | None = None  # since its stdout ended
    child: Literal["unknown", "alive", "gone"] = "unknown"  # the processes that the command in flight started
    gone: float | None = None  # since they are gone
    prompt: str = ""  # what it asks on stderr, where nobody can answer


class Judgement(NamedTuple):
    """`since` and `until` are epoch seconds. `why` is one line for people, "" where the word says it all."""

    liveness: Liveness
    since: float | None = None
    until: float | None = None
    code: Code = ""
    why: str = ""
    evidence: dict[str, Any] | None = None

    @property
    def moves(self) -> bool:
        """Slow, but something of it is seen to move."""
        return bool((self.evidence or {}).get("moves"))


def judge(state: State, now: float, vitals: Vitals | None = None, silence: float | None = None) -> Judgement:
    """What the run is at. `silence`: seconds that it may be without a sign of life (None: no such limit)."""
    status = state["status"]
    if status in ENDS:
        return _ended(state)
    if status in ("created", "starting"):
        return Judgement("starting", state["created_at"])
    if status == "finishing":
        exited: State = state["exit"] or {}
        empty = exited.get("exit") == 0 and not state["results"] and state["stopping"] is None
        return Judgement("exited_empty" if empty else "finishing", state["last_ts"])
    waiting: State = state["waiting"] or {}
    if waiting.get("kind") == "question":
        return Judgement("waiting", waiting.get("since"), waiting.get("until"))
    judged = state["judged"]
    if vitals is None and judged is not None:
        return Judgement(judged["liveness"], judged["since"], None, judged["code"], judged["why"], judged["evidence"])
    if state["retrying"] is not None:
        life = None if vitals is None else min(vitals.idle, vitals.idle if vitals.quiet is None else vitals.quiet)
        return _retrying(state, now, None if life is None or silence is None or life < silence else silence)
    return _working(state, now, vitals, silence)


def _ended(state: State) -> Judgement:
    at = state["finished_at"]
    if state["status"] == "lost":
        return Judgement("lost", at)
    return Judgement("exited_empty" if state["reason"] == "exited_empty" else "ended", at)


def _retrying(state: State, now: float, silence: float | None) -> Judgement:
    """The model's service refused, and the CLI tries again: only a structured 429 is a rate limit. `silence`: it was over."""
    retry = state["retrying"]
    since, until, tries = retry.get("since"), retry.get("until"), int(retry.get("attempt") or 1)
    cause = line(str(retry.get("cause") or "unknown"), 60)
    evidence = {"cause": cause, "attempt": tries, "status": retry.get("status")}
    told = retry.get("ts")
    overdue = now - (until if until is not None else told) if told is not None else 0.0
    if silence is not None and overdue >= silence:
        why = f"{cause}: it was to try again {int(overdue)} s ago, and nothing came"
        return Judgement("suspected_stall", until or told, None, "overdue_retry", why, evidence)
    if retry.get("cause") == "rate_limited":
        return Judgement("rate_limited", since, until, "", "the model's service limits the rate (429)", evidence)
    if tries > max(MOST_TRIES, int(retry.get("max") or 0)):
        why = f"{cause}: {tries} tries without progress"
        return Judgement("suspected_stall", since, until, "retry_loop", why, evidence)
    if tries > 1 or (since is not None and now - since >= DOWN_SECONDS):
        return Judgement(
            "provider_down", since, until, "", f"the model's service fails ({cause}), try {tries}", evidence
        )
    return Judgement("slow", since, until, "", f"the model's service refused once ({cause})", evidence)


def _working(state: State, now: float, vitals: Vitals | None, silence: float | None) -> Judgement:
    acted = state["acted_at"]
    if vitals is None:
        # The supervisor sees pieces of messages that no journal holds: only a long silence of its own is a sign.
        unheard = now - (state["last_ts"] or now)
        vitals = Vitals(unheard if unheard > UNHEARD_SECONDS else 0.0)
    if vitals.prompt:
        why = f"asks on stderr, where nobody can answer: {line(vitals.prompt, 120)}"
        return Judgement("waiting", now - vitals.idle, None, "prompt", why, _evidence(vitals))
    if state["open_tools"]:
        return _at_tool(state, now, vitals)
    if state["claims_done"]:
        return Judgement("done_claimed", acted, None, "", "gave a result; its process has not ended", None)
    stall = _stalled(vitals, silence)
    if stall is not None:
        code, why, age = stall
        return Judgement("suspected_stall", now - age, None, code, why, _evidence(vitals))
    if vitals.idle > SLOW_SECONDS:
        moving = vitals.quiet is not None and vitals.quiet < SLOW_SECONDS / 2
        code = "slow_model" if moving else "no_news"
        why = f"no act for {int(vitals.idle)} s; {_signs(vitals)}"
        return Judgement("slow", now - vitals.idle, None, code, why, _evidence(vitals))
    spoken = state["session_id"] or state["messages"] or state["turns"] or state["tool_count"] or state["results"]
    return Judgement("working" if spoken else "starting", acted)


def _stalled(vitals: Vitals, silence: float | None) -> tuple[Code, str, float] | None:
    """`(code, why, seconds)` of a stall outside of any tool."""
    quiet = vitals.idle if vitals.quiet is None else vitals.quiet
    if vitals.closed is not None and vitals.closed >= CLOSED_SECONDS:
        return "stream_closed", f"closed its output {int(vitals.closed)} s ago and lives on", vitals.closed
    heard = vitals.idle if vitals.heard is None else vitals.heard
    wire = min(vitals.idle, heard)
    # Where its connections are seen, only they matter: a CLI that waits has bursts of its own.
    still = vitals.sockets is not None or quiet >= DEAD_STREAM_SECONDS - CLOSED_SECONDS
    if vitals.streaming and wire >= DEAD_STREAM_SECONDS and still:
        return "dead_stream", f"a message stopped half way {int(wire)} s ago, nothing on the wire since", wire
    if silence is None:
        return None
    life = min(vitals.idle, quiet)
    if life >= silence:
        return "silent", f"no sign of life for {int(life)} s; {_signs(vitals)}", life
    # Bytes from outside may be an answer that no line tells of: a message comes whole where pieces were not asked for.
    if min(vitals.idle, heard) >= PATIENCE * silence:
        return "spinning", f"no act for {int(vitals.idle)} s, yet not idle: {_signs(vitals)}", vitals.idle
    return None


def _at_tool(state: State, now: float, vitals: Vitals) -> Judgement:
    """The call in flight that has most time left speaks for the run."""
    tool = max(state["open_tools"].values(), key=lambda row: _left(row, now))
    name, begun = line(str(tool["tool"]), 40), tool["ts"] or now
    age = int(now - begun)
    evidence = {**_evidence(vitals), "tool": name, "tool_s": age}
    if vitals.child == "gone" and (vitals.gone or 0) >= GONE_SECONDS and (vitals.quiet or 0) >= GONE_SECONDS:
        gone = vitals.gone or 0.0
        why = f"the process of {name} ended {int(gone)} s ago, and the worker has not noticed"
        return Judgement("suspected_stall", now - gone, None, "tool_gone", why, evidence)
    if _left(tool, now) >= 0:
        return Judgement("tool_running", begun)
    late = f"{name} runs for {age} s, {_deadline(tool):g} s is its bound"
    if vitals.child != "alive" and vitals.quiet is not None and vitals.quiet >= HUNG_SECONDS:
        why = f"{late}; {_signs(vitals)}"
        return Judgement("suspected_stall", begun, None, "tool_hung", why, evidence)
    return Judgement("slow", begun, None, "slow_tool", f"{late}; {_signs(vitals)}", {**evidence, "moves": True})


def _deadline(tool: dict[str, Any]) -> float | None:
    own = tool.get("deadline_s")
    return float(own) if own is not None else DEADLINES.get(str(tool.get("kind")))


def _left(tool: dict[str, Any], now: float) -> float:
    """Seconds that a call has left before it is late."""
    deadline = _deadline(tool)
    return 1e12 if deadline is None else (tool["ts"] or now) + deadline + MARGIN_SECONDS - now


def _moves(vitals: Vitals) -> bool:
    return vitals.quiet is not None and vitals.quiet < DEAD_STREAM_SECONDS


def _signs(vitals: Vitals) -> str:
    """The rest of the evidence in words."""
    if vitals.quiet is None:
        return "nothing else is known of it"
    signs: list[str] = []
    if vitals.cpu is not None and vitals.cpu >= 0.05:
        signs.append(f"its processes use {round(vitals.cpu * 100)} % of a core")
    if vitals.heard is not None:
        signs.append(f"bytes came over its connections {int(vitals.heard)} s ago")
    if vitals.child == "alive":
        signs.append("the process of its command lives")
    if vitals.sockets:
        signs.append(f"{vitals.sockets} connections are open")
    if not _moves(vitals):
        signs.append(f"nothing moves for {int(vitals.quiet)} s")
    return ", ".join(signs) or f"its processes did something {int(vitals.quiet)} s ago"


def _evidence(vitals: Vitals) -> dict[str, Any]:
    found: dict[str, Any] = {
        "idle_s": round(vitals.idle, 1), "quiet_s": _round(vitals.quiet), "cpu": _round(vitals.cpu, 2), "sockets": vitals.sockets,
        "heard_s": _round(vitals.heard), "moves": _moves(vitals) or None,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def _round(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
