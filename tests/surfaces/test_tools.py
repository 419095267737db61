"""What a client is told and what it gets back: the list of tools, answers, errors, resources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from cc_orchestrator.operations.catalog import operations
from cc_orchestrator.operations.resources import NAMES
from cc_orchestrator.surfaces.mcp.instructions import INSTRUCTIONS
from cc_orchestrator.surfaces.mcp.server import describe
from kit.door import Door
from kit.memory import memory_client

RUN = "run_01k3000000abcdefghjk"
MODES = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def fill(path: str, text: str) -> None:
    Path(path).write_text(text)


def put_link(path: str, target: Path) -> None:
    target.write_text("hidden")
    Path(path).unlink(missing_ok=True)
    Path(path).symlink_to(target)


async def tools_of(door: Door, *toolsets: str) -> list[dict[str, Any]]:
    async with memory_client(door, *toolsets) as client:
        listing = await client.list_tools()
    return listing.model_dump(by_alias=True, exclude_none=True, mode="json")["tools"]


async def test_the_default_list_is_small(door: Door) -> None:
    tools = await tools_of(door)
    assert len(tools) <= 20
    assert len(json.dumps({"tools": tools}, ensure_ascii=False, separators=(",", ":")).encode()) <= 16_384
    assert {"cc_tools", "cc_read", "cc_call", "cc_wait", "cc_run_streaming"} <= {tool["name"] for tool in tools}


async def test_toolsets_list_more(door: Door) -> None:
    assert {tool["name"] for tool in await tools_of(door, "all")} == {op.name for op in operations()}
    assert "cc_git_diff" in {tool["name"] for tool in await tools_of(door, "review")}


async def test_every_tool_has_a_flat_schema_a_description_and_hints(door: Door) -> None:
    for tool in await tools_of(door, "all"):
        schema = tool["inputSchema"]
        assert schema["type"] == "object"
        assert schema["additionalProperties"] is False
        assert "$defs" not in json.dumps(schema)
        assert "$ref" not in json.dumps(schema)
        assert 10 < len(tool["description"]) < 400
        assert "outputSchema" not in tool
        assert {"readOnlyHint", "openWorldHint"} <= set(tool["annotations"])
        assert set(tool["_meta"]) & {"anthropic/alwaysLoad", "anthropic/searchHint"}


def test_annotations_say_what_an_operation_does() -> None:
    hints = {op.name: describe(op).annotations for op in operations()}
    for op in operations():
        found = hints[op.name]
        assert found is not None
        assert found.read_only_hint is op.reads
        if op.reads:
            # Codex runs these without asking.
            assert found.open_world_hint is False
            assert found.destructive_hint is None
        else:
            assert found.destructive_hint is (op.effect == "destructive")
    for name in ("cc_poll", "cc_wait", "cc_status", "cc_doctor", "cc_tools", "cc_read"):
        assert hints[name].read_only_hint is True, name
    starts, stops, relays = hints["cc_run_streaming"], hints["cc_stop"], hints["cc_call"]
    assert (starts.destructive_hint, starts.open_world_hint) == (False, True)
    assert (stops.destructive_hint, stops.open_world_hint) == (True, False)
    assert (relays.destructive_hint, relays.open_world_hint) == (True, True)


def test_hot_tools_are_always_loaded() -> None:
    hot = {op.name for op in operations() if describe(op).meta == {"anthropic/alwaysLoad": True}}
    assert {"cc_run_streaming", "cc_wait", "cc_poll"} <= hot
    assert len(hot) <= 6


def test_instructions_are_short_and_name_only_what_exists() -> None:
    assert len(INSTRUCTIONS.encode()) <= 2_048
    for name in ("cc_run_streaming", "cc_wait", "cc_answer", "cc_stop", "cc_tools", "cc_read", "cc_call"):
        assert name in INSTRUCTIONS


@MODES
async def test_text_and_structure_carry_the_same_facts(door: Door, mode: str) -> None:
    async with memory_client(door, mode=mode) as client:
        for name in ("cc_status", "cc_doctor", "cc_tools"):
            answer = await client.call_tool(name, {})
            (block,) = answer.content
            assert block.type == "text"
            assert json.loads(block.text) == answer.structured_content
            assert not answer.is_error
            assert "\n" not in block.text
            assert ": " not in block.text.partition(",")[0]


@MODES
@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("cc_nothing", {}, "not_found"), ("cc_spawn_role_team", {}, "not_found"), ("cc_poll", {"run_id": RUN}, "not_found"),
        ("cc_poll", {"run_id": "../x"}, "invalid_request"), ("cc_poll", {"run": RUN}, "invalid_request"),
        ("cc_run_streaming", {"task": "x", "adapter": "nope"}, "invalid_request"),
    ],
)  # fmt: skip
async def test_an_error_is_marked_and_tells_what_to_do(
    door: Door, mode: str, name: str, arguments: dict[str, Any], code: str
) -> None:
    async with memory_client(door, mode=mode) as client:
        answer = await client.call_tool(name, arguments)
    assert answer.is_error
    assert answer.structured_content is not None
    error = answer.structured_content["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["hint"]
    (block,) = answer.content
    assert block.type == "text"
    assert json.loads(block.text) == answer.structured_content


async def test_names_and_nested_parameters_of_the_older_skill_are_taken(door: Door) -> None:
    async with memory_client(door) as client:
        assert (await client.call_tool("cc_healthcheck", {})).structured_content["ok"] is True
        answer = await client.call_tool("cc_poll_run", {"params": {"run_id": RUN, "event_offset": 0}})
    assert answer.structured_content is not None
    assert answer.structured_content["error"]["code"] == "not_found"


@pytest.mark.process
@MODES
async def test_artifacts_of_a_run_are_resources(door: Door, mode: str) -> None:
    run_id = door.start_fake({"say": "hello"}, {"result": "done"})
    door.finish(run_id)
    files = {row["name"] for row in door.call("cc_open_run_folder", run_id=run_id)["files"]}
    assert {"spec.json", "events.ndjson", "stdout.raw", "usage.json"} <= files
    async with memory_client(door, mode=mode) as client:
        templates = await client.list_resource_templates()
        assert [entry.uri_template for entry in templates.resource_templates] == ["cc://runs/{run_id}/{name}"]
        spec = await client.read_resource(f"cc://runs/{run_id}/spec.json")
        assert json.loads(spec.contents[0].text)["run_id"] == run_id
        assert spec.contents[0].mime_type == "application/json"
        journal = await client.read_resource(f"cc://runs/{run_id}/events.ndjson")
        assert "run.finished" in journal.contents[0].text
        for name in NAMES:
            if name in files:
                assert (await client.read_resource(f"cc://runs/{run_id}/{name}")).contents
            else:
                with pytest.raises(MCPError, match="has no"):
                    await client.read_resource(f"cc://runs/{run_id}/{name}")


@pytest.mark.process
async def test_a_resource_is_a_file_of_ours_in_a_run_of_ours_and_nothing_else(door: Door, tmp_path: Path) -> None:
    run_id = door.start_fake({"result": "done"})
    door.finish(run_id)
    put_link(door.run(run_id).at("latest_decision.md"), tmp_path / "secret")
    async with memory_client(door) as client:
        for uri in (
            f"cc://runs/{run_id}/latest_decision.md", f"cc://runs/{run_id}/lock", f"cc://runs/{run_id}/../../../README.md",
            f"cc://runs/{run_id}/%2e%2e/x", "cc://runs/../spec.json", f"cc://runs/{RUN}/spec.json", "file:///etc/passwd", "cc://x/y/z",
            f"cc://runs/{run_id}",
        ):  # fmt: skip
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert "hidden" not in str(caught.value)


@pytest.mark.process
async def test_a_resource_that_is_huge_gives_its_end(door: Door) -> None:
    run_id = door.start_fake({"result": "done"})
    door.finish(run_id)
    fill(door.run(run_id).at("stdout.raw"), "x" * 900_000 + "the end")
    async with memory_client(door) as client:
        text = (await client.read_resource(f"cc://runs/{run_id}/stdout.raw")).contents[0].text
    assert len(text) <= 200_000
    assert text.endswith("the end")
