"""A git command line as acts. Git's own options, aliases set on the spot and programs that it would run are seen. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cc_orchestrator.policy.acts import Act, host_of_word
from cc_orchestrator.policy.programs import GIT_DANGEROUS, GIT_HISTORY, GIT_LOCAL, GIT_PUBLISH, GIT_REACHES, GIT_READS

_LISTS = re.compile(
    r"-a|-r|-v|-vv|-l|--list|--show-current|--all|--contains|--merged|--no-merged|--sort=.*|--format=.*|-n\d*|--points-at"
)
_STASH_READS = ("list", "show")
_WORKTREE_READS = ("list",)


class GitTold(NamedTuple):
    """Acts; why they cannot be told; a shell text that git would run."""

    acts: tuple[Act, ...]
    untold: str = ""
    runs: str = ""


def tell_git(args: Sequence[str]) -> GitTold:
    """The acts of `git <args>`."""
    at, untold, runs = 0, "", ""
    paths: list[str] = []
    while at < len(args) and args[at].startswith("-"):
        word = args[at]
        following = args[at + 1] if at + 1 < len(args) else ""
        if word == "-c" or word.startswith(("--config-env", "-c")):
            untold = f"git {word} sets what it runs"
            value = (following if word == "-c" else word[2:]).partition("=")[2]
            runs = value[1:] if value.startswith("!") else runs
            at += word in ("-c", "--config-env")
        elif word == "-C" or word in ("--git-dir", "--work-tree", "--namespace", "--exec-path"):
            if word == "-C":
                paths.append(following)
            else:
                untold = untold or f"git {word} works in another repository"
            at += 1
        elif word.startswith(("--git-dir=", "--work-tree=", "--exec-path=")):
            untold = untold or f"git {word.partition('=')[0]} works in another repository"
        at += 1
    verb, rest = (args[at], list(args[at + 1 :])) if at < len(args) else ("", [])
    acts = [Act("read", "git", path) for path in paths]
    if any(word.partition("=")[0] in GIT_DANGEROUS or re.fullmatch(r"-O.+", word) for word in rest):
        untold = untold or f"git {verb} would run another program"
    acts += _verb(verb, rest)
    if paths and not _reads(verb, rest):
        # A change in another folder is a change of that folder.
        acts += [Act("write", "git", path) for path in paths]
    return GitTold(tuple(acts), untold, runs)


def _reads(verb: str, rest: Sequence[str]) -> bool:
    plain = [word for word in rest if not word.startswith("-")]
    if verb in GIT_READS or not verb:
        return not any(word == "--output" or word.startswith("--output=") for word in rest)
    if verb in ("branch", "tag"):
        return all(_LISTS.fullmatch(word) for word in rest)
    if verb == "stash":
        return plain[:1] != [] and plain[0] in _STASH_READS
    if verb == "worktree":
        return plain[:1] != [] and plain[0] in _WORKTREE_READS
    if verb == "config":
        return any(word in ("--get", "--list", "-l", "--get-all", "--get-regexp") for word in rest) or len(plain) == 1
    if verb == "remote":
        return not plain and all(word in ("-v", "--verbose") for word in rest)
    if verb == "reflog":
        return not plain or plain[0] == "show"
    return verb == "submodule" and plain[:1] == ["status"]


def _verb(verb: str, rest: list[str]) -> list[Act]:
    if _reads(verb, rest):
        return []
    outputs = [word.partition("=")[2] for word in rest if word.startswith("--output=")]
    outputs += [rest[n + 1] for n, word in enumerate(rest[:-1]) if word == "--output"]
    if outputs:
        return [Act("write", "git", path) for path in outputs]
    if verb in GIT_PUBLISH:
        return [Act("publish", f"git {verb}")]
    if verb in GIT_REACHES:
        hosts = [host for word in rest if not word.startswith("-") and (host := host_of_word(word))]
        return [Act("network", f"git {verb}", host=host) for host in hosts or ["?"]]
    if verb in GIT_HISTORY:
        return [Act("history", f"git {verb}")]
    if verb == "branch":
        loses = any(word in ("-D", "-d", "-M", "-m", "-f", "--delete", "--force", "--move") for word in rest)
        return [Act("history" if loses else "commit", "git branch")]
    if verb in GIT_LOCAL:
        dropped = verb in ("checkout", "switch", "restore") and any(
            word in ("-f", "--force", "--discard-changes", "-B", "-C") for word in rest
        )
        amended = verb == "commit" and "--amend" in rest
        return [Act("history" if dropped or amended else "commit", f"git {verb}")]
    return [Act("execute", f"git {verb}")]
