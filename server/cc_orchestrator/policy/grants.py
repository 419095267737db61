"""Named grants of secrets with an end: which may reach a worker, or our own commands on its behalf, now. Pure; knows no value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

#: `worker`: a variable of the worker's own environment. `host`: of the install commands that we run for it; it sees their results only.
To = Literal["worker", "host"]
LONGEST_SECONDS = 30 * 86_400.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class Grant(NamedTuple):
    """One grant. `expires` epoch seconds; `uses` None means any number until then; `task_id` "" means any task of the workspace."""

    grant_id: str
    name: str
    to: To
    expires: float
    uses: int | None = None
    task_id: str = ""
    by: str = ""


def is_name(text: str) -> bool:
    """Whether it can be a variable's name."""
    return _NAME.fullmatch(text) is not None


def standing_grants(rows: Iterable[Mapping[str, object]], now: float) -> list[Grant]:
    """Grants that hold now: not expired, not revoked, not used up."""
    grants: dict[str, Grant] = {}
    for row in rows:
        grant_id = str(row.get("grant_id") or "")
        if row.get("revoked") is True:
            grants.pop(grant_id, None)
        elif row.get("used") is True:
            known = grants.get(grant_id)
            if known is not None and known.uses is not None:
                grants[grant_id] = known._replace(uses=known.uses - 1)
        else:
            found = _read(grant_id, row)
            if found is not None:
                grants[grant_id] = found
    return [grant for grant in grants.values() if grant.expires > now and (grant.uses is None or grant.uses > 0)]


def _read(grant_id: str, row: Mapping[str, object]) -> Grant | None:
    name, to, expires, uses = row.get("name"), row.get("to"), row.get("expires"), row.get("uses")
    if not isinstance(name, str) or to not in ("worker", "host") or not isinstance(expires, int | float):
        return None
    return Grant(
        grant_id, name, to, float(expires), uses if isinstance(uses, int) else None,
        str(row.get("task_id") or ""), str(row.get("by") or ""),
    )  # fmt: skip


class Chosen(NamedTuple):
    """Grants for what was asked, and the names that none covers."""

    grants: tuple[Grant, ...]
    missing: tuple[str, ...]


def choose_grants(wanted: Sequence[str], grants: Sequence[Grant], task_id: str = "") -> Chosen:
    """For each name the grant that ends first, one for the task before one for all."""
    found: list[Grant] = []
    missing: list[str] = []
    for name in dict.fromkeys(wanted):
        fitting = [grant for grant in grants if grant.name == name and grant.task_id in ("", task_id)]
        if fitting:
            found.append(min(fitting, key=lambda grant: (not grant.task_id, grant.expires)))
        else:
            missing.append(name)
    return Chosen(tuple(found), tuple(missing))
