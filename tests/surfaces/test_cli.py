"""The command line: the same operations with the same parameters, and nothing of the MCP SDK."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core import errors
from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.surfaces.cli.main import main
from cc_orchestrator.surfaces.cli.parser import build_parser
from cc_orchestrator.surfaces.docs import reference
from kit.door import Door
from kit.wire import command_line

pytestmark = pytest.mark.timeout(180)
RUN = "run_01k3000000abcdefghjk"


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """In a scratch project, with this process as the command line."""
    door = Door(tmp_path)
    monkeypatch.chdir(door.cwd)
    return door


def commands() -> dict[str, argparse.ArgumentParser]:
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("no commands")


def test_every_operation_has_a_command_with_the_same_parameters() -> None:
    found = commands()
    for op in operations():
        command = found[" ".join(op.words)]
        given = {action.dest for action in command._actions if action.dest not in ("help", "json")}
        files = {f"_{name}_file" for name in op.long_texts}
        assert given == set(op.params.model_fields) | files, op.name
        assert any("--json" in action.option_strings for action in command._actions), op.name
        assert (
            op.summary.split(".")[0][:40] in command.format_help().replace("\n", " ").replace("  ", " ")
            or op.description
        )


def test_every_alias_is_a_command_too() -> None:
    found = commands()
    for op in operations():
        for alias in op.aliases:
            assert alias.removeprefix("cc_").replace("_", "-") in found


def test_parameter_flags_are_named_as_the_parameters_are() -> None:
    for op in operations():
        command = commands()[" ".join(op.words)]
        flags = {flag for action in command._actions for flag in action.option_strings}
        for name in op.params.model_fields:
            assert name == op.positional or "--" + name.replace("_", "-") in flags, (op.name, name)


def test_answers_are_json_when_asked_for_and_text_otherwise(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "workspace-status"]) == 0
    assert json.loads(capsys.readouterr().out)["workspace"] == str(door.cwd)
    assert main(["workspace-status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["git"] is True
    assert main(["workspace-status"]) == 0
    assert f"workspace: {door.cwd}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "status", "code"),
    [
        (["poll", RUN], 3, "not_found"), (["poll", "../x"], 2, "invalid_request"), (["poll"], 2, "invalid_request"),
        (["poll", RUN, "--max-bytes", "many"], 2, "invalid_request"), (["poll", RUN, "--mode", "loud"], 2, "invalid_request"),
        (["nothing"], 2, "invalid_request"), ([], 2, "invalid_request"), (["poll", RUN, "--bogus"], 2, "invalid_request"),
        (["run-streaming", "look", "--scope", "{no json"], 2, "invalid_request"), (["-C", "/nowhere/at/all", "status"], 2, "invalid_request"),
        (["run-streaming"], 2, "invalid_request"), (["call", "nothing"], 3, "not_found"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("door")
def test_errors_have_their_exit_status_and_the_shape_of_every_door(
    argv: list[str], status: int, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", *argv]) == status
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert main(argv) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")


def test_exit_statuses_are_distinct_and_documented_in_the_tree() -> None:
    kinds = errors.CcError.__subclasses__()
    assert len({kind.exit_status for kind in kinds}) == len({kind.code for kind in kinds}) == len(kinds)
    assert 1 not in {kind.exit_status for kind in kinds}


@pytest.mark.process
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_long_task_comes_from_a_file_or_stdin(tmp_path: Path, way: str) -> None:
    door = Door(tmp_path)
    task = "look at it closely, ü\n" * 12_000
    (tmp_path / "task.md").write_text(task, encoding="utf-8")
    (door.cwd / "script.json").write_text(json.dumps({"steps": [{"result": "read"}]}))
    source = str(tmp_path / "task.md") if way == "file" else "-"
    stdin = None if way == "file" else task.encode()
    arguments = ("--json", "run-streaming", "--task-file", source, "--adapter", "fake", "--script", "script.json")
    done = command_line(door, *arguments, stdin=stdin)
    assert done.returncode == 0, done.stdout
    run_id = json.loads(done.stdout)["run_id"]
    door.finish(run_id)
    assert task in (door.run(run_id).path and Path(door.run(run_id).at("prompt.md")).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("door")
def test_a_text_given_twice_or_unreadable_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "task").write_text("x")
    assert main(["--json", "run-streaming", "look", "--task-file", str(tmp_path / "task")]) == 2
    assert "twice" in capsys.readouterr().out
    assert main(["--json", "run-streaming", "--task-file", str(tmp_path / "missing")]) == 2
    assert "missing" in capsys.readouterr().out
    assert main(["--json", "run-streaming", "--task-file", str(tmp_path)]) == 2
    assert "cannot be read" in capsys.readouterr().out


def test_a_command_never_imports_the_mcp_sdk_nor_a_web_server(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom cc_orchestrator.__main__ import main\nsys.argv = ['cc-orchestrator', '--json', 'status']\n"
        "code = main()\nprint(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, timeout=50, check=True)
    loaded = set(eval(done.stderr))
    assert json.loads(done.stdout)["next"]
    assert not loaded & {
        "mcp",
        "mcp_types",
        "starlette",
        "uvicorn",
        "httpx",
        "anyio",
        "git",
        "psutil",
        "tomlkit",
        "rich",
    }


def test_completion_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh"):
        assert main(["completion", shell]) == 0
        text = capsys.readouterr().out
        assert all(" ".join(op.words) in text for op in operations())
    assert main(["completion", "tcsh"]) == 2


@pytest.mark.process
def test_bash_completes_a_command(tmp_path: Path) -> None:
    door = Door(tmp_path)
    script = command_line(door, "completion", "bash").stdout.decode()
    asked = f'{script}\nCOMP_WORDS=(cc-orchestrator do); compgen -W "$(complete -p cc-orchestrator | sed -E "s/.*-W .([^\']*).*/\\1/")" do'
    done = subprocess.run(["bash", "-c", asked], capture_output=True, timeout=20, check=False)
    assert done.stdout.decode().split() == ["doctor"]


# ---------------------------------------------------------------- reference tables


def pages(root: Path) -> tuple[Path, Path]:
    empty = f"# x\n{reference.BEGIN}\n{reference.END}\nrest\n"
    readme, skill = root / "README.md", root / "skill" / "references" / "operations.md"
    house = root / "server" / "README.md"
    skill.parent.mkdir(parents=True)
    house.parent.mkdir()
    for page in (readme, skill, house):
        page.write_text(empty)
    return readme, skill


def test_reference_tables_are_written_and_their_staleness_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme, skill = pages(tmp_path)
    assert main(["docs", "--check", "--root", str(tmp_path)]) == 1
    assert "stale" in capsys.readouterr().err
    assert main(["docs", "--root", str(tmp_path)]) == 0
    assert main(["docs", "--check", "--root", str(tmp_path)]) == 0
    assert readme.read_text().endswith("rest\n")
    for op in operations():
        assert f"`{op.name}`" in readme.read_text()
        assert f"## {op.name}\n" in skill.read_text()
        for name in op.params.model_fields:
            assert f"| `{name}` |" in skill.read_text()
    readme.write_text(readme.read_text().replace("cc_poll", "cc_pool"))
    assert main(["docs", "--check", "--root", str(tmp_path)]) == 1


def test_names_of_commands_and_tools_agree() -> None:
    rows: list[Any] = [line.split("|") for line in reference.table().splitlines()[2:]]
    assert [row[1].strip().strip("`") for row in rows] == [op.name for op in operations()]
    for op in operations():
        words = "-".join(op.words)
        names = {name.removeprefix("cc_").replace("_", "-") for name in (op.name, *op.aliases)}
        short = {
            "run": "run-agent",
            "diff": "git-diff",
            "report": "export-report",
            "summarize": "summarize-run",
            "events": "compact-events",
        }
        assert words in names or short.get(words) in names, op.name


def test_a_word_that_may_be_left_out_is_held_against_its_choices(
    door: Door, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "worktree"]) == 0
    assert json.loads(capsys.readouterr().out)["worktrees"] == []
    assert main(["--json", "worktree", "burn"]) != 0
    assert "list" in capsys.readouterr().out
