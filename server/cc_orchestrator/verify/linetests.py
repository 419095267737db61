"""What test files of other languages test, read line by line without their comments: titles, assertions, skips. Pure.

No parser: so only counts and titles are compared, never what an assertion says.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from cc_orchestrator.verify import braces


class Tested(NamedTuple):
    """Titles of the tests that would run, how many assertions there are, and marks that leave tests out.

    `exact` assertions compare with a value; `guards` are what an assertion may hide behind; `literals` what they compare with.
    """

    titles: Counter[str]
    assertions: int
    skips: int
    exact: int
    guards: int
    literals: Counter[str]


class _Language(NamedTuple):
    title: re.Pattern[str]
    assertion: re.Pattern[str]
    skip: re.Pattern[str]
    exact: re.Pattern[str]
    guard: re.Pattern[str]


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
    re.compile(
        r"(?<!\.not)\.(?:toBe|toEqual|toStrictEqual|toMatchObject|toHaveBeenCalledWith|toHaveBeenCalledTimes|toThrow|toMatchSnapshot|toBeNull|"
        r"toMatchInlineSnapshot|toHaveLength|toHaveProperty|toBeCloseTo|toContain|toContainEqual|toMatch|deepEqual|strictEqual|deepStrictEqual|equal|eql|is)"
        r"\((?!\s*expect\.any)"
    ),
    re.compile(
        r"\bcatch\s*(?:\([^)]*\))?\s*\{|^\s*return\s*;|\bif\s*\(|\.then\(|\bset(?:Timeout|Immediate|Interval)\(|\bprocess\.exit\(",
        re.M,
    ),
)
_GO = _Language(
    re.compile(r"^func\s+()(Test\w*|Fuzz\w*|Example\w*)\s*\(", re.M),
    re.compile(r"\bt\.(?:Error|Errorf|Fatal|Fatalf|Fail|FailNow)\(|\b(?:assert|require)\.\w+\("),
    re.compile(r"\bt\.(?:Skip|Skipf|SkipNow)\(|^//go:build\s+(?:ignore|never)", re.M),
    re.compile(
        r"!=|\b(?:assert|require)\.(?:Equal\w*|ElementsMatch|JSONEq|ErrorIs|Len)\(|cmp\.Diff\(|reflect\.DeepEqual\(|errors\.Is\("
    ),
    re.compile(r"\bif false\b|\brecover\(\)|\bos\.Exit\(0\)|^\treturn$", re.M),
)
_RUST = _Language(
    re.compile(r"#\[(?:\w+::)?test\](?:\s*#\[[^\]]*\])*\s*(?:pub\s+)?(?:async\s+)?()fn\s+(\w+)"),
    re.compile(r"\b(?:debug_)?assert(?:_eq|_ne|_matches)?!\s*[\(\[{]|\bpanic!\("),
    re.compile(
        r"#\[ignore\b|#\[cfg\((?!test\))[^\]]*\btest\b[^\]]*(?:feature|not|any|all)|#\[cfg\([^\]]*(?:feature|not)[^\]]*\btest\b"
    ),
    re.compile(r"\bassert_eq!\s*[\(\[{]|\bassert_matches!"),
    re.compile(r"#\[should_panic|catch_unwind|process::exit\(0\)"),
)
_JAVA = _Language(
    re.compile(r"@(?:Test|ParameterizedTest|Fact|Theory)\b(?:\([^)]*\))?[^;{}]*?()\b(\w+)\s*\("),
    re.compile(r"\b(?:assert\w*|verify|Assert\.\w+)\s*\("),
    re.compile(r"@(?:Disabled|Ignore)\b|\bSkip\s*="),
    re.compile(
        r"\bassert(?:Equals|Same|ArrayEquals|IterableEquals|LinesMatch|Throws|That)\s*\(|\bisEqualTo\(|Assert\.(?:Equal|Same|Throws)|\bshouldBe\b"
    ),
    re.compile(r"\bcatch\s*\(\s*(?:Throwable|AssertionError|Exception|Error)\b|\bassume\w+\(|System\.exit\(0\)"),
)
_RUBY = _Language(
    re.compile(r"^\s*(?:it|specify|test)\s+([\"'])((?:\\.|(?!\1).)*)\1|^\s*def\s+()(test_\w+)", re.M),
    re.compile(r"\bexpect[\s(]|\bassert\w*[\s(]|\.should\b|\brefute\w*[\s(]"),
    re.compile(r"^\s*(?:xit|xdescribe|skip|pending|fit|fdescribe)\b", re.M),
    re.compile(
        r"(?<!not_to )(?<!to_not )\b(?:eq|eql|equal|be|match_array|contain_exactly|raise_error)[ (]|\bassert_(?:equal|same|raises|in_delta)\b"
    ),
    re.compile(r"^\s*rescue\b|\bexit!?\b", re.M),
)
_PHP = _Language(
    re.compile(r"function\s+()(test\w+)\s*\("),
    re.compile(r"\$this->assert\w+\(|self::assert\w+\(|->expectException"),
    re.compile(r"markTestSkipped|markTestIncomplete"),
    re.compile(r"assert(?:Same|Equals|Count|JsonStringEqualsJsonString)\(|expectException"),
    re.compile(r"\bcatch\s*\(|\bexit\("),
)
_LANGUAGES = {
    **dict.fromkeys(("js", "jsx", "ts", "tsx", "mjs", "cjs", "mts", "cts"), _JS), "go": _GO, "rs": _RUST, "rb": _RUBY, "php": _PHP,
    **dict.fromkeys(("java", "kt", "cs", "scala"), _JAVA),
}  # fmt: skip
_LITERAL = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|(?<![\w.])-?\d+(?:\.\d+)?\b|\btrue\b|\bfalse\b")
_CONSTANT = re.compile(r"\"[^\"]*\"|'[^']*'|-?[\d.]+|true|false|null|nil|undefined|\[\]|\{\}")
_PAIR = re.compile(
    r"expect\((.*?)\)\.(?:to\.)?(?:toBe|toEqual|toStrictEqual|eq|eql|equal)\((.*?)\);?\s*$"
    r"|assert(?:_eq!|Equals|Same|\.equal|\.strictEqual|\.deepEqual|\.Equal)\s*\(\s*(?:t,\s*)?((?:[^,()]|\([^()]*\))*?),\s*((?:[^,()]|\([^()]*\))*?)\)"
    r"|(?:assert!?|assertTrue|assert\.ok)\s*\(\s*(true|1|1\s*==\s*1)()\s*\)"
)
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
    rows = [row for row in source.split("\n") if language.assertion.search(row) or language.exact.search(row)]
    exact = sum(len(language.exact.findall(row)) for row in rows if not _proves_nothing(row))
    literals = Counter(value for row in rows for value in _LITERAL.findall(row))
    return Tested(
        titles,
        len(language.assertion.findall(source)),
        len(language.skip.findall(source)),
        exact,
        len(language.guard.findall(source)),
        literals,
    )


def _proves_nothing(row: str) -> bool:
    """Compares a constant with a constant, or a thing with itself."""
    match = _PAIR.search(row)
    if match is None:
        return False
    left, right = (next((part for part in match.groups()[at::2] if part is not None), "").strip() for at in (0, 1))
    return left == right or all(_CONSTANT.fullmatch(side) for side in (left, right))


def find_idle(path: str, text: bytes) -> list[str]:
    """Titles of tests that assert nothing, or only what is true of itself. What calls a function of its file may assert there."""
    extension = path.rpartition(".")[2].lower()
    language = _LANGUAGES[extension]
    if extension in ("rb", "py"):
        return []
    source = _LINE.sub("", _BLOCK.sub("", text.decode("utf-8", "replace")))
    blanked = braces.blank(source)
    helpers = {
        item.name
        for item in braces.find_functions(source)
        if language.assertion.search(item.body) and not item.name.lower().startswith("test")
    }
    found: list[str] = []
    for match in language.title.finditer(source):
        start = blanked.find("{", match.end())
        end = braces.close_of(blanked, start) if start >= 0 else -1
        if end < 0:
            continue
        body = source[start:end]
        rows = [row for row in body.split("\n") if language.assertion.search(row)]
        called = (
            any(re.search(rf"\b{re.escape(name)}\b", body) for name in helpers)
            or "t.Run(" in body
            or "Snapshot" in body
        )
        if not called and all(_proves_nothing(row) for row in rows):
            found.append(next(part for part in match.groups()[1::2] if part))
    return found
