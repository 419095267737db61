"""A reviewer's opinion: the JSON that it must answer with, read strictly. Pure.

`{"steps": [{"step": "S1", "verdict": "PASS"|"FAIL", "evidence": "…"}],
  "findings": [{"severity": "blocker"|"warn"|"info", "path": "…", "line": 3, "text": "…"}],
  "known": [{"finding": "F1", "state": "fixed"|"open", "evidence": "…"}], "summary": "…"}`

`findings`, `known` and `summary` may be left out; `path` and `line` too. A PASS needs evidence. A step without a verdict is FAIL.
Prose or a code fence around the one object is tolerated; unknown keys, unknown steps, repeated keys and a second object are not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

from cc_orchestrator.core.text import clean, cut

Severity = Literal["blocker", "warn", "info"]
SEVERITIES: tuple[Severity, ...] = ("blocker", "warn", "info")
MAX_FINDINGS = 100
MAX_TEXT = 2_000
_FENCE = re.compile(r"^```[A-Za-z]*[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """One acceptance step: `S1`, and what has to hold."""

    id: str
    text: str


class Ruling(NamedTuple):
    """A reviewer on one step."""

    step: Step
    passed: bool
    evidence: str


class Remark(NamedTuple):
    """Something that a reviewer found; `path` is "" when it belongs to no file."""

    severity: Severity
    path: str
    line: int | None
    text: str


class Recall(NamedTuple):
    """A reviewer on a finding of an earlier review."""

    finding_id: str
    fixed: bool
    evidence: str


class Opinion(NamedTuple):
    """The whole answer. Every step has a ruling."""

    rulings: tuple[Ruling, ...]
    remarks: tuple[Remark, ...] = ()
    recalls: tuple[Recall, ...] = ()
    summary: str = ""

    @property
    def passed(self) -> bool:
        """Whether every step passed, nothing that blocks was found, and nothing known that blocks is said to be open."""
        return all(ruling.passed for ruling in self.rulings) and not any(
            remark.severity == "blocker" for remark in self.remarks
        )


class OpinionError(Exception):
    """The answer is not what was asked for; `problems` are sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def number_steps(texts: Sequence[str]) -> tuple[Step, ...]:
    """`S1`, `S2`, … in order."""
    return tuple(Step(f"S{number}", text.strip()) for number, text in enumerate(texts, 1))


def read_opinion(text: str, steps: Sequence[Step], known: Sequence[str] = ()) -> Opinion:
    """The opinion in a worker's final text. `known` are the ids of earlier findings. Raises OpinionError."""
    raw = _find_object(text)
    reader = _Reader()
    reader.keys(raw, {"steps", "findings", "known", "summary"}, "the answer")
    rulings = _read_rulings(reader, raw.get("steps"), steps)
    remarks = _read_remarks(reader, raw.get("findings", []))
    recalls = _read_recalls(reader, raw.get("known", []), known)
    summary = reader.text(raw.get("summary", ""), "summary")
    if reader.problems:
        raise OpinionError(reader.problems[:8])
    return Opinion(rulings, remarks, recalls, summary)


