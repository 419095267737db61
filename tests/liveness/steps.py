"""Words for timelines: each makes one step, as `kit.timelines` plays it."""

from __future__ import annotations

from typing import Any

from kit.timelines import Step

SILENT: Step = {"world": {"cpu": 0.0, "io": 0.0, "net": 0.0, "ping": 0.0}}


def place(steps: tuple[Step | tuple[float, Step], ...]) -> list[tuple[float, Step]]:
    """Steps with times; one without a time comes at the second that all begin with."""
    return [step if isinstance(step, tuple) else (1.0, step) for step in steps]


def hello() -> Step:
    """The CLI is there."""
    return {"fact": ["run.session", {"session_id": "s1", "model": "m"}]}


def turn(number: int = 1) -> Step:
    """A model turn began."""
    return {"fact": ["run.turn", {"turn": number}]}


def say(text: str = "I look around") -> Step:
    """It said something."""
    return {"fact": ["run.message", {"text": text, "chars": len(text)}]}


def tool(
    kind: str = "command", name: str = "Bash", call: str = "t1", target: str = "make", deadline: float | None = None
) -> Step:
    """A tool call began."""
    data: dict[str, Any] = {"id": call, "tool": name, "kind": kind, "target": target}
    if deadline is not None:
        data["deadline_s"] = deadline
    return {"fact": ["tool.started", data]}


def tool_end(call: str = "t1", *, ok: bool = True) -> Step:
    """A tool call ended."""
    return {"fact": ["tool.finished", {"id": call, "ok": ok}]}


def retry(
    cause: str, attempt: int = 1, status: int | None = None, delay: float | None = None, most: int | None = 10
) -> Step:
    """The CLI waits and tries again."""
    given = {"cause": cause, "attempt": attempt, "status": status, "delay_s": delay, "max": most}
    return {"fact": ["run.retrying", {key: value for key, value in given.items() if value is not None}]}


def result(text: str = "done", *, is_error: bool = False) -> Step:
    """A result."""
    return {"fact": ["run.result", {"text": text, "is_error": is_error, "index": 1}]}


def ask(question: str = "q_1") -> Step:
    """It asks and waits."""
    return {
        "fact": ["question.asked", {"question_id": question, "kind": "permission", "text": "may I?", "deadline": None}]
    }


def answer(question: str = "q_1") -> Step:
    """It was answered."""
    return {"fact": ["question.answered", {"question_id": question, "decision": "allow", "by": "controller"}]}


def world(**rates: Any) -> Step:
    """What its tree does from now on."""
    return {"world": rates}


def line(value: Any) -> Step:
    """One stdout line."""
    return {"line": value}


def delta(text: str) -> Step:
    """A piece of a message, as Claude Code streams it."""
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return {
        "line": {
            "type": "stream_event",
            "event": event,
            "session_id": "s1",
            "uuid": "c6f17ac4-1476-4773-9d2c-2f0f3a3f6b7e",
        }
    }


def thought(text: str) -> Step:
    """A piece of thinking."""
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": text}}
    return {"line": {"type": "stream_event", "event": event, "session_id": "s1"}}


def status(number: int = 0) -> Step:
    """A tick of Claude Code that says nothing."""
    return {
        "line": {
            "type": "system",
            "subtype": "status",
            "status": "requesting",
            "uuid": f"0000{number:04d}-aaaa-bbbb-cccc-000000000000",
        }
    }


def stderr(text: str) -> Step:
    """One line on stderr."""
    return {"stderr": text}


def every(seconds: float, until: float, do: Step) -> Step:
    """That step again and again."""
    return {"every": seconds, "until": until, "do": do}
