"""The envelope of one journal line and the vocabulary of types.

An event is a plain dict, because a supervisor writes tens of thousands a second:
`{v, seq, ts, run_id, type, data, actor?, correlation_id?, causation_id?}`.
`ts` is epoch seconds; `seq` counts from 1 in its journal; `actor` is left out when it is the supervisor.
Readers ignore unknown fields and unknown types: change is additive, otherwise a new type.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, cast

VERSION = 1

RUN_CREATED = "run.created"  # launch: {task_id, adapter, model, role, allow_write, cwd, limits, parent_run_id?, scope?: {allow, deny}}
RUN_STARTED = "run.started"  # {pid, pid_start, supervisor_pid, containment, cwd, branch?, base?}
RUN_SESSION = "run.session"  # {session_id, model?, cli_version?, permission_mode?, tools?: int}
RUN_MESSAGE = "run.message"  # {text, chars}: what the worker said, cut
RUN_TURN = "run.turn"  # {turn}: a model turn began
RUN_RETRYING = "run.retrying"  # {attempt, max?, delay_s?, status?, cause}: the CLI waits and tries again
# {model?, models?: {name: figures}, input_tokens?, output_tokens?, cache_read_tokens?, cache_write_tokens?, reasoning_tokens?, cost_usd?,
#  total: bool, cost_source?: override|cc-switch|table (a price table's, ours; else the provider's), session_totals?: figures of the
#  whole conversation}; input tokens are those not read from or written to a cache
RUN_USAGE = "run.usage"
RUN_RESULT = "run.result"  # {text, is_error, reason?, turns?, index}: one result; a process may give several
RUN_WAITING = "run.waiting"  # {kind: question|approval|rate_limit, until?, question_id?}
RUN_RESUMED = "run.resumed"  # {after: kind}
RUN_LIMIT = "run.limit"  # {limit: max_tokens, day.max_tokens, …, measured, allowed, level: soft|hard, action}
# The supervisor's judgement, told when it begins and ends: {liveness: slow|suspected_stall|waiting, or what it is again, was, code,
#  why, since?, evidence?: {idle_s, quiet_s?, cpu?, sockets?, heard_s?, moves?, tool?, tool_s?}}
RUN_LIVENESS = "run.liveness"
RUN_INSTRUCTED = "run.instructed"  # {control_id, chars, delivered: bool, how}
RUN_STOPPING = "run.stopping"  # {reason, step: conclude|interrupt|terminate|kill, by?}
RUN_EXITED = "run.exited"  # {exit?, signal?, leftovers: int}
RUN_SNAPSHOT = "run.snapshot"  # {ref, commit, tree, base, head, committed: int, uncommitted: bool, files, ...}
# {status, reason, exit?, signal?, usage, models, completion, detail?, failure?: {class, mends, remedy, not_before?, tries_left?}}
RUN_FINISHED = "run.finished"
RUN_LOST = "run.lost"  # a sweep: {reason, killed: int, detail}
TOOL_STARTED = (
    "tool.started"  # {id, tool, kind, target, paths?: [...], parent?, deadline_s?: what the CLI itself gives the call}
)
TOOL_FINISHED = "tool.finished"  # {id, ok, note?}
POLICY_DECIDED = "policy.decided"  # {tool, kind, target, decision: allow|ask|deny, rule, by, correlation_id, reason?, risk?, tool_use_id?}
# {question_id, kind, text, options, default, deadline, risk, evidence?: {rule, reason, tool_use_id?}, tool?,
#  target?}
QUESTION_ASKED = "question.asked"
QUESTION_ANSWERED = "question.answered"  # {question_id, decision, by, text?, channel?, latency_s?}
ARTIFACT_MASKED = "artifact.masked"  # {kind, count, stream}
SYSTEM_STDERR = "system.stderr"  # {text}
SYSTEM_UNPARSED = "system.unparsed"  # {text, bytes}: stdout that is no message of this adapter
SYSTEM_OVERSIZED = "system.oversized"  # {stream, bytes}: a line over the cap, kept raw, not parsed
SYSTEM_NOTICE = "system.notice"  # {code, text}
JOB_STARTED = "system.job_started"  # verification, delivery: {pid, …}
JOB_STEP = "system.job_step"  # {step, outcome?, …}
JOB_FINISHED = "system.job_finished"  # {status, …}
# The queue's journal. {task_id, queue, priority, not_before?, depends_on?, max_retries, profile, allow_write, title}
TASK_SUBMITTED = "task.submitted"
TASK_STARTED = "task.started"  # {task_id, start}: its start number `start` was decided; a run follows
# {task_id, start, state, reason?, run_id?, again?: bool, not_before?, free?: bool}; `again`: it is queued once more; `free`: no try was used up
TASK_ENDED = "task.ended"
TASK_CANCEL = "task.cancel"  # {task_id, by}: somebody wants it to end

#: Types worth waking a waiting controller for, by wake predicate.
ATTENTION = frozenset({QUESTION_ASKED, RUN_WAITING, RUN_LIMIT})


class Fact(NamedTuple):
    """What an adapter or a driver learned: a type and its data; the journal adds the envelope."""

    type: str
    data: dict[str, Any]


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def encode(seq: int, ts: float, run_id: str, type_: str, data: dict[str, Any], **extra: str | None) -> bytes:
    """One journal line, newline included. Lone surrogates become `?`: a journal is always valid UTF-8."""
    event: dict[str, Any] = {"v": VERSION, "seq": seq, "ts": round(ts, 4), "run_id": run_id, "type": type_}
    event.update({key: value for key, value in extra.items() if value})
    event["data"] = data
    return _encode(event).encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> dict[str, Any] | None:
    """The event of one line, or None when the line is not one (torn, foreign, no object)."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    event = cast("dict[str, Any]", event)
    if not isinstance(event.get("type"), str) or not isinstance(event.get("seq"), int):
        return None
    if not isinstance(event.get("data"), dict):
        event["data"] = {}
    return event
