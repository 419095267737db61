"""kingfisher-secret-scanner (a Rust library, in process, no network) as one more pair of eyes. An extra: absent, it is said to be."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cc_orchestrator.core.late import load
from cc_orchestrator.core.text import line
from cc_orchestrator.verify.secrets import Scan

_SECONDS = 60.0


def find_version() -> str | None:
    """The installed version, None where there is none."""
    try:
        return version("kingfisher-secret-scanner")
    except PackageNotFoundError:
        return None


def make_scan() -> Scan | None:
    """A scan by its built-in rules, or None where it cannot be had. Its first start on a machine compiles them (seconds).

    Comments in a text that ask to be ignored are not obeyed: a worker could write them.
    """
    try:
        library: Any = load("kingfisher_sdk")
        scanner: Any = library.Scanner()
    except (ImportError, OSError, RuntimeError):
        return None

    def scan(text: bytes) -> list[tuple[int, str, bytes, bool]]:
        if not text.strip():
            return []
        found: list[tuple[int, str, bytes, bool]] = []
        for finding in scanner.scan(text, timeout=_SECONDS):
            if finding.visible:
                kind = line(str(finding.rule_id).rpartition(".")[2], 40)
                place = int(finding.location["start_offset"])
                found.append(
                    (place, kind, str(finding.secret).encode("utf-8", "replace"), bool(finding.is_base64_encoded))
                )
        return found

    return scan
