"""The rule set of one verification as values: presets, levels of each check, limits, what is asked for beside the diff. Pure.

| level | means |
|---|---|
| off | the check is not made |
| advisory | shown as a warning, never counted |
| soft | counted; the caller may ask to override a failure with a reason, which a person must decide (ESCALATE) |
| hard | counted; nothing overrides it |

`finished` and `result` are always hard. A check that nothing asks for (`junit` without globs, …) is not made at any level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, cast

from cc_orchestrator.policy.globs import matches_any
from cc_orchestrator.verify.check import Check, Level

Preset = Literal["strict", "standard", "relaxed"]
PRESETS: tuple[Preset, ...] = ("strict", "standard", "relaxed")
RANKS: dict[str, int] = {"off": 0, "advisory": 1, "soft": 2, "hard": 3}
#: No rule lowers these: without them there is nothing to judge.
FIXED = frozenset({"finished", "result"})
#: check -> level under strict, standard, relaxed. Checks that are not named keep what they say of themselves.
TABLE: dict[str, tuple[Level, Level, Level]] = {
    "scope": ("hard", "hard", "hard"),
    "diff_size": ("hard", "soft", "soft"),
    "secrets": ("hard", "hard", "hard"),
    "secret_scanner": ("hard", "advisory", "off"),
    "artifact_secrets": ("soft", "advisory", "advisory"),
    "claims": ("hard", "hard", "advisory"),
    "policy_paths": ("hard", "hard", "advisory"),
    "net_deletion": ("hard", "soft", "advisory"),
    "file_size": ("hard", "soft", "advisory"),
    "function_size": ("soft", "advisory", "off"),
    "file_bytes": ("hard", "soft", "advisory"),
    "names": ("hard", "hard", "hard"),
    "unicode": ("hard", "hard", "soft"),
    "markers": ("hard", "hard", "soft"),
    "syntax": ("hard", "hard", "soft"),
    "executables": ("hard", "soft", "advisory"),
    "test_probing": ("hard", "soft", "advisory"),
    "stubs": ("hard", "soft", "advisory"),
    "swallowed": ("hard", "soft", "advisory"),
    "suppressions": ("hard", "soft", "advisory"),
    "memorised": ("hard", "soft", "advisory"),
    "idle_tests": ("hard", "soft", "advisory"),
    "goldens": ("hard", "hard", "soft"),
    "words": ("hard", "soft", "advisory"),
    "gate_files": ("hard", "hard", "soft"),
    "test_integrity": ("hard", "hard", "soft"),
    "test_config": ("hard", "hard", "soft"),
    "test_gate": ("hard", "hard", "soft"),
    "test_delta": ("soft", "advisory", "off"),
    "completion": ("hard", "hard", "soft"),
    "lint": ("soft", "advisory", "off"),
    "junit": ("hard", "hard", "soft"),
    "coverage": ("hard", "hard", "soft"),
    "contract": ("hard", "hard", "hard"),
    "holdout": ("hard", "hard", "hard"),
    "live_proof": ("hard", "hard", "hard"),
    "tree": ("hard", "hard", "soft"),
    "repository": ("hard", "hard", "hard"),
    "store": ("hard", "hard", "hard"),
}
POLICY_PATHS = (
    "/.github", "/.gitlab-ci.yml", "/.gitlab", "/.circleci", "/.buildkite", "/.woodpecker*", "/.travis.yml", "/.drone.yml", "/azure-pipelines*.yml",
    "Jenkinsfile", "/bitbucket-pipelines.yml", "/appveyor.yml", "CODEOWNERS", "/.gitattributes", ".gitattributes", ".gitmodules",
    "/.husky", "/.githooks", "/.pre-commit-config.yaml", "/lefthook.yml", "/.mcp.json", "/.claude", "/.codex",
    "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "poetry.lock", "uv.lock", "pdm.lock",
    "Pipfile.lock", "Cargo.lock", "go.sum", "composer.lock", "Gemfile.lock",
)  # fmt: skip
TEST_FILES = (
    "test_*.py", "*_test.py", "tests.py", "test*.py", "tests", "test", "__tests__", "spec",
    "testdata", "*.test.*", "*.spec.*", "*_test.go", "*Test.java",
    "*Tests.java", "*Test.kt", "*_spec.rb", "*_test.rb", "*Test.php", "*Tests.cs", "conftest.py",
)  # fmt: skip


class Override(NamedTuple):
    """Other limits below a glob; None: no limit."""

    glob: str
    file_lines: int | None
    function_lines: int | None


class SizeLimits(NamedTuple):
    """`default` is the language of all that have none of their own; None anywhere: no limit."""

    deleted_files: int | None
    deleted_lines: int | None
    file_lines: dict[str, int | None]
    function_lines: dict[str, int | None]
    file_bytes: int | None
    overrides: tuple[Override, ...]


class CoverageRules(NamedTuple):
    """Percentages; None: not asked for. `baseline` is what `max_drop` counts from."""

    files: tuple[str, ...]
    total: float | None
    changed_lines: float | None
    max_drop: float | None
    baseline: float | None


class Claim(NamedTuple):
    """One thing to be true of the result: a path's state, a pattern in a file, or a command that exits 0."""

    kind: str
    path: str
    pattern: str
    command: str


