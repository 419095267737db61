"""Workers that are well although they say little: none may be ended for silence, none may be called a stall."""

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

_TOOL_RUNS = {100.0: "tool_running"}


def _case(
    name: str, *steps: Step | tuple[float, Step], end: float = 300.0, silence: float | None = 60.0, **more: Any
) -> Case:
    return Case(name, "healthy", [(0.5, hello()), (1.0, turn()), *place(steps)], end, silence, **more)


CASES: list[Case] = [
    # ------------------------------------------------------------ models that think
    _case("a model thinks four minutes, the service pings every fifteen seconds", world(ping=15), end=240.0, silence=90.0,
          adapter="claude", expect={30.0: "working", 200.0: "slow"}),
    _case("a model thinks nine minutes behind pings, silence is ten minutes", world(ping=20), end=540.0, silence=600.0,
          expect={100.0: "working", 400.0: "slow"}),
    _case("a model thinks without a byte for less than the silence", SILENT, end=55.0, expect={50.0: "working"}),
    _case("thinking comes in pieces and no fact", every(8.0, 290.0, thought("hm, what about it")), adapter="claude",
          expect={200.0: "working"}),
    _case("an answer is streamed for five minutes", every(3.0, 290.0, delta("the next words")), adapter="claude",
          expect={250.0: "working"}),
    _case("pieces of a message with pauses of forty seconds and pings", every(40.0, 290.0, delta("so")), world(ping=10),
          adapter="claude", expect={150.0: "working"}),
    _case("a slow service trickles bytes between rare pieces", every(59.0, 290.0, delta("more")), world(net=30.0), silence=60.0,
          adapter="claude"),
    _case("counts of a thinking model grow", *[(float(at), line({"type": "system", "subtype": "thinking_tokens", "tokens": at}))
          for at in range(20, 290, 20)], adapter="claude", expect={200.0: "working"}),
    _case("a model answers at the last moment before each silence ends", every(58.0, 290.0, say("step")), end=290.0),
    _case("no silence limit and nothing at all: slow, and left alone", SILENT, silence=None, end=400.0,
          expect={170.0: "working", 190.0: "slow"}),
    _case("an answer comes whole after many short silences: bytes on the wire, no line", world(net=40.0), (250.0, say()), silence=10.0,
          end=255.0, expect={100.0: "working", 200.0: "slow"}),
    # ------------------------------------------------------------ work that only its tree shows
    _case("the CLI indexes a big repository by itself", world(cpu=0.8, io=200_000.0), end=170.0, expect={100.0: "working"}),
    _case("the CLI compacts its conversation: CPU in bursts", *[(float(at), world(cpu=0.9 if at % 40 == 0 else 0.0))
          for at in range(20, 160, 20)], end=160.0),
    _case("an upload of a big context: bytes go, none come yet", world(io=50_000.0), end=150.0),
    _case("helpers of the CLI come and go", *[(float(at), world(pids=[100] if at % 50 else [100, at])) for at in range(25, 160, 25)],
          end=160.0),
    # ------------------------------------------------------------ tools
    _case("a build burns CPU for five minutes", tool(), (1.2, world(cpu=1.0, pids=[100, 101])), (290.0, tool_end()), expect=_TOOL_RUNS),
    _case("a command waits for the network, its process lives", tool(), (1.2, world(pids=[100, 101])), (295.0, tool_end()),
          expect=_TOOL_RUNS),
    _case("a command sleeps past its bound in a process that lives", tool(deadline=120.0), (1.2, world(pids=[100, 101])),
          (295.0, tool_end()), expect={100.0: "tool_running", 280.0: "slow"}),
    _case("a command whose process was never seen", tool(), (200.0, tool_end()), end=250.0, expect=_TOOL_RUNS),
    _case("a command hands over to one process after another", tool(),
          *[(1.2 + at, world(pids=[100, 200 + at], cpu=0.3)) for at in range(0, 100, 10)], (101.0, world(pids=[100], cpu=0.0)),
          (102.0, tool_end()), (103.0, say()), end=150.0),
    _case("a fetch takes its time within its bound", tool("network", "WebFetch"), (150.0, tool_end()), end=190.0, expect=_TOOL_RUNS),
    _case("a tool of an MCP server waits for people for ten minutes", tool("other", "mcp__board__approve"), (600.0, tool_end()),
          (601.0, result()), end=610.0, expect={500.0: "tool_running"}),
    _case("a subagent works and reports now and then", tool("delegate", "Task"), every(50.0, 280.0, say("sub")), (290.0, tool_end()),
          expect={150.0: "tool_running"}),
    _case("two commands at once, the short one ends", tool(call="a"), tool(call="b"), (1.2, world(pids=[100, 101, 102])),
          (20.0, world(pids=[100, 101])), (20.5, tool_end("b")), (200.0, tool_end("a")), end=250.0, expect={100.0: "tool_running"}),
    _case("a command ends and its process a moment later", tool(), (1.2, world(pids=[100, 101])), (50.0, tool_end()),
          (50.5, world(pids=[100])), (51.0, say()), end=100.0),
    _case("a read of a huge file on a slow disk", tool("read", "Read"), world(io=3_000_000.0), (85.0, tool_end()), (86.0, say()),
          end=120.0, expect={60.0: "tool_running"}),
    _case("a read far past its bound that still moves bytes", tool("read", "Read"), world(io=500_000.0), (250.0, tool_end()),
          expect={200.0: "slow"}),
    # ------------------------------------------------------------ waiting for others
    _case("an open question for longer than the silence", (5.0, ask()), (200.0, answer()), (201.0, say()), (220.0, result()), end=240.0,
          expect={6.0: "waiting", 199.0: "waiting", 202.0: "working"}),
    _case("two questions, one answered", (5.0, ask()), (6.0, ask("q_2")), (100.0, answer()), (200.0, answer("q_2")), (201.0, say()),
          end=240.0, expect={150.0: "waiting", 203.0: "working"}),
    _case("a rate limit for four minutes", (10.0, retry("rate_limited", 1, 429, 240.0)), (255.0, say()), end=300.0,
          expect={11.0: "rate_limited", 240.0: "rate_limited", 256.0: "working"}),
    _case("ten retries of an overloaded service", *[(10.0 + 20 * n, retry("overloaded", n + 1, 529, 18.0)) for n in range(10)],
          (215.0, say()), end=250.0, expect={11.0: "slow", 60.0: "provider_down", 217.0: "working"}),
    _case("reconnects without a delay that is told", *[(10.0 + 30 * n, retry("disconnected", n + 1, None, None, 5)) for n in range(5)],
          (165.0, say()), end=200.0, expect={80.0: "provider_down", 166.0: "working"}),
    _case("one refusal, gone in a second", (10.0, retry("overloaded", 1, 529, 0.5)), (11.0, say()), (50.0, say()), end=90.0,
          expect={12.0: "working"}),
    _case("text that speaks of rate limits and stalls is no limit", every(30.0, 280.0, say("429 rate limit; capacity; I am stalled")),
          expect={100.0: "working"}),
    # ------------------------------------------------------------ noise
    _case("a CLI that warns on stderr now and then", every(25.0, 290.0, say()), every(10.0, 290.0, stderr("warning: deprecated"))),
    _case("stderr mentions a prompt, and the worker goes on", (10.0, stderr("Overwrite? (y/N) assumed yes")), (10.4, say()),
          every(30.0, 290.0, say()), expect={12.0: "working"}),
    _case("status ticks between acts", every(20.0, 290.0, status()), every(50.0, 290.0, say()), adapter="claude"),
    _case("a result, then the exit", (50.0, result()), (52.0, {"exit": 0}), end=80.0, expect={51.0: "done_claimed"}),
    _case("a result, more work, another result", (50.0, result()), (60.0, turn(2)), (100.0, result()), (101.0, {"exit": 0}), end=130.0,
          expect={55.0: "done_claimed", 70.0: "working"}),
    _case("a start of twelve seconds before the first word", world(cpu=0.9), end=12.0, expect={0.0: "starting"}),
]  # fmt: skip
