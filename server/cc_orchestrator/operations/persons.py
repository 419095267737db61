"""Whether a person asks: by the passphrase, typed at a terminal; where none is enrolled, by a terminal or the command line.

The passphrase is never an argument, a variable or on stdin. It holds against agents that call us, not against a process of
the same user that reads the terminal (see `store.verifier`). Without one, whoever runs the command line counts as a person.
"""

from __future__ import annotations

from dataclasses import replace

from cc_orchestrator.core.errors import ApprovalRequired, InvalidRequest
from cc_orchestrator.operations.context import Context
from cc_orchestrator.store.verifier import check_passphrase, enroll, is_enrolled

_NOT_ENROLLED = "no passphrase is enrolled: any program that runs the command line counts as a person; cc-orchestrator approvals enroll"


def require_person(ctx: Context, what: str, command: str) -> str:
    """Who the person is: `user (passphrase)`, `user (terminal)`, `user`. ApprovalRequired when none can be told from an agent.

    Asks for the passphrase where one is enrolled. PolicyDenied when it is wrong, LimitReached while it is locked.
    """
    if ctx.worker_run_id:
        raise ApprovalRequired(f"{what} is for a person, not for a worker", hint=f"a person: cc-orchestrator {command}")
    if ctx.person:
        return ctx.person
    if ctx.channel != "cli":
        raise ApprovalRequired(f"{what} is for a person", hint=f"a person: cc-orchestrator {command}")
    terminal = ctx.terminal
    if is_enrolled(ctx.env):
        given = terminal.ask(f"{what}: passphrase: ") if terminal is not None else None
        if given is None:
            raise ApprovalRequired(
                f"{what} wants the passphrase, and there is no terminal to type it at",
                hint=f"a person, at a terminal: cc-orchestrator {command}",
            )
        check_passphrase(ctx.env, given, ctx.clock.now())
        return "user (passphrase)"
    if terminal is None or not terminal.interactive:
        return "user"
    terminal.note(_NOT_ENROLLED)
    return "user (terminal)"


def proved(ctx: Context, what: str, command: str) -> Context:
    """`ctx` with its person, so that nothing further asks. Raises as `require_person`."""
    return replace(ctx, person=require_person(ctx, what, command))


def enroll_passphrase(ctx: Context) -> bool:
    """Have a passphrase typed twice and keep its verifier; whether it replaced one. Changing it needs the old one."""
    what, command = "enrolling a passphrase", "approvals enroll"
    before = is_enrolled(ctx.env)
    require_person(ctx, "changing the passphrase" if before else what, command)
    terminal = ctx.terminal
    first = terminal.ask("new passphrase: ") if terminal is not None else None
    again = terminal.ask("the same again: ") if terminal is not None and first is not None else None
    if first is None or again is None:
        raise ApprovalRequired(f"{what} needs a terminal", hint=f"a person, at a terminal: cc-orchestrator {command}")
    if first != again:
        raise InvalidRequest("the two passphrases differ; nothing was changed", hint=f"cc-orchestrator {command}")
    enroll(ctx.env, first, ctx.clock.now(), proved=before)
    return before
