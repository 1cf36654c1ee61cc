"""What a model reads at every start: small, strict, always in the same order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.faces.mcp.kit import HANDSHAKES, MODERN, arrive, wired
from tests.support.daimon import Daimon, running, settings_for

from daimon_mcp.domain.refusals import Refused
from daimon_mcp.faces.mcp.dialect import ToolDialect
from daimon_mcp.faces.mcp.tools import ALL, NAMES, chosen
from daimon_mcp.operations.inboxes import CreateInbox
from daimon_mcp.settings import SettingsError

WIRE = {tool.name: tool.wire.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in ALL}
HINTS = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}

MOST_BYTES = 16_000
MOST_TOOLS = 16


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("version", [HANDSHAKES[-1], MODERN])
async def test_the_default_profile_is_small_and_in_order(daimon: Daimon, version: str) -> None:
    async with wired(daimon.app.mcp_server(), version) as wire:
        first = (await wire.ask("tools/list"))["result"]
        again = (await wire.ask("tools/list"))["result"]
    assert compact(first) == compact(again)
    assert len(first["tools"]) <= MOST_TOOLS
    assert len(compact(first)) <= MOST_BYTES
    names = [tool["name"] for tool in first["tools"]]
    assert names == [name for name in NAMES if name in names]


def schemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and every one inside it."""
    yield schema
    for each in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        yield from schemas(each)
    for branch in schema.get("anyOf", []):
        yield from schemas(branch)


@pytest.mark.parametrize("name", NAMES)
def test_a_tool_says_all_that_hosts_look_at(name: str) -> None:
    tool = WIRE[name]
    assert tool["title"]
    assert set(tool["annotations"]) == HINTS
    assert all(isinstance(hint, bool) for hint in tool["annotations"].values())
    # A purpose first: a verb, and a first sentence that stands alone.
    assert tool["description"][0].isupper()
    assert tool["description"].split(".")[0].count(" ") >= 2
    assert len(tool["description"]) <= 400
    assert name.replace("_", "").isalpha()
    assert name == name.lower()


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_of_a_tool_are_strict_and_plain(name: str) -> None:
    taken, given = WIRE[name]["inputSchema"], WIRE[name]["outputSchema"]
    jsonschema.Draft202012Validator.check_schema(taken)
    jsonschema.Draft202012Validator.check_schema(given)
    assert taken["type"] == given["type"] == "object"
    assert taken["additionalProperties"] is False
    for root in (taken, given):
        assert not {"anyOf", "oneOf", "allOf", "not", "$defs"} & set(root)
        for schema in schemas(root):
            assert "$ref" not in schema
            assert not isinstance(schema.get("title"), str)
    # Arrays say what they hold and fields have one type, since some hosts refuse a list of tools in which one has not.
    for schema in schemas(taken):
        types = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
        assert len(types - {"null"}) == 1
        if "array" in types:
            assert "type" in schema["items"]


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_that_is_not_plain_is_described(name: str) -> None:
    taken = WIRE[name]["inputSchema"]
    required = set(taken.get("required", ()))
    for argument in required - {"inbox", "to", "approval_id"}:
        assert taken["properties"][argument].get("description"), argument


@pytest.mark.parametrize("tool", [tool for tool in ALL if tool.nullable], ids=lambda tool: tool.name)
def test_where_null_means_something_the_schema_takes_it(tool: Any) -> None:
    for name, schema in WIRE[tool.name]["inputSchema"]["properties"].items():
        if name not in WIRE[tool.name]["inputSchema"]["required"]:
            assert "null" in schema["type"], name


@pytest.mark.parametrize("tool", ALL, ids=lambda tool: tool.name)
def test_risk_is_told_apart(tool: Any) -> None:
    hints = WIRE[tool.name]["annotations"]
    assert not (hints["readOnlyHint"] and (hints["destructiveHint"] or hints["openWorldHint"]))
    sends = tool.name in {"send_email", "reply_to_message", "forward_message", "send_draft"}
    assert hints["openWorldHint"] is (sends or tool.name in {"verify_domain", "test_webhook"})
    assert hints["destructiveHint"] is (sends or tool.name.startswith(("delete_", "cancel_", "revoke_")))


# -- profiles --------------------------------------------------------------------------------------------------------


