"""A worker's worktree: what it lacks is told, what is lent to it never becomes part of a result, the user's checkout is fenced."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import Corrupt, InvalidRequest
from cc_orchestrator.core.secretfiles import is_secret_file
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import commit, fingerprint, git, write
from kit.waiting import alive, until, until_gone

pytestmark = pytest.mark.process
DONE = {"result": "done"}


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """A project with ignored files: a secret, a configuration, dependencies."""
    door = Door(tmp_path)
    commit(door.cwd, {".gitignore": ".env*\nlocal.cfg\nnode_modules/\n"}, "ignore")
    write(door.cwd, {".env": "TOKEN=precious\n", "local.cfg": "debug=1\n", "node_modules/dep/index.js": "1\n"})
    return door


def notices(door: Door, run_id: str) -> dict[str, str]:
    return {data["code"]: data["text"] for data in door.data(run_id, "system.notice")}


def prompt(door: Door, run_id: str) -> str:
    return Path(door.run(run_id).at("prompt.md")).read_text()


def tree(door: Door, run_id: str) -> Path:
    return Path(str(door.spec(run_id).worktree))


def result_files(door: Door, run_id: str) -> set[str]:
    spec = door.spec(run_id)
    return set(git(door.cwd, "diff", "--name-only", str(spec.base), f"refs/cc/runs/{run_id}").split())


# ---------------------------------------------------------------- what is missing


def test_the_worker_and_the_controller_are_told_what_only_the_users_checkout_has(door: Door) -> None:
    write(door.cwd, {"README.md": "half done\n", "notes/mine.txt": "mine\n", "src/app.py": None})
    answer = door.call("cc_run_streaming", task="look", adapter="fake", script={"steps": [DONE]}, allow_write=True)
    run_id = answer["run_id"]
    door.finish(run_id)
    told = next(row for row in prompt(door, run_id).splitlines() if "lacks" in row)
    for row in (
        "README.md (modified)",
        "src/app.py (deleted)",
        "notes/ (untracked)",
        ".env (ignored)",
        "node_modules/ (ignored)",
    ):
        assert row in told
    assert ".agent-workspace" not in told
    assert answer["missing_count"] == 6
    assert door.spec(run_id).base == git(door.cwd, "rev-parse", "HEAD")
    assert not (tree(door, run_id) / ".env").exists()


def test_a_clean_checkout_and_a_run_that_only_reads_are_told_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    for more in ({"allow_write": True}, {}):
        run_id = door.start_fake(DONE, **more)
        assert "lacks" not in prompt(door, run_id)
        door.finish(run_id)


# ---------------------------------------------------------------- .worktreeinclude


def test_ignored_files_named_by_worktreeinclude_are_copied_and_stay_out_of_the_result(door: Door) -> None:
    commit(door.cwd, {".worktreeinclude": "*.cfg\n!other.cfg\nREADME.md\n"}, "include")
    run_id = door.start_fake(
        {"write": {"path": "local.cfg", "content": "changed\n"}},
        {"write": {"path": "a", "content": "a"}},
        DONE,
        allow_write=True,
    )
    door.finish(run_id)
    assert "local.cfg" in notices(door, run_id)["lent"]
    assert "local.cfg" not in prompt(door, run_id)
    assert (tree(door, run_id) / "local.cfg").read_text() == "changed\n"
    assert (door.cwd / "local.cfg").read_text() == "debug=1\n"
    assert result_files(door, run_id) == {"a"}


def test_a_secret_file_is_refused_openly_and_comes_only_by_a_grant_of_its_path(door: Door) -> None:
    write(door.cwd, {".worktreeinclude": ".env*\nlocal.cfg\n"})
    run_id = door.start_fake(DONE, allow_write=True)
    door.finish(run_id)
    assert "grant" in notices(door, run_id)["not_lent"]
    assert ".env (ignored)" in prompt(door, run_id)
    assert not (tree(door, run_id) / ".env").exists()
    granted = door.start_fake(DONE, allow_write=True, worktree={"grant_files": [".env"]})
    door.finish(granted)
    assert (tree(door, granted) / ".env").read_text() == "TOKEN=precious\n"
    assert "not_lent" not in notices(door, granted)


def test_links_files_of_the_tree_and_files_that_git_would_take_are_not_copied(door: Door, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("elsewhere\n")
    write(door.cwd, {".worktreeinclude": "linked.cfg\nfresh.cfg\n", ".git/info/exclude": "linked.cfg\n"})
    (door.cwd / "linked.cfg").symlink_to(outside)
    # Ignored by a rule that only the user's working copy has: in the worktree git would take it.
    write(door.cwd, {".gitignore": "fresh.cfg\n.env*\nlocal.cfg\nnode_modules/\n", "fresh.cfg": "1\n"})
    run_id = door.start_fake(DONE, allow_write=True)
    door.finish(run_id)
    why = notices(door, run_id)["not_lent"]
    assert "linked.cfg: it is no regular file" in why
    assert "fresh.cfg: git does not ignore it in the worktree" in why
    assert not (tree(door, run_id) / "fresh.cfg").exists()
    assert result_files(door, run_id) == set()


@pytest.mark.parametrize("how", ["add", "commit"])
def test_what_was_lent_cannot_be_forced_into_a_result(door: Door, how: str) -> None:
    write(door.cwd, {".worktreeinclude": ".env\n"})
    me = ["git", "-c", "user.name=w", "-c", "user.email=w@localhost"]
    steps: list[dict[str, Any]] = [
        {"run": {"argv": ["git", "add", "-f", ".env", "node_modules"]}},
        {"write": {"path": "a", "content": "a"}},
    ]
    if how == "commit":
        steps.append({"run": {"argv": [*me, "commit", "-qm", "forced"]}})
    run_id = door.start_fake(
        *steps, DONE, allow_write=True, worktree={"links": ["node_modules"], "grant_files": [".env"]}
    )
    door.finish(run_id)
    assert result_files(door, run_id) == {"a"}
    held = str((door.state(run_id)["snapshot"] or {}).get("incomplete"))
    if how == "commit":
        assert "committed what was only lent to it: .env, node_modules" in held
        assert door.call("cc_verify", run_id=run_id)["verdict"] != "APPROVE"
    else:
        assert held == "None"


# ---------------------------------------------------------------- dependencies


def test_a_link_to_dependencies_works_and_a_worker_that_adds_everything_does_not_take_it(door: Door) -> None:
    # `node_modules/` covers a folder, not a link: the trap that an exclude rule of our own closes.
    run_id = door.start_fake(
        {"run": {"argv": ["cat", "node_modules/dep/index.js"]}}, {"write": {"path": "a", "content": "a"}}, {"commit": {"message": "all"}}, DONE,
        allow_write=True, worktree={"links": ["node_modules"]},
    )  # fmt: skip
    door.finish(run_id)
    assert (tree(door, run_id) / "node_modules").is_symlink()
    assert result_files(door, run_id) == {"a"}
    assert git(tree(door, run_id), "status", "--porcelain") == ""
    assert "can write through" in notices(door, run_id)["linked"]
    verified = door.call("cc_verify", run_id=run_id)
    assert verified["verdict"] == "APPROVE", verified["checks"]


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("../other", "relative path"),
        ("/etc", "relative path"),
        ("src", "in the tree already"),
        ("nowhere", "the checkout has none"),
        (".git", "relative path"),
    ],
)
def test_a_link_to_what_is_no_ignored_folder_of_the_checkout_is_refused_openly(door: Door, link: str, why: str) -> None:
    run_id = door.start_fake(DONE, allow_write=True, worktree={"links": [link]})
    door.finish(run_id)
    assert why in notices(door, run_id)["not_lent"]
    assert (door.cwd / ".git/info/exclude").read_text().split() == ["/.agent-workspace/"]


def test_install_commands_run_in_the_worktree_before_the_worker(door: Door) -> None:
    install = [
        f'{PYTHON} -c \'import os; os.makedirs("node_modules"); open("node_modules/x", "w").write(os.getcwd())\''
    ]
    run_id = door.start_fake(
        {"run": {"argv": ["cat", "node_modules/x"]}}, DONE, allow_write=True, worktree={"install": install}
    )
    door.finish(run_id)
    place = tree(door, run_id)
    assert (place / "node_modules/x").read_text() == str(place)
    assert "exit 0" in notices(door, run_id)["install"]
    events = [event["type"] for event in door.events(run_id, "system.notice", "run.started")]
    assert events == ["system.notice", "run.started"]
    assert result_files(door, run_id) == set()
    follow = door.call("cc_send_instruction", run_id=run_id, instruction="go on")["run_id"]
    door.finish(follow)
    assert "install" not in notices(door, follow)


def test_the_workspaces_own_file_says_what_every_worktree_gets_and_a_wrong_one_is_named(door: Door) -> None:
    settings = door.cwd / ".agent-workspace/worktree.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"links": ["node_modules"], "install": [f"{PYTHON} -c pass"]}))
    run_id = door.start_fake(DONE, allow_write=True)
    door.finish(run_id)
    assert set(notices(door, run_id)) == {"linked", "install"}
    settings.write_text('{"instal": []}')
    with pytest.raises(Corrupt, match="instal"):
        door.start_fake(DONE, allow_write=True)
    door.finish(door.start_fake(DONE))
    with pytest.raises(InvalidRequest, match="worktree is for a run that writes"):
        door.start_fake(DONE, worktree={"links": ["node_modules"]})


def test_an_install_command_that_fails_hangs_or_is_missing_ends_the_run_before_its_worker(door: Door) -> None:
    cases: list[tuple[str, float, str]] = [
        (f"{PYTHON} -c 'print(\"no such version\"); exit(3)'", 60.0, "exit 3"),
        (f"{PYTHON} -c 'import time; time.sleep(600)'", 0.4, "killed after 0.4 s"),
        ("no-such-installer", 60.0, "no-such-installer"),
    ]
    for command, seconds, why in cases:
        run_id = door.start_fake(DONE, allow_write=True, worktree={"install": [command], "install_seconds": seconds})
        row = door.finish(run_id)
        assert (row["status"], row["reason"]) == ("failed", "worktree_failed")
        assert why in str(door.state(run_id)["detail"])
        assert door.events(run_id, "run.started") == []


def test_a_stop_reaches_an_install_command_and_all_that_it_started(door: Door, tmp_path: Path) -> None:
    here = tmp_path / "pid"
    run_id = door.start_fake(
        DONE,
        allow_write=True,
        worktree={"install": [f"sh -c 'setsid sh -c \"echo \\$\\$ > {here}; sleep 600\"; sleep 600'"]},
    )
    pid = int(until(lambda: here.exists() and here.read_text(), 20.0))
    assert door.call("cc_stop", run_id=run_id, reason="not now")["status"] == "stopped"
    until_gone(pid, 5.0)
    assert not alive(pid)


# ---------------------------------------------------------------- branches and the fence


def test_a_worktree_that_is_gone_is_made_again_from_its_branch_unless_that_is_in_use(
    door: Door, tmp_path: Path
) -> None:
    run_id = door.start_fake(
        {"write": {"path": "a", "content": "1\n"}}, {"commit": {"message": "one"}}, DONE, allow_write=True
    )
    door.finish(run_id)
    spec = door.spec(run_id)
    git(door.cwd, "worktree", "remove", "--force", str(spec.worktree))
    elsewhere = tmp_path / "elsewhere"
    git(door.cwd, "worktree", "add", "-q", str(elsewhere), str(spec.branch))
    follow = door.call("cc_send_instruction", run_id=run_id, instruction="go on")["run_id"]
    assert door.finish(follow)["reason"] == "worktree_failed"
    assert f"is checked out in {elsewhere}" in str(door.state(follow)["detail"])
    git(elsewhere, "checkout", "-q", "--detach")
    again = door.call("cc_send_instruction", run_id=run_id, instruction="go on")["run_id"]
    assert door.finish(again)["status"] == "succeeded"
    assert (tree(door, again) / "a").read_text() == "1\n"


@pytest.mark.parametrize(
    ("steps", "parts"),
    [
        ([], []),
        ([{"write": {"path": "{root}/escaped.txt", "content": "x"}}], ["files"]),
        ([{"write": {"path": "{root}/README.md", "content": "x"}}], ["files"]),
        (
            [
                {"write": {"path": "{root}/README.md", "content": "x"}},
                {"run": {"argv": ["git", "-C", "{root}", "add", "README.md"]}},
            ],
            ["staged", "files"],
        ),
        ([{"run": {"argv": ["git", "-C", "{root}", "checkout", "-q", "-b", "other"]}}], ["head"]),
    ],
)
def test_the_fence_says_which_part_of_the_users_checkout_changed(
    door: Door, steps: list[dict[str, Any]], parts: list[str]
) -> None:
    filled = json.loads(json.dumps(steps).replace("{root}", str(door.cwd)))
    run_id = door.start_fake(*filled, DONE, allow_write=True)
    door.finish(run_id)
    checkout = door.state(run_id)["checkout"]
    assert (checkout["changed"], checkout.get("parts", [])) == (bool(parts), parts)


def test_nothing_of_all_this_touches_the_users_checkout(door: Door) -> None:
    write(door.cwd, {".worktreeinclude": "local.cfg\n", "README.md": "half done\n"})
    before = fingerprint(door.cwd)
    files = {path: os.stat(door.cwd / path).st_mtime_ns for path in (".env", "local.cfg", "node_modules/dep/index.js")}
    door.finish(
        door.start_fake(
            {"write": {"path": "a", "content": "a"}}, DONE, allow_write=True, worktree={"links": ["node_modules"]}
        )
    )
    assert fingerprint(door.cwd) == before
    assert files == {path: os.stat(door.cwd / path).st_mtime_ns for path in files}


def test_names_of_secret_files_are_known_and_examples_are_none() -> None:
    for name in (
        ".env",
        "config/.env.local",
        ".npmrc",
        "id_ed25519",
        "deploy/server.pem",
        "app/credentials.json",
        ".aws/config",
        "secrets.yaml",
    ):
        assert is_secret_file(name), name
    for name in (".env.example", "src/env.py", "local.cfg", "docs/keys.md", "keyboard.txt", "tokenizer.json"):
        assert not is_secret_file(name), name
