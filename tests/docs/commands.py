"""Runs the README's two set-up commands as written, in a fresh clone of what is committed here, one after the other.

    python tests/docs/commands.py [--only 1|2]

The clone's path holds a blank. Nothing but the clone, its own `.venv` and, for the pinned CLIs, `.cli/` of this checkout
(CC_TEST_CLI_DIR) is used. Exit status: that of the first command that fails, else 0.
"""

from __future__ import annotations

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
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
