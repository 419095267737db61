"""A command line as acts: every part of it, through wrappers and nested shells. What cannot be told is said, never guessed. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence

from cc_orchestrator.policy import git_acts
from cc_orchestrator.policy.acts import Told, host_of_word, hosts_in
from cc_orchestrator.policy.programs import (
    CARRIER_VALUES,
    CARRIERS,
    HABITS,
    IDLE,
    INTERPRETERS,
    NETWORK,
    PACKAGES,
    PRIVILEGED,
    RESTORES,
    SHELLS,
    SIGNALS,
)
from cc_orchestrator.policy.shell import MAX_DEPTH, Simple, parse_script
from cc_orchestrator.policy.teller import Teller
from cc_orchestrator.policy.words import HOLE

_OURS = re.compile(r"^(?:cc-orchestrator|cc_orchestrator)(?:\.|$)")

#: Variables by which a command becomes another one than its name says.
_TWISTS = re.compile(
    r"^(?:PATH|IFS|ENV|BASH_ENV|SHELLOPTS|BASHOPTS|PS4|PROMPT_COMMAND|LD_\w+|DYLD_\w+|GIT_\w+|PYTHON(?:PATH|STARTUP|HOME)|NODE_OPTIONS|PERL5\w+|RUBYOPT|EDITOR|VISUAL|PAGER)$"
)
_MOST_ACTS = 400
_MOST_BASES = 8
_PATHLIKE = re.compile(
    r"(?<![\w.:/-])(?:~|/)[\w.@%+~-]*(?:/[\w.@%+~-]+)*|(?<![\w/])\.\.?/[\w./@%+~-]+|\.(?:ssh|aws|gnupg|kube|netrc|env)\b[\w./-]*"
)


def tell_command(text: str, cwd: str, variables: Mapping[str, str]) -> Told:
    """The acts of a command line that runs in `cwd`. `variables`: those whose values are known (HOME, PWD …)."""
    return _Commands(cwd, variables).tell(text, 0)


class _Commands(Teller):
    """Every kind of command, the wrappers and those with ways of their own."""

    def tell(self, text: str, depth: int) -> Told:
        self._script(text, depth)
        return Told(
            tuple(self.acts[:_MOST_ACTS]), self.untold or ("it does too much" if len(self.acts) > _MOST_ACTS else "")
        )

    def _script(self, text: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.doubt(f"it is nested more than {MAX_DEPTH} deep")
            return
        script = parse_script(
            text, {name: value for name, value in self.variables.items() if not re.search(r"[\s*?\[{]", value)}, depth
        )
        self.doubt(script.untold)
        for part in script.commands:
            if len(self.acts) > _MOST_ACTS:
                return
            if part.after not in ("&&", "|"):
                self.bases = self.everywhere
            self._part(part, depth)

    def _part(self, part: Simple, depth: int) -> None:
        for name, _value in part.assigns:
            if _TWISTS.match(name):
                self.doubt(f"{name} is set for it")
        for redirect in part.redirects:
            if redirect.op == "<<<":
                continue
            self.path("read" if redirect.op in ("<", "<&") else "write", redirect.target.text, redirect.target.bare, "")
        words = [word.text for word in part.words]
        bare = {word.text for word in part.words if word.bare}
        if words:
            self._command(words, bare, depth, piped=part.after == "|")

    def _command(self, words: Sequence[str], bare: set[str], depth: int, *, piped: bool = False) -> None:
        program = os.path.basename(words[0])
        if HOLE in words[0] or not program:
            self.doubt("its program is not known beforehand")
            return
        if _OURS.match(program):
            self.add("orchestrate", program)
            return
        args = list(words[1:])
        if program in PRIVILEGED:
            self.add("privilege", program)
        handler = self._find(program)
        if handler is not None:
            handler(program, args, bare, depth, piped)
            return
        if program in NETWORK:
            self._network(program, args)
        elif program in HABITS:
            self.habit(program, HABITS[program], args, bare)
        elif program not in IDLE and program not in PRIVILEGED:
            self.unknown(words[0], args, bare)

    def _find(self, program: str) -> Callable[[str, list[str], set[str], int, bool], None] | None:
        if program in SHELLS or re.fullmatch(r"(?:ba|z|da|k)?sh-?[\d.]*", program):
            return self._shell
        stem = re.sub(r"[\d.]+$", "", program)
        if program in INTERPRETERS or stem in INTERPRETERS:
            return self._interpreter
        if program in CARRIERS or program == "env":
            return self._carried
        if program in SIGNALS:
            return self._signal
        special = {"git": self._git, "find": self._find_files, "cd": self._cd, "pushd": self._cd, "eval": self._eval, "sed": self._sed,
                   "dd": self._dd, "tar": self._tar, "parallel": self._parallel, "su": self._su}  # fmt: skip
        return special.get(program) or (self._package if program in PACKAGES else None)

    # ------------------------------------------------------------ those with ways of their own

    def _shell(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        at = next(
            (
                n
                for n, word in enumerate(args)
                if word.startswith("-") and not word.startswith("--") and "c" in word[1:]
            ),
            None,
        )
        if at is not None and at + 1 < len(args):
            self._inner(args[at + 1], depth)
            return
        script = next((word for word in args if not word.startswith(("-", "+"))), None)
        if script is None:
            self.doubt(f"{program} takes its commands from somewhere else")
            return
        self.add("execute", program)
        self.path("read", script, script in bare, program)

    def _inner(self, text: str, depth: int) -> None:
        if HOLE in text:
            self.doubt("a nested command that is put together when it runs")
        self._script(text.replace(HOLE, "_"), depth + 1)

    def _eval(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        self._inner(" ".join(args), depth)

    def _su(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        if "-c" in args[:-1]:
            self._inner(args[args.index("-c") + 1], depth)

    def _parallel(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        self.doubt("parallel puts its commands together when it runs")

    def _interpreter(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        given = INTERPRETERS.get(program) or INTERPRETERS.get(re.sub(r"[\d.]+$", "", program), frozenset())
        for at, word in enumerate(args):
            glued = next(
                (
                    option
                    for option in given
                    if len(option) == 2 and word.startswith(option) and len(word) > 2 and not word.startswith("--")
                ),
                None,
            )
            if word in given or glued:
                self._code(program, word[2:] if glued else " ".join(args[at + 1 :]))
                return
            if word == "-m":
                module = args[at + 1] if at + 1 < len(args) else ""
                if _OURS.match(module):
                    self.add("orchestrate", module)
                elif module in ("pip", "pipx", "ensurepip"):
                    self._package("pip", args[at + 2 :], bare, depth, piped)
                elif module == "http.server":
                    self.add("network", program, host="localhost")
                else:
                    self.unknown(program, args[at + 1 :], bare)
                return
            if not word.startswith("-"):
                break
        script = next((word for word in args if not word.startswith("-")), None)
        if script is None and (piped or "-" in args):
            self.doubt(f"{program} takes its program from somewhere else")
        self.unknown(program, args, bare)
        if script is not None:
            self.path("read", script, script in bare, program)

    def _code(self, program: str, text: str) -> None:
        """A program text: what it names is what can be known of it."""
        self.add("code", program)
        self.mentions(text)
        for host in hosts_in(text):
            self.add("network", program, host=host)
        if re.search(r"\bos\.kill|\bkillpg|process\.kill|\bpkill\b", text):
            self.add("signal", program)
        if re.search(r"\bgit['\", ]+push\b", text):
            self.add("publish", "git push")
        for path in _PATHLIKE.findall(text)[:40]:
            if path not in ("/", "~") and not path.startswith("//"):
                known = path.replace("~", self.variables.get("HOME", "~"), 1)
                self.add("write", program, known)

    def _carried(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        own, values, at = CARRIERS.get(program, 0), CARRIER_VALUES.get(program, frozenset()), 0
        while at < len(args):
            word = args[at]
            if program == "env" and word in ("-S", "--split-string"):
                self._inner(" ".join(args[at + 1 :]), depth)
                return
            name = word.partition("=")[0]
            if program in ("env", "sudo", "doas") and "=" in word and name.isidentifier():
                if _TWISTS.match(name):
                    self.doubt(f"{name} is set for it")
            elif word.startswith("-") and word != "-":
                at += word in values or (program == "env" and word in ("-u", "-C", "--unset", "--chdir"))
            elif own:
                own -= 1
            else:
                break
            at += 1
        rest = args[at:]
        if program in ("npx", "uvx", "bunx", "pipx"):
            self.add("install", program)
        if rest:
            # What xargs adds comes from elsewhere.
            self._command([*rest, HOLE] if program == "xargs" else rest, bare, depth)

    def _signal(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        targets = [word for word in args if not word.startswith("-") or word.lstrip("-").isdigit()]
        own = (
            program == "kill"
            and bool(targets)
            and all(word.startswith("%") for word in args if not word.startswith("-"))
        )
        if "-l" in args or args == ["-0"]:
            return
        self.add("signal", program, own=own)
        self.mentions(" ".join(args))

    def _cd(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        plain = [word for word in args if not word.startswith("-") or word == "-"]
        target = plain[0] if plain else self.variables.get("HOME", HOLE)
        if HOLE in target or target == "-" or target in bare:
            self.doubt("it goes to a folder that is not known beforehand")
            return
        self.bases = tuple(dict.fromkeys(os.path.normpath(os.path.join(base, target)) for base in self.bases))
        self.everywhere = tuple(dict.fromkeys((*self.everywhere, *self.bases)))
        if len(self.everywhere) > _MOST_BASES:
            self.doubt("it changes folders too often")

    def _find_files(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        roots: list[str] = []
        for word in args:
            if word.startswith(("-", "(", "!")):
                break
            roots.append(word)
        for root in roots or ["."]:
            self.path("read", root, root in bare, program)
            if "-delete" in args:
                self.path("delete", root, root in bare, program)
        for at, word in enumerate(args):
            if word in ("-exec", "-execdir", "-ok", "-okdir"):
                end = next((n for n in range(at + 1, len(args)) if args[n] in (";", "+")), len(args))
                for root in roots or ["."]:
                    self._command([root if part == "{}" else part for part in args[at + 1 : end]], bare, depth)
            elif word in ("-fprint", "-fprintf", "-fprint0", "-fls") and at + 1 < len(args):
                self.path("write", args[at + 1], False, program)

    def _sed(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        inplace = any(
            word.startswith(("-i", "--in-place")) or (re.fullmatch(r"-[nErsz]*i.*", word) is not None) for word in args
        )
        scripted = any(word in ("-e", "-f") or word.startswith(("-e", "--expression")) for word in args)
        plain = [word for word in args if not word.startswith("-")]
        texts = plain if scripted else plain[:1]
        if any(re.search(r"(?:^|[;}/])\s*[eWwRr]\s|/e(?:[gIm]|$|;)|/w\s", text) for text in texts):
            self.doubt("a sed script that writes or runs")
        for word in plain if scripted else plain[1:]:
            self.path("write" if inplace else "read", word, word in bare, program)

    def _dd(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        for word in args:
            name, mark, value = word.partition("=")
            if mark and name in ("if", "of"):
                self.path("write" if name == "of" else "read", value, False, program)

    def _tar(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        if any(
            word.startswith(("--to-command", "--checkpoint-action", "-I", "--use-compress-program")) for word in args
        ):
            self.doubt("tar runs another program")
        mode = args[0] if args else ""
        extracts = "x" in mode.lstrip("-").partition("=")[0] if not mode.startswith("--") else "--extract" in args
        for at, word in enumerate(args):
            if word in ("-C", "--directory") and at + 1 < len(args):
                self.path("write", args[at + 1], False, program)
            elif word.startswith("--directory="):
                self.path("write", word.partition("=")[2], False, program)
            elif at and not word.startswith("-"):
                self.path("read" if extracts or at > 1 else "write", word, word in bare, program)
        if extracts:
            self.add("write", program, ".")

    def _package(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        installs, gives = PACKAGES[program]
        verb = next(
            (word for word in args if not word.startswith("-") or word.startswith(("-S", "-R", "-U"))),
            "install" if program == "yarn" else "",
        )
        extra = [word for word in args if not word.startswith("-")][1:]
        if verb in gives:
            self.add("publish", f"{program} {verb}")
        elif verb in ("exec", "dlx") or (verb in installs and not ((program, verb) in RESTORES and not extra)):
            self.add("install", f"{program} {verb}")
        else:
            self.unknown(program, args, bare)

    def _network(self, program: str, args: list[str]) -> None:
        hosts = [host for word in args if not word.startswith("-") and (host := host_of_word(word))]
        for at, word in enumerate(args):
            following = args[at + 1] if at + 1 < len(args) else ""
            if (word in ("-o", "-O", "--output", "--output-document", "-D", "--dump-header", "-P") and program in ("curl", "wget", "aria2c")
                    and following and not (program == "curl" and word == "-O")):  # fmt: skip
                self.path("write", following, False, program)
            upload = re.match(r"^(?:-[dFT]|--data(?:-\w+)?=?|--upload-file=?|--form=?|--post-file=?)", word)
            named = (
                word.rpartition("@")[2]
                if "@" in word and upload
                else following[1:]
                if upload and following.startswith("@")
                else ""
            )
            if named or (word in ("-T", "--upload-file") and following):
                self.path("read", named or following, False, program)
        if program in ("scp", "rsync", "sftp"):
            for word in args:
                if not word.startswith("-") and not host_of_word(word):
                    self.path("write", word, False, program)
        for host in hosts or ["?"]:
            self.add("network", program, host=host)

    def _git(self, program: str, args: list[str], bare: set[str], depth: int, piped: bool) -> None:
        told = git_acts.tell_git(args)
        self.doubt(told.untold)
        for act in told.acts:
            if act.path:
                self.path(act.action, act.path, act.path in bare, "git")
            else:
                self.acts.append(act)
        if told.runs:
            self._inner(told.runs, depth)
