"""The seam between a run and a CLI: a request in, argv out; bytes in, facts and replies out.

An adapter does no I/O and starts nothing. `Adapter` is what is known of a CLI; `Session` is one worker process seen from
its pipes. Everything here is standard library only, because supervisors import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact

#: The default of all that have none: shared, so never changed.
_NONE: dict[str, Any] = {}

# ---------------------------------------------------------------- what a session wants done


class Send(NamedTuple):
    """Bytes for the worker's stdin."""

    data: bytes


class CloseInput(NamedTuple):
    """Nothing more will be said: close the worker's stdin once what was sent is written."""


class Signal(NamedTuple):
    """Interrupt by a signal, for CLIs that have no better way. `name` is INT or TERM."""

    name: Literal["INT", "TERM"]


Effect = Fact | Send | CloseInput | Signal | Ask

# ---------------------------------------------------------------- what is known of a CLI

When = Literal["live", "end", "never"]


class Capabilities(NamedTuple):
    """What a CLI can do under us. A limit that needs `live` figures and gets `end` ones is declared in the launch's answer."""

    steer: bool  # takes instructions while it works
    interrupt: bool  # can be interrupted and go on
    questions: bool  # asks before it acts, and waits for the answer
    gates_every_call: bool  # every tool call passes our policy first
    resume: bool
    fork: bool
    commits: bool  # can `git commit` in its sandbox
    turns: When  # when turn counts are known
    tokens: When
    cost: When
    needs_model_service: bool = True
    settles: bool = False  # an interrupted turn ends only while stdin is open; the session closes it then


class WorkerRequest(NamedTuple):
    """All that an adapter needs to build one worker's command. Paths are absolute."""

    run_id: str
    prompt: str
    cwd: str
    allow_write: bool
    executable: str
    env: dict[str, str]  # allow-listed already; an adapter may add to it
    run_dir: str
    outbox: str
    model: str | None = None
    resume: str | None = None  # the CLI's own session id
    fork: bool = False
    baseline: dict[str, float] = _NONE  # cumulative session usage before this run, to subtract
    max_turns: int | None = None
    max_tokens: int | None = None
    max_cost_usd: float | None = None
    final_only: bool = False
    partial_messages: bool = False
    options: dict[str, Any] = _NONE  # adapter specific, e.g. the fake's script
    tree: str | None = None  # root of a write run's own worktree; cwd may be a subfolder of it
    route: dict[str, Any] = _NONE  # what routing read from the CLI's own configuration
    metered: bool = False  # a budget shared with other runs needs its figures while it works


class Invocation(NamedTuple):
    """One process to start. `stdin` says whether the pipe stays open for talk or is empty from the start."""

    argv: tuple[str, ...]
    env: dict[str, str]
    stdin: Literal["pipe", "null"]
    files: tuple[tuple[str, str], ...] = ()  # (path, text) to write, mode 0600, before the start
    scratch: str | None = None  # folder to make before the start, mode 0700, and to remove after the end


class Footprint(NamedTuple):
    """What a CLI needs of the machine beside its tree, for a sandbox. Paths are absolute, or names inside `home`."""

    home: str | None = None  # folder in which it keeps its state; inside a sandbox it is one of the task's own
    variable: str = ""  # the variable that names that folder
    shared: tuple[str, ...] = ()  # files in it that stay the user's own, writable: logins that are renewed
    readable: tuple[str, ...] = ()  # entries in it that the worker may read
    copied: tuple[str, ...] = ()  # files elsewhere in the user's home of which it gets a copy
    hosts: tuple[str, ...] = ()  # `host:port` of its model service and login
    nests: bool = False  # brings a sandbox of its own, which needs user namespaces


class Ending(NamedTuple):
    """What the adapter makes of the process's end, without regard to stops and limits of ours.

    `reason` is a key of core.states.REASONS; `text` is the worker's final text (its claim); `detail` is one line for people.
    """

    reason: str
    text: str
    detail: str = ""


def host_of(url: str) -> str | None:
    """`host:port` of an http or https URL; None for anything else."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme.lower() not in ("http", "https"):
        return None
    place = rest.split("/", 1)[0].rpartition("@")[2].lower()
    if not place:
        return None
    has_port = place.rpartition(":")[2].isdigit() and not place.endswith("]")
    return place if has_port else f"{place}:{443 if scheme.lower() == 'https' else 80}"


class Session(Protocol):
    """One worker process. All methods are pure in the sense that they only change the session and return effects."""

    def begin(self) -> list[Effect]:
        """Called once after the start: the first bytes for stdin, if any."""
        ...

    def on_line(self, line: bytes, original: bytes) -> list[Effect]:
        """One stdout line without its newline. `line` is masked: facts come from it. `original` is for replies only."""
        ...

    def on_stderr(self, line: bytes) -> list[Effect]:
        """One masked stderr line."""
        ...

    def instruct(self, text: str, control_id: str) -> list[Effect]:
        """Deliver an instruction to the live worker; facts say whether it was delivered."""
        ...

    def conclude(self, why: str) -> list[Effect]:
        """Ask the worker to come to an end now; empty when the CLI cannot be asked."""
        ...

    def interrupt(self) -> list[Effect]:
        """Stop what it does now by the CLI's own way; empty when there is none better than a signal."""
        ...

    def answer(self, key: str, answer: Answer) -> list[Effect]:
        """Reply to an `Ask`."""
        ...

    def ending(self, exit_code: int | None, signal: int | None) -> Ending:
        """Called once after EOF and exit. Exactly one of `exit_code` and `signal` is set."""
        ...


class Adapter(Protocol):
    """One CLI."""

    name: str
    capabilities: Capabilities
    executables: tuple[str, ...]  # names to look for on PATH, best first
    executable_env: str  # variable that overrides the look-up, e.g. CLAUDE_CODE_BIN
    env_allow: tuple[str, ...]  # names (or PREFIX_*) that its workers may inherit beyond the essentials
    secret_env: tuple[str, ...]  # those whose values must be masked wherever they show up

    def check(self, request: WorkerRequest) -> list[str]:
        """Problems that make the request impossible, as sentences; empty when it can run."""
        ...

    def declare(self, request: WorkerRequest) -> list[str]:
        """What this CLI cannot promise for the request (a limit known only at the end, …), as sentences."""
        ...

    def invocation(self, request: WorkerRequest) -> Invocation:
        """The process to start. The prompt is never in argv."""
        ...

    def footprint(self, env: Mapping[str, str], route: Mapping[str, Any]) -> Footprint:
        """What it needs of the machine; `env` is the worker's."""
        ...

    def session(self, request: WorkerRequest) -> Session:
        """A fresh session for that process."""
        ...