def _find_object(text: str) -> dict[str, Any]:
    """The one JSON object in the text."""
    fenced = [match.group(1) for match in _FENCE.finditer(text)]
    inside = [part for part in fenced if part.lstrip().startswith("{")]
    if len(inside) > 1:
        raise OpinionError([f"there are {len(inside)} fenced objects, exactly one is expected"])
    body = inside[0] if inside else text[text.find("{") : text.rfind("}") + 1]
    if not body.strip():
        raise OpinionError(["there is no JSON object"])
    try:
        value = json.loads(body, object_pairs_hook=_refuse_repeats, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise OpinionError([f"it is no single JSON object: {cut(str(error), 200)}"]) from error
    if not isinstance(value, dict):
        raise OpinionError(["it is JSON, but no object"])
    return cast("dict[str, Any]", value)


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return out


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


class _Reader:
    """Collects problems while values are looked at."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def keys(self, raw: dict[str, Any], allowed: set[str], where: str) -> None:
        """No key but these."""
        unknown = sorted(set(raw) - allowed)
        if unknown:
            self.problems.append(f"{where}: unknown keys {', '.join(cut(key, 40) for key in unknown[:5])}")

    def rows(self, value: Any, allowed: set[str], where: str) -> list[dict[str, Any]]:
        """A list of objects with no other keys."""
        if not isinstance(value, list):
            self.problems.append(f"{where}: a list was expected")
            return []
        out: list[dict[str, Any]] = []
        for number, row in enumerate(cast("list[Any]", value)[: MAX_FINDINGS + 1], 1):
            if isinstance(row, dict):
                out.append(cast("dict[str, Any]", row))
                self.keys(out[-1], allowed, f"{where} {number}")
            else:
                self.problems.append(f"{where} {number}: an object was expected")
        if len(out) > MAX_FINDINGS:
            self.problems.append(f"{where}: more than {MAX_FINDINGS}")
        return out

    def text(self, value: Any, where: str, *, needed: bool = False) -> str:
        """A text, cleaned and cut."""
        if not isinstance(value, str) or (needed and not value.strip()):
            self.problems.append(f"{where}: {'a text that says something' if needed else 'a text'} was expected")
            return ""
        return cut(clean(value).strip(), MAX_TEXT)

    def word(self, value: Any, words: Sequence[str], where: str) -> str:
        """One of some words."""
        if value not in words:
            self.problems.append(f"{where}: one of {', '.join(words)} was expected")
            return words[0]
        return str(value)


def _read_rulings(reader: _Reader, value: Any, steps: Sequence[Step]) -> tuple[Ruling, ...]:
    by_id = {step.id: step for step in steps}
    found: dict[str, Ruling] = {}
    for row in reader.rows(value, {"step", "verdict", "evidence"}, "steps"):
        name = str(row.get("step"))
        if name not in by_id or name in found:
            why = "stands twice" if name in found else f"is none of {', '.join(by_id)}"
            reader.problems.append(f"steps: {cut(name, 40)} {why}")
            continue
        passed = reader.word(row.get("verdict"), ("PASS", "FAIL"), f"{name}.verdict") == "PASS"
        evidence = reader.text(row.get("evidence", ""), f"{name}.evidence", needed=passed)
        found[name] = Ruling(by_id[name], passed, evidence)
    missing = "the reviewer gave no verdict on this step"
    return tuple(found.get(step.id) or Ruling(step, False, missing) for step in steps)


def _read_remarks(reader: _Reader, value: Any) -> tuple[Remark, ...]:
    out: list[Remark] = []
    for number, row in enumerate(reader.rows(value, {"severity", "path", "line", "text"}, "findings"), 1):
        where = f"findings {number}"
        severity = reader.word(row.get("severity"), SEVERITIES, f"{where}.severity")
        number_ = row.get("line")
        if number_ is not None and (not isinstance(number_, int) or isinstance(number_, bool) or number_ < 0):
            reader.problems.append(f"{where}.line: a number or nothing was expected")
            number_ = None
        path = reader.text(row.get("path") or "", f"{where}.path")
        out.append(
            Remark(
                cast("Severity", severity), path, number_, reader.text(row.get("text"), f"{where}.text", needed=True)
            )
        )
    return tuple(out)


def _read_recalls(reader: _Reader, value: Any, known: Sequence[str]) -> tuple[Recall, ...]:
    out: dict[str, Recall] = {}
    for row in reader.rows(value, {"finding", "state", "evidence"}, "known"):
        name = str(row.get("finding"))
        if name not in known or name in out:
            why = "stands twice" if name in out else "was not asked about"
            reader.problems.append(f"known: {cut(name, 40)} {why}")
            continue
        fixed = reader.word(row.get("state"), ("fixed", "open"), f"{name}.state") == "fixed"
        out[name] = Recall(name, fixed, reader.text(row.get("evidence", ""), f"{name}.evidence", needed=fixed))
    return tuple(out.values())
