"""The workspace's own policies over what callers ask of the orchestrator: before dispatch, acceptance, merge, cleanup, grants, settings.

The shipped policies permit all of these; so Cedar is asked only where the workspace has policies of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

from cc_orchestrator.core.asking import Ruling
from cc_orchestrator.core.errors import ApprovalRequired, CcError, Corrupt, PolicyDenied
from cc_orchestrator.core.ids import is_id
from cc_orchestrator.core.redact import mask_text
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.persons import proved
from cc_orchestrator.operations.place import JOBS, locate_job, locate_run, prepare_workspace
from cc_orchestrator.operations.requesting import open_request, target_of, use_approved
from cc_orchestrator.policy.engine import Engine, Question, Source
from cc_orchestrator.store.paths import Workspace, find_workspace
from cc_orchestrator.store.policyfiles import shipped_policies, shipped_schema, workspace_policies
from cc_orchestrator.store.sealedlog import append_sealed

Act = Literal["", "dispatch", "accept", "merge", "push", "cleanup", "grant", "set", "steer", "judge"]


#: Actions of writing operations that only look.
_READS = frozenset({"show", "list", "history"})


def guard(name: str, act: Act, effect: str, ctx: Context, params: Any) -> Context:
    """`ctx`, with the person who was asked, if one was. PolicyDenied or ApprovalRequired when the policies do not let it pass.

    Corrupt when they cannot be used.
    """
    if getattr(params, "action", "") in _READS:
        return ctx
    workspace = _workspace(ctx, params)
    if workspace is None:
        return ctx
    try:
        own = workspace_policies(workspace)
        if not own:
            return ctx
        engine = _engine(tuple(own))
    except (OSError, ValueError, ImportError) as error:
        raise Corrupt(
            f"the policies of {workspace.root} cannot be used: {line(str(error), 200)}",
            hint='cc_policy {"action":"validate"}',
        ) from error
    except CcError as error:
        raise Corrupt(
            f"the policies of {workspace.root} cannot be used: {error.message}", hint='cc_policy {"action":"validate"}'
        ) from error
    thing = {
        "effect": effect, "adapter": str(getattr(params, "adapter", "") or ""), "role": str(getattr(params, "role", "") or ""),
        "target": str(getattr(params, "target", "") or getattr(params, "action", "") or name),
        "allow_write": bool(getattr(params, "allow_write", False)), "trust": int(getattr(params, "trust", None) or 0),
        "sandbox": str(getattr(params, "sandbox", None) or "none"),
    }  # fmt: skip
    question = Question(("Caller", ctx.channel, {"channel": ctx.channel}), act, ("Operation", name, thing), {}, name)
    ruling = engine.judge([question])[0].ruling
    if ruling.decision == "allow":
        return ctx

    def note(decision: str, **more: str) -> None:
        append_sealed(workspace.at("logs", "policy.ndjson"), {
            "ts": ctx.clock.now(), "operation": name, "act": act, "actor": ctx.channel, "decision": decision, "rule": ruling.rule,
            "reason": line(ruling.reason, 300), "risk": ruling.risk, **more,
        })  # fmt: skip

    said = f"{name} is not allowed here by {ruling.rule}: {ruling.reason}"
    if ruling.decision == "deny":
        note("deny")
        raise PolicyDenied(said, hint='cc_policy {"action":"validate"} names the files')
    if ctx.channel == "cli":
        note("ask")
        who = proved(ctx, f"{name} ({line(ruling.reason, 80)})", f"{name.removeprefix('cc_').replace('_', '-')} …")
        note("allow", by=who.person)
        return who
    return _approved(ctx, workspace, name, params, ruling, said, note)


def _approved(
    ctx: Context, workspace: Workspace, name: str, params: Any, ruling: Ruling, said: str, note: Callable[..., None]
) -> Context:
    """Passes by an approval of this very call, which is used up. Else it is requested, and ApprovalRequired names it."""
    arguments = params.model_dump(mode="json", exclude_unset=True)
    runs = [str(run) for run in (arguments.get("run_id"), *(arguments.get("run_ids") or ())) if is_id(run or "", "run")]
    trees = [target_of(workspace, run) for run in runs]
    request = {"operation": name, "arguments": arguments, "trees": trees}
    target = trees[0] if len(trees) == 1 else ""
    prepare_workspace(ctx, workspace)
    told = use_approved(workspace, request, ctx.clock.now(), target)
    if told is not None and told.decision == "allow":
        note("allow", approval_id=told.approval_id, by=told.approver)
        return ctx
    if told is not None:
        note("deny", approval_id=told.approval_id, by=told.approver)
        raise PolicyDenied(
            f"{said}; {told.approver} denied it ({told.approval_id})",
            hint=f'cc_approvals {{"action":"show","approval_id":"{told.approval_id}"}}',
        )
    shown = mask_text(json.dumps(arguments, ensure_ascii=False))
    approval_id, _repeated = open_request(
        workspace, request, what=f"{name} {line(shown, 600)}", risk=ruling.risk, by=ctx.channel, now=ctx.clock.now(), target=target,
        run_id=runs[0] if len(runs) == 1 else None,
    )  # fmt: skip
    note("ask", approval_id=approval_id)
    raise ApprovalRequired(
        f"{said}; requested as {approval_id}",
        hint=f"a person: cc-orchestrator approvals approve --approval-id {approval_id}; "
        f'then the same call again. cc_wait {{"ids":["{approval_id}"]}} sleeps until it is decided',
    )


def _workspace(ctx: Context, params: Any) -> Workspace | None:
    """The workspace that it is about: that of the run or job it names, else the caller's."""
    try:
        for field in ("run_id", "id", "delivery_id", "verify_id"):
            name = getattr(params, field, None)
            if isinstance(name, str) and is_id(name, "run"):
                return locate_run(ctx, name)[0]
            if isinstance(name, str) and any(is_id(name, kind) for kind in JOBS):
                return locate_job(ctx, name)[0]
        return find_workspace(getattr(params, "cwd", None) or ctx.cwd, ctx.env)
    except CcError:
        # What it names is not there: the handler says so.
        return None


@lru_cache(maxsize=4)
def _engine(own: tuple[Any, ...]) -> Engine:
    return Engine([*(Source(*text) for text in shipped_policies()), *(Source(*text) for text in own)], shipped_schema())
