"""What an ended command means. Pure."""

from __future__ import annotations

import pytest

from cc_orchestrator.core.errors import InvalidRequest
from cc_orchestrator.host.command import Ran
from cc_orchestrator.verify.commands import parse_commands
from cc_orchestrator.verify.outcomes import check_tests, judge_command


def ran(exit_code: int | None = 0, tail: str = "", command: str = "./check", **more: object) -> Ran:
    return Ran(command, "exited", exit_code, None, 0.1, 0, len(tail), tail, "")._replace(**more)


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (ran(), "pass"),
        (ran(tail="Ran 12 tests in 0.01s\nOK"), "pass"),
        (ran(tail="Ran 0 tests in 0.000s\n\nOK"), "unverified"),
        (ran(tail="===== no tests ran in 0.01s ====="), "unverified"),
        (ran(tail="# tests 0\n# pass 0"), "unverified"),
        (ran(tail="# tests 10\n# pass 10"), "pass"),
        (ran(5), "fail"),
        (ran(127), "fail"),
        (ran(None, signal=11), "fail"),
        (ran(None, outcome="timeout", detail="killed after 1 s"), "fail"),
        (ran(None, outcome="not_found", detail="x not found"), "unverified"),
        (ran(command="pytest -q"), "unverified"),
        (ran(tail="....  [100%]\n4 passed, 1 skipped in 0.1s", command="pytest -q"), "pass"),
        (ran(tail="....  [100%]", command="pytest -qq"), "pass"),
        (ran(tail="3 skipped in 0.1s", command="python -m pytest"), "unverified"),
        (ran(tail="12 tests collected in 0.1s", command="pytest --collect-only"), "unverified"),
        (ran(command="python3 -m unittest"), "unverified"),
        (ran(tail="Ran 3 tests in 0.1s\n\nOK (skipped=3)", command="python3 -m unittest"), "unverified"),
        (ran(tail="Ran 3 tests in 0.1s\n\nOK (skipped=1)", command="python3 -m unittest"), "pass"),
        (ran(tail="?   \tx\t[no test files]", command="go test ./..."), "unverified"),
        (ran(tail="ok  \tx\t0.1s\n?   \ty\t[no test files]", command="go test ./..."), "pass"),
        (ran(tail="test result: ok. 0 passed; 0 failed", command="cargo test"), "unverified"),
        (ran(tail="Tests:       2 skipped, 2 total", command="npx jest"), "unverified"),
        (ran(tail="Tests:       1 skipped, 2 passed, 3 total", command="npx jest"), "pass"),
    ],
)
def test_only_exit_0_of_something_that_tested_is_a_pass(given: Ran, outcome: str) -> None:
    assert judge_command(given)[0] == outcome


def test_one_failure_is_a_failure_and_one_doubt_is_no_pass() -> None:
    good, bad, doubt = ran(), ran(1, "boom"), ran(None, outcome="not_found", detail="x not found")
    assert check_tests([good, bad, doubt], 3).outcome == "fail"
    assert "boom" in check_tests([good, bad], 2).evidence
    assert (check_tests([good, doubt], 2).outcome, check_tests([good, doubt], 2).fixable) == ("unverified", False)
    assert check_tests([good, good], 2).outcome == "pass"
    assert check_tests([], 2, "no result").outcome == "unverified"


def test_a_command_is_split_as_a_person_would_and_its_secrets_are_not_shown() -> None:
    secret = "ghp_" + "w1B2c3D4e5F6g7H8i9J0" * 2
    (command,) = parse_commands([f"run 'two words' {secret}"])
    assert command.argv == ("run", "two words", secret)
    assert command.shown == "run 'two words' [MASKED:github]"
    assert parse_commands(["bash -c 'a && b | c'"])[0].argv == ("bash", "-c", "a && b | c")
    with pytest.raises(InvalidRequest, match="no shell"):
        parse_commands(["a | b"])
