"""What programs known by name do to their words, and what can be known of the others. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from cc_orchestrator.policy.acts import Act, Action
from cc_orchestrator.policy.programs import HABITS, RUNS, Habit
from cc_orchestrator.policy.words import HOLE

#: Our own command line; and our folder where it is no part of a path, which is judged by where it leads.
_MENTIONS_US = re.compile(r"\bcc[-_]orchestrator\b|(?<![/\w])\.agent-workspace\b")


class Teller:
    """Walks the parts in order and keeps the folders in which the next one may run."""

    def __init__(self, cwd: str, variables: Mapping[str, str]) -> None:
        self.variables = {**variables, "PWD": cwd}
        self.everywhere: tuple[str, ...] = (cwd,)
        self.bases: tuple[str, ...] = (cwd,)
        self.acts: list[Act] = []
        self.untold = ""

    def doubt(self, why: str) -> None:
        self.untold = self.untold or why

    def add(self, action: Action, program: str = "", path: str = "", host: str = "", *, own: bool = False) -> None:
        self.acts.append(Act(action, program, path, host, self.bases if path else (), own))

    def path(self, action: Action, path: str, bare: bool, program: str) -> None:
        """One path: a pattern counts as the folder it begins in."""
        if HOLE in path:
            self.doubt(
                f"{program or 'a redirection'} goes where nobody knows beforehand"
                if action != "read"
                else f"what {program or 'it'} reads is not known beforehand"
            )
            return
        if bare:
            cut = re.search(r"[*?\[{]", path)
            if cut is not None:
                if "{" in path and ("/" in path[cut.start() :] or ".." in path[cut.start() :]):
                    self.doubt("a pattern that names other folders")
                path = os.path.join(os.path.dirname(path[: cut.start()]) or ".", "*") if cut.start() else "*"
        if path:
            self.add(action, program, path)

    def unknown(self, shown: str, args: Sequence[str], bare: set[str]) -> None:
        """A program that nobody here knows: it runs; what it is told to write is written, any path is read."""
        program = os.path.basename(shown)
        if "/" in shown:
            self.add("read", program, shown)
        self.add("execute", program)
        for index, word in enumerate(args):
            name, mark, value = word.partition("=")
            if word.startswith("-") and mark and value:
                self.path("write" if _is_out(name) else "read", value, word in bare, program) if _looks_path(
                    value
                ) else None
            elif index and _is_out(args[index - 1]) and not word.startswith("-"):
                self.path("write", word, word in bare, program)
            elif _looks_path(word) and HOLE not in word:
                self.path("read", word, word in bare, program)
        if program in ("make", "just", "task", "rake"):
            return
        self.mentions(" ".join(args))

    def mentions(self, text: str) -> None:
        if _MENTIONS_US.search(text):
            self.add("orchestrate", "text")

    def habit(self, program: str, habit: Habit, args: Sequence[str], bare: set[str]) -> None:
        plain: list[str] = []
        skip, at = habit.skip, 0
        while at < len(args):
            word = args[at]
            at += 1
            if word in RUNS.get(program, frozenset()) or any(
                word.startswith(f"{option}=") for option in RUNS.get(program, ())
            ):
                self.doubt(f"{program} {word} runs another program")
            out = next(
                (
                    option
                    for option in habit.out
                    if word == option or (word.startswith(option) and len(option) == 2) or word.startswith(f"{option}=")
                ),
                None,
            )
            if out is not None:
                value = args[at] if word == out and at < len(args) else word[len(out) :].lstrip("=")
                at += word == out
                self.path("write", value, value in bare, program)
            elif word in habit.with_value:
                at += 1
                # A pattern that is given by option is none of the plain words.
                skip = 0 if word in ("-e", "-f", "--regexp") else skip
            elif word == "--":
                plain += args[at:]
                break
            elif not word.startswith("-") or word == "-":
                plain.append(word)
        plain = [word for word in plain[skip:] if word != "-"]
        self._plain(program, habit, plain, bare)

    def _plain(self, program: str, habit: Habit, plain: list[str], bare: set[str]) -> None:
        if habit.last is not None and len(plain) >= 2:
            self.path(habit.last, plain[-1], plain[-1] in bare, program)
            plain = plain[:-1]
        if program in ("awk", "gawk", "mawk") or (program in HABITS and not plain and habit.action != "read"):
            self.add("execute" if habit.action == "read" else habit.action, program)
        for word in plain:
            self.path(habit.action, word, word in bare, program)


def _is_out(word: str) -> bool:
    return (
        re.fullmatch(
            r"-o|--(?:out(?:put)?(?:-?(?:file|dir|path))?|outdir|outfile|dest(?:ination)?|target-dir|prefix|write-to|log-file|report)",
            word,
        )
        is not None
    )


def _looks_path(word: str) -> bool:
    return word.startswith(("/", "~", ".")) or "/../" in word
