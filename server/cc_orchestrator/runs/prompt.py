"""The text that a worker gets: the task as it was given, its context, and the few rules of this run. Pure.

The task is never altered. Rules come after it, so that a long task cannot push them out of sight.
"""

from __future__ import annotations

from cc_orchestrator.runs.spec import Scope


def render_prompt(
    task: str, *, context: str, role: str, allow_write: bool, scope: Scope, outbox: str, missing: tuple[str, ...] = ()
) -> str:
    """The whole prompt."""
    parts = [task.rstrip()]
    if context.strip():
        parts.append("## Context\n\n" + context.strip())
    parts.append(
        "## Rules of this run\n\n"
        + "\n".join(f"- {rule}" for rule in _rules(role, allow_write, scope, outbox, missing))
    )
    return "\n\n".join(parts) + "\n"


def _rules(role: str, allow_write: bool, scope: Scope, outbox: str, missing: tuple[str, ...]) -> list[str]:
    rules = [
        f"You work as: {role}. A controller reads your final answer and checks it; it cannot answer small questions."
    ]
    if allow_write:
        rules.append("You work in a git worktree of your own. Change files only below the current folder's repository.")
        if scope.allow:
            rules.append("Write only to: " + ", ".join(scope.allow))
        if scope.deny:
            rules.append("Never write to: " + ", ".join(scope.deny))
        if scope.max_diff_lines is not None:
            rules.append(f"Change at most {scope.max_diff_lines} lines in all.")
        rules.append("Commit when you are done if you can; what you leave uncommitted is kept as well. Do not push.")
        rules.append(f"Files for the controller only go to {outbox}")
    else:
        rules.append("This run is read-only: change no file, run nothing that changes one.")
    if missing:
        more = f" and {len(missing) - 20} more" if len(missing) > 20 else ""
        rules.append(
            "Your tree is a commit; it lacks what only the user's checkout has: " + ", ".join(missing[:20]) + more
        )
    rules.append(
        "Say only what you did and saw. End with a short answer: what was done, which files, what remains open."
    )
    return rules
