"""What test files of other languages test, read line by line without their comments: titles, assertions, skips. Pure.

No parser: so only counts and titles are compared, never what an assertion says.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple


class Tested(NamedTuple):
    """Titles of the tests that would run, how many assertions there are, and marks that leave tests out."""

    titles: Counter[str]
    assertions: int
    skips: int


class _Language(NamedTuple):
    title: re.Pattern[str]
    assertion: re.Pattern[str]
    skip: re.Pattern[str]


_JS = _Language(
    re.compile(
        r"(?<![\w.$])(?:it|test|specify)(?:\.each\([^)]*\)|\.concurrent|\.each`[^`]*`)?\s*\(\s*([\"'`])((?:\\.|(?!\1).)*)\1"
    ),
    re.compile(
        r"(?<![\w$])(?:expect|assert)(?:\.\w+)*\s*\(|\.should\b|(?<![\w$])t\.(?:is|deepEqual|true|equal|throws)\("
    ),
    re.compile(
        r"(?<![\w.$])(?:it|test|describe|suite|context)\.(?:skip|only|todo|failing|skipIf)\b|(?<![\w.$])(?:xit|xtest|xdescribe|fit|fdescribe)\s*\("
    ),
)
_GO = _Language(
    re.compile(r"^func\s+()(Test\w*|Fuzz\w*|Example\w*)\s*\(", re.M),
    re.compile(r"\bt\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)\(|\b(?:assert|require)\.\w+\("),
    re.compile(r"\bt\.(?:Skip|Skipf|SkipNow)\(|^//go:build\s+(?:ignore|never)", re.M),
)
_RUST = _Language(
    re.compile(r"#\[(?:\w+::)?test\](?:\s*#\[[^\]]*\])*\s*(?:pub\s+)?(?:async\s+)?()fn\s+(\w+)"),
    re.compile(r"\b(?:debug_)?assert(?:_eq|_ne|_matches)?!\s*[\(\[{]|\bpanic!\("),
    re.compile(r"#\[ignore\b"),
)
_JAVA = _Language(
    re.compile(r"@(?:Test|ParameterizedTest|Fact|Theory)\b(?:\([^)]*\))?[^;{}]*?()\b(\w+)\s*\("),
    re.compile(r"\b(?:assert\w*|verify|Assert\.\w+)\s*\("),
    re.compile(r"@(?:Disabled|Ignore)\b|\bSkip\s*="),
)
_RUBY = _Language(
    re.compile(r"^\s*(?:it|specify|test)\s+([\"'])((?:\\.|(?!\1).)*)\1|^\s*def\s+()(test_\w+)", re.M),
    re.compile(r"\bexpect[\s(]|\bassert\w*[\s(]|\.should\b|\brefute\w*[\s(]"),
    re.compile(r"^\s*(?:xit|xdescribe|skip|pending|fit|fdescribe)\b", re.M),
)
_PHP = _Language(
    re.compile(r"function\s+()(test\w+)\s*\("),
    re.compile(r"\$this->assert\w+\(|self::assert\w+\(|->expectException"),
    re.compile(r"markTestSkipped|markTestIncomplete"),
)
_LANGUAGES = {
    **dict.fromkeys(("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts"), _JS), "go": _GO, "rs": _RUST, "rb": _RUBY, "php": _PHP,
    **dict.fromkeys(("java", "kt", "cs", "scala"), _JAVA),
}  # fmt: skip
_BLOCK = re.compile(r"/\*.*?\*/", re.S)
_LINE = re.compile(r"(?m)(?<![:\"'`\w])//(?!go:build).*$")
_HASH = re.compile(r"(?m)^\s*#.*$")


def language_of(path: str) -> str | None:
    """A name for what reads this file, None when nothing here does."""
    extension = path.rpartition(".")[2].lower()
    return extension if extension in _LANGUAGES else None


def read_tested(path: str, text: bytes) -> Tested:
    """Of a file whose `language_of` is known."""
    extension = path.rpartition(".")[2].lower()
    language = _LANGUAGES[extension]
    source = text.decode("utf-8", "replace")
    source = _HASH.sub("", source) if extension == "rb" else _LINE.sub("", _BLOCK.sub("", source))
    titles = Counter(
        next(part for part in match.groups()[1::2] if part)
        for match in language.title.finditer(source)
        if any(match.groups()[1::2])
    )
    return Tested(titles, len(language.assertion.findall(source)), len(language.skip.findall(source)))
