"""cc_trust, cc_secrets: how far workers are trusted here, and which secrets they may have. Raised and granted by a person only."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from cc_orchestrator.adapters.catalog import names as adapter_names
from cc_orchestrator.core.clock import iso
from cc_orchestrator.core.errors import ApprovalRequired, InvalidRequest, NotFound
from cc_orchestrator.core.ids import new_id
from cc_orchestrator.core.text import line
from cc_orchestrator.operations.context import Context
from cc_orchestrator.operations.place import prepare_workspace, workspace_of
from cc_orchestrator.operations.registry import Operation, Params, register
from cc_orchestrator.operations.size import drop_empty
from cc_orchestrator.policy.grants import LONGEST_SECONDS, is_name, standing_grants
from cc_orchestrator.policy.trust import HIGHEST, MEANING, WORKSPACE, Standing, current
from cc_orchestrator.store import ledger
from cc_orchestrator.store.grants import append_grant, read_grants
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.store.standings import append_standing, read_standings
from cc_orchestrator.workflow.standing import read_ceilings

Answer = dict[str, Any]


class TrustParams(Params):
    """What to do; whose trust; how high."""

    action: Literal["show", "set", "history"] = "show"
    subject: Annotated[str | None, Field(description="workspace, or an agent profile: claude, codex …")] = None
    level: Annotated[
        int | None, Field(ge=0, le=HIGHEST, description="T0 reads, T1 own tree, T2 repository, T3 alone.")
    ] = None
    reason: Annotated[str, Field(max_length=500)] = ""
    cwd: str | None = None


def _trust(ctx: Context, params: TrustParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    if params.action == "set":
        return _set(ctx, workspace, params)
    if params.action == "history":
        rows = [row for row in read_standings(workspace) if params.subject in (None, row.get("subject"))]
        keys = ("subject", "level", "by", "channel", "reason")
        shown = [{**{key: row.get(key) for key in keys}, "at": iso(float(row["ts"]))} for row in rows[-20:]]
        return {"history": shown, "truncated": len(rows) > len(shown)}
    subjects = [params.subject] if params.subject else [WORKSPACE, *adapter_names()]
    return {"trust": [_shown(ctx, workspace, subject) for subject in subjects], "meaning": MEANING}


def _shown(ctx: Context, workspace: Workspace, subject: str) -> Answer:
    if subject == WORKSPACE:
        return _row(subject, current(read_standings(workspace), WORKSPACE))
    return _row(subject, read_ceilings(workspace, _checked(subject), ctx.clock).profile)


def _row(subject: str, found: Standing) -> Answer:
    since = iso(found.since) if found.since else None
    return drop_empty(
        {"subject": subject, "level": found.level, "since": since, "by": found.by, "reason": line(found.reason, 200)}
    )


def _checked(subject: str) -> str:
    if subject != WORKSPACE and subject.partition("/")[0] not in adapter_names():
        raise NotFound(
            f"there is no agent profile {subject[:60]!a}; known: {WORKSPACE}, {', '.join(adapter_names())}",
            hint='cc_trust {"action":"show"}',
        )
    return subject


def _set(ctx: Context, workspace: Workspace, params: TrustParams) -> Answer:
    if params.subject is None or params.level is None:
        raise InvalidRequest(
            "set needs subject and level", hint='cc_trust {"action":"set","subject":"claude","level":1}'
        )
    subject = _checked(params.subject)
    now = ctx.clock.now()
    before = current(read_standings(workspace), subject)
    if params.level > before.level:
        what = f"raising {subject} from T{before.level} to T{params.level}"
        by = require_person(ctx, what, f"trust set --subject {subject} --level {params.level}")
        if not params.reason.strip():
            raise InvalidRequest("trust is raised with a reason", hint="reason says what it has proved")
    else:
        by = "controller" if ctx.channel == "mcp" else "user"
    prepare_workspace(ctx, workspace)
    row = {
        "ts": now, "subject": subject, "level": params.level, "by": by, "channel": ctx.channel, "reason": line(params.reason, 500),
    }  # fmt: skip
    append_standing(workspace, row)
    ledger.append(workspace.ledger, {
        "kind": "trust", "ts": now, "actor": by, "channel": ctx.channel, "subject": {"trust_of": subject},
        "observed": {"before": before.level, "after": params.level, "reason": row["reason"]}, "claimed": {},
    })  # fmt: skip
    return {**_row(subject, Standing(params.level, now, by, params.reason)), "was": before.level}


def require_person(ctx: Context, what: str, command: str) -> str:
    """Who the person is. ApprovalRequired when this channel cannot tell one from an agent."""
    if ctx.channel != "cli":
        raise ApprovalRequired(f"{what} is for a person", hint=f"a person: cc-orchestrator {command}")
    return "user"


class SecretsParams(Params):
    """What to do; which variable; for whom, how long."""

    action: Literal["list", "grant", "revoke"] = "list"
    name: Annotated[str | None, Field(description="Variable, e.g. NPM_TOKEN. Never its value.")] = None
    to: Annotated[
        Literal["worker", "host"], Field(description="host: install commands only, the worker sees results.")
    ] = "host"
    hours: Annotated[float, Field(gt=0, le=LONGEST_SECONDS / 3600)] = 1.0
    uses: Annotated[int | None, Field(ge=1, le=1000, description="Starts it is good for; default: any number.")] = None
    grant_id: str | None = None
    reason: Annotated[str, Field(max_length=500)] = ""
    cwd: str | None = None


def _secrets(ctx: Context, params: SecretsParams) -> Answer:
    workspace = workspace_of(ctx, params.cwd)
    now = ctx.clock.now()
    grants = standing_grants(read_grants(workspace), now)
    if params.action == "grant":
        return _grant(ctx, workspace, params)
    if params.action == "revoke":
        ended = [
            grant
            for grant in grants
            if grant.grant_id == params.grant_id or (grant.name == params.name and params.name)
        ]
        if not ended:
            raise NotFound("no such grant holds now", hint='cc_secrets {"action":"list"}')
        for grant in ended:
            append_grant(workspace, {"ts": now, "grant_id": grant.grant_id, "revoked": True, "by": ctx.channel})
        return {"revoked": [grant.grant_id for grant in ended]}
    rows = [
        drop_empty({"grant_id": grant.grant_id, "name": grant.name, "to": grant.to, "expires": iso(grant.expires), "uses_left": grant.uses,
                    "set_here": bool(ctx.env.get(grant.name)), "by": grant.by})
        for grant in grants
    ]  # fmt: skip
    following = 'cc_run_streaming {"task":"…","secrets":["NAME"]}'
    return {"grants": rows, "next": following if rows else "a person: cc-orchestrator secrets grant --name NAME"}


def _grant(ctx: Context, workspace: Workspace, params: SecretsParams) -> Answer:
    if params.name is None or not is_name(params.name):
        raise InvalidRequest(
            "grant needs the name of a variable", hint="cc-orchestrator secrets grant --name NPM_TOKEN"
        )
    by = require_person(ctx, f"granting {params.name}", f"secrets grant --name {params.name} --to {params.to}")
    now = ctx.clock.now()
    prepare_workspace(ctx, workspace)
    grant_id, expires = new_id("grt", now=now), now + params.hours * 3600
    row = {
        "ts": now,
        "grant_id": grant_id,
        "name": params.name,
        "to": params.to,
        "expires": expires,
        "by": by,
        "channel": ctx.channel,
    }
    if params.uses is not None:
        row["uses"] = params.uses
    append_grant(workspace, {**row, "reason": line(params.reason, 500)})
    ledger.append(workspace.ledger, {
        "kind": "grant", "ts": now, "actor": by, "channel": ctx.channel, "subject": {"grant_id": grant_id},
        "observed": {"name": params.name, "to": params.to, "expires": expires, "uses": params.uses or "any"}, "claimed": {},
    })  # fmt: skip
    return {
        "grant_id": grant_id,
        "name": params.name,
        "to": params.to,
        "expires": iso(expires),
        "set_here": bool(ctx.env.get(params.name)),
    }


register(Operation(
    name="cc_trust", words=("trust",), toolset="review", effect="write", act="set",
    summary="How far workers are trusted (T0-T3): show, lower, or, as a person, raise.",
    description="A run gets the least of what it asks for, its profile and the workspace. Falls by itself after a violation or a bad run of ten.",
    params=TrustParams, handler=_trust, positional="action", search_hint="trust level T0 T1 T2 T3 demotion autonomy",
))  # fmt: skip
register(Operation(
    name="cc_secrets", words=("secrets",), toolset="review", effect="write", act="grant",
    summary="Named grants of secrets with an end: list, revoke, or, as a person, grant. Names only, never values.",
    params=SecretsParams, handler=_secrets, positional="action", search_hint="secret grant token environment variable expiry",
))  # fmt: skip
