"""Twenty workers on one branch: their conflicts are foretold, they land one after the other, and the branch is never red."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cc_orchestrator.core.errors import Conflict
from kit.door import Door
from kit.interpreter import PYTHON
from kit.landing import accept, start, trees
from kit.repos import commit, git, make_repo, write

pytestmark = pytest.mark.process

COUNT = 20
#: Two that change the same line, as numbers of workers: the later one cannot be merged.
SAME_LINE = {(3, 4): "shared/a.txt", (9, 10): "shared/b.txt", (15, 16): "shared/c.txt"}
#: Both merge cleanly and are green alone; together they are red.
SAME_PORT = (7, 12)
CHECK = """
import pathlib, sys
ports = [path.read_text().split()[1] for path in sorted(pathlib.Path("parts").glob("*.txt"))]
if len(set(ports)) < len(ports):
    sys.exit(f"one port twice: {ports}")
if not all(path.read_text().strip() for path in pathlib.Path("shared").glob("*.txt")):
    sys.exit("an empty file")
"""


def files_of(number: int) -> dict[str, str]:
    """What worker `number` writes."""
    port = 1_000 + (SAME_PORT[0] if number == SAME_PORT[1] else number)
    found = {f"parts/{number:02}.txt": f"port {port}\n"}
    for pair, path in SAME_LINE.items():
        if number in pair:
            found[path] = f"worker {number}\n"
    return found


def everything(root: Path) -> dict[str, tuple[object, ...]]:
    """All files of a checkout but git's own and ours: bytes, mode, time of the last change."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in (".git", ".agent-workspace")]
        for name in files:
            path = Path(folder) / name
            info = path.lstat()
            found[str(path.relative_to(root))] = (path.read_bytes(), info.st_mode, info.st_mtime_ns)
    return found


def own_things(root: Path) -> dict[str, object]:
    """What is the user's besides the files: other branches, stash, configuration, hooks, what is checked out."""
    refs = [
        row
        for row in git(root, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        if "refs/heads/main " not in row
    ]
    hooks = root / ".git/hooks"
    return {
        "refs": [row for row in refs if not row.startswith(("refs/cc/", "refs/heads/cc/"))],
        "head": git(root, "symbolic-ref", "HEAD"),
        "config": (root / ".git/config").read_bytes(),
        "hooks": sorted(os.listdir(hooks)) if hooks.exists() else [],
        "status": git(root, "status", "--porcelain", "--ignored"),
    }


def is_green(root: Path, commit_id: str, place: Path) -> bool:
    """The gate on a fresh export of one commit."""
    place.mkdir()
    archive = subprocess.run(["git", "-C", str(root), "archive", commit_id], capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(place)], input=archive.stdout, check=True)
    return subprocess.run([sys.executable, "check.py"], cwd=place, check=False, capture_output=True).returncode == 0


@pytest.mark.timeout(300)
def test_twenty_workers_are_foretold_and_land_in_turn_on_a_branch_that_is_never_red(tmp_path: Path) -> None:
    root = make_repo(
        tmp_path / "project",
        {"check.py": CHECK, ".gitignore": "local.cfg\nbuild/\n", "parts/00.txt": "port 1000\n",
         **dict.fromkeys(SAME_LINE.values(), "nobody\n")},
    )  # fmt: skip
    git(root, "branch", "mine")
    write(root, {"local.cfg": "precious\n", "build/out.bin": "built\n"})
    door = Door(tmp_path, cwd=root)
    first = git(root, "rev-parse", "main")
    gate = [f"{PYTHON} check.py"]

    number_of = {start(door, files_of(number)): number for number in range(1, COUNT + 1)}
    runs = {number: run_id for run_id, number in number_of.items()}
    for run_id in number_of:
        assert door.finish(run_id, 60.0)["status"] == "succeeded"
    for run_id in number_of:
        accept(door, run_id, gate)
    # Once the workers are done: what they may have touched is another test's business.
    files, own = everything(root), own_things(root)

    seen = door.call("cc_deliver", run_ids=list(number_of), target="main", dry_run=True)
    foretold = {(number_of[row["run_id"]], number_of[row["with"]]): row["paths"] for row in seen["conflicts"]}
    assert foretold == {pair: [path] for pair, path in SAME_LINE.items()}
    assert (seen["not_compared"], seen["refused"]) == (0, [])
    assert git(root, "rev-parse", "main") == first

    ids: dict[int, str] = {}
    refused: dict[int, str] = {}
    for number in range(1, COUNT + 1):
        # One that conflicts is refused at once when the other has landed already, else in its turn.
        try:
            ids[number] = door.call("cc_deliver", run_id=runs[number], target="main", wait_seconds=0)["delivery_id"]
        except Conflict as error:
            refused[number] = error.code
    woke = door.call("cc_wait", ids=list(ids.values()), until="all", timeout_seconds=200)["woke"]
    status = {row["id"]: row["status"] for row in woke}
    for number, delivery_id in ids.items():
        if status[delivery_id] != "succeeded":
            refused[number] = door.call("cc_delivery", delivery_id=delivery_id)["refused"][0]["code"]
    assert refused == {4: "conflict", 10: "conflict", 16: "conflict", SAME_PORT[1]: "verify_failed"}

    history = git(root, "rev-list", "--first-parent", "--reverse", f"{first}..main").split()
    landed = [number for number in ids if number not in refused]
    assert len(history) == len(landed) == COUNT - 4
    after = [door.call("cc_delivery", delivery_id=ids[number])["after"] for number in landed]
    assert after == history
    assert [
        commit_id
        for number, commit_id in enumerate(history)
        if not is_green(root, commit_id, tmp_path / f"at-{number}")
    ] == []

    promoted = {path for number in landed for path in files_of(number)}
    now = everything(root)
    assert {path for path in {*files, *now} if files.get(path) != now.get(path)} == promoted
    assert own_things(root) == own
    assert trees(door) == []
    assert door.call("cc_receipts", limit=1)["ledger"]["ok"]


def test_a_delivery_to_a_branch_elsewhere_leaves_a_dirty_checkout_byte_for_byte_as_it_was(tmp_path: Path) -> None:
    door = Door(tmp_path)
    commit(door.cwd, {"a.txt": "a\n"}, "more")
    git(door.cwd, "checkout", "-q", "-b", "mine")
    run_ids = [start(door, {f"parts/{number}.txt": "x\n"}) for number in range(3)]
    for run_id in run_ids:
        door.finish(run_id)
        accept(door, run_id)
    write(door.cwd, {"a.txt": "half done\n", "untracked.txt": "mine\n"})
    git(door.cwd, "add", "a.txt")
    write(door.cwd, {"a.txt": "further\n"})
    index, files, own = (door.cwd / ".git/index").read_bytes(), everything(door.cwd), own_things(door.cwd)
    assert door.call("cc_deliver", run_ids=run_ids, target="main")["status"] == "succeeded"
    assert (everything(door.cwd), own_things(door.cwd)) == (files, own)
    assert (door.cwd / ".git/index").read_bytes() == index
