"""What a command line does, as far as its words tell: runs tests, destroys. Pure; for flags only, never to decide a permission.

Judged by the programs and flags of each part (`a && b; c | d`), never by words in prose: `echo "rm -rf /"` is an echo.
"""

from __future__ import annotations

import re
import shlex

_LONGEST = 2_000
#: What costs the run its own uncommitted work at most: its worktree is nobody else's.
RESET, CLEAN = "throws away uncommitted work (reset --hard)", "deletes untracked files (git clean)"
_SEPARATORS = frozenset({"&&", "||", ";", "|", "&", "\n", "(", ")", "|&", ";;"})
_WRAPPERS = frozenset({"sudo", "env", "time", "nice", "nohup", "command", "exec", "timeout", "doas", "xargs", "stdbuf", "uv", "poetry",
                       "pipenv", "npx", "pnpx", "bunx", "then", "do", "else", "if", "!"})  # fmt: skip
_SHELLS = frozenset({"sh", "bash", "zsh", "dash", "ksh"})
_RUNNERS = frozenset({"pytest", "py.test", "tox", "nox", "jest", "vitest", "mocha", "ava", "rspec", "phpunit", "ctest", "gotestsum", "bats",
                      "nosetests", "karma", "cypress", "playwright", "minitest"})  # fmt: skip
_TEST_VERBS = frozenset({"npm", "pnpm", "yarn", "bun", "deno", "go", "cargo", "make", "mvn", "mvnw", "gradle", "gradlew", "dotnet", "swift",
                         "mix", "bazel", "rake", "just", "rails", "flutter", "dart", "zig", "sbt", "lein", "composer"})  # fmt: skip
_TEST_WORD = re.compile(r"(?:run-)?(?:tests?|check|verify|nextest)(?:[:_-]\S{0,60})?")
_WIDE = re.compile(
    r"/|~/?|\$HOME/?|\$\{HOME\}/?|/\*|~/\*|\.|\./|\.\.(?:/.*)?|\*|\.git/?|/(?:etc|usr|var|home|root|bin|lib|opt|boot|srv)(?:/[^/]*)?/?"
)
_SQL = re.compile(r"\b(?:drop\s{1,9}(?:table|database|schema)|truncate\s{1,9}table)\b", re.IGNORECASE)
_SQL_CLIENTS = frozenset({"psql", "mysql", "mariadb", "sqlite3", "sqlcmd", "clickhouse-client", "duckdb"})


def runs_tests(command: str) -> bool:
    """Whether a part of it runs a project's tests."""
    return any(_tests(words) for words in split_parts(command))


def name_danger(command: str) -> str:
    """What it would destroy beyond the work in hand, as a few words; "" when nothing is known of it."""
    parts = split_parts(command)
    for number, words in enumerate(parts):
        found = _danger(words)
        if found:
            return found
        if number and words[0] in _SHELLS and parts[number - 1][0] in ("curl", "wget") and len(words) == 1:
            return "runs a script from the network"
    return ""


def split_parts(command: str, depth: int = 0) -> list[list[str]]:
    """The words of each simple command in it, wrappers and assignments taken off; what cannot be parsed gives nothing."""
    if len(command) > _LONGEST:
        command = command[:_LONGEST]
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars="();<>|&\n")
        lexer.whitespace = " \t\r"
        lexer.commenters = ""
        lexer.whitespace_split = True
        tokens = list(lexer)
    except ValueError:
        return []
    parts: list[list[str]] = []
    words: list[str] = []
    for token in [*tokens, ";"]:
        if token in _SEPARATORS or set(token) <= set("();|&\n"):
            parts += _unwrap(words, depth)
            words = []
        else:
            words.append(token)
    return parts


