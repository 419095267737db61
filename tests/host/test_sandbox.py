"""Levels of isolation as a caller sees them: chosen, refused, recorded; and the promises of a run hold inside a sandbox too."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.core.errors import InvalidRequest, Unavailable
from cc_orchestrator.host.sandbox import Backend, Ground, SandboxError, is_within, plan_sandbox
from cc_orchestrator.host.sandbox_git import look
from cc_orchestrator.host.sandbox_proxy import allowed
from cc_orchestrator.store.ledger import receipts
from kit.door import Door
from kit.interpreter import PYTHON
from kit.repos import commit, git
from kit.sandboxes import LANDLOCK, need
from kit.waiting import alive, until, until_gone

pytestmark = [pytest.mark.process, pytest.mark.timeout(90)]
CHANGE: list[dict[str, Any]] = [{"write": {"path": "a.txt", "content": "a\n"}}, {"result": "done"}]


def bare(door: Door, **env: str) -> Door:
    """The same project, seen from another environment."""
    return Door("", cwd=door.cwd, env={**door.env, **env})


def sandboxed(tmp_path: Path, **env: str) -> Door:
    need("bubblewrap")
    return Door(tmp_path, env={**os.environ, **env})


def note(door: Door, run_id: str) -> str:
    return str(door.data(run_id, "tool.finished")[-1].get("note"))


def outside_of(door: Door, run_id: str) -> str:
    """What verify says of writes outside the tree."""
    door.call("cc_verify", run_id=run_id)
    checks = door.call("cc_verification", run_id=run_id, full=True)["checks"]
    return str(next(row["outcome"] for row in checks if row["check"] == "outside"))


def pid_outside(door: Door, run_id: str, name: str) -> int:
    """A process of the run as we see it, by a word of its command."""
    top = door.until_event(run_id, "run.started")["pid"]

    def found() -> int:
        waiting = [top]
        while waiting:
            pid = waiting.pop()
            try:
                waiting += [int(part) for part in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if name.encode() in words and b"--setenv" not in words:
                return pid
        return 0

    return until(found, what=f"a process {name}")


# ---------------------------------------------------------------- which level


def test_without_a_word_a_writer_has_its_worktree_and_a_reader_nothing(tmp_path: Path) -> None:
    door = Door(tmp_path)
    assert door.play(*CHANGE, allow_write=True)["sandbox"] == "worktree"
    assert door.play({"result": "x"})["sandbox"] == "none"


def test_a_level_is_told_in_spec_event_receipt_and_summary(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    run_id = door.start_fake(*CHANGE, allow_write=True, sandbox="fs")
    door.finish(run_id)
    assert (door.spec(run_id).sandbox, door.spec(run_id).sandbox_backend) == ("fs", "bubblewrap")
    started = door.data(run_id, "run.started")[0]
    assert (started["sandbox"], started["sandbox_backend"]) == ("fs", "bubblewrap")
    told = next(row for row in receipts(str(door.cwd / ".agent-workspace" / "ledger")) if row["kind"] == "run")
    assert told["observed"]["sandbox"] == "fs"
    assert door.call("cc_run_status", run_id=run_id)["summary"]["sandbox"] == "fs"


def test_what_ran_in_a_sandbox_wrote_nothing_outside_and_verify_says_so(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    outcomes = {}
    for level in ("worktree", "fs"):
        run_id = door.start_fake(*CHANGE, allow_write=True, sandbox=level)
        door.finish(run_id)
        outcomes[level] = outside_of(door, run_id)
    assert outcomes == {"worktree": "unverified", "fs": "pass"}


def test_a_level_that_cannot_be_had_is_refused_and_nothing_starts(tmp_path: Path) -> None:
    door = bare(Door(tmp_path), CC_ORCHESTRATOR_SANDBOX="nothing")
    with pytest.raises(Unavailable, match="cannot be had"):
        door.start_fake(*CHANGE, allow_write=True, sandbox="fs")
    folder = door.cwd / ".agent-workspace"
    assert list((folder / "runs").glob("run_*")) == []
    assert not (folder / "worktrees").exists()


def test_the_network_cannot_be_had_without_bubblewrap(tmp_path: Path) -> None:
    need("landlock")
    door = bare(Door(tmp_path), **LANDLOCK)
    with pytest.raises(Unavailable, match=r"fs\+net needs bubblewrap"):
        door.start_fake(*CHANGE, allow_write=True, sandbox="fs+net")


def test_a_proxy_of_the_users_is_refused_rather_than_passed_by(tmp_path: Path) -> None:
    door = sandboxed(tmp_path, HTTPS_PROXY="http://proxy.example:8080")
    with pytest.raises(Unavailable, match="HTTPS_PROXY"):
        door.start_fake(*CHANGE, allow_write=True, sandbox="fs+net")


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("no worktree of its own", {"sandbox": "worktree"}),
        ("fs\\+net only", {"sandbox": "fs", "sandbox_hosts": ["example.org"]}),
        ("sandbox", {"sandbox": "total"}),
        ("sandbox_hosts", {"sandbox": "fs+net", "sandbox_hosts": ["http://example.org/"]}),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, words: str, given: dict[str, Any]) -> None:
    door = sandboxed(tmp_path)
    with pytest.raises(InvalidRequest, match=words):
        door.start_fake({"result": "x"}, **given)


def test_a_folder_that_holds_the_home_is_refused(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    inner = door.cwd / "home"
    inner.mkdir()
    with pytest.raises(InvalidRequest, match="holds your home"):
        bare(door, HOME=str(inner)).start_fake({"result": "x"}, sandbox="fs")


def test_a_sandbox_that_fails_at_the_start_starts_no_worker(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / "bwrap").write_text('#!/bin/sh\ncase "$*" in *--setenv*) echo "bwrap: no" >&2; exit 1;; esac\nexit 0\n')
    (broken / "bwrap").chmod(0o755)
    state = bare(door, PATH=f"{broken}:{os.environ['PATH']}").play(*CHANGE, allow_write=True, sandbox="fs")
    assert state["status"] == "failed"
    assert state["snapshot"]["file_count"] == 0


def doctors_row(env: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    rows = Door(tmp_path, env=env).call("cc_doctor")["checks"]
    return next(row for row in rows if row["check"] == "sandbox")


def test_the_doctor_asks_the_sandbox_ten_questions(tmp_path: Path) -> None:
    need("bubblewrap")
    row = doctors_row(dict(os.environ), tmp_path)
    assert row["ok"], row
    assert row["found"].startswith("bubblewrap: up to fs+net, 10 of 10 held")


def test_the_doctor_says_what_landlock_does_not_hold(tmp_path: Path) -> None:
    need("landlock")
    row = doctors_row({**os.environ, **LANDLOCK}, tmp_path)
    assert row["ok"], row
    assert row["found"].startswith("landlock: up to fs, 6 of 6 held")
    assert "sockets by path" in row["found"]


def test_the_doctor_says_when_there_is_no_sandbox(tmp_path: Path) -> None:
    row = doctors_row({**os.environ, "CC_ORCHESTRATOR_SANDBOX": "nothing"}, tmp_path)
    assert not row["ok"]
    assert "refused" in row["fix"]


def test_a_sandbox_that_lets_things_through_fails_the_probe(tmp_path: Path) -> None:
    need("bubblewrap")
    open_door = tmp_path / "bin"
    open_door.mkdir()
    real = "/usr/bin/bwrap" if os.path.exists("/usr/bin/bwrap") else "bwrap"
    # One that leaves out what makes folders read-only.
    text = (
        "#!/usr/bin/env python3\nimport os, sys\nwords = ['--bind' if w == '--ro-bind' else w for w in sys.argv[1:]]\n"
    )
    (open_door / "bwrap").write_text(f"{text}os.execv({real!r}, [{real!r}, *words])\n")
    (open_door / "bwrap").chmod(0o755)
    row = doctors_row({**os.environ, "PATH": f"{open_door}:{os.environ['PATH']}"}, tmp_path)
    leaked = Path("/etc/cc-sandbox-probe")
    was_written = leaked.exists()
    leaked.unlink(missing_ok=True)
    assert not row["ok"], row
    assert was_written == ("configuration" in row["fix"])


# ---------------------------------------------------------------- what a run promises


def test_a_reader_in_a_sandbox_sees_the_checkout_and_cannot_change_it(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    (door.cwd / ".env").write_text("TOKEN=KEY\n")
    run_id = door.start_fake(
        {"run": {"argv": ["sh", "-c", "cat .env README.md; git log --oneline; touch x; ls .agent-workspace"]}}, {"result": "x"}, sandbox="fs",
    )  # fmt: skip
    door.finish(run_id)
    assert "scratch" in note(door, run_id)
    assert "first" in note(door, run_id)
    assert "KEY" not in note(door, run_id)
    assert "Read-only" in note(door, run_id)
    assert not (door.cwd / "x").exists()


def test_commits_arrive_on_the_runs_branch_at_its_end(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    state = door.play(*CHANGE[:1], {"commit": "one"}, {"result": "x"}, allow_write=True, sandbox="fs")
    assert state["snapshot"]["committed"] == 1
    assert git(door.cwd, "log", "-1", "--format=%s", state["snapshot"]["branch"]) == "one"
    assert "a.txt" not in git(door.cwd, "status", "--porcelain")


def test_a_branch_that_leads_nowhere_costs_no_work(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    forge = "printf '%040d\\n' 7 > $(git rev-parse --git-common-dir)/$(git symbolic-ref HEAD)"
    state = door.play(
        *CHANGE[:1], {"run": {"argv": ["sh", "-c", forge]}}, {"result": "x"}, allow_write=True, sandbox="fs"
    )
    assert "could not be taken over" in state["snapshot"]["incomplete"]
    assert [row["path"] for row in state["snapshot"]["files"]] == ["a.txt"]


def forged(how: str) -> str:
    """A command that puts something else in the place of the commit that the worktree stands on."""
    code = (
        "import os,subprocess,zlib; n=subprocess.check_output(['git','rev-list','--max-parents=0','HEAD'],text=True).strip();"
        "c=subprocess.check_output(['git','rev-parse','--git-common-dir'],text=True).strip()+'/objects/'+n[:2];"
        f"os.makedirs(c,exist_ok=True); open(c+'/'+n[2:],'wb').write({how})"
    )
    return f'{PYTHON} -S -c "{code}"'


@pytest.mark.parametrize("how", ["b'garbage'", "zlib.compress(b'blob 3\\x00abc')"], ids=["garbage", "another object"])
def test_a_forged_object_costs_no_work_and_harms_no_repository(tmp_path: Path, how: str) -> None:
    door = sandboxed(tmp_path)
    before = git(door.cwd, "rev-parse", "HEAD")
    state = door.play(
        *CHANGE[:1], {"commit": "one"}, {"run": {"argv": ["sh", "-c", forged(how)]}}, {"result": "x"}, allow_write=True, sandbox="fs",
    )  # fmt: skip
    assert state["status"] == "succeeded"
    assert [row["path"] for row in state["snapshot"]["files"]] == ["a.txt"]
    git(door.cwd, "fsck", "--full")
    assert git(door.cwd, "cat-file", "-t", before) == "commit"


def test_work_that_was_staged_and_never_committed_is_in_the_result(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    state = door.play(
        *CHANGE[:1], {"run": {"argv": ["git", "add", "-A"]}}, {"result": "x"}, allow_write=True, sandbox="fs"
    )
    assert [row["path"] for row in state["snapshot"]["files"]] == ["a.txt"]
    assert git(door.cwd, "show", f"{state['snapshot']['commit']}:a.txt") == "a"


def test_the_diff_of_a_live_run_shows_what_only_the_sandbox_has(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    run_id = door.start_fake(
        *CHANGE[:1], {"commit": "one"}, {"say": "ready"}, {"barrier": {"path": "go"}}, {"result": "x"}, allow_write=True, sandbox="fs",
    )  # fmt: skip
    door.until_event(run_id, "run.message", text="ready")
    assert "+a" in door.call("cc_git_diff", run_id=run_id)["untrusted_diff"]
    Path(door.spec(run_id).worktree or "", "go").touch()
    door.finish(run_id)


def test_a_follow_up_keeps_the_level_and_goes_on_in_the_same_tree(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    more = {"write": {"path": "a.txt", "content": "a\n", "append": True}}
    first = door.start_fake(more, {"commit": "one"}, {"result": "x"}, allow_write=True, sandbox="fs")
    door.finish(first)
    again = door.call("cc_send_instruction", run_id=first, instruction="go on")["run_id"]
    door.finish(again)
    state = door.state(again)
    assert (state["status"], state["sandbox"]) == ("succeeded", "fs")
    assert state["snapshot"]["committed"] == 2


def test_folders_that_are_lent_to_a_worktree_are_there_read_only(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    commit(door.cwd, {".gitignore": "node_modules\n"})
    (door.cwd / "node_modules").mkdir()
    (door.cwd / "node_modules" / "x").write_text("lent\n")
    run_id = door.start_fake(
        {"run": {"argv": ["sh", "-c", "cat node_modules/x; echo y > node_modules/x; ls ../../../README.md"]}}, {"result": "x"},
        allow_write=True, sandbox="fs", worktree={"links": ["node_modules"]},
    )  # fmt: skip
    door.finish(run_id)
    assert "lent" in note(door, run_id)
    assert (door.cwd / "node_modules" / "x").read_text() == "lent\n"
    assert "cannot access" in note(door, run_id), "nothing else of the checkout is"


def test_a_stop_kills_the_whole_tree_behind_the_sandbox(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    run_id = door.start_fake(
        {"fork": {"ignore_term": True, "clean_env": True}}, {"hang": {}}, allow_write=True, sandbox="fs"
    )
    door.until_event(run_id, "system.notice", code="forked")
    top = door.until_event(run_id, "run.started")["pid"]
    inside = members(top)
    assert len(inside) >= 3
    assert door.call("cc_stop", run_id=run_id)["stopped"] is True
    assert not any(alive(pid) for pid in inside)


def members(top: int) -> list[int]:
    found, waiting = [top], [top]
    while waiting:
        pid = waiting.pop()
        try:
            below = [int(part) for part in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            continue
        found += below
        waiting += below
    return found


@pytest.mark.parametrize("level", ["fs", "fs+net"])
def test_what_a_worker_leaves_behind_is_counted_and_the_sandbox_is_not(tmp_path: Path, level: str) -> None:
    door = sandboxed(tmp_path)
    left = door.play({"fork": {"double": True, "setsid": True}}, {"result": "x"}, allow_write=True, sandbox=level)
    assert left["exit"]["leftovers"] == 1
    assert door.play({"result": "x"}, allow_write=True, sandbox=level)["exit"]["leftovers"] == 0


@pytest.mark.parametrize("level", ["fs", "fs+net"])
def test_a_lost_run_is_swept_with_its_sandbox(tmp_path: Path, level: str) -> None:
    door = sandboxed(tmp_path)
    run_id = door.start_fake(
        *CHANGE[:1], {"commit": "one"}, {"fork": {"double": True, "setsid": True, "clean_env": True}}, {"hang": {"deaf": True}},
        allow_write=True, sandbox=level,
    )  # fmt: skip
    door.until_event(run_id, "system.notice", code="forked")
    started = door.until_event(run_id, "run.started")
    inside = members(started["pid"])
    os.kill(started["supervisor_pid"], signal.SIGKILL)
    until(lambda: not door.run(run_id).is_owned(), 5.0, what="the freed lock")
    assert door.call("cc_run_status", run_id=run_id)["reason"] == "supervisor_died"
    for pid in inside:
        until_gone(pid, 5.0)
    assert door.state(run_id)["snapshot"]["committed"] == 1
    assert not os.path.exists(door.run(run_id).private)
    assert list(Path(door.env["XDG_RUNTIME_DIR"]).rglob("px-*")) == []


def test_an_interrupt_reaches_the_worker_and_not_the_sandbox(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    code = "import signal, sys, time\nsignal.signal(2, lambda *_: (print('asked', flush=True), sys.exit(3)))\ntime.sleep(60)"
    run_id = door.start_fake(
        {"run": {"argv": [sys.executable, "-c", code]}}, {"result": "x"}, allow_write=True, sandbox="fs", ignore_interrupt=True
    )  # fmt: skip
    pid = pid_outside(door, run_id, code)
    assert door.call("cc_stop", run_id=run_id)["stopped"] is True
    assert not alive(pid)


def test_how_a_worker_died_is_told_through_the_sandbox(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    run_id = door.start_fake({"say": "up"}, {"hang": {}}, allow_write=True, sandbox="fs")
    door.until_event(run_id, "run.message")
    os.kill(pid_outside(door, run_id, "-u"), signal.SIGKILL)
    door.finish(run_id)
    assert door.data(run_id, "run.exited")[0]["signal"] == signal.SIGKILL


def test_our_own_cli_refuses_inside_a_sandbox_whatever_the_environment_says(tmp_path: Path) -> None:
    door = sandboxed(tmp_path)
    server = str(Path(__file__).parents[2] / "server")
    argv = [
        "env", "-i", f"PYTHONPATH={server}", f"PATH={os.environ['PATH']}", "HOME=/tmp", "setsid", "-w",
        sys.executable, "-m", "cc_orchestrator", "run", "--adapter", "fake", "again",
    ]  # fmt: skip
    run_id = door.start_fake(
        {"call_cli": {"argv": argv, "seconds": 30}}, {"result": "x"}, allow_write=True, sandbox="fs"
    )
    door.finish(run_id, seconds=40)
    said = door.data(run_id, "run.message")[0]["text"]
    assert run_id in said, said
    assert not said.startswith("exit 0"), said


# ---------------------------------------------------------------- Landlock, where bubblewrap is missing


def test_landlock_holds_files_and_processes_and_declares_what_it_does_not(tmp_path: Path) -> None:
    need("landlock")
    door = bare(Door(tmp_path), **LANDLOCK)
    home = Path(door.env["HOME"])
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id").write_text("KEY")
    tries = (
        f"cat {home}/.ssh/id; echo x > {home}/planted; echo x > {door.cwd}/planted; echo x > .git/hooks/x; kill -0 {os.getpid()};"
        f" cat /proc/{os.getpid()}/environ; cat /etc/shadow; echo inside > a.txt; echo scratch > $TMPDIR/x; cp $TMPDIR/x b.txt"
    )
    run_id = door.start_fake({"run": {"argv": ["sh", "-c", tries]}}, {"result": "x"}, allow_write=True, sandbox="fs")
    door.finish(run_id)
    state = door.state(run_id)
    said = note(door, run_id)
    assert "KEY" not in said
    assert not (home / "planted").exists()
    assert not (door.cwd / "planted").exists()
    assert [row["path"] for row in state["snapshot"]["files"]] == ["a.txt", "b.txt"], said
    assert state["sandbox_backend"] == "landlock"
    assert any("sockets by path" in row for row in door.spec(run_id).declared)
    assert outside_of(door, run_id) == "unverified"


# ---------------------------------------------------------------- the plan, which is pure

GROUND = Ground("run_x", "/p/w", "/p/w", True, "/p/o", "/p/r/private", "/h/me", "/p/.agent-workspace")
BWRAP = Backend("bubblewrap", "/usr/bin/bwrap", ("--unshare-user",), True)


def test_the_plan_never_lowers_a_level() -> None:
    with pytest.raises(SandboxError, match="needs bubblewrap"):
        plan_sandbox("fs+net", Backend("landlock", ""), ["x"], {}, GROUND, look)
    with pytest.raises(SandboxError, match="holds your home"):
        plan_sandbox("fs", BWRAP, ["x"], {}, GROUND._replace(tree="/h"), look)


def test_inner_folders_are_mounted_over_outer_ones() -> None:
    argv = plan_sandbox("fs", BWRAP, ["x"], {"HOME": "/h/me"}, GROUND, lambda path: "").argv
    targets = [argv[n + 2] for n, word in enumerate(argv) if word in ("--bind", "--ro-bind")]
    for place, target in enumerate(targets):
        assert not any(is_within(target, later) and target != later for later in targets[place + 1 :]), target


def test_user_namespaces_are_locked_unless_the_cli_needs_them() -> None:
    locked = plan_sandbox("fs", BWRAP, ["x"], {}, GROUND, lambda path: "").argv
    nesting = plan_sandbox("fs", BWRAP, ["x"], {}, GROUND._replace(nests=True), lambda path: "").argv
    assert "--disable-userns" in locked
    assert "--disable-userns" not in nesting


def test_a_worker_gets_no_way_to_an_agent_of_the_users() -> None:
    env = {"SSH_AUTH_SOCK": "/x", "XDG_RUNTIME_DIR": "/x", "PATH": "/usr/bin", "TMPDIR": "/home/me/tmp"}
    got = plan_sandbox("fs", BWRAP, ["x"], env, GROUND, lambda path: "").env
    assert "SSH_AUTH_SOCK" not in got
    assert "XDG_RUNTIME_DIR" not in got
    assert (got["PATH"], got["TMPDIR"]) == ("/usr/bin", "/tmp")


@pytest.mark.parametrize(
    ("asked", "passes"),
    [("api.example:443", True), ("API.example:443", True), ("api.example:80", False), ("x.api.example:443", False),
     ("api.example.evil:443", False), ("api.example", False), ("", False), ("api.example:443:443", False)],
)  # fmt: skip
def test_the_way_out_is_for_named_hosts_and_ports(asked: str, passes: bool) -> None:
    assert (allowed(asked, frozenset({"api.example:443"})) is not None) is passes


def test_an_allowed_host_keeps_its_port_and_the_proxy_takes_another() -> None:
    ground = GROUND._replace(hosts=("127.0.0.1:3128", "api.example:443"), proxy="/x")
    plan = plan_sandbox("fs+net", BWRAP, ["x"], {}, ground, lambda path: "")
    assert plan.env["HTTPS_PROXY"] == "http://127.0.0.1:3129"
    assert "3129\n/run/cc-proxy.sock\n127.0.0.1:3128" in plan.argv
