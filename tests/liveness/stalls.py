"""Workers that are not well: each must be named within the bound of its family."""

from __future__ import annotations

from typing import Any

from kit.timelines import Case, Step
from liveness.steps import (
    SILENT,
    answer,
    ask,
    delta,
    every,
    hello,
    line,
    place,
    result,
    retry,
    say,
    status,
    stderr,
    thought,
    tool,
    tool_end,
    turn,
    world,
)  # fmt: skip

PING = {"type": "stream_event", "event": {"type": "ping"}, "session_id": "s1"}
EMPTY = {"type": "stream_event", "event": {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ""}}}


def _case(
    name: str, family: str, onset: float, *steps: Step | tuple[float, Step], end: float = 300.0, code: str = "",
    word: str = "suspected_stall", silence: float | None = 60.0, **more: Any,
) -> Case:  # fmt: skip
    rows = [(0.5, hello()), (1.0, turn()), *place(steps)]
    return Case(name, family, rows, end, silence, onset=onset, named=(word, code), **more)


def _silent(name: str, onset: float, *steps: Step | tuple[float, Step], code: str = "silent", **more: Any) -> Case:
    return _case(name, "silent_hang", onset, *steps, code=code, kills=True, **more)


CASES: list[Case] = [
    # ------------------------------------------------------------ silent hang: the silence + 10 s
    _silent("nothing after the turn began", 1.0, SILENT),
    _silent("nothing after the hello, a silence of ten seconds", 1.0, SILENT, silence=10.0, end=60.0),
    _silent("nothing, a silence of one second", 1.0, SILENT, silence=1.0, end=30.0),
    _silent("nothing, a silence of ten minutes", 1.0, SILENT, silence=600.0, end=700.0, expect={300.0: "slow"}),
    _silent("hangs after a tool", 40.0, tool(), (40.0, tool_end())),
    _silent("hangs after it said something", 30.0, (30.0, say("now I will …"))),
    _silent("hangs, and its CLI ticks its status every five seconds", 20.0, (20.0, say()), every(5.0, 290.0, status()), adapter="claude"),
    _silent("hangs, and keep-alives with running numbers come", 20.0, (20.0, say()),
            *[(20.0 + 7 * n, line({"type": "keep_alive", "n": n, "at": 1_767_225_600 + 7 * n})) for n in range(30)], adapter="claude"),
    _silent("hangs, and its CLI prints pings of the stream", 20.0, (20.0, say()), every(10.0, 290.0, line(PING)), adapter="claude"),
    _silent("hangs, and empty deltas come", 20.0, (20.0, say()), every(4.0, 290.0, line(EMPTY)), adapter="claude"),
    _silent("hangs, and the same warning comes again and again", 20.0, (20.0, say()), every(6.0, 290.0, stderr("retrying in 3 s (4711)"))),
    _silent("hangs with timers that use two percent of a core", 20.0, (20.0, say()), world(cpu=0.02, io=900.0)),
    _silent("hangs with an open connection and no byte on it", 20.0, (20.0, say()), world(sockets=3)),
    _silent("hangs after a burst of CPU", 35.0, (20.0, say()), (20.2, world(cpu=1.0)), (35.0, world(cpu=0.0))),
    _silent("hangs after bytes stopped to come", 120.0, (20.0, say()), (20.2, world(ping=10)), (120.0, world(ping=0)), adapter="claude"),
    _silent("hangs after an answer", 50.0, (10.0, ask()), (50.0, answer())),
    _silent("hangs when a child of its own sleeps", 20.0, (20.0, say()), (20.2, world(pids=[100, 101]))),
    _silent("hangs after two results were promised", 40.0, (20.0, result()), (40.0, turn(2))),
    # ------------------------------------------------------------ dead stream: 60 s
    _case("a message stops half way", "dead_stream", 30.0, (20.0, delta("It is")), (30.0, delta(" so")), code="dead_stream",
          adapter="claude", silence=600.0, end=200.0),
    _case("a message stops half way in its first instant", "dead_stream", 1.1, (1.05, line({"type": "stream_event", "event": {
          "type": "message_start"}})), (1.1, delta("half an")), code="dead_stream", adapter="claude", silence=600.0, end=100.0),
    _case("a message stops half way while the CLI has bursts of its own", "dead_stream", 30.0, (30.0, delta("so")),
          *[(float(at), world(cpu=0.3 if at % 20 == 10 else 0.0)) for at in range(30, 190, 10)], code="dead_stream", adapter="claude",
          silence=600.0, end=200.0),
    _case("a thought stops half way, other pings go on in the stream", "dead_stream", 30.0, (30.0, thought("so")),
          every(10.0, 190.0, status()), code="dead_stream", adapter="claude", silence=600.0, end=200.0),
    _case("a message stops half way with timers of two percent", "dead_stream", 30.0, world(cpu=0.02), (30.0, delta("so")),
          code="dead_stream", adapter="claude", silence=600.0, end=200.0),
    _case("a message stops half way, its connection is half closed", "dead_stream", 30.0, world(sockets=1), (30.0, delta("so")),
          (31.0, world(sockets=0)), code="dead_stream", adapter="claude", silence=600.0, end=200.0),
    _case("tool input stops half way", "dead_stream", 30.0, (30.0, line({"type": "stream_event", "event": {
          "type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"command":"ma'}}})),
          code="dead_stream", adapter="claude", silence=600.0, end=200.0),
    _case("it closes its output and lives on", "dead_stream", 30.0, (29.9, say()), (30.0, {"eof": True}), code="stream_closed", end=100.0,
          kills=True),
    _case("it closes its output while it burns CPU", "dead_stream", 30.0, (20.0, say()), world(cpu=1.0), (30.0, {"eof": True}),
          code="stream_closed", end=100.0),
    # ------------------------------------------------------------ blocked question: 2 s
    _case("a permission question", "blocked_question", 10.4, (10.4, ask()), word="waiting", end=60.0),
    _case("a question while a tool is in flight", "blocked_question", 10.4, tool(), (10.4, ask()), word="waiting", end=60.0),
    _case("a trust dialog on stderr", "blocked_question", 5.3, (5.3, stderr("Do you trust the files in this folder?")), word="waiting",
          code="prompt", end=60.0),
    _case("a login prompt on stderr", "blocked_question", 5.3, (5.3, stderr("Not logged in · Please run /login")), word="waiting",
          code="prompt", end=60.0),
    _case("a password prompt of a helper", "blocked_question", 5.3, (5.3, stderr("Password for 'https://me@example.org': ")),
          word="waiting", code="prompt", end=60.0),
    _case("a device login on stderr", "blocked_question", 5.3, (5.3, stderr("To continue, open this URL in your browser: https://x.y")),
          word="waiting", code="prompt", end=60.0),
    _case("a yes or no on stderr while a command runs", "blocked_question", 9.5, tool(), (9.5, stderr("Proceed? [y/N]")), word="waiting",
          code="prompt", end=60.0),
    _case("a prompt whose line does not end", "blocked_question", 5.3, (5.3, {"asks": "Overwrite it? [y/N] "}), word="waiting",
          code="prompt", end=60.0),
    _case("a prompt on stdout, outside of the protocol", "blocked_question", 5.3, (5.3, line("Do you trust this workspace? (y/n)")),
          word="waiting", code="prompt", end=60.0),
    _case("press Enter to continue", "blocked_question", 5.3, (5.3, stderr("Press Enter to continue…")), word="waiting", code="prompt",
          end=60.0),
    # ------------------------------------------------------------ exits: 2 s
    _case("exit 0 and no result", "exit_empty", 20.6, (20.0, say()), (20.6, line({"event": "say", "text": "x"})), (20.6, {"exit": 0}),
          word="exited_empty", end=40.0),
    _case("exit 0 in a tool", "exit_empty", 20.6, tool(), (20.6, line({"event": "turn", "turn": 2})), (20.6, {"exit": 0}),
          word="exited_empty", end=40.0),
    _case("the process dies with a tool in flight", "dead_process", 20.6, tool(), (20.6, {"exit": 137}), word="ended", end=40.0),
    _case("the process dies behind an open question", "dead_process", 20.6, (10.0, ask()), (20.6, {"exit": 1}), word="ended", end=40.0),
    _case("the process dies after it was silent", "dead_process", 50.6, SILENT, (50.6, {"exit": 1}), word="ended", end=60.0),
    # ------------------------------------------------------------ tools that do not come back
    _case("the process of a command is gone, its end is not told", "stuck_tool", 60.0, tool(), (1.5, world(pids=[100, 101])),
          (60.0, world(pids=[100])), code="tool_gone", end=200.0, kills=True),
    _case("the process of a command is gone although its bound is far", "stuck_tool", 60.0, tool(deadline=600.0),
          (1.5, world(pids=[100, 101], cpu=0.5)), (60.0, world(pids=[100], cpu=0.0)), code="tool_gone", end=200.0, kills=True),
    _case("a read that never comes back", "stuck_tool", 91.0, tool("read", "Read"), code="tool_hung", end=250.0),
    _case("a fetch that never comes back", "stuck_tool", 211.0, tool("network", "WebFetch"), code="tool_hung", end=330.0),
    _case("a command past its own bound without a process", "stuck_tool", 61.0, tool(deadline=30.0), code="tool_hung", end=250.0),
    # ------------------------------------------------------------ the service
    _case("retries without end", "retry_loop", 130.0, *[(10.0 + 10 * n, retry("service_error", n + 1, 500, 9.0, None)) for n in range(25)],
          code="retry_loop", end=250.0),
    _case("the time to try again has come and nothing happens", "silent_hang", 40.0, (10.0, retry("overloaded", 3, 529, 30.0)),
          code="overdue_retry", kills=True),
    _case("a rate limit that was over long ago", "silent_hang", 110.0, (10.0, retry("rate_limited", 1, 429, 100.0)), code="overdue_retry",
          kills=True),
    _case("a reconnect that never came", "silent_hang", 10.0, (10.0, retry("disconnected", 1, None, None, 5)), code="overdue_retry",
          kills=True),
    _silent("a retry that came late after all", 40.0, (10.0, retry("overloaded", 3, 529, 30.0)), (105.0, retry("overloaded", 4, 529, 30.0)),
            (140.0, say()), end=150.0, expect={104.0: "suspected_stall", 106.0: "provider_down", 141.0: "working"},
            code="overdue_retry"),
    _case("a rate limit is named at once", "blocked_question", 10.4, (10.4, retry("rate_limited", 1, 429, 100.0)), word="rate_limited",
          end=60.0),
    # ------------------------------------------------------------ busy without a word: three silences
    _case("spins on a core and says nothing", "spinning", 1.0, world(cpu=1.0), code="spinning", silence=30.0, end=200.0),
]  # fmt: skip
