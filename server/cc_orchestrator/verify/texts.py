"""What stands in changed files that a reader would not see or would not want: hidden characters, odd names, conflict marks, programs. Pure."""

from __future__ import annotations

import ast
import re
import unicodedata

from cc_orchestrator.core.text import line
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.sizes import language_of

#: Turn the direction of what follows (CVE-2021-42574), or take no room at all.
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSEEN = frozenset("\u200b\u2060\u180e\u00ad\u115f\u1160\u3164\uffa0")
_MIXED = re.compile(r"(?=\w*[A-Za-z])(?=\w*[\u0400-\u04ff])\w+")
_MARK = re.compile(rb"(?:<{7}|>{7}|\|{7})(?: |$)")
_MAGIC = (b"\x7fELF", b"MZ\x90\x00", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_SHOWN = 5


def check_names(evidence: Evidence) -> Check:
    """Paths of new or renamed files."""
    bad: list[str] = []
    for change in evidence.changes:
        if change.status not in ("A", "R", "C"):
            continue
        why = _find_odd(change.path)
        if why:
            bad.append(f"{line(ascii(change.path), 100)} {why}")
    twins = _find_twins(evidence)
    bad += [f"{line(ascii(path), 100)} differs from another only in case" for path in twins]
    return Check("names", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]))


def _find_odd(path: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in path):
        return "holds characters that nobody sees"
    parts = path.split("/")
    if any(part.lower().rstrip(". ").replace("\u200c", "") in (".git", "git~1") for part in parts):
        return "stands for .git on some systems"
    if any(part.startswith("-") for part in parts):
        return "reads as an option of a command"
    return "holds a backslash" if "\\" in path else ""


def _find_twins(evidence: Evidence) -> list[str]:
    added = {change.path for change in evidence.changes if change.status in ("A", "R", "C")}
    if not added:
        return []
    seen: dict[str, int] = {}
    for path in evidence.contents.tree:
        seen[path.casefold()] = seen.get(path.casefold(), 0) + 1
    return sorted(path for path in added if seen.get(path.casefold(), 0) > 1)


def check_unicode(evidence: Evidence) -> Check:
    """Added lines of text: what turns the direction of text, is not seen, or mixes alphabets within one word of source."""
    bad: list[str] = []
    for change in evidence.changes:
        if change.binary:
            continue
        source = language_of(change.path) is not None
        for number, raw in change.lines:
            if raw.isascii():
                continue
            why = _find_hidden(raw.decode("utf-8", "replace"), source, number)
            if why:
                bad.append(f"{line(ascii(change.path)[1:-1], 80)}:{number} {why}")
    return Check("unicode", "fail" if bad else "pass", len(bad), 0, "; ".join(bad[:_SHOWN]))


def _find_hidden(text: str, source: bool, number: int) -> str:
    characters = set(text[1:] if number == 1 and text.startswith("\ufeff") else text)
    if characters & _BIDI:
        return "holds characters that turn the direction of text"
    if source and characters & (_UNSEEN | {"\ufeff"}):
        return "holds characters that are not seen"
    if source and (match := _MIXED.search(text)):
        return f"mixes alphabets in one word: {match[0][:40]!a}"
    return ""


def check_markers(evidence: Evidence) -> Check:
    """Marks that a failed merge leaves."""
    bad = [
        f"{line(change.path, 80)}:{number}"
        for change in evidence.changes
        if not change.binary and {row[:1] for _n, row in change.lines if _MARK.match(row)} >= {b"<", b">"}
        for number, row in change.lines
        if _MARK.match(row)
    ]
    text = f"conflict marks at {', '.join(bad[:_SHOWN])}" if bad else ""
    return Check("markers", "fail" if bad else "pass", len(bad), 0, text)


def check_syntax(evidence: Evidence) -> Check:
    """Changed Python files parse. A file that did not parse before is not judged."""
    bad: list[str] = []
    count = 0
    for path, pair in evidence.contents.texts.items():
        if not path.endswith(".py") or pair.after is None or b"{{" in pair.after or b"{%" in pair.after:
            continue
        count += 1
        why = _find_error(pair.after)
        if why and (pair.before is None or not _find_error(pair.before)):
            bad.append(f"{line(path, 100)}: {why}")
    return Check(
        "syntax", "fail" if bad else "pass", {"files": count, "broken": len(bad)}, None, "; ".join(bad[:_SHOWN])
    )


def _find_error(text: bytes) -> str:
    try:
        ast.parse(text)
    except SyntaxError as error:
        return f"line {error.lineno}: {line(error.msg, 80)}"
    except (ValueError, RecursionError, MemoryError) as error:
        return line(str(error), 80)
    return ""


def check_executables(evidence: Evidence) -> Check:
    """Compiled programs in the result."""
    bad = [
        path
        for path, pair in evidence.contents.texts.items()
        if pair.after is not None and pair.after.startswith(_MAGIC)
    ]
    text = f"compiled programs: {', '.join(line(path, 80) for path in bad[:_SHOWN])}" if bad else ""
    return Check("executables", "fail" if bad else "pass", len(bad), 0, text)


def check_modes(evidence: Evidence) -> Check:
    """Files that became executable, links, nested repositories: shown, so that nobody overlooks them."""
    shown: list[str] = []
    for change in evidence.changes:
        if change.status != "D" and change.mode != change.old_mode and change.mode != "100644":
            kind = {"100755": "executable", "120000": "link", "160000": "nested repository"}.get(
                change.mode, change.mode
            )
            shown.append(f"{line(change.path, 80)} ({kind})")
    binary = sum(change.binary for change in evidence.changes)
    outcome = "fail" if shown else "pass"
    return Check(
        "modes", outcome, {"modes": len(shown), "binary": binary}, None, ", ".join(shown[:_SHOWN]), required=False
    )
