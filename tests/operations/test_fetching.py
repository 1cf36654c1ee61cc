"""Mail fetched from a mailbox elsewhere, as the store keeps it: once, and together with how far that was read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
from tests.support.daimon import Daimon, running

from daimon_mcp.domain.refusals import RefusalCode, Refused
from daimon_mcp.domain.upstream import FetchedMail, Place
from daimon_mcp.operations.fetching import Fetching
from daimon_mcp.store import compiled as sql
from daimon_mcp.store import incoming
from daimon_mcp.store.blobs import IN_DATABASE

NAME = "me@example.com INBOX"
CONTENT = b"From: ann@sender.example\r\nSubject: hi\r\nMessage-ID: <1@sender.example>\r\n\r\nwords\r\n"


@pytest.fixture
async def daimon(tmp_path: Path) -> AsyncGenerator[Daimon]:
    """Without workers: what was fetched stays in the spool."""
    async with running(tmp_path / "data") as made:
        yield made


@pytest.fixture
async def address(daimon: Daimon) -> str:
    """An inbox's."""
    async with daimon.agent() as agent:
        made = await agent.do("create_inbox", username="support")
    return made["address"]


@pytest.fixture
async def fetching(daimon: Daimon) -> Fetching:
    operations = daimon.operations
    made = Fetching(operations.core, operations.spool, operations.directory)
    await made.begin(NAME, Place(100, 0, 0))
    return made


def mail(address: str, content: bytes = CONTENT, **changes: Any) -> FetchedMail:
    facts: dict[str, Any] = {
        "name": NAME,
        "host": "imap.example.com",
        "uidvalidity": 100,
        "uid": 7,
        "recipients": (address,),
        "mail_from": "ann@sender.example",
        "content": content,
        "tidy": True,
    }
    return FetchedMail(**{**facts, **changes})


async def spooled(daimon: Daimon) -> list[incoming.StoredIncoming]:
    rows = await daimon.operations.core.database.all(sql.incoming_due, after=0, limit=10)
    found = [await incoming.get(daimon.operations.core.database, row[0]) for row in rows]
    return [each for each in found if each is not None]


async def test_a_message_and_the_place_are_stored_together(daimon: Daimon, fetching: Fetching, address: str) -> None:
    assert await fetching.receive_fetched(mail(address))
    [stored] = await spooled(daimon)
    assert (stored.origin, stored.data) == ("upstream", CONTENT)
    assert (stored.envelope.mail_from, stored.envelope.rcpt_to) == ("ann@sender.example", (address,))
    assert stored.peer.helo == "imap.example.com"
    assert await fetching.place(NAME) == Place(100, 7, 0)
    assert await fetching.untidied(NAME, 100) == [7]
    await fetching.tidied(NAME, 100, [7])
    assert await fetching.untidied(NAME, 100) == []


async def test_it_is_filed_into_the_inbox(daimon: Daimon, fetching: Fetching, address: str) -> None:
    await fetching.receive_fetched(mail(address))
    [stored] = await spooled(daimon)
    await daimon.operations.intake.file(stored.no, anyio.lowlevel.checkpoint)
    assert await spooled(daimon) == []
    async with daimon.agent() as agent:
        [message] = (await agent.do("list_messages", inbox=address))["messages"]
    assert message["subject"] == "hi"


async def test_the_same_bytes_are_taken_once_whatever_their_number(
    daimon: Daimon, fetching: Fetching, address: str
) -> None:
    assert await fetching.receive_fetched(mail(address, tidy=False))
    await fetching.begin(NAME, Place(200, 0, 5, 2))
    assert not await fetching.receive_fetched(mail(address, uidvalidity=200, uid=3))
    assert len(await spooled(daimon)) == 1
    assert await fetching.place(NAME) == Place(200, 3, 5, 2)
    assert await fetching.untidied(NAME, 200) == [3]  # what is to be done is done to it where it stands now
    assert await fetching.untidied(NAME, 100) == []
    assert await fetching.receive_fetched(mail(address, uidvalidity=200, uid=4, content=CONTENT + b"more\r\n"))
    assert await fetching.receive_fetched(mail(address, name="you@example.com INBOX"))


async def test_the_place_never_goes_back_and_is_nobody_elses(fetching: Fetching) -> None:
    await fetching.skip(NAME, 100, 9)
    await fetching.skip(NAME, 100, 5)
    await fetching.skip(NAME, 99, 50)
    await fetching.skip("you@example.com INBOX", 100, 50)
    assert await fetching.place(NAME) == Place(100, 9, 0)
    assert await fetching.place("you@example.com INBOX") is None


async def test_large_mail_goes_into_a_file_which_goes_when_it_was_known(
    daimon: Daimon, fetching: Fetching, address: str
) -> None:
    large = CONTENT + b"x" * IN_DATABASE + b"\n"
    assert await fetching.receive_fetched(mail(address, large))
    [stored] = await spooled(daimon)
    assert stored.data is None
    assert await daimon.operations.spool.load(stored) == large[:-1] + b"\r\n"
    assert not await fetching.receive_fetched(mail(address, large, uid=8))
    assert [path.name for path in daimon.operations.spool.folder().iterdir()] == [stored.file]


async def test_mail_that_goes_round_is_refused_and_moves_nothing(
    daimon: Daimon, fetching: Fetching, address: str
) -> None:
    hops = b"Received: by x; Sat, 21 Nov 2026 10:00:00 +0000\r\n" * 60
    with pytest.raises(Refused) as raised:
        await fetching.receive_fetched(mail(address, hops + CONTENT))
    assert raised.value.code is RefusalCode.RECIPIENT_REFUSED
    assert await fetching.place(NAME) == Place(100, 0, 0)
    assert await spooled(daimon) == []


async def test_only_inboxes_that_are_here_count_and_the_first_that_has_any(fetching: Fetching, address: str) -> None:
    domain = address.partition("@")[2]
    candidates = [
        (f"nobody@{domain}", f"postmaster@{domain}", "support@elsewhere.example"),
        (f"nobody@{domain}", f"support+7@{domain}", address),
        (f"other@{domain}", address),
    ]
    assert await fetching.who(candidates) == (f"support+7@{domain}", address)
    assert await fetching.who(candidates[:1]) == ()
    assert await fetching.who([]) == ()
