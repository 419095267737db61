"""What the worker says in its own words, held against the result: files it names, work it claims, failures it admits. Pure.

Words prove nothing and excuse nothing; but who says that it is not done, or names a file that is not there, is taken at their word.
Sentences that only suggest, deny or explain are left alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from cc_orchestrator.core.text import line
from cc_orchestrator.runs.fold import claimed
from cc_orchestrator.verify import braces
from cc_orchestrator.verify.check import Check
from cc_orchestrator.verify.contents import Pair
from cc_orchestrator.verify.evidence import Evidence
from cc_orchestrator.verify.sizes import language_of

_SHOWN = 5
_MOST = 20_000
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_PATH = re.compile(r"(?<![\w/.@:-])`?((?:[\w.@-]+/)*[\w@-][\w.@-]*\.[A-Za-z]{1,5})`?(?![\w/(-])")
_MADE = re.compile(r"\b(?:added|created|wrote|introduced|generated|implemented|new file|new test)\b", re.IGNORECASE)
_CHANGED = re.compile(
    r"\b(?:fixed|updated|changed|modified|rewrote|refactored|edited|corrected|patched|extended|improved|mended|repaired)\b",
    re.IGNORECASE,
)
_HEDGED = re.compile(
    r"\b(?:not|no|never|without|n't|may|might|could|should|would|can|want|suggest|consider|next|later|future|if|unless|unchanged|left|leave|"
    r"as (?:it|they) (?:is|are|was|were)|see|like|based on|because|instead of|already|before|previously|run|try|failed|removed|deleted|renamed)\b",
    re.IGNORECASE,
)
_ADMITS = re.compile(
    r"\b(?:still|currently) (?:fail|fails|failing|broken|red|crash\w*)\b|\b(?:could|can) ?(?:not|n't) (?:complete|finish|implement|fix|solve|get)\b"
    r"|\b(?:is|are|was|were) not (?:yet )?(?:implemented|complete|completed|finished|done|working)\b|\bnot implemented yet\b|\bnot yet implemented\b"
    r"|\bdid(?: not|n't) (?:have time|finish|complete|implement|manage|fix)\b|\bunable to (?:complete|finish|implement|fix|solve|make)\b"
    r"|\b(?:remains?|left) (?:unimplemented|unfinished|incomplete|broken|undone)\b|\b(?:partially|only partly) (?:implemented|done|complete)\b"
    r"|\btests? (?:do|does) not pass\b|\bran out of (?:time|budget|turns)\b"
    r"|\bi (?:skipped|disabled|commented out|removed) (?:the |a |some |\d+ )?(?:failing )?tests?\b"
    r"|\bhard-?coded (?:the )?(?:answer|result|expected|value)s?\b",
    re.IGNORECASE,
)
_CODE_WORK = re.compile(
    r"\b(?:fixed|implemented|mended|repaired|corrected|rewrote|handles?|handling|added support|now supports?|optimi[sz]ed|refactored)\b",
    re.IGNORECASE,
)
_PROSE_WORK = re.compile(
    r"\b(?:typo|docs?|documentation|documented|comments?|docstrings?|readme|format\w*|reformatted|changelog|wording|spelling|links?|config\w*|"
    r"settings?|whitespace|style|lint\w*|permissions?|renam\w*|moved?|delet\w*|remov\w*|text|translation|data|fixture|image|licen[cs]e)\b",
    re.IGNORECASE,
)
_CODE_NAME = re.compile(r"\b\w+\(\w*\)|\b[\w/-]+\.(?:py|js|ts|tsx|jsx|go|rs|java|rb|php|kt|cs|c|cpp|swift|scala)\b")
_BLANKS = re.compile(r"\s+")


def check_words(evidence: Evidence) -> Check:
    """Its last text only."""
    text = str(claimed(evidence.state).get("text") or "")[:_MOST]
    bad = [*_find_admissions(text), *_find_false_files(text, evidence), *_find_empty_work(text, evidence)]
    return Check("words", "fail" if bad else "pass", len(bad), 0, "; ".join(dict.fromkeys(bad[:_SHOWN])), "proxy")


def _find_admissions(text: str) -> Iterator[str]:
    for match in _ADMITS.finditer(text):
        yield f"it says itself: {line(text[max(0, match.start() - 30) : match.end() + 30], 100)}"


def _find_false_files(text: str, evidence: Evidence) -> Iterator[str]:
    changed = {path for change in evidence.changes for path in change.paths}
    tree = evidence.contents.tree
    for sentence in _SENTENCE.split(text):
        made, touched = _MADE.search(sentence), _CHANGED.search(sentence)
        if not (made or touched) or _HEDGED.search(sentence):
            continue
        for match in _PATH.finditer(sentence):
            path = match[1].removeprefix("./")
            if _known(path, changed):
                continue
            if not _known(path, tree):
                if (
                    language_of(path) is not None
                    or "/" in path
                    or path.endswith((".md", ".json", ".yaml", ".yml", ".toml", ".sql"))
                ):
                    yield f"it names {line(path, 60)}, which is not there"
            elif touched and touched.start() < match.start() and not (made and made.start() > touched.start()):
                yield f"it says that {line(path, 60)} was changed; it was not"


def _known(path: str, places: set[str] | dict[str, str]) -> bool:
    return path in places or any(place.endswith(f"/{path}") for place in places)


def _find_empty_work(text: str, evidence: Evidence) -> Iterator[str]:
    """Work on code is claimed, and no code is other than before."""
    claims = [
        sentence for sentence in _SENTENCE.split(text)
        if _CODE_WORK.search(sentence) and not _PROSE_WORK.search(sentence) and not _HEDGED.search(sentence)
    ]  # fmt: skip
    if not claims or not evidence.changes:
        return
    code = [change for change in evidence.changes if language_of(change.path) is not None]
    if not code:
        named = [sentence for sentence in claims if _CODE_NAME.search(sentence)]
        if named and all(braces.extension_of(change.path) in ("md", "rst", "txt") for change in evidence.changes):
            yield f"it claims work on code ({line(named[0], 80)}), and only texts changed"
        return
    if len(code) == len(evidence.changes) and all(
        _is_same(change.path, evidence.contents.texts.get(change.path, Pair(None, None))) for change in code
    ):
        yield f"it claims work on code ({line(claims[0], 80)}), and only comments or blanks changed"


def _is_same(path: str, pair: Pair) -> bool:
    if pair.before is None or pair.after is None:
        return False
    extension = braces.extension_of(path)
    if extension == "py":
        try:
            return _normal(pair.before) == _normal(pair.after)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    if extension in braces.EXTENSIONS:
        before, after = (_BLANKS.sub("", braces.blank(braces.decode(text), texts=False)) for text in pair)
        return before == after
    return False


def _normal(text: bytes) -> str:
    """The syntax tree without docstrings."""
    module = ast.parse(text)
    for node in ast.walk(module):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and isinstance(
            body, list
        ):
            node.body = [
                item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
    return ast.dump(module)
