"""Runs the README's two set-up commands as written, in a fresh clone of what is committed here, one after the other.

    python tests/docs/commands.py [--only 1|2]

After the first it also lets the clone's installer register itself in an empty home, starts the server as it is registered there,
and takes it out again. The clone's path holds a blank. Nothing but the clone, its own `.venv` and, for the pinned CLIs, `.cli/` of this checkout
(CC_TEST_CLI_DIR) is used. Exit status: that of the first command that fails, else 0.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands() -> list[str]:
    """The lines of the first shell block under `## Set up`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"^## Set up$.*?^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    if found is None:
        raise SystemExit("README.md has no shell block under `## Set up`")
    return found.group(1).splitlines()


def main(argv: list[str]) -> int:
    """Clone, run, say how long each took."""
    lines = commands()
    if argv[:1] == ["--only"]:
        lines = [lines[int(argv[1]) - 1]]
    env = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    env.setdefault("CC_TEST_CLI_DIR", str(ROOT / ".cli"))
    with tempfile.TemporaryDirectory(prefix="cc fresh clone ") as folder:
        clone = Path(folder) / "cc orchestrator"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        for line in lines:
            print(f"$ {line}", flush=True)
            done = subprocess.run(["bash", "-c", line], cwd=clone, env=env, check=False)
            if done.returncode:
                print(f"exit status {done.returncode}", flush=True)
                return done.returncode
            if line == commands()[0]:
                check_installer(clone, Path(folder) / "a home", env)
    return 0


def check_installer(clone: Path, home: Path, env: dict[str, str]) -> None:
    """Install, start what was registered, uninstall. Raises AssertionError or CalledProcessError."""
    home.mkdir()
    env = {**env, "HOME": str(home), "CODEX_HOME": "", "CLAUDE_CONFIG_DIR": ""}
    installer = [str(clone / "install" / "install.sh"), "--yes", "--client", "codex", "--client", "claude"]
    subprocess.run(installer, env=env, check=True, stdout=subprocess.DEVNULL)
    entry = json.loads((home / ".claude.json").read_text(encoding="utf-8"))["mcpServers"]["cc-orchestrator"]
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "check", "version": "1"}}
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}) + "\n"
    with subprocess.Popen(
        [entry["command"], *entry["args"]], cwd=home, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as door:
        assert door.stdin is not None
        assert door.stdout is not None
        door.stdin.write(request)
        door.stdin.flush()
        answer = json.loads(door.stdout.readline())
        door.stdin.close()
    assert answer["result"]["serverInfo"]["name"] == "cc-orchestrator"
    assert (home / ".codex" / "skills" / "cc-orchestrator" / "SKILL.md").is_file()
    subprocess.run([*installer, "--uninstall"], env=env, check=True, stdout=subprocess.DEVNULL)
    left = [path for path in home.rglob("*") if not path.is_dir() and ".local" not in path.parts]
    assert left == [], left
    print("installed, started as registered, uninstalled", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
