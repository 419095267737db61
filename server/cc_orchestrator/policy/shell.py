"""A shell command line taken apart: every simple command in it, wherever it hides, with its words, redirections and assignments.

POSIX shell and the usual of bash: quotes, `;` `&` `&&` `||` pipes, groups and subshells, `$(…)`, backquotes, `<(…)`, here-documents,
redirections, `if`, `for`, `while`. What cannot be told (functions, `case`, arithmetic, a loose end) makes the whole line untold: it is
never guessed. Pure, bounded: longer or deeper than the limits is untold too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from cc_orchestrator.policy.words import HOLE, UntoldError, Word, WordReader

MAX_CHARS = 20_000
MAX_COMMANDS = 200
MAX_DEPTH = 12
_OPERATORS = (
    "&&",
    "||",
    ";;",
    "|&",
    "&>>",
    "&>",
    ">>",
    "<<<",
    "<<-",
    "<<",
    "<>",
    ">&",
    "<&",
    ">|",
    ";",
    "&",
    "|",
    "(",
    ")",
    ">",
    "<",
    "\n",
)
_REDIRECTS = frozenset({">>", ">", "<", "<>", ">&", "<&", ">|", "&>", "&>>", "<<<", "<<", "<<-"})
#: Words that open or close something and leave a command behind them.
_GLUE = frozenset({"if", "then", "elif", "else", "fi", "do", "done", "while", "until", "!", "{", "}", "time"})
_UNTOLD = frozenset(
    {"case", "esac", "function", "select", "coproc", "[[", "((", "trap", "alias", "shopt", "set", "enable"}
)


class Redirect(NamedTuple):
    """`>` and its kin with the word behind it."""

    op: str
    target: Word


class Simple(NamedTuple):
    """One simple command. `group` numbers the subshell it runs in; `after` is what stood before it: `;`, `&&`, `||`, `|` or "".

    `nested`: it stood in a substitution, so its output becomes part of another command.
    """

    words: tuple[Word, ...]
    assigns: tuple[tuple[str, Word], ...] = ()
    redirects: tuple[Redirect, ...] = ()
    after: str = ""
    group: int = 0
    nested: bool = False


class Script(NamedTuple):
    """All simple commands in the order of their text; `untold` says why the line cannot be told, "" when it can."""

    commands: tuple[Simple, ...]
    untold: str = ""


def parse_script(text: str, variables: Mapping[str, str], depth: int = 0) -> Script:
    """The commands of `text`. `variables` are those whose values are known beforehand (HOME, PWD …)."""
    if len(text) > MAX_CHARS:
        return Script((), f"it has more than {MAX_CHARS} characters")
    if HOLE in text:
        return Script((), "it holds a NUL")
    parser = _Parser(text, dict(variables), depth)
    try:
        parser.parse()
    except UntoldError as why:
        return Script(tuple(parser.commands), str(why))
    if len(parser.commands) > MAX_COMMANDS:
        return Script((), f"it has more than {MAX_COMMANDS} commands")
    return Script(tuple(parser.commands))


class _Parser(WordReader):
    """Reads once from left to right; nested texts are read by a parser of their own, one level deeper."""

    def __init__(
        self, text: str, variables: dict[str, str], depth: int, group: int = 0, *, nested: bool = False
    ) -> None:
        if depth > MAX_DEPTH:
            raise UntoldError(f"it is nested more than {MAX_DEPTH} deep")
        super().__init__(text, variables)
        self.depth = depth
        self.nested = nested
        self.commands: list[Simple] = []
        self._groups = [group]
        self._last_group = group
        self._here: list[tuple[str, bool, bool]] = []
        self._reset("")

    def _reset(self, after: str) -> None:
        self._words: list[Word] = []
        self._assigns: list[tuple[str, Word]] = []
        self._redirects: list[Redirect] = []
        self._after = after

    # ------------------------------------------------------------ commands

    def parse(self) -> None:
        """Fill `commands`. Raises UntoldError."""
        while self.at < len(self.text):
            self._skip_blanks()
            if self.at >= len(self.text):
                break
            op = next((op for op in _OPERATORS if self.text.startswith(op, self.at)), None)
            if op is None or (op in ("<", ">") and self.text.startswith("(", self.at + 1)):
                self._take_word()
            else:
                self.at += len(op)
                self._operate(op)
        self._end("")
        if len(self._groups) != 1:
            raise UntoldError("a parenthesis is not closed")
        if self._here:
            raise UntoldError("a here-document has no end")

    def _skip_blanks(self) -> None:
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t":
                self.at += 1
            elif char == "\\" and self.text[self.at + 1 : self.at + 2] == "\n":
                self.at += 2
            elif char == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def _operate(self, op: str) -> None:
        if op in _REDIRECTS:
            self._redirect(op)
        elif op == "(":
            if self._words or self._assigns:
                raise UntoldError("a function or an array")
            if self.text.startswith("(", self.at):
                raise UntoldError("arithmetic")
            self._last_group += 1
            self._groups.append(self._last_group)
            if len(self._groups) > MAX_DEPTH:
                raise UntoldError(f"it is nested more than {MAX_DEPTH} deep")
        elif op == ")":
            self._end(";")
            if len(self._groups) == 1:
                raise UntoldError("a parenthesis that nothing opened")
            self._groups.pop()
        elif op == ";;":
            raise UntoldError("a case")
        elif op == "\n":
            self._end(";")
            self._skip_here()
        else:
            self._end("|" if op == "|&" else ";" if op == "&" else op)

    def _end(self, following: str) -> None:
        if self._words or self._assigns or self._redirects:
            self.commands.append(
                Simple(
                    tuple(self._words),
                    tuple(self._assigns),
                    tuple(self._redirects),
                    self._after,
                    self._groups[-1],
                    self.nested,
                )
            )
            if not self._words:
                self.variables.update({name: word.text for name, word in self._assigns if word.is_told})
            if len(self.commands) > MAX_COMMANDS:
                raise UntoldError(f"it has more than {MAX_COMMANDS} commands")
        self._reset(following or self._after)

    def _redirect(self, op: str) -> None:
        if self._words and self._words[-1].text.isdigit() and len(self._words) > 1 and self._touches(op):
            self._words.pop()
        self._skip_blanks()
        if op in ("<<", "<<-"):
            start = self.at
            word = self.read_word()
            quoted = any(mark in self.text[start : self.at] for mark in "'\"\\")
            self._here.append((word.text, op == "<<-", quoted))
            return
        word = self.read_word()
        if op in (">&", "<&") and (word.text.isdigit() or word.text == "-"):
            return
        self._redirects.append(Redirect(op, word))

    def _touches(self, op: str) -> bool:
        """Whether a digit stands right before the operator: then it is a descriptor, not a word."""
        before = self.at - len(op) - 1
        return before >= 0 and self.text[before].isdigit()

    def _skip_here(self) -> None:
        for mark, tabs, quoted in self._here:
            while True:
                if self.at >= len(self.text):
                    raise UntoldError("a here-document has no end")
                end = self.text.find("\n", self.at)
                row = self.text[self.at : end if end >= 0 else len(self.text)]
                self.at = len(self.text) if end < 0 else end + 1
                if (row.lstrip("\t") if tabs else row) == mark:
                    break
                if not quoted and ("$(" in row or "`" in row):
                    raise UntoldError("a here-document that runs commands")
        self._here = []

    def _take_word(self) -> None:
        start = self.at
        word = self.read_word()
        raw = self.text[start : self.at]
        if not self._words:
            if raw in _UNTOLD:
                raise UntoldError(f"{raw} is not followed")
            if raw in _GLUE:
                return
            if raw == "for":
                self._skip_for()
                return
            name, mark, _rest = raw.partition("=")
            if mark and name.rstrip("+").isidentifier():
                _name, _mark, value = word.text.partition("=")
                self._assigns.append((name.rstrip("+"), Word(value if name[-1] != "+" else HOLE, word.bare)))
                return
        self._words.append(word)

    def _skip_for(self) -> None:
        """`for x in …`: the words are no command, and x is known to nobody."""
        self._skip_blanks()
        name = self.read_word().text
        if not name.isidentifier():
            raise UntoldError("arithmetic")
        self.variables.pop(name, None)
        while self.at < len(self.text) and self.text[self.at] not in ";\n":
            self._skip_blanks()
            if self.at < len(self.text) and self.text[self.at] not in ";\n":
                if self.text[self.at] in "|&()<>":
                    raise UntoldError("a loop that cannot be read")
                self.read_word()

    def nest(self, text: str) -> None:
        """A command inside of a word: in a subshell of its own."""
        self._last_group += 1
        inner = _Parser(text, dict(self.variables), self.depth + 1, self._last_group, nested=True)
        inner.parse()
        self.commands += inner.commands
        self._last_group = max([self._last_group, *(entry.group for entry in inner.commands)])