class Proof(NamedTuple):
    """What must be seen live: by a command of ours, or by nobody here (then it stays unverified)."""

    name: str
    command: str


class Profile(NamedTuple):
    """Another preset and levels for changes that lie all (or any of them) under some globs."""

    paths: tuple[str, ...]
    when: str
    preset: str | None
    checks: dict[str, str]


class Rules(NamedTuple):
    """All of it. `given` are levels that the project's file or the caller set by name."""

    preset: str
    given: dict[str, str]
    limits: SizeLimits
    policy_paths: tuple[str, ...]
    test_files: tuple[str, ...]
    junit: tuple[str, ...]
    coverage: CoverageRules
    lint: tuple[str, ...]
    claims: tuple[Claim, ...]
    holdout_commands: tuple[str, ...]
    holdout_claims: tuple[Claim, ...]
    scanner: str
    completion: str
    completion_fields: tuple[str, ...]
    live_proof: tuple[Proof, ...]
    fail_limit: int
    ground: str
    profiles: tuple[Profile, ...]
    override: dict[str, str]
    sandbox: str = "run"

    def level(self, check: str) -> Level | None:
        """The level of a check, None when it decides itself."""
        if check in FIXED:
            return "hard"
        given = self.given.get(check)
        if given is not None:
            return cast("Level", given)
        row = TABLE.get(check)
        return None if row is None else row[PRESETS.index(cast("Preset", self.preset))]

    def wants(self, check: str) -> bool:
        """Whether a check is made at all."""
        return self.level(check) != "off"

    def is_test(self, path: str) -> bool:
        """Whether a path belongs to the tests."""
        return matches_any(path, self.test_files)


def from_json(raw: dict[str, Any]) -> Rules:
    """From the plain form that `rulefile` makes. Raises KeyError, TypeError for anything else."""
    limits, coverage = raw["limits"], raw["coverage"]
    return Rules(
        raw["preset"], dict(raw["checks"]),
        SizeLimits(
            limits["deleted_files"], limits["deleted_lines"], dict(limits["file_lines"]), dict(limits["function_lines"]), limits["file_bytes"],
            tuple(Override(**entry) for entry in limits["overrides"]),
        ),
        tuple(raw["policy_paths"]), tuple(raw["test_files"]), tuple(raw["junit"]),
        CoverageRules(tuple(coverage["files"]), *(coverage[key] for key in CoverageRules._fields[1:])),
        tuple(raw["lint_commands"]), _claims(raw["claims"]), tuple(raw["holdout"]["commands"]), _claims(raw["holdout"]["claims"]),
        raw["secrets"]["scanner"], raw["completion"]["name"], tuple(raw["completion"]["fields"]),
        tuple(Proof(entry["name"], entry["command"]) for entry in raw["live_proof"]), raw["fail_limit"], raw["ground"],
        tuple(Profile(tuple(entry["paths"]), entry["when"], entry["preset"], dict(entry["checks"])) for entry in raw["profiles"]),
        dict(raw["override"]), raw["sandbox"],
    )  # fmt: skip


def _claims(raw: Sequence[dict[str, Any]]) -> tuple[Claim, ...]:
    return tuple(Claim(entry["kind"], entry["path"], entry["pattern"], entry["command"]) for entry in raw)


def choose_profile(rules: Rules, paths: Sequence[str]) -> Rules:
    """The rules for a change of these paths: the first profile that fits it is laid over them."""
    for profile in rules.profiles:
        hits = [matches_any(path, profile.paths) for path in paths]
        if hits and (all(hits) if profile.when == "all" else any(hits)):
            return rules._replace(preset=profile.preset or rules.preset, given={**rules.given, **profile.checks})
    return rules


def apply_levels(checks: Sequence[Check], rules: Rules) -> list[Check]:
    """Each check at its level; those that are off are left out. A check that was only ever a warning stays one unless named."""
    found: list[Check] = []
    for check in checks:
        level = rules.level(check.name)
        if level == "off":
            continue
        if level is None or (not check.required and check.name not in rules.given):
            found.append(check if check.required else replace(check, level="advisory"))
            continue
        reason = rules.override.get(check.name, "") if level == "soft" and check.outcome != "pass" else ""
        found.append(replace(check, required=level != "advisory", level=level, override=reason))
    return found
