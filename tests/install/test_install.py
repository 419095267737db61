"""The installer, through its own script: what it writes, what it leaves alone, and that it can be undone to the byte."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit

from cc_orchestrator.adapters.catalog import adapter, names

ROOT = Path(__file__).resolve().parents[2]
REGISTER = ROOT / "install" / "register.py"

CODEX = """# my settings, by hand
model = "gpt-5.5"   # the good one

[mcp_servers.other]
command = "npx"
args = ["-y", "other"]
http_headers = { Authorization = "Bearer other-secret" }

[projects."/home/me/x y"]
trust_level = "trusted"
"""
CLAUDE = """{
  "numStartups": 41,
  "bigNumber": 123456789012345678901234567890,
  "ratio": 1e-7,
  "emoji": "\\ud83d\\ude00 ü",
  "mcpServers": {
    "other": {
      "type": "stdio",
      "command": "npx",
      "env": {"TOKEN": "other-secret"}
    }
  },
  "projects": {"/home/me": {"mcpServers": {"cc-orchestrator": {"command": "not ours to touch"}}}}
}"""


@pytest.fixture
def home(isolated_home: Path) -> Path:
    """A user with settings for both clients."""
    (isolated_home / ".codex").mkdir()
    (isolated_home / ".codex" / "config.toml").write_text(CODEX, encoding="utf-8")
    (isolated_home / ".claude.json").write_text(CLAUDE, encoding="utf-8")
    (isolated_home / ".claude.json").chmod(0o600)
    return isolated_home


def run(*args: str, stdin: int = subprocess.DEVNULL, script: Path = REGISTER) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, str(script), *args],
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        check=False,
    )


def files(home: Path) -> dict[str, str]:
    """Everything in a home: bytes of files, targets of links."""
    found: dict[str, str] = {}
    for path in sorted(home.rglob("*")):
        name = str(path.relative_to(home))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = f"{path.stat().st_mode:o} {path.read_bytes()!r}"
    return found


def codex(home: Path) -> dict[str, object]:
    return tomlkit.parse((home / ".codex" / "config.toml").read_text(encoding="utf-8")).unwrap()


def claude(home: Path) -> dict[str, object]:
    return json.loads((home / ".claude.json").read_text(encoding="utf-8"))


def test_both_clients_get_our_server_and_keep_all_that_they_had(home: Path) -> None:
    done = run("--yes")
    assert done.returncode == 0, done.stderr
    text = (home / ".codex" / "config.toml").read_text(encoding="utf-8")
    assert text.startswith(CODEX)
    ours = codex(home)["mcp_servers"]["cc-orchestrator"]  # type: ignore[index]
    assert ours["required"] is True
    assert ours["args"] == ["-I", "-m", "cc_orchestrator", "mcp"]
    assert 60 < ours["tool_timeout_sec"] <= 300
    assert ours["default_tools_approval_mode"] == "approve"
    new = claude(home)
    entry = new["mcpServers"].pop("cc-orchestrator")  # type: ignore[attr-defined]
    assert new == json.loads(CLAUDE)
    assert (entry["command"], entry["args"]) == (ours["command"], ours["args"])
    assert entry["alwaysLoad"] is True  # else a `claude -p` session begins without our tools
    assert "1e-7" in (home / ".claude.json").read_text(encoding="utf-8")
    for folder in (".codex", ".claude"):
        assert (home / folder / "skills" / "cc-orchestrator" / "SKILL.md").is_file()


def test_codex_hands_on_the_marker_of_a_worker_and_the_variables_of_every_adapter(home: Path) -> None:
    assert run("--yes").returncode == 0
    passed = set(codex(home)["mcp_servers"]["cc-orchestrator"]["env_vars"])  # type: ignore[index]
    assert {"CC_RUN_ID", "HTTPS_PROXY", "SSL_CERT_FILE", "XDG_STATE_HOME", "ANTHROPIC_BASE_URL"} <= passed
    for name in names():
        known = adapter(name)
        if known.executables:
            named = {entry for entry in (*known.env_allow, *known.secret_env) if not entry.endswith("*")}
            assert named - passed <= {"HOME", "PATH", "LANG", "TERM", "TMPDIR"}
            assert known.executable_env in passed


def test_a_second_time_changes_nothing(home: Path) -> None:
    run("--yes")
    before = files(home)
    done = run("--yes")
    assert (done.returncode, files(home)) == (0, before)
    assert "nothing to do" in done.stdout


def test_uninstall_gives_back_the_very_bytes(home: Path) -> None:
    before = files(home)
    assert run("--yes").returncode == 0
    assert files(home) != before
    assert run("--yes", "--uninstall").returncode == 0
    assert files(home) == before


@pytest.mark.parametrize("config", ["", "x = 1", 'x = 1\r\n[a]\r\nb = "c"\r\n', "# only a comment\n\n\n"])
def test_uninstall_gives_back_odd_toml_too(home: Path, config: str) -> None:
    path = home / ".codex" / "config.toml"
    path.write_bytes(config.encode())
    assert run("--yes", "--client", "codex").returncode == 0
    assert codex(home)["mcp_servers"]["cc-orchestrator"]["required"] is True  # type: ignore[index]
    assert run("--yes", "--client", "codex", "--uninstall").returncode == 0
    assert path.read_bytes() == config.encode()


@pytest.mark.parametrize(
    "config", ["{}", '{"a":1,"mcpServers":{}}', '{\n\t"mcpServers": {}\n}\n', '\ufeff{ "a" : [1, {}] }\r\n']
)
def test_uninstall_gives_back_odd_json_too(home: Path, config: str) -> None:
    path = home / ".claude.json"
    path.write_bytes(config.encode())
    assert run("--yes", "--client", "claude").returncode == 0
    assert "cc-orchestrator" in json.loads(path.read_text(encoding="utf-8-sig"))["mcpServers"]
    assert run("--yes", "--client", "claude", "--uninstall").returncode == 0
    assert path.read_bytes() == config.encode()


def test_what_others_changed_in_the_meantime_stays(home: Path) -> None:
    run("--yes")
    path = home / ".claude.json"
    changed = claude(home)
    changed["numStartups"] = 42
    path.write_text(json.dumps(changed, indent=2), encoding="utf-8")
    config = home / ".codex" / "config.toml"
    config.write_text(config.read_text(encoding="utf-8") + '\n[mcp_servers.late]\ncommand = "late"\n', encoding="utf-8")
    assert run("--yes", "--uninstall").returncode == 0
    assert claude(home) == {**json.loads(CLAUDE), "numStartups": 42}
    assert config.read_text(encoding="utf-8") == CODEX + '\n[mcp_servers.late]\ncommand = "late"\n'


def test_nothing_is_left_of_files_that_were_not_there_before(isolated_home: Path) -> None:
    before = files(isolated_home)
    assert run("--yes", "--client", "codex", "--client", "claude").returncode == 0
    assert run("--yes", "--uninstall", "--client", "codex", "--client", "claude").returncode == 0
    assert files(isolated_home) == before
    assert not (isolated_home / ".claude").exists()


def test_an_entry_made_by_hand_is_replaced_and_its_neighbours_are_kept(home: Path) -> None:
    config = home / ".codex" / "config.toml"
    config.write_text(CODEX + '\n[mcp_servers.cc-orchestrator]\ncommand = "old"\n', encoding="utf-8")
    assert run("--yes", "--client", "codex").returncode == 0
    text = config.read_text(encoding="utf-8")
    assert '"old"' not in text
    assert "# the good one" in text
    assert codex(home)["mcp_servers"]["other"]["command"] == "npx"  # type: ignore[index]


def test_a_dry_run_shows_and_changes_nothing_and_shows_no_secrets_of_others(home: Path) -> None:
    before = files(home)
    done = run("--dry-run")
    assert (done.returncode, files(home)) == (0, before)
    assert "+[mcp_servers.cc-orchestrator]" in done.stdout
    assert "other-secret" not in done.stdout + done.stderr


def test_without_a_terminal_and_without_yes_nothing_happens(home: Path) -> None:
    before = files(home)
    done = run()
    assert (done.returncode, files(home)) == (1, before)
    assert "--yes" in done.stderr


@pytest.mark.parametrize(("answer", "status"), [("n", 1), ("y", 0)])
def test_a_person_is_asked(home: Path, answer: str, status: int) -> None:
    before = files(home)
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = run(stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == status
    assert "[y/N]" in done.stdout
    assert (files(home) == before) is (status == 1)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (".codex/config.toml", "[broken", "no valid TOML"),
        (".claude.json", '{"a": ', "no valid JSON"),
        (".claude.json", '{"mcpServers": []}', "no JSON object"),
        (".claude.json", "[1]", "no JSON object"),
        (".codex/config.toml", "mcp_servers = { other = { command = 'x' } }\n", "would"),
    ],
)
def test_settings_that_cannot_be_edited_safely_are_left_alone_all_of_them(
    home: Path, name: str, text: str, words: str
) -> None:
    (home / name).write_text(text, encoding="utf-8")
    before = files(home)
    done = run("--yes")
    assert (done.returncode, files(home)) == (1, before)
    assert name in done.stderr
    assert words in done.stderr or "TOML" in done.stderr


def test_a_link_to_settings_stays_a_link(home: Path) -> None:
    config, real = home / ".codex" / "config.toml", home / "dotfiles.toml"
    config.rename(real)
    config.symlink_to(real)
    before = files(home)
    assert run("--yes", "--client", "codex").returncode == 0
    assert config.is_symlink()
    assert "cc-orchestrator" in real.read_text(encoding="utf-8")
    assert run("--yes", "--client", "codex", "--uninstall").returncode == 0
    assert files(home) == before


def test_a_skill_folder_of_somebody_else_is_never_touched(home: Path) -> None:
    """The seed moved an installed skill away and then died: an empty skill folder."""
    folder = home / ".codex" / "skills" / "cc-orchestrator"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("mine", encoding="utf-8")
    before = files(home)
    done = run("--yes")
    assert (done.returncode, files(home)) == (1, before)
    assert "move it away" in done.stderr


def test_a_copied_skill_goes_away_but_not_what_the_user_changed_in_it(home: Path) -> None:
    before = files(home)
    run("--yes", "--copy-skill")
    skill = home / ".claude" / "skills" / "cc-orchestrator"
    assert not skill.is_symlink()
    assert (skill / "SKILL.md").is_file()
    assert run("--yes", "--uninstall").returncode == 0
    assert files(home) == before
    run("--yes", "--copy-skill")
    (skill / "SKILL.md").write_text("my own words", encoding="utf-8")
    done = run("--yes", "--uninstall")
    assert done.returncode == 1
    assert (skill / "SKILL.md").read_text(encoding="utf-8") == "my own words"


def test_other_homes_of_the_clients_are_respected(isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_HOME", str(isolated_home / "c x"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(isolated_home / "c l"))
    assert run("--yes", "--client", "codex", "--client", "claude").returncode == 0
    assert (isolated_home / "c x" / "config.toml").is_file()
    assert (isolated_home / "c l" / ".claude.json").is_file()
    assert not (isolated_home / ".codex").exists()


def test_a_user_without_either_client_is_told(isolated_home: Path) -> None:
    done = run("--yes")
    assert done.returncode == 1
    assert "--client" in done.stderr
