"""Expected output that tests compare with: golden files, snapshots, recorded data. It follows source, it never changes alone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cc_orchestrator.core.text import line
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.diff import Change
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.rules import Rules
from cc_orchestrator.verify.sizes import language_of

_SHOWN = 5
_NAMED = re.compile(
    r"(?:^|/)(?:__snapshots__|snapshots?|goldens?|golden[-_]files?|expected|expectations?|cassettes|approved|baselines?|testdata)/"
    r"|\.(?:snap|golden|approved\.\w+|expected(?:\.\w+)?|ambr)$|(?:^|[/_.-])(?:expected|golden|snapshot|baseline)[\w-]*\.(?:json|txt|xml|html|csv|ya?ml|sql|svg|md|out)$",
    re.IGNORECASE,
)
_ENTRY = re.compile(rb"^exports\[`", re.MULTILINE)
_SNAP_SOURCES = frozenset(
    {"js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts", "vue", "svelte", "css", "scss", "html", "graphql"}
)


def check_goldens(evidence: Evidence, rules: Rules) -> Check:
    """Changed or removed expected data without a change of what makes it."""
    touched = [
        change
        for change in evidence.changes
        if is_golden(change.path) or (change.old_path and is_golden(change.old_path))
    ]
    bad = list(_find(touched, evidence, rules))
    return Check(
        "goldens", "fail" if bad else "pass", {"files": len(touched), "alone": len(bad)}, None, "; ".join(bad[:_SHOWN])
    )


def is_golden(path: str) -> bool:
    """Whether a file holds what tests expect, by its name. Source files never do."""
    return bool(_NAMED.search(path)) and (language_of(path) is None or path.endswith((".sql", ".snap")))


def _find(touched: Sequence[Change], evidence: Evidence, rules: Rules) -> Iterator[str]:
    others = [change for change in evidence.changes if change not in touched]
    sources = [change for change in others if not rules.is_test(change.path) and _makes_output(change.path)]
    web = any(braces.extension_of(change.path) in _SNAP_SOURCES for change in sources)
    for change in touched:
        if change.status == "A":
            continue
        shown = line(change.path, 80)
        made = web if change.path.endswith(".snap") and not _is_python(change.path) else bool(sources)
        if change.status == "D":
            if not made and not any(other.status == "D" and rules.is_test(other.path) for other in others):
                yield f"{shown} is gone, and nothing else that made or used it"
        elif not made and (change.added or change.deleted or change.binary):
            yield f"{shown}: what tests expect was changed, and no source was"
        elif _lost_entries(evidence.contents.texts.get(change.path, Pair(None, None))) and not any(
            rules.is_test(other.path) for other in others
        ):
            yield f"{shown} holds fewer snapshots than before, and no test changed"


def _makes_output(path: str) -> bool:
    return language_of(path) is not None or path.endswith(
        (
            ".html",
            ".jinja",
            ".j2",
            ".tmpl",
            ".vue",
            ".svelte",
            ".css",
            ".scss",
            ".toml",
            ".yaml",
            ".yml",
            ".json",
            ".proto",
            ".graphql",
            ".sql",
            ".lock",
        )
    )


def _is_python(path: str) -> bool:
    return path.rpartition("/")[2].endswith(".ambr")


def _lost_entries(pair: Pair) -> bool:
    return len(_ENTRY.findall(pair.after or b"")) < len(_ENTRY.findall(pair.before or b""))