def test_profiles_lists_and_exclusions() -> None:
    assert [tool.name for tool in chosen(profile="full")] == list(NAMES)
    assert len(chosen(profile="core")) == 14
    only = chosen(profile="full", only=["get_message", "list_messages"])
    assert [tool.name for tool in only] == ["list_messages", "get_message"]
    fewer = chosen(profile="full", without=["delete_inbox"])
    assert {tool.name for tool in fewer} == set(NAMES) - {"delete_inbox"}


def test_read_only_overrides_everything() -> None:
    for only in ((), ("send_email", "get_message")):
        assert all(tool.reads and not tool.secret for tool in chosen(profile="full", only=only, read_only=True))
    assert chosen(profile="full", only=["get_smtp_credentials"], read_only=True) == ()
    assert [tool.name for tool in chosen(profile="core", only=["send_email"], read_only=True)] == []


def test_a_name_that_no_tool_has_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no tool 'send_emails'; known are create_inbox, "):
        chosen(profile="core", only=["send_emails"])
    with pytest.raises(ValueError, match="there is no tool 'nuke'"):
        chosen(profile="core", without=["nuke"])


def test_a_profile_that_does_not_exist_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="profile"):
        settings_for(tmp_path, {"mcp": {"profile": "all"}})


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"profile": "full"}, set(NAMES)),
        ({"tools": ["get_message"]}, {"get_message"}),
        (
            {"exclude_tools": ["send_email", "send_draft"]},
            {t.name for t in ALL if t.core} - {"send_email", "send_draft"},
        ),
        ({"read_only": True}, {t.name for t in ALL if t.core and t.reads} - {"get_smtp_credentials"}),
    ],
    ids=["full", "tools", "exclude_tools", "read_only"],
)
async def test_settings_choose_the_tools(tmp_path: Path, settings: dict[str, Any], expected: set[str]) -> None:
    async with running(tmp_path / "data", {"mcp": settings}) as daimon, daimon.agent(profile=None) as agent:
        assert {tool.name for tool in (await agent.client.list_tools()).tools} == expected


async def test_what_a_session_is_told_names_only_tools_it_has(tmp_path: Path) -> None:
    chosen_tools = ["list_inboxes", "list_messages", "get_message"]
    async with running(tmp_path / "data", {"mcp": {"tools": chosen_tools}}) as daimon:
        await daimon.operations.inboxes.create_inbox(await daimon.actor(), CreateInbox(username="ann"))
        async with daimon.agent(profile=None) as agent:
            said = [agent.client.instructions or ""]
            said += [(await agent.call(name)).text for name in ("list_inboxes", "list_messages")]
            said.append((await agent.call("get_message", message_id="msg_none")).text)
    for name in set(NAMES) - set(chosen_tools):
        assert not [text for text in said if name in text], name


async def test_read_only_tools_change_nothing(daimon: Daimon) -> None:
    async with daimon.agent() as agent:
        inbox = await agent.do("create_inbox", username="ann")
        await agent.do("create_inbox", username="bob")
    await arrive(daimon, inbox["address"])
    async with daimon.agent(read_only=True) as reader:
        assert all(
            tool.annotations and tool.annotations.read_only_hint for tool in (await reader.client.list_tools()).tools
        )
        found = (await reader.do("list_messages", inbox=inbox["id"]))["messages"][0]
        assert (await reader.do("get_message", message_id=found["id"]))["read"] is False
        assert (await reader.do("list_messages", inbox=inbox["id"]))["unread_count"] == 1
    # A link would be a write, and the tool that makes one is not there.
    looking = replace(await daimon.actor(), read_only=True)
    with pytest.raises(Refused) as refused:
        await daimon.operations.accounts.get_smtp_credentials(looking)
    names = [tool.name for tool in chosen(profile="full", read_only=True)]
    said = await daimon.operations.guide.refusal(refused.value, ToolDialect(names), actor=looking)
    assert said["error"] == "SMTP_REQUIRES_PAID"
    assert "upgrade_context" not in said
    assert "create_upgrade_link" not in str(said)
    async with daimon.agent() as agent:
        assert (await agent.do("get_capabilities"))["tier"] == "free"
        assert await daimon.operations.upgrades.open_count() == 0
