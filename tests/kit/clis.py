"""The real CLIs that the tests start: pinned in `clis.json` and nowhere else, installed by npm into `.cli/` of the checkout.

    python tests/kit/clis.py install      # what .ci/run does
    python tests/kit/clis.py check        # says whether they are there; exit 1 when not

`CC_TEST_CLI_DIR` names another folder that holds (or shall hold) `node_modules`. Importing this module starts nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINS: dict[str, str] = json.loads((HERE / "clis.json").read_text(encoding="utf-8"))
ROOT = Path(os.environ.get("CC_TEST_CLI_DIR") or HERE.parent.parent / ".cli").resolve()
IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


def install(root: Path = ROOT) -> None:
    """Install the pinned versions with npm. Raises CalledProcessError, or FileNotFoundError without npm."""
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not on PATH: the real CLIs come from it")
    root.mkdir(parents=True, exist_ok=True)
    manifest = json.dumps({"private": True, "dependencies": PINS}, indent=2) + "\n"
    marker = root / "package.json"
    if _missing(root) is None and marker.exists() and marker.read_text(encoding="utf-8") == manifest:
        return
    marker.write_text(manifest, encoding="utf-8")
    subprocess.run([npm, "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=root, check=True)
    _missing.cache_clear()


@cache
def _missing(root: Path) -> str | None:
    for name, wanted in PINS.items():
        try:
            found = json.loads((root / "node_modules" / name / "package.json").read_text(encoding="utf-8"))["version"]
        except (OSError, ValueError, KeyError):
            return f"{name} {wanted} is not installed (python tests/kit/clis.py install)"
        if found != wanted:
            return f"{name} is {found}, the tests are pinned to {wanted} (python tests/kit/clis.py install)"
    return None


def available() -> str | None:
    """None when all pinned CLIs are there, else the reason why tests with them cannot run."""
    return _missing(ROOT)


def node_bin() -> str:
    """The folder of the pinned node; put it first on PATH."""
    return str(ROOT / "node_modules" / "node" / "bin")


def path_with_node(path: str | None = None) -> str:
    """PATH with the pinned node and the CLIs first."""
    rest = os.environ.get("PATH", os.defpath) if path is None else path
    return os.pathsep.join([node_bin(), str(ROOT / "node_modules" / ".bin"), rest])


def claude_path() -> str:
    """The Claude Code executable."""
    return str(ROOT / "node_modules" / ".bin" / "claude")


def codex_path() -> str:
    """The Codex executable (a node script that starts the binary)."""
    return str(ROOT / "node_modules" / ".bin" / "codex")


def inspector_command() -> list[str]:
    """argv of the MCP Inspector's CLI; a server's argv and `--method …` follow."""
    return [str(Path(node_bin()) / "node"), str(ROOT / "node_modules" / ".bin" / "mcp-inspector"), "--cli"]


def main(argv: list[str]) -> int:
    """`install` or `check`."""
    if argv == ["install"]:
        install()
    reason = available()
    print(reason or f"real CLIs in {ROOT}: " + ", ".join(f"{name} {version}" for name, version in PINS.items()))
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
