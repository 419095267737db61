"""Secrets for a start: each wanted name must be granted by a person, for a time, and be set here; its value never leaves the environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from cc_orchestrator.core.clock import Clock
from cc_orchestrator.core.errors import ApprovalRequired, InvalidRequest
from cc_orchestrator.policy.grants import choose_grants, is_name, standing_grants
from cc_orchestrator.store.grants import append_grant, read_grants
from cc_orchestrator.store.paths import Workspace


class Lent(NamedTuple):
    """Names of variables: those that the worker itself gets, and those of our own commands on its behalf."""

    worker: tuple[str, ...] = ()
    host: tuple[str, ...] = ()


def lend_secrets(
    workspace: Workspace, wanted: Sequence[str], env: Mapping[str, str], task_id: str, clock: Clock
) -> Lent:
    """Spend one use of a grant for each name. Raises InvalidRequest (no name, not set here), ApprovalRequired (not granted)."""
    if not wanted:
        return Lent()
    bad = next((name for name in wanted if not is_name(name)), None)
    if bad is not None:
        raise InvalidRequest(f"{bad[:60]!a} is no variable's name", hint='secrets=["NPM_TOKEN"]')
    now = clock.now()
    chosen = choose_grants(wanted, standing_grants(read_grants(workspace), now), task_id)
    if chosen.missing:
        raise ApprovalRequired(
            f"no grant for {', '.join(chosen.missing)}; nothing was started",
            hint=f"a person grants it at a terminal: cc-orchestrator secrets grant --name {chosen.missing[0]} --hours 1",
        )
    unset = [grant.name for grant in chosen.grants if not env.get(grant.name)]
    if unset:
        raise InvalidRequest(
            f"{', '.join(unset)} granted, but not set in this server's environment",
            hint="set it where the server starts",
        )
    for grant in chosen.grants:
        append_grant(workspace, {"ts": now, "grant_id": grant.grant_id, "used": True, "task_id": task_id})
    return Lent(
        tuple(grant.name for grant in chosen.grants if grant.to == "worker"),
        tuple(grant.name for grant in chosen.grants if grant.to == "host"),
    )


def with_secrets(route: Mapping[str, object], lent: Lent) -> dict[str, object]:
    """A route whose workers get the lent variables, their values masked wherever they show up."""
    known = route.get("secret_names")
    names = cast("list[str]", known) if isinstance(known, list) else []
    return {**route, "secret_names": [*names, *lent.worker]} if lent.worker else dict(route)
