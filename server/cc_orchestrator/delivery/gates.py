"""The commands that a candidate must pass before its branch moves: run in a fresh checkout of exactly that commit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.core.text import line
from cc_orchestrator.delivery.request import Request
from cc_orchestrator.host.command import Command, Ran
from cc_orchestrator.host.tree import Tree
from cc_orchestrator.runs.cell import Held
from cc_orchestrator.runs.spec import RunSpec
from cc_orchestrator.store import atomic
from cc_orchestrator.store.jobdir import JobDir
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.commands import is_repeatable, parse_commands
from cc_orchestrator.verify.furnish import Bench, furnish
from cc_orchestrator.verify.ground import GroundError, compare_ground, make_disposable, remove_disposable
from cc_orchestrator.verify.outcomes import check_tests

NONE = "none"  # there were no commands
PROVED = "verified_tree"  # the verification ran them on this very tree
PASSED = "passed"
FAILED = "failed"
UNVERIFIED = "unverified"


class Gate(NamedTuple):
    """One command, where in the tree, for how many seconds at most."""

    command: Command
    subfolder: str
    seconds: float


class Report(NamedTuple):
    """`outcome` is one of the words above; `ran` and `sandbox`, which says what held them, are for the journal."""

    outcome: str
    why: str = ""
    ran: tuple[dict[str, Any], ...] = ()
    sandbox: dict[str, Any] | None = None

    @property
    def opens(self) -> bool:
        """Whether the branch may move."""
        return self.outcome in (NONE, PROVED, PASSED)


def parse_gates(texts: Sequence[str]) -> list[Command]:
    """Gate commands of a request. InvalidRequest for what only a shell reads, and for what cannot be kept on disk."""
    commands = parse_commands(texts)
    for command in commands:
        if not is_repeatable(command):
            raise InvalidRequest(
                f"gate command {command.shown!a} is too long or holds a secret: a queued delivery keeps its commands in a file",
                hint="put it into a script, or pass the secret by an environment variable",
            )
    return commands


def gates_of(workspace: Workspace, spec: RunSpec, result: dict[str, Any], request: Request) -> tuple[Gate, ...]:
    """The gates that one result brings: those of the request, else the commands of its verification. Raises InvalidRequest."""
    if request.gate_commands is not None:
        commands, seconds = parse_gates(request.gate_commands), request.gate_seconds
    else:
        job = JobDir(os.path.join(workspace.verification(spec.run_id), str(result["verify_id"])))
        if not (atomic.read_json(job.request) or {}).get("repeatable", True):
            raise InvalidRequest(
                f"the test commands of {result['verify_id']} hold a secret or are too long, so they were not kept and cannot be the gates",
                hint=f'cc_deliver {{"run_id":"{spec.run_id}","target":"{request.target}","gate_commands":["…"]}}',
            )
        commands, seconds = parse_commands(result["commands"]), float(result["timeout_seconds"])
    return tuple(Gate(command, spec.subfolder, seconds) for command in commands)


def unite(gates: Iterable[Sequence[Gate]]) -> list[Gate]:
    """All of them, each once, with its longest time."""
    found: dict[tuple[Any, ...], Gate] = {}
    for gate in (gate for group in gates for gate in group):
        key = (gate.command.argv, gate.subfolder)
        old = found.get(key)
        found[key] = gate if old is None or old.seconds < gate.seconds else old
    return list(found.values())


def run_gates(bench: Bench, commit: str, tree: str, gates: Sequence[Gate]) -> Report:
    """Run them, all of them, on a fresh checkout; nothing of it stays. Raises OSError (a log)."""
    if not gates:
        return Report(NONE)
    root = bench.job.at("tree")
    try:
        ground = make_disposable(bench.repository, commit, tree, bench.job.path, "a fresh checkout of the candidate")
        contained = Tree.contain(bench.job.job_id)
        try:
            with bench.hold(ground.root, contained) as held:
                missing = held.why_not or furnish(bench, ground.root, held)
                if missing:
                    return Report(UNVERIFIED, missing, sandbox=bench.cell.to_json())
                ran = [_run(bench, ground.root, number, gate, held) for number, gate in enumerate(gates, 1)]
        finally:
            contained.close()
        drift = compare_ground(ground, bench.job.path)
    except GroundError as error:
        return Report(UNVERIFIED, f"the candidate could not be checked out: {line(str(error), 200)}")
    finally:
        remove_disposable(bench.repository, root)
    sandbox = bench.cell.to_json()
    told = tuple({**entry.to_json(), "tail": entry.tail[-400:]} for entry in ran)
    check = check_tests(ran, len(gates))
    if check.outcome != "pass":
        return Report(FAILED if check.outcome == "fail" else UNVERIFIED, str(check.evidence), told, sandbox)
    if drift.changed:
        return Report(
            UNVERIFIED, f"the commands changed tracked files: {', '.join(line(path, 80) for path in drift.changed[:5])}", told, sandbox
        )  # fmt: skip
    return Report(PASSED, "", told, sandbox)


def _run(bench: Bench, root: str, number: int, gate: Gate, held: Held) -> Ran:
    cwd = os.path.join(root, gate.subfolder)
    return held.run(
        gate.command, cwd=cwd if os.path.isdir(cwd) else root, env=bench.env(), seconds=gate.seconds,
        log_path=bench.job.at(f"gate-{number}.log"), clock=bench.clock,
    )  # fmt: skip
