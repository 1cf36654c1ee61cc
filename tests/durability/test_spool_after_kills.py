"""Mail in the spool that was in the hands of processes when they were killed: only what seems to kill is put aside."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.daimon import Daimon, running

from daimon_mcp.domain.envelopes import Envelope, Peer
from daimon_mcp.operations.intake import MOST_DEATHS
from daimon_mcp.store import compiled as sql

PEER = Peer(address="127.0.0.1", helo="peer.test", tls=False, esmtp=True, smtputf8=False, cid="c1")
MAIL = b"From: ann@example.com\r\nSubject: once\r\n\r\nHello.\r\n"


async def subjects(daimon: Daimon) -> list[str]:
    return [row[0] for row in await daimon.operations.core.database.fetch("SELECT subject FROM messages")]


@pytest.mark.parametrize(("deaths", "is_filed"), [(MOST_DEATHS - 1, True), (MOST_DEATHS, False)])
async def test_mail_is_put_aside_after_many_deaths_only(tmp_path: Path, deaths: int, is_filed: bool) -> None:
    async with running(tmp_path) as daimon:
        async with daimon.agent() as agent:
            address = (await agent.do("create_inbox", username="reader"))["address"]
        await daimon.operations.receiving.accept(Envelope("ann@example.com", (address,)), PEER, MAIL)
        ((number, _),) = daimon.operations.spool.waiting()
        for _ in range(deaths):  # each process counts before it reads what it found
            await daimon.operations.core.database.write(lambda tx: tx.run(sql.incoming_try, no=number))
    async with running(tmp_path, workers=True) as daimon:
        await daimon.operations.spool.settled(10)
        aside = [each["put_aside"] for each in await daimon.operations.spool.listed()]
        assert (await subjects(daimon), aside) == ((["once"], []) if is_filed else ([], [True]))
