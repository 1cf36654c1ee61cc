"""What hosts and agents get wrong: protocol errors for hosts, refusals that say how to do it right for agents."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp_types import INVALID_PARAMS
from tests.faces.mcp.kit import (
    ERAS,
    FREE_SENDS,
    HANDSHAKES,
    MODERN,
    SECRETS,
    Wire,
    arrive,
    bearer,
    key,
    over_http,
    wired,
)
from tests.support.daimon import Answer, Daimon, running, settings_for

from daimon_mcp import app as application
from daimon_mcp import logs

VERSIONS = (HANDSHAKES[0], HANDSHAKES[-1], MODERN)
SECRET = "hunter2-and-more"  # what must never come back


@pytest.fixture(scope="module")
async def daimon(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Daimon]:
    """One for all: what is refused changes nothing."""
    async with running(tmp_path_factory.mktemp("strict")) as made:
        yield made


@asynccontextmanager
async def full(daimon: Daimon, version: str) -> AsyncGenerator[Wire]:
    async with wired(daimon.app.mcp_server("full"), version) as wire:
        yield wire


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_unknown_tool_is_a_protocol_error(daimon: Daimon, version: str) -> None:
    async with full(daimon, version) as wire:
        error = (await wire.tool("send_emails", {}))["error"]
        assert error["code"] == INVALID_PARAMS
        assert error["message"] == "Unknown tool: 'send_emails'"
        long = (await wire.tool("x" * 10_000, {}))["error"]["message"]
        assert len(long) < 100


async def test_a_tool_outside_the_profile_is_unknown(daimon: Daimon) -> None:
    async with wired(daimon.app.mcp_server("core"), MODERN) as wire:
        assert (await wire.tool("delete_inbox", {"inbox": "inb_1"}))["error"]["code"] == INVALID_PARAMS


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"])
async def test_a_made_up_cursor_is_a_protocol_error(daimon: Daimon, version: str, method: str) -> None:
    async with full(daimon, version) as wire:
        for cursor in ("bogus", ""):
            assert (await wire.ask(method, {"cursor": cursor}))["error"]["code"] == INVALID_PARAMS
        assert "error" not in await wire.ask(method)


@pytest.mark.parametrize("version", VERSIONS)
async def test_prompts_and_resources_that_are_not_there(daimon: Daimon, version: str) -> None:
    async with full(daimon, version) as wire:
        assert (await wire.ask("prompts/get", {"name": "none"}))["error"]["code"] == INVALID_PARAMS
        assert "error" in await wire.ask("resources/read", {"uri": "inbox://inb_1"})
        assert "error" in await wire.ask("resources/subscribe", {"uri": "inbox://inb_1"})
        assert "error" in await wire.ask("no/such/method", {})


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("arguments", [["to"], "to", 7, True])
async def test_arguments_that_are_no_object_are_a_protocol_error(daimon: Daimon, version: str, arguments: Any) -> None:
    async with full(daimon, version) as wire:
        error = (await wire.tool("send_email", arguments))["error"]
        assert error["code"] == INVALID_PARAMS
        assert "to" not in error["message"].split()


async def test_no_arguments_are_an_empty_object(daimon: Daimon) -> None:
    async with full(daimon, MODERN) as wire:
        assert (await wire.ask("tools/call", {"name": "get_account"}))["result"]["isError"] is False
        assert (await wire.tool("get_account", None))["result"]["isError"] is False


WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("list_messages", {"limti": SECRET}, "limti", "is not an argument here (did you mean limit?)"),
    ("get_message", {"message_id": "msg_1", "zzz": SECRET}, "zzz", "is not an argument here; known are message_id"),
    ("send_email", {"bbc": SECRET}, "bbc", "did you mean bcc?"),
    ("list_messages", {"limit": SECRET}, "limit", "must be a whole number"),
    ("list_messages", {"limit": "5"}, "limit", "must be a whole number"),
    ("list_messages", {"limit": 5.5}, "limit", "must be a whole number"),
    ("list_messages", {"limit": True}, "limit", "must be a whole number"),
    ("list_messages", {"limit": 0}, "limit", "must be at least 1"),
    ("list_messages", {"limit": 101}, "limit", "must be at most 100"),
    ("list_messages", {"sort": SECRET}, "sort", "must be one of"),
    ("list_messages", {"before": SECRET}, "before", "2026-11-21T09:00:00Z"),
    ("list_messages", {"before": "2026-11-21T09:00:00"}, "before", "2026-11-21T09:00:00Z"),
    ("list_messages", {"before": 1764000000}, "before", "must be"),
    ("list_messages", {"unread": SECRET}, "unread", "must be true or false"),
    ("list_messages", {"unread": 1}, "unread", "must be true or false"),
    ("get_message", {}, "message_id", "is required"),
    ("get_message", {"message_id": 7}, "message_id", "must be a string"),
    ("get_message", {"message_id": ""}, "message_id", "must not be empty"),
    ("get_message", {"message_id": None}, "message_id", "must be a string"),
    ("get_message", {"message_id": "msg_1", "include": [SECRET]}, "include.0", "must be one of"),
    ("create_inbox", {"metadata": [SECRET]}, "metadata", "must be an object"),
    ("create_inbox", {"username": [SECRET]}, "username", "must be a string"),
    ("send_email", {"to": 7, "subject": "x", "body": "y"}, "to", '"ann@example.com"'),
    ("send_email", {"to": {"mail": SECRET}, "subject": "x", "body": "y"}, "to", '"ann@example.com"'),
    ("send_email", {"attachments": [{}]}, "attachments.0", "must have"),
    ("send_email", {"attachments": [{"filename": "a", "content": "aGk=", "x": SECRET}]}, "attachments.0.x", "not"),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "arguments", "field", "said"), WRONG)
async def test_a_wrong_argument_is_named_and_not_repeated(
    daimon: Daimon, tool: str, arguments: dict[str, Any], field: str, said: str
) -> None:
    async with daimon.agent() as agent:
        await agent.do("create_inbox", username="ann", client_id="ann")
        answer = await agent.call(tool, **arguments)
    assert answer.error == "INVALID_REQUEST"
    assert answer.envelope["fields"][0]["field"] == field
    assert said in answer.text
    assert SECRET not in answer.text
    assert SECRET not in str(answer.envelope)
    assert "pydantic" not in answer.text
    assert "\n" not in answer.text.partition("\nNext: ")[0]


async def test_every_wrong_field_is_named_at_once(daimon: Daimon) -> None:
    async with daimon.agent() as agent:
        answer = await agent.call("list_messages", limit=0, unread="yes", sor="asc")
    assert {each["field"] for each in answer.envelope["fields"]} == {"limit", "unread", "sor"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "arguments",
    [
        {f"n{number}": number for number in range(5000)},
        {"x" * 1_000_000: 1},
        {"query": "x" * 3_000_000},
        {"query": "x", "inbox": {"a": [[[[[1] * 1000] * 100]]]}},
    ],
    ids=["many names", "a long name", "a long value", "a deep value"],
)
async def test_huge_arguments_get_a_short_answer(daimon: Daimon, version: str, arguments: dict[str, Any]) -> None:
    async with full(daimon, version) as wire:
        result = (await wire.tool("search_messages", arguments))["result"]
        assert result["isError"] is True
        assert result["content"][0]["text"].startswith("INVALID_REQUEST: ")
        assert len(str(result)) < 20_000 * 4 * 2
        assert (await wire.tool("get_account", {}))["result"]["isError"] is False


# -- what goes wrong inside ------------------------------------------------------------------------------------------


async def check_internal(answer: Answer, caplog: pytest.LogCaptureFixture) -> str:
    """The answer tells an id and nothing else; the log has the traceback under that id. What the log says."""
    assert answer.error == "INTERNAL"
    assert set(answer.envelope) == {"error", "message", "next_steps"}
    assert "Traceback" not in answer.text
    assert "sqlite" not in answer.text.lower()
    failed = [line for line in caplog.text.splitlines() if "level=error" in line and "exc=" in line]
    ident = re.search(r"\b[0-9a-f]{10}\b", answer.text)
    assert ident
    assert all(f"cid={ident[0]}" in line for line in failed)
    assert "Traceback" in failed[0]
    return failed[0]


@pytest.fixture
def cids(caplog: pytest.LogCaptureFixture) -> None:
    """What is captured is written as our logs are, with the id of the call."""
    caplog.handler.setFormatter(logs.Formatter(json_lines=False))


@contextmanager
def table_gone(folder: Path, table: str) -> Generator[None]:
    """A table that another process has renamed."""
    with closing(sqlite3.connect(folder / "mail.db")) as other:
        other.execute(f"ALTER TABLE {table} RENAME TO gone")
        try:
            yield
        finally:
            other.execute(f"ALTER TABLE gone RENAME TO {table}")


@pytest.mark.usefixtures("cids")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("get_account", {}), ("list_inboxes", {}), ("create_inbox", {"username": "bob"})],
    ids=["get_account", "list_inboxes", "create_inbox"],
)
async def test_a_table_that_vanishes_under_a_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tool: str, arguments: dict[str, Any], era: str
) -> None:
    async with running(tmp_path / "data") as daimon, daimon.agent(era) as agent:
        await agent.do("create_inbox", username="ann")
        with table_gone(tmp_path / "data", "inboxes"):
            answer = await agent.call(tool, **arguments)
        assert "no such table" in await check_internal(answer, caplog)
        assert "inboxes" not in answer.text
        assert (await agent.do("list_inboxes"))["total"] == 1


async def test_a_store_that_is_closed_is_a_refusal_that_says_when_to_come_back(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "data")
    async with application.opened(settings, environ={}) as operations:
        daimon = Daimon(application.App(settings, operations), None)
        async with daimon.agent() as agent:
            await agent.do("create_inbox", username="ann")
            await operations.core.database.close()
            answer = await agent.call("list_inboxes")
    assert answer.error == "STORE_UNAVAILABLE"
    assert answer.envelope["retry_after"] > 0


@pytest.mark.usefixtures("cids")
async def test_a_refusal_whose_link_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path / "data") as daimon, daimon.agent() as agent:
        await agent.do("create_inbox", username="ann")
        with table_gone(tmp_path / "data", "approvals"):
            answer = await agent.call("send_email", to="ann@agents.localhost", subject="x", body="y")
        await check_internal(answer, caplog)
        refused = await agent.call("send_email", to="ann@agents.localhost", subject="x", body="y")
        assert refused.error == "SEND_REQUIRES_PAID"
        assert refused.envelope["upgrade_context"]["operator_action_url"]


@pytest.mark.usefixtures("cids")
@pytest.mark.parametrize("file", ["outcomes/get_account.free.md", "refusals/MESSAGE_NOT_FOUND.md"])
async def test_an_operators_words_that_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    words = tmp_path / "words"
    (words / file).parent.mkdir(parents=True)
    (words / file).write_text("# message\n\nThe {password} is secret.\n")
    sections = {"operator": {"prompts_dir": str(words)}}
    async with running(tmp_path / "data", sections) as daimon, daimon.agent() as agent:
        refused = file.startswith("refusals")
        answer = await (agent.call("get_message", message_id="msg_1") if refused else agent.call("get_account"))
        await check_internal(answer, caplog)
        assert "secret" not in answer.text


@pytest.mark.usefixtures("cids")
async def test_even_the_words_for_a_failure_may_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    words = tmp_path / "words"
    (words / "refusals").mkdir(parents=True)
    for code in ("INTERNAL", "MESSAGE_NOT_FOUND"):
        (words / "refusals" / f"{code}.md").write_text("# mesage\n\nA misspelt field.\n")
    sections = {"operator": {"prompts_dir": str(words)}}
    async with running(tmp_path / "data", sections) as daimon, daimon.agent() as agent:
        await check_internal(await agent.call("get_message", message_id="msg_none"), caplog)


async def test_neither_secrets_nor_mail_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, "daimon_mcp")
    body, subject, address = "Xylophone body", "Xylophone subject", "xylophone@example.com"
    sections = {**FREE_SENDS, "mcp": {"profile": "full"}}
    async with running(tmp_path / "data", sections, listeners=True) as daimon:
        own = await key(daimon)
        async with over_http(daimon.url, own) as agent:
            inbox = await agent.do("create_inbox", username="ann", display_name="Xylophone name")
            await arrive(daimon, inbox["address"], subject=subject, body=body, sender=address, name="Xylophone")
            found = (await agent.do("wait_for_message", timeout_seconds=5))["message"]
            await agent.call("reply_to_message", message_id=found["id"], body=body)
            await agent.call("send_email", to=inbox["address"], subject=subject, body=body, client_id="Xylophone")
            await agent.call("send_email", to=address, subject=subject, body=body)
            await agent.call("create_draft", subject=subject, body=body)
            await agent.call("create_inbox", username="Xylophone!", metadata={"note": body})
            await agent.call("search_messages", query="Xylophone", Xylophone="Xylophone")
            secrets = [own, inbox["api_key"], (await agent.do("get_smtp_credentials"))["password"]]
            link = await agent.do("create_upgrade_link", target_tier="pro", reason="Xylophone reason")
            secrets.append(link["url"].partition("token=")[2])
            await agent.call("notify_operator", issue="Xylophone issue")
        async with over_http(daimon.url, inbox["api_key"]) as narrow:
            await narrow.call("list_messages")
    logged = caplog.text
    assert "tool send_email refused" in logged
    assert "Xylophone" not in logged
    assert not [secret for secret in secrets if secret in logged]
    assert not [prefix for prefix in SECRETS if prefix in logged]
    assert bearer(own)["Authorization"] not in logged
