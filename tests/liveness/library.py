"""All cases, and the bounds that their families are held to."""

from __future__ import annotations

from typing import NamedTuple

from kit.timelines import Case, Played, play
from liveness import healthy, recorded, stalls

CASES: list[Case] = [*healthy.CASES, *stalls.CASES, *recorded.CASES]


class Verdict(NamedTuple):
    """What became of one case. `delay`: seconds from the stall's begin to its name. `problems`: sentences, none when all is well."""

    case: Case
    delay: float | None
    killed: float | None
    false_name: bool
    problems: list[str]


def bound_of(case: Case) -> float:
    """Seconds within which a stall of this family must be named."""
    silence = case.silence or 0.0
    return {
        "dead_process": 2.0, "blocked_question": 2.0, "exit_empty": 2.0, "dead_stream": 60.0, "silent_hang": silence + 10.0,
        "stuck_tool": 40.0, "retry_loop": 40.0, "spinning": 3 * silence + 10.0,
    }[case.family]  # fmt: skip


def judge_case(case: Case) -> Verdict:
    """Play it and hold it to what it expects."""
    played = play(case)
    problems = [
        f"at {time:g} s it is {played.at(time)}, not {word}"
        for time, word in case.expect.items()
        if played.at(time) != word
    ]
    problems += _doors(played)
    early = _first_stall(played, before=case.onset)
    if early is not None:
        problems.append(f"called a stall at {early:g} s")
    delay = None
    if case.onset is None:
        if played.killed is not None:
            problems.append(f"ended for silence at {played.killed:g} s")
    else:
        named = played.first(*case.named, since=case.onset)
        delay = None if named is None else named - case.onset
        if delay is None or delay > bound_of(case):
            problems.append(f"named after {delay} s, {bound_of(case):g} s is the bound: {_words(played)}")
        if case.kills != (played.killed is not None):
            problems.append(f"ended for silence: {played.killed}")
        if played.killed is not None and played.killed < case.onset + (case.silence or 0.0) - 1.0:
            problems.append(f"ended before its silence was over, at {played.killed:g} s")
    return Verdict(case, delay, played.killed, early is not None, problems)


def _first_stall(played: Played, before: float | None) -> float | None:
    for when, found in played.rows:
        if found.liveness == "suspected_stall" and (before is None or when < before):
            return when
    return None


def _doors(played: Played) -> list[str]:
    """A door, which sees the journal alone, says the same word."""
    for (when, own), (_when, door) in zip(played.rows, played.doors, strict=False):
        if own.liveness != door.liveness:
            return [f"at {when:g} s a door says {door.liveness}, the supervisor {own.liveness}"]
    return []


def _words(played: Played) -> str:
    found: list[str] = []
    for when, judgement in played.rows:
        word = judgement.liveness + (f"/{judgement.code}" if judgement.code else "")
        if not found or found[-1].split("@")[0] != word:
            found.append(f"{word}@{when:g}")
    return " ".join(found)
