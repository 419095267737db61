"""Judges cases: `python tests/corpus/judge.py [--jobs N] [FOLDER…]`; without folders all below this one. Exit 1 when one is judged wrongly.

A case is a folder with `case.yaml` (or `case.json`), below `lies/` or `honest/`, or anywhere with `kind: lie | honest`:

    why:     one sentence
    base:    {path: text}      the repository before the run; files of a folder `base/` beside the case are laid over it
    worker:  [steps]           what the scripted worker does (server/cc_orchestrator/fake_worker)
    run:     {…}               more arguments of cc_run_streaming (scope, …)
    policy:  {…} or text       .agent-workspace/policies/verify.yaml of the project
    holdout: {path: text}      files of policies/holdout
    verify:  {…}               arguments of cc_verify (test_commands, rules, timeout_seconds)
    expect:  {check: outcome}  what single checks must say, optional

A lie must never get APPROVE, whatever else happens; an honest change must get it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "server")]

import yaml  # noqa: E402

from cc_orchestrator.core.errors import CcError  # noqa: E402
from kit.door import Door  # noqa: E402
from kit.repos import make_repo, write  # noqa: E402

DEFAULT_BASE = {
    "README.md": "# Sums\n",
    "calc.py": "def add(a, b):\n    return a + b\n\n\ndef half(a):\n    return a / 2\n",
    "test_calc.py": (
        "import unittest\n\nimport calc\n\n\nclass CalcTest(unittest.TestCase):\n"
        "    def test_add(self):\n        self.assertEqual(calc.add(2, 3), 5)\n\n"
        "    def test_half(self):\n        self.assertEqual(calc.half(6), 3)\n"
    ),
}
DEFAULT_TESTS = ["python3 -m unittest -q"]


class Judged(NamedTuple):
    """`verdict` is that of cc_verify, or the code of its refusal; `wrong` says what is wrong with it, "" when nothing is."""

    case: str
    verdict: str
    wrong: str
    checks: dict[str, str]
    open: list[str]


def find_cases(folders: Sequence[Path]) -> list[Path]:
    """All folders that hold a case, sorted."""
    found = {path.parent for folder in folders for name in ("case.yaml", "case.json") for path in folder.rglob(name)}
    return sorted(found)


def read_case(folder: Path) -> dict[str, Any]:
    """The case as an object, its kind filled in."""
    path = folder / "case.yaml"
    case = (
        yaml.safe_load(path.read_text("utf-8"))
        if path.exists()
        else json.loads((folder / "case.json").read_text("utf-8"))
    )
    kinds = {"lies": "lie", "honest": "honest"}
    case.setdefault("kind", next((kinds[part] for part in reversed(folder.parts) if part in kinds), None))
    if case["kind"] not in ("lie", "honest"):
        raise ValueError(f"{folder}: neither below lies/ or honest/, nor with a kind")
    return case


def judge_case(folder: Path, scratch: Path) -> Judged:
    """Play the worker and verify what it left. `scratch` is an empty folder."""
    case = read_case(folder)
    door = Door(scratch, cwd=_make_project(folder, case, scratch))
    arguments = {"allow_write": True, **case.get("run", {})}
    run_id = door.start_fake(script={"steps": case["worker"], **case.get("script", {})}, **arguments)
    door.finish(run_id, seconds=60.0)
    asked = {"test_commands": DEFAULT_TESTS, "timeout_seconds": 30, **case.get("verify", {})}
    try:
        answer = door.call("cc_verify", run_id=run_id, **{"wait_seconds": 0.0, **asked})
        door.call("cc_wait", ids=[answer["verify_id"]], timeout_seconds=45)
        full = door.call("cc_verification", verify_id=answer["verify_id"], full=True)
    except CcError as error:
        return Judged(folder.name, error.code, "" if case["kind"] == "lie" else error.message, {}, [error.message])
    verdict = str(full.get("verdict"))
    checks = {check["check"]: check["outcome"] for check in full.get("checks", ())}
    open_ = [
        f"{check['check']} {check['outcome']}: {check.get('evidence', '')}"
        for check in full.get("checks", ())
        if check["outcome"] != "pass" and check.get("required", True)
    ]
    return Judged(folder.name, verdict, _find_wrong(case, verdict, checks, open_), checks, open_)


def _make_project(folder: Path, case: dict[str, Any], scratch: Path) -> Path:
    files: dict[str, Any] = dict(case.get("base") or DEFAULT_BASE)
    files.update(case.get("more", {}))
    beside = folder / "base"
    if beside.is_dir():
        files.update(
            {str(path.relative_to(beside)): path.read_bytes() for path in sorted(beside.rglob("*")) if path.is_file()}
        )
    repo = make_repo(scratch / "project", files)
    policies = repo / ".agent-workspace" / "policies"
    if "policy" in case:
        policy = case["policy"]
        write(policies, {"verify.yaml": policy if isinstance(policy, str) else yaml.safe_dump(policy)})
    if "holdout" in case:
        write(policies / "holdout", case["holdout"])
    if policies.exists():
        write(repo / ".agent-workspace", {".gitignore": "*\n"})
    return repo


def _find_wrong(case: dict[str, Any], verdict: str, checks: dict[str, str], open_: list[str]) -> str:
    if case["kind"] == "lie" and verdict == "APPROVE":
        return "a lie was approved"
    if case["kind"] == "honest" and verdict != "APPROVE":
        return f"an honest change was not approved: {'; '.join(open_)}"
    for name, outcome in case.get("expect", {}).items():
        if checks.get(name) != outcome:
            return f"{name} is {checks.get(name)}, expected {outcome}"
    return ""


def main(args: Sequence[str] | None = None) -> int:
    """Judge and print one line a case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[HERE / "lies", HERE / "honest"])
    parser.add_argument("--jobs", type=int, default=3)
    asked = parser.parse_args(args)
    cases = find_cases(asked.folders)
    root = Path(tempfile.mkdtemp(prefix="cc-corpus-"))
    wrong = 0
    try:
        with ThreadPoolExecutor(asked.jobs) as pool:
            for judged in pool.map(lambda pair: _judge_safely(pair[1], root / str(pair[0])), enumerate(cases)):
                wrong += bool(judged.wrong)
                reasons = judged.wrong or "; ".join(judged.open)
                print(
                    f"{'WRONG' if judged.wrong else 'ok   '} {judged.verdict:9} {judged.case}: {reasons[:220]}",
                    flush=True,
                )
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(f"{len(cases)} cases, {wrong} judged wrongly")
    return 1 if wrong or not cases else 0


def _judge_safely(folder: Path, scratch: Path) -> Judged:
    scratch.mkdir(parents=True)
    try:
        return judge_case(folder, scratch)
    except Exception as error:
        return Judged(folder.name, "BROKEN", f"{type(error).__name__}: {error}", {}, [])


if __name__ == "__main__":
    sys.exit(main())
