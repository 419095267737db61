"""A worker's risky question reaches the person behind the client, in both protocol eras, over stdio, with the SDK's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as types
import pytest

from kit.door import Door
from kit.wire import MODERN, client

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
ERAS = ["legacy", MODERN]
ASK = {
    "ask": {
        "kind": "permission",
        "tool": "WebFetch",
        "tool_kind": "network",
        "target": "https://example.org",
        "text": "may I?",
    }
}
DONE = {"result": {"text": "done"}}


class Person:
    """Who sits before the client. Notes what was shown, and gives prepared replies."""

    def __init__(self, *replies: types.ElicitResult) -> None:
        self.replies = list(replies)
        self.seen: list[types.ElicitRequestParams] = []

    async def __call__(self, _context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.seen.append(params)
        return self.replies.pop(0)


def accept(**content: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


def narrow(door: Door, controller: str = "low", elicitation: str = "critical") -> None:
    """The controller may say yes to nothing that matters here."""
    folder = door.cwd / ".agent-workspace"
    folder.mkdir(exist_ok=True)
    (folder / "approvals.json").write_text(
        json.dumps({"controller": controller, "elicitation": elicitation}), encoding="utf-8"
    )


def answered(door: Door, run_id: str) -> tuple[str, str, str]:
    data = door.data(run_id, "question.answered")[0]
    return data["decision"], data["by"], data.get("channel", "")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_the_persons_word_is_the_answer(tmp_path: Path, era: str, decision: str) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE)
    person = Person(accept(decision=decision, text="as I say"))
    async with client(door, era, elicitation_callback=person) as session:
        woken = await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 30})
    assert woken.structured_content is not None
    assert woken.structured_content["woke"][0]["status"] == "succeeded"
    assert answered(door, run_id) == (decision, "person", "elicitation")
    shown = person.seen[0].message
    assert "WebFetch: https://example.org" in shown
    assert "risk high" in shown
    assert len(person.seen) == 1


@pytest.mark.parametrize("era", ERAS)
async def test_a_declined_form_is_a_no(tmp_path: Path, era: str) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE)
    async with client(door, era, elicitation_callback=Person(types.ElicitResult(action="decline"))) as session:
        await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 30})
    assert answered(door, run_id) == ("deny", "person", "elicitation")


@pytest.mark.parametrize("era", ERAS)
async def test_a_closed_form_is_no_answer_and_the_question_stays_open(tmp_path: Path, era: str) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE)
    async with client(door, era, elicitation_callback=Person(types.ElicitResult(action="cancel"))) as session:
        woken = await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 30})
        assert woken.structured_content is not None
        assert woken.structured_content["woke"][0]["woke_by"] == "question"
        refused = await session.call_tool("cc_answer", {"run_id": run_id, "decision": "allow"})
        assert refused.is_error
        assert refused.structured_content is not None
        assert refused.structured_content["error"]["code"] == "approval_required"
        denied = await session.call_tool("cc_answer", {"run_id": run_id, "decision": "deny"})
        assert not denied.is_error
    door.finish(run_id)
    assert answered(door, run_id) == ("deny", "controller", "mcp")


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cannot_ask_sees_the_question_as_ever(tmp_path: Path, era: str) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE)
    async with client(door, era) as session:
        woken = await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 30})
        assert woken.structured_content is not None
        assert woken.structured_content["woke"][0]["woke_by"] == "question"
    door.call("cc_answer", run_id=run_id, decision="allow")
    door.finish(run_id)
    assert answered(door, run_id) == ("allow", "controller", "cli")


@pytest.mark.parametrize("era", ERAS)
async def test_what_the_controller_may_answer_is_not_brought_to_the_person(tmp_path: Path, era: str) -> None:
    door = Door(tmp_path)
    run_id = door.start_fake(ASK, DONE)
    person = Person()
    async with client(door, era, elicitation_callback=person) as session:
        await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 30})
        await session.call_tool("cc_answer", {"run_id": run_id, "decision": "allow"})
    door.finish(run_id)
    assert person.seen == []
    assert answered(door, run_id) == ("allow", "controller", "mcp")


async def test_what_is_too_risky_for_a_form_stays_for_a_terminal(tmp_path: Path) -> None:
    door = Door(tmp_path)
    narrow(door, elicitation="medium")
    run_id = door.start_fake(ASK, DONE, question_seconds=1)
    person = Person()
    async with client(door, "legacy", elicitation_callback=person) as session:
        await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 30})
    door.finish(run_id)
    assert person.seen == []
    assert answered(door, run_id)[:2] == ("deny", "deadline")


async def test_an_answer_to_what_was_never_asked_is_refused(tmp_path: Path) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE, question_seconds=2)
    question = door.until_event(run_id, "question.asked")["question_id"]
    async with client(door, MODERN) as session:
        forged = {question: types.ElicitResult(action="accept", content={"decision": "allow"})}
        with pytest.raises(Exception, match="requestState"):
            await session.session.call_tool(
                "cc_wait", {"ids": [run_id]}, input_responses=forged, request_state="forged"
            )
    door.finish(run_id)
    assert answered(door, run_id)[:2] == ("deny", "deadline")


async def test_a_form_ends_with_its_question_and_the_wait_goes_on_to_the_end_of_the_run(tmp_path: Path) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE, question_seconds=3)

    async def away(_context: Any, _params: types.ElicitRequestParams) -> types.ElicitResult:
        await anyio.sleep_forever()
        raise AssertionError

    async with client(door, "legacy", elicitation_callback=away) as session:
        woken = await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 60})
    assert woken.structured_content is not None
    assert woken.structured_content["woke"][0]["status"] == "succeeded"
    assert answered(door, run_id)[0] == "deny"


async def test_an_answer_given_elsewhere_meanwhile_counts_and_the_wait_goes_on(tmp_path: Path) -> None:
    door = Door(tmp_path)
    narrow(door)
    run_id = door.start_fake(ASK, DONE)

    async def late(_context: Any, _params: types.ElicitRequestParams) -> types.ElicitResult:
        await anyio.to_thread.run_sync(lambda: door.call("cc_answer", run_id=run_id, decision="allow"))
        return accept(decision="deny")

    async with client(door, "legacy", elicitation_callback=late) as session:
        woken = await session.call_tool("cc_wait", {"ids": [run_id], "timeout_seconds": 60})
    assert woken.structured_content is not None
    assert woken.structured_content["woke"][0]["status"] == "succeeded"
    assert answered(door, run_id)[0] == "allow"
