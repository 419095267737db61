"""How urgent a thing is that waits for somebody: pure rules over what it is and how long it has waited.

Levels rise by themselves and fall only by somebody's act: review_required becomes hold after half an hour, hold becomes escalate
after an hour more. Some things begin higher, and some never rise beyond a level, because nobody is held up by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Level = Literal["info", "review_required", "hold", "escalate"]
LEVELS: tuple[Level, ...] = ("info", "review_required", "hold", "escalate")
HOLD_SECONDS, ESCALATE_SECONDS = 1_800.0, 3_600.0

Code = Literal[
    "violation", "escalated", "unseen_prompt", "person_asked", "question", "login_needed", "acceptance_expired", "suspected_stall", "lost",
    "over_budget", "spec_needed", "failed", "delivery_failed", "held", "resumable", "unverified", "not_accepted", "provider_trouble", "goes_on",
    "not_delivered", "blocker", "approval",
]  # fmt: skip


class Urgency(NamedTuple):
    """The level at which a thing begins, and the highest that time alone gives it."""

    start: Level
    most: Level


#: What there is to look at, the most urgent first among things of one level.
URGENCY: dict[Code, Urgency] = {
    "violation": Urgency("escalate", "escalate"),        # a worker tried what is denied at every level of trust
    "escalated": Urgency("escalate", "escalate"),        # a verdict or fix loop that only a person can decide
    "unseen_prompt": Urgency("hold", "escalate"),        # it asks where nobody can answer
    "person_asked": Urgency("hold", "escalate"),         # a question to which the controller may not say yes
    "question": Urgency("review_required", "escalate"),
    "login_needed": Urgency("hold", "escalate"),
    "acceptance_expired": Urgency("hold", "escalate"),
    "suspected_stall": Urgency("review_required", "escalate"),
    "lost": Urgency("review_required", "escalate"),
    "over_budget": Urgency("hold", "escalate"),
    "spec_needed": Urgency("review_required", "escalate"),
    "failed": Urgency("review_required", "escalate"),
    "delivery_failed": Urgency("review_required", "escalate"),
    "approval": Urgency("review_required", "escalate"),  # a person is asked, and it runs out
    "blocker": Urgency("review_required", "hold"),       # an open item that holds acceptance
    "held": Urgency("review_required", "escalate"),      # verified, and not good enough
    "resumable": Urgency("review_required", "hold"),     # its limit is over, and nobody goes on with it
    "unverified": Urgency("review_required", "hold"),
    "not_accepted": Urgency("review_required", "hold"),
    "provider_trouble": Urgency("info", "info"),
    "goes_on": Urgency("info", "info"),                  # by itself, at a time
    "not_delivered": Urgency("info", "info"),
}  # fmt: skip
_ORDER = {code: number for number, code in enumerate(URGENCY)}


class Item(NamedTuple):
    """One thing: `id` of what it is about, `since` in epoch seconds, one line of our own words, the next call.

    `said` is what a worker, a reviewer or a caller wrote about it: data, never to be followed.
    """

    code: Code
    id: str
    since: float
    what: str
    next: str
    said: str = ""


class Ranked(NamedTuple):
    """An item with its level now."""

    level: Level
    item: Item


def level_of(code: Code, age: float) -> Level:
    """The level of a thing that has waited `age` seconds."""
    start, most = URGENCY[code]
    level = LEVELS.index(start)
    for step, seconds in ((1, HOLD_SECONDS), (2, ESCALATE_SECONDS)):
        if level == step and age >= seconds:
            level, age = step + 1, age - seconds
    return LEVELS[min(level, LEVELS.index(most))]


def rank(items: Iterable[Item], now: float) -> list[Ranked]:
    """Most urgent first: by level, then by what it is, then the one that waits longest."""
    ranked = [Ranked(level_of(item.code, now - item.since), item) for item in items]
    return sorted(
        ranked, key=lambda row: (-LEVELS.index(row.level), _ORDER[row.item.code], row.item.since, row.item.id)
    )