def _unwrap(words: list[str], depth: int) -> list[list[str]]:
    while words and (_assigns(words[0]) or _name(words[0]) in _WRAPPERS):
        wrapper = _name(words[0])
        words = words[1:]
        while words and (words[0].startswith("-") or (wrapper == "timeout" and words[0][:1].isdigit())):
            words = words[1:]
        if wrapper in ("uv", "poetry", "pipenv") and words and words[0] == "run":
            words = words[1:]
    if not words:
        return []
    words = [_name(words[0]), *words[1:]]
    inner = next((place for place, word in enumerate(words) if word in ("-c", "-lc", "-ec")), None)
    if words[0] in _SHELLS and inner is not None and inner + 1 < len(words) and depth < 3:
        return split_parts(words[inner + 1], depth + 1)
    return [words]


def _assigns(word: str) -> bool:
    name, mark, _rest = word.partition("=")
    return bool(mark) and name.isidentifier()


def _name(word: str) -> str:
    return word.rsplit("/", 1)[-1]


def _tests(words: list[str]) -> bool:
    program = words[0]
    if program in _RUNNERS:
        return not any(word in ("--version", "--help", "--collect-only") for word in words[1:])
    if program.startswith("python") and "-m" in words[1:-1]:
        return words[words.index("-m") + 1] in ("pytest", "unittest", "nose2", "tox", "nox")
    if program == "manage.py" or (program.startswith("python") and len(words) > 2 and words[1].endswith("manage.py")):
        return "test" in words
    if program not in _TEST_VERBS:
        return False
    return any(_TEST_WORD.fullmatch(word) for word in words[1:4] if not word.startswith("-"))


def _danger(words: list[str]) -> str:
    program, rest = words[0], words[1:]
    flags = "".join(word for word in rest if word.startswith("-") and not word.startswith("--"))
    if program == "rm" and ("r" in flags or "R" in flags or "--recursive" in rest):
        wide = next((word for word in rest if not word.startswith("-") and _WIDE.fullmatch(word)), None)
        return f"deletes {wide} with all below it" if wide else ""
    if program == "git":
        return _git(rest, flags)
    if program == "find" and "-delete" in rest and rest[:1] and _WIDE.fullmatch(rest[0]) and len(rest) < 4:
        return f"deletes all below {rest[0]}"
    if program == "chmod" and "R" in flags and any(word in ("777", "0777", "a+rwx", "000") for word in rest):
        return "changes the permissions of a whole tree"
    if program == "dd" and any(word.startswith("of=/dev/") for word in rest):
        return "overwrites a device"
    if program in ("mkfs", "wipefs", "shred", "fdisk", "parted") or program.startswith("mkfs."):
        return f"{program}: destroys a file system"
    if program in ("shutdown", "reboot", "halt", "poweroff"):
        return "stops the machine"
    if program in ("kill", "pkill", "killall") and "-1" in rest[1:]:
        return "kills every process"
    if program in _SQL_CLIENTS and _SQL.search(" ".join(rest)):
        return "drops data in a database"
    return _cloud(program, rest)


def _git(rest: list[str], flags: str) -> str:
    while len(rest) > 1 and rest[0] in ("-C", "-c", "--git-dir", "--work-tree"):
        rest = rest[2:]
    verb = next((word for word in rest if not word.startswith("-")), "")
    if verb == "push" and ("f" in flags or any(word.startswith(("--force", "--mirror", "--delete")) for word in rest)):
        return "rewrites or deletes a remote branch"
    if verb == "reset" and "--hard" in rest:
        return RESET
    if verb == "clean" and ("f" in flags or "--force" in rest):
        return CLEAN
    if verb in ("filter-branch", "filter-repo"):
        return "rewrites history"
    return ""


def _cloud(program: str, rest: list[str]) -> str:
    verb = next((word for word in rest if not word.startswith("-")), "")
    if program in ("terraform", "tofu", "pulumi") and verb == "destroy":
        return "destroys infrastructure"
    if program == "kubectl" and verb == "delete":
        return "deletes cluster objects"
    if program in ("docker", "podman") and rest[:2] in (["system", "prune"], ["volume", "prune"], ["volume", "rm"]):
        return "deletes containers or volumes"
    if program == "aws" and "rb" in rest and "--force" in rest:
        return "deletes a bucket"
    return ""
