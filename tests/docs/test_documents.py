"""README and skill say what is so: every operation, file, word and default that they name exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cc_orchestrator.core import states
from cc_orchestrator.core.errors import CcError
from cc_orchestrator.operations.catalog import MODULES
from cc_orchestrator.operations.launches import RunParams
from cc_orchestrator.operations.registry import find, operations, validate
from docs.commands import commands

ROOT = Path(__file__).resolve().parents[2]
SKILL = ROOT / "skill"
TEXTS = sorted(
    [ROOT / "README.md", *ROOT.glob("examples/*/README.md"), *SKILL.rglob("*.md"), ROOT / "prompt_pack" / "README.md"]
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_operation_that_is_named_exists(path: Path) -> None:
    assert MODULES
    unknown: set[str] = set()
    for name in re.findall(r"\bcc_[a-z][a-z_]*[a-z]\b", text_of(path).replace("cc_orchestrator", "")):
        try:
            find(name)
        except CcError:
            unknown.add(name)
    assert unknown == set()


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_call_that_is_shown_has_arguments_that_exist(path: Path) -> None:
    wrong: list[str] = []
    for name, body in re.findall(r"(cc_[a-z_]+) \{([^`\n]*)\}", text_of(path)):
        fields = set(re.findall(r'\\?"([a-z_]+)\\?":', re.sub(r"\{[^{}]*\}", "{}", body)))
        wrong += [f"{name}: {field}" for field in fields - set(find(name).params.model_fields)]
    assert wrong == []


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_command_that_is_shown_exists(path: Path) -> None:
    known = {" ".join(op.words) for op in operations()} | {"mcp", "engine", "docs", "completion"}
    shown = re.findall(
        r"cc-orchestrator (?:--json )?([a-z]+(?:-[a-z]+)*)\b",
        "\n".join(re.findall(r"`[^`\n]+`|^\$ .*$", text_of(path), re.M)),
    )
    assert set(shown) <= known


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text_of(path))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_set_up_is_two_commands_that_name_scripts_of_the_checkout() -> None:
    lines = commands()
    assert len(lines) == 2
    for line in lines:
        assert (ROOT / line.split()[1]).is_file(), line


def test_the_skill_is_short_has_its_front_matter_and_leads_to_all_its_references() -> None:
    text = text_of(SKILL / "SKILL.md")
    assert re.match(r"---\nname: cc-orchestrator\ndescription: [^\n]{50,1000}\n---\n", text)
    assert len(text.splitlines()) < 500
    assert {path.name for path in (SKILL / "references").iterdir()} == set(
        re.findall(r"\(references/([a-z-]+\.md)\)", text)
    )


def test_the_skill_knows_every_state_and_reason_and_no_other() -> None:
    text = text_of(SKILL / "references" / "states.md")
    words = set(re.findall(r"`([a-z_]+)`", text))
    table = text[text.index("## Reasons") : text.index("## Words in answers")]
    assert set(re.findall(r"`([a-z_]+)`", table)) == set(states.REASONS)
    assert words >= states.LIVE | states.ENDS
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 2 and cells[1] in states.ENDS:
            assert {states.REASONS[reason] for reason in re.findall(r"`([a-z_]+)`", cells[2])} == {cells[1]}


def test_the_budgets_of_the_skill_are_the_defaults_of_the_code() -> None:
    text = text_of(SKILL / "references" / "limits.md")
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", text, re.M))
    for name, shown in rows.items():
        default = RunParams.model_fields[name].default
        plain = shown.strip().strip("`").replace(" MB", "000000")
        assert plain == ("none" if default is None else str(default).removesuffix(".0")), name


def test_the_first_task_of_the_skill_is_a_valid_request() -> None:
    text = text_of(SKILL / "references" / "loop.md")
    block = re.search(r"```json\n(.*?)```", text, re.DOTALL)
    assert block is not None
    validate(find("cc_run_streaming"), json.loads(block.group(1)))
