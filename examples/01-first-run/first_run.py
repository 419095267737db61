"""One supervised run, end to end, through the command line, with every answer as it came.

    python first_run.py [--worker fake|claude|codex] [--model MODEL] [--script FILE] [--keep]

It makes a scratch git repository with a failing test, starts a worker on it, waits, verifies with the repository's own test,
accepts, delivers to a branch and reads the receipts. Exit status: 0 if the work was approved and delivered, else 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CLI = [sys.executable, "-I", "-m", "cc_orchestrator"]
TASK = "The test check_calc.py fails. Correct calc.py so that it passes. Change no other file."
TEST = "python3 -m unittest -q check_calc"
#: A wait ends before its client would give up; it is simply called again.
MOST_WAITS = 40


class Refused(Exception):
    """A command that did not do what was asked; the answer says why."""


def main(argv: list[str]) -> int:
    """0 if the work was approved and delivered."""
    parser = argparse.ArgumentParser(prog="run.sh", description="One supervised run from start to delivery.")
    parser.add_argument(
        "--worker", default="fake", choices=("fake", "claude", "codex"), help="default: the bundled one"
    )
    parser.add_argument("--model", help="default: the worker's own")
    parser.add_argument("--script", default=str(HERE / "worker.json"), help="what the bundled worker does")
    parser.add_argument("--keep", action="store_true", help="leave the scratch repository")
    given = parser.parse_args(argv)
    folder = tempfile.mkdtemp(prefix="cc first run ")
    try:
        repository = make_repository(Path(folder) / "project")
        return show(repository, given)
    except Refused as error:
        say(f"\nrefused: {error}")
        return 1
    finally:
        if given.keep:
            say(f"\nkept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def show(repository: Path, given: argparse.Namespace) -> int:
    """The loop of a controller: start, wait, verify, accept, deliver, look at the receipts."""
    start = ["run-streaming", TASK, "--adapter", given.worker, "--allow-write"]
    if given.worker == "fake":
        start += ["--script", Path(given.script).read_text(encoding="utf-8")]
    if given.model:
        start += ["--model", given.model]
    say("== 1. start: the answer comes at once, the worker goes on by itself")
    run_id = ask(repository, *start)["run_id"]

    say("\n== 2. wait: sleeps until something worth knowing happens")
    woke = wait(repository, run_id)
    if woke["status"] != "succeeded":
        say(f"\nthe worker ended {woke['status']} ({woke.get('reason')}): nothing to verify")
        return 1

    say("\n== 3. verify: what the worker claims is no proof; its result is checked, and the test runs, in its own tree")
    verified = ask(repository, "verify", run_id, "--test-commands", TEST, may_fail=True)
    if verified.get("verdict") != "APPROVE":
        say(f"\nverdict: {verified.get('verdict')}; nothing is accepted")
        return 1

    say("\n== 4. accept, then deliver: two decisions; main moves only now, and nothing is ever pushed")
    ask(repository, "accept", run_id, "--decision", "accept", "--reason", "the test passes and only calc.py changed")
    ask(repository, "deliver", run_id, "--target", "main")
    say(run(repository, ["git", "log", "--oneline", "--graph", "main"]))
    say(run(repository, ["git", "diff", "--stat", "HEAD~1", "main"]))

    say("\n== 5. the receipts: hash chained, one for each finished thing")
    ask(repository, "receipts")

    say("\n== 6. all of it is in files")
    say(tree(repository / ".agent-workspace"))
    say(f"\nverdict: {verified['verdict']}")
    return 0


def wait(repository: Path, run_id: str) -> dict[str, Any]:
    """The run's row once it has ended."""
    for _ in range(MOST_WAITS):
        answer = ask(repository, "wait", run_id)
        for row in answer["woke"]:
            if row.get("status") not in ("created", "starting", "running", "waiting", "finishing"):
                return dict(row)
    raise Refused(f"{run_id} did not end")


def ask(repository: Path, *words: str, may_fail: bool = False) -> dict[str, Any]:
    """One command: shown, run, its JSON answer shown and returned."""
    shown = [word if len(word) < 100 else f"{word[:40]}…" for word in words]
    say(
        "$ cc-orchestrator --json "
        + " ".join(json.dumps(word, ensure_ascii=False) if " " in word else word for word in shown)
    )
    done = subprocess.run(
        [*CLI, "--json", *words], cwd=repository, capture_output=True, text=True, timeout=600, check=False
    )
    if not done.stdout.strip():
        raise Refused(done.stderr.strip() or f"no answer, exit status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    say(json.dumps(answer, indent=2, ensure_ascii=False))
    if done.returncode and not may_fail:
        raise Refused(f"exit status {done.returncode}")
    return answer


def make_repository(path: Path) -> Path:
    """A scratch repository with one commit, whose test fails."""
    shutil.copytree(HERE / "project", path)
    run(path, ["git", "init", "-q", "-b", "main"])
    run(path, ["git", "config", "user.name", "First Run"])
    run(path, ["git", "config", "user.email", "first-run@localhost"])
    run(path, ["git", "config", "commit.gpgsign", "false"])
    run(path, ["git", "add", "-A"])
    run(path, ["git", "commit", "-q", "-m", "A calculator that cannot add"])
    return path


def run(path: Path, argv: list[str]) -> str:
    """What a command printed. Raises Refused with its words when it fails."""
    done = subprocess.run(argv, cwd=path, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout.rstrip()


def tree(folder: Path, indent: str = "") -> str:
    """A folder as a tree; worktrees and database files are named, not opened."""
    lines = [f"{folder.name}/"] if not indent else []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            lines.append(f"{indent}  {entry.name}/")
            if entry.parent.name != "worktrees":
                below = tree(entry, indent + "  ")
                lines += [below] if below else []
        else:
            lines.append(f"{indent}  {entry.name}  {os.path.getsize(entry)} B")
    return "\n".join(lines)


def say(text: str) -> None:
    """One line or block for the reader."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
