"""The id in the reply to a message is in its Received field and on its log lines: what an operator goes by."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from tests.faces.smtp.mailroom import Mailroom, mail, mailroom
from tests.faces.smtp.server import Client
from tests.support.daimon import Daimon
from tests.support.post import ROBO, delivered_to, eml, until

from daimon_mcp.store import messages


@pytest.fixture
async def room(tmp_path: Path) -> AsyncGenerator[Mailroom]:
    async with mailroom(tmp_path / "data") as made:
        yield made


async def id_in_received(daimon: Daimon, message_id: str) -> str:
    """What the first Received field of a stored message says behind `id`."""
    core = daimon.operations.core
    found = await messages.by_id(core.database, message_id)
    assert found is not None
    words = (await core.blobs.get(core.database, found.blob_hash)).decode().partition("Received: ")[2].split()
    return words[words.index("id") + 1].removesuffix(";")


def ids_of_accepted(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The ids on the log lines that say a message was taken."""
    return [record.__dict__["id"] for record in caplog.records if record.getMessage().endswith(" accepted")]


async def test_each_mail_of_one_session_from_another_server_has_its_own(
    room: Mailroom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "daimon_mcp.faces.smtp")
    replied: dict[str, str] = {}
    async with await anyio.connect_tcp(*room.daimon.inbound) as stream:
        client = Client(stream)
        await client.reply()
        await client.say("EHLO c.example")
        for subject in ("one", "two"):
            assert await client.say("MAIL FROM:<ann@example.com>", f"RCPT TO:<{ROBO}>", "DATA")
            replied[subject] = (await client.say(eml(subject=subject).decode() + ".")).removeprefix("250 2.0.0 Ok, id ")

    async def arrived() -> list[dict[str, str]] | None:
        found = await delivered_to(room.agent, ROBO)
        return found if len(found) == 2 else None

    stored = {each["subject"]: each["id"] for each in await until(room.daimon, arrived)}
    assert {subject: await id_in_received(room.daimon, each) for subject, each in stored.items()} == replied
    assert len(set(replied.values())) == 2
    assert ids_of_accepted(caplog) == list(replied.values())


async def test_mail_of_a_program_has_the_id_it_has_in_sent(room: Mailroom, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "daimon_mcp.faces.smtp")
    async with room.secure() as client:
        replies = [await mail(client, room, room.letter(subject)) for subject in ("one", "two")]
    ids = [reply.removeprefix("250 2.0.0 Ok: queued as ") for reply in replies]

    async def filed() -> bool | None:
        return not any([(await room.agent.call("get_message", message_id=each)).is_error for each in ids]) or None

    await until(room.daimon, filed)
    assert [await id_in_received(room.daimon, each) for each in ids] == ids == ids_of_accepted(caplog)
