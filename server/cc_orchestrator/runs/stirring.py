"""Which lines of a worker are signs of life, and which only tick. Pure.

A line that became a fact of the worker's own doing is an act; that is for the facts to say. This is about the rest: pieces of a
message are life, as long as there is something in them; what a CLI repeats by itself (status ticks, keep-alives, pings, empty
deltas) is none, whatever number or time it carries. And some lines on stderr are questions that nobody can see.
"""

from __future__ import annotations

import re
from typing import Literal

from cc_orchestrator.core import events as ev
from cc_orchestrator.core.text import line

Sign = Literal["", "piece", "news"]

#: Facts that tell of something the worker did or said itself. Retries, notices and stderr are judged by their words.
ACTS = frozenset({
    ev.RUN_SESSION, ev.RUN_MESSAGE, ev.RUN_TURN, ev.RUN_RESULT, ev.RUN_USAGE, ev.RUN_INSTRUCTED, ev.TOOL_STARTED, ev.TOOL_FINISHED,
})  # fmt: skip
_PIECE = re.compile(rb"[Dd]elta|thinking|reasoning")
_FULL = re.compile(rb'"(?:text|thinking|signature|partial_json|delta|data|content|chunk)"\s?:\s?"(?!")')
#: What differs between two ticks and says nothing: numbers, times, ids.
_NOISE = re.compile(rb"\b[0-9a-fA-F]{4,}\b|[0-9]+(?:\.[0-9]+)?")
_LONGEST = 2_000
_KEPT = 64
_PROMPTS = re.compile(
    r"do you trust (?:the|this|these)|trust (?:this|the) (?:folder|files|directory|workspace|project)|press (?:enter|return|any key)"
    r"|\(y(?:es)?/n(?:o)?\)|\[y(?:es)?/n(?:o)?\]|\[yes/no(?:/\[?fingerprint\]?)?\]|please (?:run /?login|log ?in|sign in|authenticate)"
    r"|(?:enter|type) (?:your |the )?(?:password|passphrase|pin|api key|token|verification code)|^(?:\S+'s )?pass(?:word|phrase)(?: for .{1,80})?:"
    r"|username for '|paste (?:the |your )?(?:code|token)|open (?:this|the following) (?:url|link)|waiting for (?:login|authentication|authorization)"
    r"|are you sure you want to|accept the (?:terms|license)|choose (?:a|your|the) (?:theme|text style|login method)|select login method"
    r"|\b(?:otp|2fa|two-factor)\b",
    re.IGNORECASE,
)  # fmt: skip


class Stirring:
    """Remembers what ticked lately, so that a repetition is known as one. Bounded."""

    def __init__(self) -> None:
        self._ticks: dict[int, None] = {}

    def judge(self, data: bytes) -> Sign:
        """What a line without any fact is: a piece of a message, something new, or nothing."""
        data = data[:_LONGEST]
        if _PIECE.search(data):
            if _FULL.search(data):
                return "piece"
            if b"thinking_tokens" not in data:
                return ""
            # Counts of a model that thinks grow while it does.
            return "news" if self._is_new(hash(data)) else ""
        return "news" if self.is_news(data) else ""

    def is_news(self, data: bytes) -> bool:
        """Whether a line says something that was not said lately, numbers and ids aside."""
        return self._is_new(hash(_NOISE.sub(b"", data[:_LONGEST])))

    def _is_new(self, mark: int) -> bool:
        known = self._ticks.pop(mark, 0) is None
        self._ticks[mark] = None
        if len(self._ticks) > _KEPT:
            del self._ticks[next(iter(self._ticks))]
        return not known


def find_prompt(text: str) -> str:
    """The question in a line of stderr that waits for a person at a terminal, or ""."""
    return line(text, 200) if len(text) < _LONGEST and _PROMPTS.search(text) else ""
