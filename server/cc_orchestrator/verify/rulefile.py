"""Reads the rules of a project, `.agent-workspace/policies/verify.yaml`, and what a caller adds; both have the same keys.

Unknown keys are errors. A file that cannot be read stops every verification (Corrupt): nothing is approved without it. With a
file, a caller may add checks and raise levels, never lower them; without one, the caller's word is all there is.
Hold-out commands may name `{holdout}`, the folder `policies/holdout` of the workspace; it is no part of any worker's tree.
"""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, Literal, NamedTuple, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cc_orchestrator.core.errors import Corrupt, InvalidRequest
from cc_orchestrator.core.text import cut
from cc_orchestrator.store.paths import Workspace
from cc_orchestrator.verify.check import Level
from cc_orchestrator.verify.commands import parse_commands
from cc_orchestrator.verify.rulekey import NAME, digest_asked, holdout_folder, read_rule_file, rule_path, rules_key
from cc_orchestrator.verify.rules import FIXED, POLICY_PATHS, PRESETS, RANKS, TABLE, TEST_FILES, Preset

#: What only the project's file may say where there is one.
_FILE_ONLY = ("limits", "policy_paths", "test_files", "profiles", "secrets", "fail_limit")
_LISTS = ("junit", "lint_commands", "claims", "live_proof")
_Text = Annotated[str, Field(min_length=1, max_length=4_000)]
_Texts = Annotated[list[_Text], Field(max_length=200)]
_Percent = Annotated[float, Field(ge=0, le=100)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", defer_build=True)


class OverrideModel(_Model):
    """Limits below a glob; null: none."""

    glob: _Text
    file_lines: int | None = None
    function_lines: int | None = None


class LimitsModel(_Model):
    """Sizes; null: no limit. Languages: python, shell, javascript, typescript, go, rust, java, …; `default` for the others."""

    deleted_files: int | None = 10
    deleted_lines: int | None = 500
    file_lines: dict[str, int | None] = {"default": 2_000, "python": 1_200, "shell": 600}
    function_lines: dict[str, int | None] = {"python": 70}
    file_bytes: int | None = 5_000_000
    overrides: list[OverrideModel] = []


class CoverageModel(_Model):
    """Reports of the test commands, and what they must show, in percent."""

    files: _Texts = []
    total: _Percent | None = None
    changed_lines: _Percent | None = None
    max_drop: _Percent | None = None
    baseline: _Percent | None = None


class ClaimModel(_Model):
    """One claim about the result."""

    kind: Literal["file_exists", "file_changed", "pattern_match", "no_pattern", "command"]
    path: str = ""
    pattern: str = ""
    command: str = ""

    @model_validator(mode="after")
    def _complete(self) -> ClaimModel:
        needed = {"command": ("command",), "pattern_match": ("path", "pattern"), "no_pattern": ("path", "pattern")}
        for name in needed.get(self.kind, ("path",)):
            if not getattr(self, name):
                raise ValueError(f"a claim of kind {self.kind} needs {name}")
        if self.pattern:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern: {error}") from None
        return self


class HoldoutModel(_Model):
    """Checks that the worker is never told of."""

    commands: _Texts = []
    claims: Annotated[list[ClaimModel], Field(max_length=200)] = []


class SecretsModel(_Model):
    """auto: kingfisher where it is installed, beside our own patterns; kingfisher: needed; own: our own patterns suffice."""

    scanner: Literal["auto", "kingfisher", "own"] = "auto"


class CompletionModel(_Model):
    """The record that the worker must leave in its outbox; "" asks for none."""

    name: str = ""
    fields: _Texts = []


class ProofModel(_Model):
    """Something that must be seen live; without a command only a person can have seen it."""

    name: _Text
    command: str = ""


class ProfileModel(_Model):
    """Other rules for a change that lies all (or any of it) under some globs."""

    paths: Annotated[list[_Text], Field(min_length=1)]
    when: Literal["all", "any"] = "all"
    preset: Preset | None = None
    checks: dict[str, Level] = {}


class RuleFile(_Model):
    """A whole rule file; also the `rules` of cc_verify."""

    preset: Preset = "standard"
    checks: dict[str, Level] = {}
    limits: LimitsModel = Field(default_factory=LimitsModel)
    policy_paths: _Texts = list(POLICY_PATHS)
    test_files: _Texts = list(TEST_FILES)
    junit: _Texts = []
    coverage: CoverageModel = Field(default_factory=CoverageModel)
    lint_commands: _Texts = []
    claims: Annotated[list[ClaimModel], Field(max_length=200)] = []
    holdout: HoldoutModel = Field(default_factory=HoldoutModel)
    secrets: SecretsModel = Field(default_factory=SecretsModel)
    completion: CompletionModel = Field(default_factory=CompletionModel)
    live_proof: list[ProofModel] = []
    fail_limit: Annotated[int, Field(ge=1, le=100, description="One more than the results of a whole fix loop.")] = 5
    ground: Literal["auto", "clean", "worktree"] = "auto"
    sandbox: Literal["run", "none"] = "run"
    profiles: list[ProfileModel] = []
    override: dict[str, Annotated[str, Field(min_length=3, max_length=1_000)]] = {}

    @model_validator(mode="after")
    def _known(self) -> RuleFile:
        tables = [self.checks, *(profile.checks for profile in self.profiles)]
        for name in {name for table in tables for name in table} | set(self.override):
            if name not in TABLE and name not in (
                "tests",
                "provenance",
                "modes",
                "stream_secrets",
                "outside",
                "expectations",
            ):
                raise ValueError(f"there is no check {name[:40]!a}; known: {', '.join(sorted(TABLE))}")
            if name in FIXED:
                raise ValueError(f"{name} is always hard")
        texts = [
            *self.lint_commands,
            *self.holdout.commands,
            *(proof.command for proof in self.live_proof if proof.command),
        ]
        claims = [*self.claims, *self.holdout.claims]
        try:
            parse_commands([*texts, *(claim.command for claim in claims if claim.command)])
        except InvalidRequest as error:
            raise ValueError(error.message) from None
        return self


class Loaded(NamedTuple):
    """`plain` is what `rules.from_json` reads; `key` goes into the hash of the rule set."""

    plain: dict[str, Any]
    key: dict[str, Any]


def load_rules(workspace: Workspace, asked: dict[str, Any]) -> Loaded:
    """The rules of this project with a caller's laid over them. Raises Corrupt (the file), InvalidRequest (the caller's)."""
    path, data = rule_path(workspace), read_rule_file(workspace)
    if "sandbox" in asked:
        raise InvalidRequest(f"rules: sandbox stands in {path}, and only there", hint="leave sandbox out")
    try:
        mine = RuleFile.model_validate(asked)
    except ValidationError as error:
        raise InvalidRequest(
            f"rules: {_explain(error)}", hint=f"the keys of {NAME}; see references/verify-and-deliver.md of the skill"
        ) from None
    if data is None:
        plain = mine.model_dump(mode="json")
    else:
        theirs = _parse(path, data)
        plain = _merge(theirs, mine, path)
    if plain["secrets"]["scanner"] == "kingfisher":
        plain["checks"].setdefault("secret_scanner", "hard")
    _check_overrides(plain)
    folder = holdout_folder(workspace)
    plain["holdout"]["commands"] = [_fill_in(text, folder) for text in plain["holdout"]["commands"]]
    return Loaded(plain, rules_key(workspace, digest_asked(asked)))


def wants_outside(workspace: Workspace) -> bool:
    """Whether the project's file says that commands run outside the sandbox of their run. Raises Corrupt."""
    data = read_rule_file(workspace)
    return data is not None and _parse(rule_path(workspace), data).sandbox == "none"


def _fill_in(command: str, folder: str) -> str:
    """The folder's path in place of `{holdout}`, whole also where it has blanks."""
    try:
        return shlex.join(word.replace("{holdout}", folder) for word in shlex.split(command))
    except ValueError:
        # What cannot be split is told when it is run.
        return command.replace("{holdout}", folder)


def _parse(path: str, data: bytes) -> RuleFile:
    try:
        raw: Any = yaml.safe_load(data) or {}
        return RuleFile.model_validate(raw)
    except ValidationError as error:
        why = _explain(error)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        why = cut(str(error), 300)
    raise Corrupt(f"the rules {path} cannot be used: {why}", hint="mend the file; nothing is verified without it")


def _explain(error: ValidationError) -> str:
    rows = error.errors(include_url=False, include_input=False)[:6]
    return "; ".join(
        f"{cut('.'.join(str(part) for part in row['loc']), 80) or 'rules'}: {cut(str(row['msg']), 300)}" for row in rows
    )


def _merge(file: RuleFile, mine: RuleFile, path: str) -> dict[str, Any]:
    """The file's rules, with what the caller adds or tightens."""
    _refuse_laxer(file, mine, path)
    given = mine.model_fields_set
    plain, ours = file.model_dump(mode="json"), mine.model_dump(mode="json")
    if "preset" in given:
        plain["preset"] = mine.preset
    plain["checks"].update(ours["checks"])
    for name in _LISTS:
        plain[name] += ours[name]
    for name in ("commands", "claims"):
        plain["holdout"][name] += ours["holdout"][name]
    for name in ("coverage", "completion"):
        if name in given:
            _merge_asked(plain[name], ours[name])
    if "ground" in given and (file.ground == "auto" or mine.ground == "clean"):
        plain["ground"] = mine.ground
    plain["override"] = {**plain["override"], **ours["override"]}
    return plain


def _refuse_laxer(file: RuleFile, mine: RuleFile, path: str) -> None:
    given = mine.model_fields_set
    for name in _FILE_ONLY:
        if name in given:
            raise InvalidRequest(f"rules: {name} stands in {path}, and only there", hint=f"leave {name} out")
    if "preset" in given and PRESETS.index(mine.preset) > PRESETS.index(file.preset):
        raise InvalidRequest(f"rules: preset {mine.preset} is laxer than {file.preset} of {path}", hint="leave it out")
    for name, level in mine.checks.items():
        if RANKS[level] < RANKS[_level(file, name)]:
            raise InvalidRequest(f"rules: {name} {level} is below {_level(file, name)} of {path}", hint="leave it out")


def _merge_asked(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """What the file leaves open may be set; a floor may be raised."""
    for key, value in ours.items():
        if isinstance(value, list):
            theirs[key] = list(dict.fromkeys([*theirs[key], *cast("list[str]", value)]))
        elif value and not theirs[key]:
            theirs[key] = value
        elif key in ("total", "changed_lines") and value is not None:
            theirs[key] = max(theirs[key], value)


def _level(file: RuleFile, check: str) -> str:
    row = TABLE.get(check)
    return file.checks.get(check) or (row[PRESETS.index(file.preset)] if row else "advisory")


def _check_overrides(plain: dict[str, Any]) -> None:
    for name in plain["override"]:
        row = TABLE.get(name)
        level = plain["checks"].get(name) or (row[PRESETS.index(plain["preset"])] if row else "advisory")
        if level == "hard":
            raise InvalidRequest(
                f"rules.override: {name} is hard, nothing overrides it", hint="leave it out, or mend the result"
            )
