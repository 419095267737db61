"""Recorded streams of the real CLIs, with times put under them: as they were, cut off, and stopped in the middle of a message."""

from __future__ import annotations

from kit import transcripts
from kit.timelines import Case, Step

#: Seconds between two lines; the service's pings go on beneath.
_GAP = 20.0
_WHOLE = [
    ("claude", name) for name in (
        "plain", "tools", "canuse", "hookcb", "control", "denied", "fallback", "inject-next", "inject-stream", "maxturns", "midoverload",
        "mcp-toolsearch", "refusal", "reset", "401", "429", "500",
    )
] + [("codex", name) for name in ("edit", "hello", "resumed", "retries-500", "retries-429", "auth-401")]  # fmt: skip
#: (adapter, transcript, lines that are played, family, code): then nothing comes any more.
_CUT = [
    ("claude", "plain", 2, "silent_hang", "silent"),
    ("claude", "tools", 2, "silent_hang", "silent"),
    ("claude", "denied", 5, "silent_hang", "silent"),
    ("claude", "fallback", 5, "silent_hang", "overdue_retry"),
    ("codex", "hello", 2, "silent_hang", "silent"),
    ("codex", "edit", 1, "silent_hang", "silent"),
    ("codex", "silent-answer", 2, "silent_hang", "silent"),
    ("claude", "plain", 5, "dead_stream", "dead_stream"),
]


def _lines(adapter: str, name: str) -> list[str]:
    data = transcripts.read(adapter, name).stdout.decode("utf-8", "replace")
    return [row for row in data.split("\n") if row.strip()]


def _timed(rows: list[str], gap: float) -> list[tuple[float, Step]]:
    return [(1.0 + number * gap, {"line": row}) for number, row in enumerate(rows)]


def _whole(adapter: str, name: str) -> Case:
    rows = _timed(_lines(adapter, name), _GAP)
    steps: list[tuple[float, Step]] = [(0.0, {"world": {"ping": 15, "pids": [100, 101]}}), *rows]
    return Case(f"{adapter}/{name}, a line every {_GAP:g} s", "healthy", steps, rows[-1][0] + 5, 60.0, adapter)


def _cut(adapter: str, name: str, count: int, family: str, code: str) -> Case:
    rows = _timed(_lines(adapter, name)[:count], 2.0)
    onset = rows[-1][0]
    silence = 60.0 if family == "silent_hang" else 600.0
    return Case(
        f"{adapter}/{name}, nothing after line {count}", family, rows, onset + 120, silence, adapter, onset, ("suspected_stall", code),
        kills=family == "silent_hang",
    )  # fmt: skip


CASES: list[Case] = [_whole(*row) for row in _WHOLE] + [_cut(*row) for row in _CUT]
