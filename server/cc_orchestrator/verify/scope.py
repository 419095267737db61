"""Where a run was allowed to write. Pure: paths and globs in, checks out.

Globs are those of `.gitignore`, relative to the repository's root: `src` is all below it, `*.md` matches at any depth,
`/README.md` only at the top. `deny` wins over `allow`; without `allow` all of the tree is allowed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from pathspec import GitIgnoreSpec

from cc_orchestrator.runs.spec import Scope
from cc_orchestrator.verify.check import Check, name_some
from cc_orchestrator.verify.diff import Change


def _compile(globs: Sequence[str]) -> GitIgnoreSpec:
    # A scope has no negation and no comments: a name that begins with ! or # is a name.
    return GitIgnoreSpec.from_lines([f"\\{glob}" if glob[:1] in "!#" else glob for glob in globs if glob.strip()])


def find_outside(paths: Sequence[str], scope: Scope) -> list[str]:
    """The paths that the scope does not allow."""
    allow, deny = _compile(scope.allow), _compile(scope.deny)
    return [path for path in paths if deny.match_file(path) or (scope.allow and not allow.match_file(path))]


def find_denied(paths: Sequence[str], scope: Scope) -> list[str]:
    """The paths under a deny glob."""
    deny = _compile(scope.deny)
    return [path for path in paths if deny.match_file(path)]


def leads_outside(path: str, target: str) -> bool:
    """Whether a link at `path` with this text leaves the tree or enters its `.git`."""
    if target.startswith(("/", "\\", "~")) or target[1:2] == ":":
        return True
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target.replace("\\", "/")))
    first = end.split("/", 1)[0]
    return first == ".." or first.lower() == ".git"


def check_scope(
    changes: Sequence[Change],
    scope: Scope,
    *,
    ignored: Sequence[str],
    ignored_complete: bool,
    links: Mapping[str, str],
) -> Check:
    """Committed and uncommitted files against allow and deny; files that git ignores against deny; links against the tree.

    Ignored files are no part of a result, so `allow` does not hold for them: builds make them. `links` maps the path of each
    changed link to its text.
    """
    touched = sorted({path for change in changes for path in change.paths})
    outside = find_outside(touched, scope)
    hidden = find_denied(ignored, scope)
    escaping = [f"{path} -> {target}" for path, target in links.items() if leads_outside(path, target)]
    reasons: list[str] = []
    if outside:
        reasons.append(f"not allowed: {name_some(outside)}")
    if hidden:
        reasons.append(f"denied and ignored by git, but present: {name_some(hidden)}")
    if escaping:
        reasons.append(f"links that leave the tree: {name_some(escaping)}")
    limit = {"allow": list(scope.allow), "deny": list(scope.deny)}
    measured = {
        "files": len(touched),
        "ignored": len(ignored),
        "violations": len(outside) + len(hidden) + len(escaping),
    }
    if reasons:
        return Check("scope", "fail", measured, limit, "; ".join(reasons))
    if not ignored_complete and scope.deny:
        return Check(
            "scope",
            "unverified",
            measured,
            limit,
            "too many ignored files to look at all of them",
            "blocked",
            fixable=True,
        )
    return Check("scope", "pass", measured, limit, "" if scope.allow or scope.deny else "no scope was set")
