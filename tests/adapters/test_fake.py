"""The bundled worker behind its adapter: real processes, driven through their pipes."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cc_orchestrator.adapters.fake import VERBS, FakeAdapter
from cc_orchestrator.core.asking import Answer, Ask
from cc_orchestrator.core.events import Fact
from cc_orchestrator.fake_worker.worker import Worker
from kit.pipes import Driven, drive, request_for

FAKE = FakeAdapter()
pytestmark = pytest.mark.process


def play(folder: Path, *steps: dict[str, Any], request: dict[str, Any] | None = None, **more: Any) -> Driven:
    keys = {"model", "gate", "stay", "ignore_interrupt", "ignore_conclude"}
    script = {"steps": list(steps), **{key: value for key, value in more.items() if key in keys}}
    hooks = {key: value for key, value in more.items() if key not in keys}
    wanted = request_for(str(folder), options={"script": script}, **(request or {}))
    assert FAKE.check(wanted) == []
    return drive(FAKE, wanted, **hooks)


def reason(driven: Driven) -> str:
    assert driven.ending is not None
    return driven.ending.reason


# ---------------------------------------------------------------- what it says


def test_a_script_comes_out_as_facts_in_its_order(tmp_path: Path) -> None:
    driven = play(
        tmp_path, {"say": {"text": "looking at: {task}"}}, {"think": {"text": "hm"}},
        {"tool": {"tool": "Read", "target": "README.md", "ok": True}},
        {"usage": {"input_tokens": 10, "output_tokens": 5, "cost_usd": 0.001, "model": "fake-2"}},
        {"usage": {"input_tokens": 1}}, {"result": {"text": "done"}}, model="fake-2",
    )  # fmt: skip
    assert [fact.type for fact in driven.facts] == [
        "run.session", "run.turn", "run.message", "tool.started", "tool.finished", "run.usage", "run.usage", "run.result",
    ]  # fmt: skip
    assert driven.of("run.session")[0]["model"] == "fake-2"
    assert driven.texts() == ["looking at: look at it"]
    assert driven.of("tool.started") == [{"id": "call-1", "tool": "Read", "kind": "read", "target": "README.md"}]
    assert driven.of("run.usage")[-1]["input_tokens"] == 11
    assert driven.ending == ("completed", "done", "")


def test_without_a_script_a_reader_looks_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    driven = drive(FAKE, request_for(str(tmp_path), cwd=str(tmp_path / "work")))
    assert reason(driven) == "completed"
    assert os.listdir(tmp_path / "work") == []
    assert [ask.gate for ask in driven.asks] == [True]


def test_without_a_script_a_writer_leaves_a_small_real_change(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    driven = drive(FAKE, request_for(str(tmp_path), cwd=str(tmp_path / "work"), allow_write=True))
    assert (tmp_path / "work" / "NOTES.md").read_text() == "- look at it\n"
    assert driven.of("tool.started")[-1]["paths"] == [str(tmp_path / "work" / "NOTES.md")]


def test_figures_of_a_resumed_session_go_on_from_the_baseline(tmp_path: Path) -> None:
    driven = play(
        tmp_path, {"usage": {"input_tokens": 5}}, request={"resume": "fake-old", "baseline": {"input_tokens": 100}}
    )
    assert driven.of("run.session")[0]["session_id"] == "fake-old"
    assert driven.of("run.usage")[0]["input_tokens"] == 5
    assert driven.of("run.usage")[0]["session_totals"] == {"input_tokens": 105}


def test_a_fork_gets_a_session_of_its_own(tmp_path: Path) -> None:
    driven = play(tmp_path, request={"resume": "fake-old", "fork": True})
    assert driven.of("run.session")[0]["session_id"] == "fake-run_01k3000000abcdefghjk"


# ---------------------------------------------------------------- what it does


def test_it_really_writes_runs_commits_and_deletes(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    driven = play(
        tmp_path, {"write": {"path": "a/b.txt", "content": "one\n"}},
        {"write": {"path": "a/b.txt", "content": "two\n", "append": True}},
        {"run": {"argv": ["cat", "a/b.txt"]}}, {"commit": {"message": "add b"}}, {"delete": {"path": "a/b.txt"}},
        {"run": {"argv": ["false"]}}, {"run": ["no-such-program-at-all"]}, request={"cwd": str(repo), "allow_write": True},
    )  # fmt: skip
    notes = driven.of("tool.finished")
    assert [note["ok"] for note in notes] == [True, True, True, True, True, False, False]
    assert notes[2]["note"] == "exit 0 one two"
    log = subprocess.run(
        ["git", "-C", str(repo), "log", "--format=%s", "--stat"], check=True, capture_output=True, text=True
    )
    assert "add b" in log.stdout
    assert "a/b.txt" in log.stdout
    assert not (repo / "a" / "b.txt").exists()


def test_it_leaves_files_in_the_outbox(tmp_path: Path) -> None:
    play(tmp_path, {"outbox": {"name": "handoff.json", "content": {"summary": "x"}}})
    assert json.loads((tmp_path / "run" / "outbox" / "handoff.json").read_text()) == {"summary": "x"}


def test_it_says_which_variables_it_got_without_their_values(tmp_path: Path) -> None:
    driven = play(tmp_path, {"env": {"names": ["HOME", "SURELY_ABSENT"]}})
    assert driven.texts() == ["env: HOME=present SURELY_ABSENT=absent"]


def test_it_reports_what_another_program_answers(tmp_path: Path) -> None:
    driven = play(tmp_path, {"call_cli": {"argv": ["sh", "-c", "echo no; exit 5"]}})
    assert driven.texts() == ["exit 5: no\n"]


# ---------------------------------------------------------------- talk


def test_a_question_waits_for_its_answer(tmp_path: Path) -> None:
    driven = play(
        tmp_path, {"ask": {"kind": "choice", "text": "which?", "options": ["a", "b"]}},
        on_ask=lambda ask: Answer("allow", choices={ask.text: ask.options[1]}),
    )  # fmt: skip
    assert driven.asks[0].options == ("a", "b")
    assert driven.texts() == ["answer: allow b"]


def test_a_denied_question_may_end_the_work(tmp_path: Path) -> None:
    ask = {"ask": {"text": "may I push?", "tool": "Bash", "target": "git push", "if_denied": "end"}}
    driven = play(tmp_path, ask, {"say": "never said"}, on_ask=lambda _ask: Answer("deny", "no"))
    assert driven.asks[0].call is not None
    assert driven.asks[0].call.kind == "command"
    assert reason(driven) == "worker_error"
    assert driven.texts() == ["answer: deny no"]


def test_behind_a_gate_a_denied_tool_does_not_run(tmp_path: Path) -> None:
    def judge(ask: Ask) -> Answer:
        assert ask.gate
        assert ask.call is not None
        return Answer("deny", "outside") if "secret" in ask.call.target else Answer("allow")

    driven = play(
        tmp_path, {"gate": {}}, {"write": {"path": "fine.txt", "content": "x"}}, {"write": {"path": "secret.txt", "content": "x"}},
        on_ask=judge,
    )  # fmt: skip
    assert (tmp_path / "fine.txt").exists()
    assert not (tmp_path / "secret.txt").exists()
    assert driven.of("tool.finished")[1] == {"id": "call-2", "ok": False, "note": "denied: outside"}


def test_an_instruction_is_acknowledged_and_taken_up(tmp_path: Path) -> None:
    def steer(driven: Driven, fact: Fact) -> None:
        if fact.type == "run.message" and fact.data["text"] == "ready":
            driven.do(driven.session.instruct("use tabs", "c1"), lambda *_: None, lambda _: Answer("deny"))

    driven = play(tmp_path, {"say": "ready"}, {"wait_instruction": {}}, {"say": "going on"}, on_fact=steer)
    assert driven.texts() == ["ready", "instruction: use tabs", "going on"]
    assert driven.of("run.instructed") == [{"control_id": "c1", "chars": 8, "delivered": True, "how": "while it works"}]


def test_an_instruction_that_came_before_it_is_waited_for_is_not_missed(tmp_path: Path) -> None:
    flag = tmp_path / "heard"

    def steer(driven: Driven, fact: Fact) -> None:
        if fact.type == "run.message" and fact.data["text"] == "ready":
            driven.do(driven.session.instruct("use tabs", "c1"), lambda *_: None, lambda _: Answer("deny"))
        elif fact.type == "run.message" and fact.data["text"] == "instruction: use tabs":
            flag.touch()

    steps = ({"say": "ready"}, {"barrier": {"path": str(flag)}}, {"wait_instruction": {}}, {"say": "going on"})
    driven = play(tmp_path, *steps, on_fact=steer)
    assert driven.texts() == ["ready", "instruction: use tabs", "going on"]


def test_an_instruction_after_the_result_is_not_delivered(tmp_path: Path) -> None:
    driven = play(tmp_path, {"result": "done"})
    (fact,) = driven.session.instruct("too late", "c2")
    assert isinstance(fact, Fact)
    assert fact.data["delivered"] is False


@pytest.mark.parametrize(
    ("how", "expected"), [("interrupt", "worker_error"), ("conclude", "completed")], ids=["interrupt", "conclude"]
)
def test_a_hanging_worker_heeds(how: str, expected: str, tmp_path: Path) -> None:
    def end(driven: Driven, fact: Fact) -> None:
        if fact.type == "run.message":
            effects = driven.session.interrupt() if how == "interrupt" else driven.session.conclude("enough")
            driven.do(effects, end, lambda _: Answer("deny"))
        if fact.type == "run.result":
            driven.close_input()

    driven = play(tmp_path, {"say": "now"}, {"hang": {}}, on_fact=end)
    assert reason(driven) == expected
    assert driven.exit_code == 0


def test_after_an_interrupt_it_can_be_told_something_else(tmp_path: Path) -> None:
    def talk(driven: Driven, fact: Fact) -> None:
        if fact.type == "run.message" and fact.data["text"] == "now":
            driven.do(driven.session.interrupt(), talk, lambda _: Answer("deny"))
        if fact.type == "run.result" and fact.data["index"] == 1:
            driven.do(driven.session.instruct("do that instead", "c1"), talk, lambda _: Answer("deny"))

    driven = play(tmp_path, {"say": "now"}, {"hang": {}}, on_fact=talk)
    assert [data["is_error"] for data in driven.of("run.result")] == [True, False]
    assert driven.ending == ("completed", "took up: do that instead", "")


def test_work_waits_at_a_barrier_until_somebody_opens_it(tmp_path: Path) -> None:
    def open_it(_driven: Driven, fact: Fact) -> None:
        if fact.type == "run.message" and fact.data["text"] == "before":
            (tmp_path / "gate").touch()

    barrier = str(tmp_path / "gate")
    driven = play(tmp_path, {"say": "before"}, {"barrier": {"path": barrier}}, {"touch": "passed"}, on_fact=open_it)
    assert reason(driven) == "completed"
    assert (tmp_path / "passed").exists()


def test_several_results_leave_the_input_open_until_the_last(tmp_path: Path) -> None:
    driven = play(tmp_path, {"result": "first"}, {"ask": {"text": "more?"}}, {"result": "second"}, stay=True)
    assert [data["text"] for data in driven.of("run.result")] == ["first", "second"]
    assert driven.texts() == ["answer: allow"]


# ---------------------------------------------------------------- bad behaviour


@pytest.mark.parametrize(
    ("step", "expected", "exit_code", "signal"),
    [
        ({"exit": {"code": 0}}, "exited_empty", 0, None),
        ({"exit": {"code": 3}}, "crashed", 3, None),
        ({"crash": {"signal": "KILL"}}, "crashed", None, 9),
        ({"crash": {"signal": "SEGV"}}, "crashed", None, 11),
        ({"partial_line": {}}, "crashed", 1, None),
        ({"result": {"text": "no", "is_error": True}}, "worker_error", 0, None),
        ({"result": {"text": "no", "is_error": True, "reason": "rate_limited"}}, "rate_limited", 0, None),
        ({"result": {"text": "no", "is_error": True, "reason": "user_requested"}}, "worker_error", 0, None),
        ({"lie": {}}, "completed", 0, None),
    ],
)
def test_every_end_has_its_reason(
    step: dict[str, Any], expected: str, exit_code: int | None, signal: int | None, tmp_path: Path
) -> None:
    driven = play(tmp_path, step)
    assert (reason(driven), driven.exit_code, driven.signal) == (expected, exit_code, signal)


def test_a_result_followed_by_a_bad_exit_is_no_success(tmp_path: Path) -> None:
    driven = play(tmp_path, {"result": "all done"}, {"exit": 9})
    assert driven.ending == ("crashed", "all done", "exit 9")


def test_noise_is_kept_as_noise(tmp_path: Path) -> None:
    driven = play(
        tmp_path, {"raw": {"text": "no json\n"}}, {"raw": {"base64": "AP/+Cg=="}}, {"raw": '{"event": "unheard of"}\n'},
        {"raw": "[1]\n"}, {"stderr": "a warning"},
    )  # fmt: skip
    assert len(driven.of("system.unparsed")) == 4
    assert driven.of("system.stderr") == [{"text": "a warning"}]
    assert reason(driven) == "completed"


def test_floods_and_giant_lines_come_out_whole(tmp_path: Path) -> None:
    driven = play(
        tmp_path, {"flood": {"lines": 500, "size": 200}}, {"flood": {"lines": 20, "as": "delta"}},
        {"big_line": {"bytes": 3_000_000, "secret": "S3CRET"}},
    )  # fmt: skip
    assert len(driven.texts()) == 501
    assert max(len(line) for line in driven.stdout) > 3_000_000
    assert b" S3CRET " in max(driven.stdout, key=len)
    assert len(driven.texts()[-1].encode()) <= 4_000


def test_a_rate_limit_is_told_and_sat_out(tmp_path: Path) -> None:
    driven = play(tmp_path, {"rate_limit": {"seconds": 0.01}}, {"retry": {"attempt": 2, "max": 5}})
    assert driven.of("run.retrying") == [
        {"cause": "rate_limited", "attempt": 1, "delay_s": 0.01, "status": 429},
        {"cause": "overloaded", "attempt": 2, "max": 5, "status": 529},
    ]


def test_a_fork_outlives_the_worker_in_a_session_of_its_own(tmp_path: Path) -> None:
    driven = play(tmp_path, {"fork": {"seconds": 60, "ignore_term": True}})
    (pid,) = [int(data["text"]) for data in driven.of("system.notice")]
    assert os.getsid(pid) == pid
    os.kill(pid, 15)
    os.kill(pid, 0)
    os.kill(pid, 9)


def test_signals_that_it_was_told_to_ignore_do_nothing(tmp_path: Path) -> None:
    def shoot(driven: Driven, fact: Fact) -> None:
        if fact.type == "run.message" and fact.data["text"] == "armoured":
            driven.process.send_signal(15)
            driven.process.send_signal(2)
            (tmp_path / "shot").touch()

    driven = play(
        tmp_path, {"ignore_term": {}}, {"ignore_int": {}}, {"say": "armoured"}, {"barrier": str(tmp_path / "shot")}, on_fact=shoot
    )  # fmt: skip
    assert reason(driven) == "completed"


def test_a_transcript_is_played_as_it_was_recorded(tmp_path: Path) -> None:
    first = play(tmp_path, {"say": "one"}, {"tool": {"target": "x"}}, {"result": "two"})
    (tmp_path / "t.ndjson").write_bytes(b"\n".join(first.stdout) + b"\n")
    second = play(tmp_path, {"transcript": {"path": "t.ndjson"}})
    assert second.stdout[2:] == first.stdout
    assert second.ending == first.ending


def test_steps_can_be_repeated(tmp_path: Path) -> None:
    assert play(tmp_path, {"repeat": {"times": 3, "steps": [{"turn": {}}, {"say": "again"}]}}).texts() == ["again"] * 3


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("steps", "script must be an object with steps"),
        ({"steps": {}}, "steps must be a list, at most 8 deep"),
        ({"steps": [{"dance": {}}]}, "step 1: unknown verb dance"),
        ({"steps": [{"say": "a", "exit": 1}]}, "step 1 must be an object with one verb"),
        ({"steps": [{"write": {"content": "x"}}]}, "step 1: write needs path"),
        ({"steps": [{"repeat": {"steps": [{"jump": {}}]}}]}, "step 1: step 1: unknown verb jump"),
        (
            {"stepz": []},
            "script has unknown keys stepz: expected gate, ignore_conclude, ignore_interrupt, model, resumed, stay, steps",
        ),
    ],
)
def test_a_wrong_script_is_refused_with_a_sentence(script: Any, sentence: str, tmp_path: Path) -> None:
    assert FAKE.check(request_for(str(tmp_path), options={"script": script})) == [sentence]


def test_the_adapter_knows_exactly_the_workers_verbs() -> None:
    assert set(Worker({}).verbs) == VERBS


def test_a_script_without_a_gate_is_declared(tmp_path: Path) -> None:
    assert FAKE.declare(request_for(str(tmp_path), options={"script": {"steps": []}})) != []
    assert FAKE.declare(request_for(str(tmp_path), options={"script": {"gate": True, "steps": []}})) == []
    assert FAKE.declare(request_for(str(tmp_path))) == []
