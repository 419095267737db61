"""Open items as values: what the records of their ledger mean together, and what a verification does to them. Pure.

A blocker holds its task back until it is closed; warn and info only show. Several who report the same thing (one `key`) make
one item. A check's item closes when that very check passes under a later APPROVE, not by a verification that left it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from cc_orchestrator.core.text import line
from cc_orchestrator.store.ledger import Record

Severity = Literal["blocker", "warn", "info"]
Source = Literal["check", "reviewer", "controller"]
SEVERITIES: tuple[Severity, ...] = ("blocker", "warn", "info")
OPENED = "opened"
CLOSED = "closed"


class Item(NamedTuple):
    """One open item. `run_id` is None for one about the task as a whole; times are epoch seconds.

    `check` and `verify_id` are of a check's item: which check, and the verification in which it failed. `closed` is
    `{at, evidence?, reason?, actor, channel}`, None while it is open.
    """

    item_id: str
    task_id: str
    run_id: str | None
    severity: Severity
    title: str
    key: str
    source: Source
    check: str | None
    verify_id: str | None
    opened_at: float
    closed: dict[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return self.closed is None


class Draft(NamedTuple):
    """An item to be opened."""

    task_id: str
    run_id: str | None
    severity: Severity
    title: str
    key: str
    source: Source
    check: str | None = None
    verify_id: str | None = None


class Plan(NamedTuple):
    """What a verification does: items to open, and ids of those that it closes."""

    opens: list[Draft]
    closes: list[str]


def fold_items(records: Iterable[Record]) -> dict[str, Item]:
    """Items by id from all records, the oldest first. KeyError or ValueError for a record that is none of ours."""
    items: dict[str, Item] = {}
    for record in records:
        subject, observed = record["subject"], record["observed"]
        if record["kind"] == OPENED:
            items[subject["item_id"]] = _opened(record)
        elif record["kind"] == CLOSED:
            item = items[subject["item_id"]]
            closed = {
                "at": record["ts"], "actor": record["actor"], "channel": record.get("channel"),
                "evidence": observed.get("evidence"), "reason": record["claimed"].get("reason"),
            }  # fmt: skip
            items[item.item_id] = item._replace(closed={k: v for k, v in closed.items() if v is not None})
    return items


def _opened(record: Record) -> Item:
    subject, observed = record["subject"], record["observed"]
    severity = observed["severity"]
    if severity not in SEVERITIES:
        raise ValueError(f"unknown severity {severity!r}")
    return Item(
        subject["item_id"], subject["task_id"], subject.get("run_id"), severity, str(record["claimed"]["title"]),
        observed["key"], observed["source"], observed.get("check"), observed.get("verify_id"), record["ts"],
    )  # fmt: skip


def find_open(items: Iterable[Item], task_id: str, key: str) -> Item | None:
    """The open item of a task that has this key."""
    return next((item for item in items if item.is_open and (item.task_id, item.key) == (task_id, key)), None)


def blockers_of(items: Iterable[Item], task_id: str, runs: Sequence[str]) -> list[Item]:
    """Open blockers of a task that concern one of `runs` (a run and those it came from) or the task as a whole."""
    return [
        item
        for item in items
        if item.is_open
        and item.severity == "blocker"
        and item.task_id == task_id
        and (item.run_id is None or item.run_id in runs)
    ]


def plan_items(result: Mapping[str, Any], items: Sequence[Item]) -> Plan:
    """What a verification's result (`{verify_id, run_id, task_id, verdict, checks, finished_at}`) does to the items so far.

    Said twice it does nothing the second time, also when a later verification was taken in before.
    """
    opens: list[Draft] = []
    closes: list[str] = []
    for raw in cast("list[dict[str, Any]]", result["checks"]):
        name, outcome = str(raw["check"]), raw.get("outcome")
        if outcome == "pass":
            if result["verdict"] == "APPROVE":
                closes += [item.item_id for item in items if _is_settled_by(item, name, result)]
        elif raw.get("required", True) and not _is_known(name, result, items):
            title = f"{name} {outcome}: {line(str(raw.get('evidence', '')), 300)}".rstrip(": ")
            opens.append(_draft_of(name, title, result))
    return Plan(opens, closes)


def _draft_of(check: str, title: str, result: Mapping[str, Any]) -> Draft:
    return Draft(
        result["task_id"], result["run_id"], "blocker", title, _key(check, result), "check", check, result["verify_id"]
    )


def _key(check: str, result: Mapping[str, Any]) -> str:
    return f"check/{result['run_id']}/{check}"


def _is_settled_by(item: Item, check: str, result: Mapping[str, Any]) -> bool:
    # Ids sort by time: an older verification says nothing about what a younger one found.
    return (
        item.is_open
        and item.task_id == result["task_id"]
        and (item.source, item.check) == ("check", check)
        and str(item.verify_id) < str(result["verify_id"])
    )


def _is_known(check: str, result: Mapping[str, Any], items: Sequence[Item]) -> bool:
    """Whether there is an item for this failure: open, or closed after it."""
    same = [item for item in items if (item.task_id, item.key) == (result["task_id"], _key(check, result))]
    return any(
        item.closed is None
        or str(item.verify_id) >= str(result["verify_id"])
        or float(item.closed["at"]) > float(result["finished_at"])
        for item in same
    )
