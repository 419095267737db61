"""One word of a shell command line read as the shell reads it: quotes, escapes, expansions. Pure."""

from __future__ import annotations

from typing import NamedTuple

#: In a word: something that only the shell knows when it runs.
HOLE = "\0"


class Word(NamedTuple):
    """One word with its quotes taken off. `bare`: it held an unquoted character that the shell may expand (`*`, `?`, `[`, `{`)."""

    text: str
    bare: bool = False

    @property
    def is_told(self) -> bool:
        """Whether all of it is known before it runs."""
        return HOLE not in self.text


class UntoldError(Exception):
    """The line cannot be told."""


class WordReader:
    """A place in a text. `variables` are those whose values are known; texts that run inside go to `nest`."""

    def __init__(self, text: str, variables: dict[str, str]) -> None:
        self.text = text
        self.at: int = 0
        self.variables = variables

    def nest(self, text: str) -> None:
        """A command inside of a word."""
        raise NotImplementedError

    def read_word(self) -> Word:
        """The word here. Raises UntoldError."""
        out: list[str] = []
        bare = False
        while self.at < len(self.text):
            char = self.text[self.at]
            if char in " \t\n;|)":
                break
            if char in "<>" and self.text.startswith("(", self.at + 1):
                self.at += 1
                self.nest(self._balanced())
                out.append(HOLE)
            elif char in "<>(&":
                break
            elif char == "\\":
                out.append(self.text[self.at + 1 : self.at + 2].replace("\n", ""))
                self.at += 2
            elif char == "'":
                out.append(self._single())
            elif char == '"':
                out.append(self._double())
            elif char in "$`":
                out.append(self._expand())
            else:
                if char == "~" and not out:
                    out.append(self._tilde())
                    continue
                bare = bare or char in "*?[{"
                out.append(char)
                self.at += 1
        return Word("".join(out), bare)

    def _tilde(self) -> str:
        self.at += 1
        following = self.text[self.at : self.at + 1]
        if following in ("", "/", " ", ";", "\n", "\t", "&", "|", ")"):
            return self.variables.get("HOME", HOLE)
        return HOLE

    def _single(self) -> str:
        end = self.text.find("'", self.at + 1)
        if end < 0:
            raise UntoldError("a quote is not closed")
        found = self.text[self.at + 1 : end]
        self.at = end + 1
        return found

    def _double(self) -> str:
        out: list[str] = []
        self.at += 1
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == '"':
                self.at += 1
                return "".join(out)
            if char == "\\" and self.text[self.at + 1 : self.at + 2] in ("$", "`", '"', "\\", "\n"):
                out.append(self.text[self.at + 1].replace("\n", ""))
                self.at += 2
            elif char in "$`":
                out.append(self._expand())
            else:
                out.append(char)
                self.at += 1
        raise UntoldError("a quote is not closed")

    def _expand(self) -> str:
        """`$x`, `${x}`, `$(…)`, backquotes: a known value, or a hole; what runs inside is a command of its own."""
        text, at = self.text, self.at
        if text[at] == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise UntoldError("a quote is not closed")
            self.at = end + 1
            self.nest(text[at + 1 : end].replace("\\`", "`"))
            return HOLE
        following = text[at + 1 : at + 2]
        if following == "(":
            if text.startswith("((", at + 1):
                raise UntoldError("arithmetic")
            self.at += 1
            self.nest(self._balanced())
            return HOLE
        if following == "{":
            end = text.find("}", at)
            name = text[at + 2 : end] if end > 0 else ""
            if "$(" in name or "`" in name or end < 0:
                raise UntoldError("an expansion that runs commands")
            self.at = end + 1
            return self.variables.get(name, HOLE)
        if following == "'":
            self.at += 1
            self._single()
            return HOLE
        end = at + 1
        while end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        if end == at + 1:
            self.at = at + (2 if following in ("?", "#", "@", "*", "!", "$", "-") else 1)
            return "$" if self.at == at + 1 else HOLE
        self.at = end
        return self.variables.get(text[at + 1 : end], HOLE)

    def _balanced(self) -> str:
        """The text between the parenthesis here and its partner; quotes are heeded."""
        level, at, quote = 0, self.at, ""
        while at < len(self.text):
            char = self.text[at]
            if char == "\\" and quote != "'":
                at += 1
            elif quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
            elif char == "(":
                level += 1
            elif char == ")":
                level -= 1
                if not level:
                    found = self.text[self.at + 1 : at]
                    self.at = at + 1
                    return found
            at += 1
        raise UntoldError("a parenthesis is not closed")
