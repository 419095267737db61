"""Which CLI, model and credentials serve a run. Pure.

There is one profile so far, `default`: the CLI as its user has it, by login or by its documented environment variables.
"""

from __future__ import annotations

from dataclasses import dataclass

from cc_orchestrator.core.errors import InvalidRequest

DEFAULT = "default"


@dataclass(frozen=True)
class Route:
    """The choice, with its reasons."""

    adapter: str
    model: str | None
    profile: str
    reasons: tuple[str, ...]


def choose_route(adapter: str, model: str | None, profile: str | None, known: tuple[str, ...]) -> Route:
    """The route of a request; InvalidRequest for an unknown adapter or profile, or a model that is no name."""
    if adapter not in known:
        raise InvalidRequest(
            f"there is no adapter {adapter[:60]!a}; known: {', '.join(known)}",
            hint="cc_doctor shows which are installed",
        )
    if profile not in (None, "", DEFAULT, "current"):
        raise InvalidRequest(
            f"there is no profile {profile[:60]!a}: only {DEFAULT!r} exists, the CLI as its user has it",
            hint="leave profile out",
        )
    if model is not None and (
        not model.strip() or len(model) > 120 or model.startswith("-") or any(c.isspace() for c in model)
    ):
        raise InvalidRequest(
            f"model {model[:60]!a} is not a model name", hint="leave model out for the CLI's own default"
        )
    reasons = (
        f"adapter {adapter} as asked",
        f"model {model} as asked" if model else "the CLI's own default model",
        "its user's own login",
    )
    return Route(adapter, model, DEFAULT, reasons)
