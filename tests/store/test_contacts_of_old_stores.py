"""Whom inboxes have written to and heard from is known of mail that came and went before anybody kept it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.support.daimon import running
from tests.support.post import OTHER, ROBO, arrive

ALL = "SELECT inbox_no, address, written_at IS NOT NULL, heard_at IS NOT NULL FROM contacts ORDER BY 1, 2"


async def test_the_migration_finds_what_filing_would_have_kept(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with running(folder, {"relay": {"host": "127.0.0.1", "port": 1, "security": "none"}}) as daimon:
        await daimon.upgrade()
        async with daimon.agent() as agent:
            await agent.do("create_inbox", username="robo")
            await agent.do("create_inbox", username="other")
            await arrive(daimon, ROBO, sender="Ann <Ann@Example.com>")
            await agent.do("add_to_list", list="block", direction="receive", entries=["spam.example"])
            await arrive(daimon, ROBO, sender="x@spam.example", mail_from="x@spam.example")
            await agent.do("send_email", inbox=ROBO, to=OTHER, cc="Bob@Example.com", bcc="eve@example.com",
                           subject="x", body="y")  # fmt: skip
            await agent.do(
                "send_email", inbox=ROBO, to="later@example.com", subject="x", body="y", send_at="2099-01-01T00:00:00Z"
            )
    connection = sqlite3.connect(folder / "mail.db")
    kept = connection.execute(ALL).fetchall()
    with connection:
        connection.execute("DELETE FROM contacts")
        connection.execute("PRAGMA user_version = 3")
    connection.close()
    async with running(folder) as daimon:
        assert [tuple(row) for row in await daimon.operations.core.database.fetch(ALL)] == kept
    assert [address for _, address, *_ in kept] == [
        "ann@example.com", "bob@example.com", "eve@example.com", OTHER, ROBO,
    ]  # fmt: skip
